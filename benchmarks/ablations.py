"""Trains every row of a paper's ablation with several seeds, and compares them.

    python benchmarks/ablations.py --paper sf --seeds 0 1 2 3 4 --data.root DIR
    python benchmarks/ablations.py --paper sf --rows bare sf consistency --data.root DIR --backbone.options '{"width": 16}'
    python benchmarks/ablations.py --paper tag --list
    python benchmarks/ablations.py --paper art --data.root DIR --art.bank bank.safetensors

Words that this program does not know go to ``taggnn.train``. The trainings are those of ``taggnn.sweep``: each is a run in
OUT/<row>/seed-<n>, finished ones are not repeated and interrupted ones resume, so that the same call can be given again.
OUT/ablation.json and ablation.png hold the table: mean and spread over the seeds, the difference to the first row with a paired
95 % interval over seeds and clips, and the accuracy on the clips of the classes that are most often confused. Where the paper
states a figure for a row, it stands in the last column.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks import layout, machine, plots, program
from benchmarks.ablation_rows import PAPERS, Paper, Row
from taggnn.cli import config as settings
from taggnn.cli import jobs, planning, sweeping
from taggnn.evaluation.variants import Variants
from taggnn.names import unknown

SCRIPT = "benchmarks/ablations.py"
# The column of the figures that a paper states.
PUBLISHED = "in the paper"


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--paper", required=True, help=f"{', '.join(PAPERS)}")
    built.add_argument("--rows", nargs="+", default=[], help="of the paper (default: all); see --list")
    built.add_argument("--config", help="recipe or file (default: that of the paper)")
    program.add_trainings(built, "row", "ablation-PAPER")
    return built


def main(arguments: list[str]) -> int:
    given, more = parser().parse_known_args(arguments)
    if given.paper not in PAPERS:
        raise unknown("paper", given.paper, PAPERS, "--paper")
    paper = PAPERS[given.paper]
    rows = chosen(paper, given.rows)
    if given.list:
        listed = [[row.name, row.question, shlex.join(row.options), published(row.published)] for row in rows]
        print(layout.table(["row", "question", "options", PUBLISHED], listed))
        print(*stated(paper), sep="\n")
        return 0
    out = given.out or program.OWN / f"ablation-{given.paper}"
    config = given.config or paper.recipe
    if not given.table:
        rows = with_text(rows, given.rows, config, more)
    variants = {row.name: (dict[str, str](), row.options) for row in rows}
    planned = planning.plan_rows(variants, given.seeds, ["--config", config, *more], out)
    if not given.table:
        jobs.run_all(planned, given.jobs)
    results = entries(rows, sweeping.table(planned).found, out)
    facts = machine.describe(torch.device("cpu"), given.seeds[0], SCRIPT, arguments)
    about = {"paper": paper.title, "published": paper.stated, "config": config, "words": more, "machine": facts}
    program.write(out / "ablation.json", {**about, **results})
    print(shown(results))
    print(*stated(paper), sep="\n")
    print(f"table     {out / 'ablation.json'}\npicture   {plots.ablation(results['rows'], out / 'ablation.png')}")
    return 0


def chosen(paper: Paper, names: Sequence[str]) -> list[Row]:
    """The rows of these names in the order of the paper, the reference always; all without names.

    Raises:
        ValueError: an unknown name.
    """
    by_name = {row.name: row for row in paper.rows}
    for name in names:
        if name not in by_name:
            raise unknown("row", name, by_name, "--rows")
    return [row for number, row in enumerate(paper.rows) if not names or not number or row.name in names]


def with_text(rows: list[Row], named: Sequence[str], config: str, words: Sequence[str]) -> list[Row]:
    """The rows, without those about text where the configuration has no text bank, in which they would change nothing.

    Raises:
        ValueError: such a row is named.
    """
    about = [row.name for row in rows if row.text]
    if not about or settings.parse(["--config", config, *words]).art.bank is not None:
        return rows
    if chosen := [name for name in about if name in named]:
        raise ValueError(f"--rows {' '.join(map(repr, chosen))}: needs a text bank: --art.bank FILE")
    print(f"left out, because they need a text bank (--art.bank FILE): {', '.join(about)}")
    return [row for row in rows if not row.text]


def entries(rows: Sequence[Row], found: Variants | None, out: Path) -> dict[str, Any]:
    """Mean, spread and difference of every row over the seeds that it and the reference have finished.

    Raises:
        ValueError: the reference has no finished run.
    """
    if found is None:
        raise ValueError(f"{out}: no finished run of {rows[0].name!r}, which the others are compared with")
    by_name = {row.name: row for row in rows}
    listed = []
    for variant in found.rows:
        row = by_name[variant.name]
        entry: dict[str, Any] = {"row": row.name, "question": row.question, "options": list(row.options)}
        entry |= {"published": dict(row.published), "seeds": variant.seeds, "top1": vars(variant.accuracy)}
        entry["confused"] = variant.confused
        if variant.difference:
            entry["difference"] = vars(variant.difference) | {"seeds": variant.paired}
        listed.append(entry)
    return {"reference": found.reference, "rows": listed, "confused_classes": found.confused_classes}


def published(figures: Mapping[str, str]) -> str:
    """The paper's figures of a row: ``Gym99 95.6, Gym288 92.2``; a dash where none are known."""
    return ", ".join(f"{name} {figure}" for name, figure in figures.items()) or "-"


def stated(paper: Paper) -> list[str]:
    """What the column of the paper's figures is; nothing where it states none."""
    return (
        [f"{PUBLISHED}: the paper's own, no run of ours, and not on these clips. {paper.stated}"]
        if paper.stated
        else []
    )


def shown(results: dict[str, Any]) -> str:
    """The table for the screen, accuracies in per cent."""
    header = [
        "row",
        "seeds",
        "top-1",
        "spread",
        f"minus {results['reference']}",
        "95 % interval",
        "on confused classes",
        PUBLISHED,
    ]
    lines = []
    for entry in results["rows"]:
        top1, difference, confused = entry["top1"], entry.get("difference"), entry["confused"]
        lines.append(
            [
                entry["row"],
                str(top1["seeds"]),
                f"{100 * top1['mean']:.2f}",
                f"{100 * top1['std']:.2f}" if top1["seeds"] > 1 else "-",
                f"{100 * difference['value']:+.2f}" if difference else "",
                f"{100 * difference['low']:+.2f} to {100 * difference['high']:+.2f}" if difference else "",
                f"{100 * confused:.2f}" if confused is not None else "-",
                published(entry["published"]),
            ]
        )
    return layout.table(header, lines)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
