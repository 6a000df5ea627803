"""``python -m taggnn.sweep``: every combination of some values with every seed, trained, and one table of them.

``--over tag.conv=gcn,gat --over tag.topology=clique,chain --seeds 5`` trains 4 variants with 5 seeds, each run in its own folder,
OUT/<what differs>/seed-<n>; ``--folds DIR`` trains each on every fold, too. Words that this program does not know go to
``taggnn.train``. Finished runs are not repeated and interrupted ones resume, so that the same command can be given again, on
several machines too.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import jobs, sweep_files, sweep_options, sweeping, terminal
from taggnn.cli.parser import Parser
from taggnn.cli.planning import Planned, check, finished
from taggnn.reporting import sweep_table
from taggnn.reporting.page import count
from taggnn.runtime.printable import one_line, width


def main(arguments: Sequence[str]) -> None:
    own, words = sweep_options.split(arguments)
    given = sweep_options.parser().parse_args(own)
    shard = jobs.shard_of(given.shard)
    if given.time_seconds < 0:
        raise ValueError(f"--time_seconds {given.time_seconds}: must be 0 or more")
    planned, out = sweep_options.planned(given, words)
    if given.table:
        write_table(planned, out, given.reference)
        return
    left = [one for one in jobs.part_of(planned, shard) if not finished(one)]
    print(*plan_lines(planned, left, out, shard), sep="\n", flush=True)
    check(left)
    if given.dry_run:
        print(f"estimate  {jobs.estimate(planned, left, given.jobs)}")
        return
    sweep_options.begin(given, words, out)
    failed: ChildProcessError | None = None
    try:
        jobs.run_all(planned, given.jobs, shard)
    except ChildProcessError as error:
        failed = error
    if given.time_seconds and shard[1] == 1:
        sweeping.measure(planned, given.time_seconds)
    write_table(planned, out, given.reference)
    if failed:
        raise failed


def parser() -> Parser:
    """Builds the command line of this program, without the options of ``taggnn.train``."""
    return sweep_options.parser()


def plan_lines(planned: Sequence[Planned], left: Sequence[Planned], out: Path, shard: tuple[int, int]) -> list[str]:
    """The runs of a sweep, a line for each variant."""
    seeds = list(dict.fromkeys(one.seed for one in planned))
    variants: dict[str, list[Planned]] = {}
    for one in planned:
        variants.setdefault(one.name, []).append(one)
    part = f"; part {shard[0]} of {shard[1]} here" if shard[1] > 1 else ""
    folds = len({one.fold for one in planned if one.fold is not None})
    times = f" x {count(folds, 'fold')}" if folds else ""
    lines = [
        f"sweep     {out}: {count(len(variants), 'variant')} x {count(len(seeds), 'seed')} ({', '.join(map(str, seeds))})"
        f"{times}{part}"
    ]
    waiting = {one.folder for one in left}
    for name, runs in variants.items():
        here = [one for one in runs if one.folder in waiting]
        begun = sum((one.folder / "config.yaml").is_file() for one in here)
        state = f"{len(here)} to train{f', {begun} of them begun' if begun else ''}" if here else "nothing to train"
        lines.append(one_line(f"          {name}: {state}"))
    return lines


def write_table(planned: Sequence[Planned], out: Path, reference: str | None) -> None:
    """Writes the table of what is finished in all its forms, and prints it."""
    table = sweeping.table(planned, reference)
    print()
    for line in sweep_table.text(table, width()).splitlines():
        print(one_line(line))
    written = sweep_files.write_table(out, table)
    print(f"\ntable     {written[0]}, {written[1]}\npage      {written[2]}")


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.sweep"))
