"""Does the graph help? Trains the arms of docs/graph_study.md on a set with several seeds, and compares them.

    python benchmarks/accuracy.py --set order --data.root datasets/order
    python benchmarks/accuracy.py --set miracl_words --data.root DIR --folds folds
    python benchmarks/accuracy.py --set nw_ucla --data.root DIR --backbone.options '{"width": 16}' --train.epochs 40
    python benchmarks/accuracy.py --set order --list

Words that this program does not know go to ``taggnn.train``. The trainings are those of ``taggnn.sweep``: each is a run in
OUT/<arm>/seed-<n>, finished ones are not repeated and interrupted ones resume, so that the same call can be given again.
OUT/accuracy.json holds the table: accuracy and its interval, what the first arm has more than each of the others, paired by clip,
fold and seed, with a 95 % interval over clips (over groups, where folds have groups) and seeds, and the cost of each arm.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shlex
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import layout, machine, program
from benchmarks.accuracy_rows import SETS, Arm, Set
from taggnn.cli import jobs, planning, sweep_options, sweeping
from taggnn.cli.planning import Planned
from taggnn.evaluation.sweep_table import SweepTable
from taggnn.names import unknown

SCRIPT = "benchmarks/accuracy.py"


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--set", required=True, help=f"{', '.join(SETS)}")
    built.add_argument("--arms", nargs="+", default=[], help="next to the first one (default: all); see --list")
    built.add_argument("--folds", help="a folder that taggnn.folds wrote, or some of its folds, with commas")
    program.add_trainings(built, "arm", "accuracy-SET")
    return built


def main(arguments: list[str]) -> int:
    given, more = parser().parse_known_args(arguments)
    if given.set not in SETS:
        raise unknown("set", given.set, SETS, "--set")
    chosen_set = SETS[given.set]
    arms = chosen(chosen_set, given.arms)
    if given.list:
        print(layout.table(["arm", "question", "options"], [[one.name, one.question, _line(one)] for one in arms]))
        return 0
    if chosen_set.by_group and not given.folds:
        raise ValueError(f"--set {given.set}: give --folds DIR, which python -m taggnn.folds writes")
    out = given.out or program.OWN / f"accuracy-{given.set}"
    variants = {arm.name: (dict[str, str](), arm.options) for arm in arms}
    words = [*chosen_set.words, *more]
    planned = planning.plan_rows(variants, given.seeds, words, out, sweep_options.folds_of(given.folds))
    if not given.table:
        jobs.run_all(planned, given.jobs)
    found = entries(planned, arms, out)
    facts = machine.describe(torch.device("cpu"), given.seeds[0], SCRIPT, arguments)
    about = {"set": given.set, "title": chosen_set.title, "words": words, "machine": facts}
    program.write(out / "accuracy.json", {**about, **found})
    print(shown(found))
    print(*found["notes"], sep="\n")
    print(f"table     {out / 'accuracy.json'}")
    return 0


def chosen(of: Set, names: Sequence[str]) -> list[Arm]:
    """The first arm and those of these names, in the order of the set; all without names.

    Raises:
        ValueError: an unknown name.
    """
    by_name = {arm.name: arm for arm in of.arms}
    for name in names:
        if name not in by_name:
            raise unknown("arm", name, by_name, "--arms")
    return [arm for number, arm in enumerate(of.arms) if not names or not number or arm.name in names]


def entries(planned: Sequence[Planned], arms: Sequence[Arm], out: Path) -> dict[str, Any]:
    """A row for each arm with a finished run: accuracy, cost, and what the first arm has more.

    Raises:
        ValueError: the first arm has no finished run.
    """
    table = sweeping.table(planned)
    if table.found is None:
        raise ValueError(f"{out}: no finished run of {arms[0].name!r}, which the others are subtracted from")
    rows = []
    for variant in table.found.rows:
        row: dict[str, Any] = {
            "arm": variant.name,
            "seeds": variant.seeds,
            "clips": variant.clips,
            "groups": variant.groups,
        }
        row |= {"top1": vars(variant.accuracy), "interval": variant.interval, "of_seeds": variant.of_seeds}
        if found := variant.difference:
            # The table has the arm minus the first one; here the first one has the gain. 0 - 0 is 0, where its negative is -0.
            row["gain"] = {
                "value": 0 - found.value,
                "low": 0 - found.high,
                "high": 0 - found.low,
                "seeds": variant.paired,
            }
            row["gain"]["over_seeds"] = variant.over_seeds
        rows.append(row | _cost(table, variant.name))
    return {"reference": table.reference, "folds": table.folds, "rows": rows, "notes": table.notes()}


def _cost(table: SweepTable, name: str) -> dict[str, Any]:
    cost = table.costs.get(name)
    return {"head_parameters": cost and cost.head_parameters, "head_macs": cost and cost.head_macs}


def _line(arm: Arm) -> str:
    return shlex.join(arm.options)


def shown(found: dict[str, Any]) -> str:
    """The table for the screen, accuracies in per cent."""
    header = ["arm", "seeds", "top-1", "95 % interval", f"{found['reference']} has more", "95 % interval"]
    header += ["parameters", "MMACs"]
    lines = []
    for row in found["rows"]:
        gain, ends = row.get("gain"), row["interval"]
        macs, parameters = row["head_macs"], row["head_parameters"]
        lines.append(
            [
                row["arm"],
                str(len(row["seeds"])),
                f"{100 * row['top1']['mean']:.1f}",
                f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends else "-",
                f"{100 * gain['value']:+.1f}" if gain else "",
                f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}" if gain else "",
                "-" if parameters is None else f"{parameters:,}",
                "-" if macs is None else f"{macs / 1e6:.1f}",
            ]
        )
    return layout.table(header, lines)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
