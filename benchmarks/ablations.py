"""Trains every row of a paper's ablation with several seeds, and compares them.

    python benchmarks/ablations.py --paper sf --seeds 0 1 2 3 4 --data.root DIR
    python benchmarks/ablations.py --paper sf --rows bare sf consistency --data.root DIR --backbone.options '{"width": 16}'
    python benchmarks/ablations.py --paper tag --list
    python benchmarks/ablations.py --paper art --data.root DIR --art.bank bank.safetensors

Words that this program does not know go to ``taggnn.train``. Each training is a run in OUT/<row>/seed-<n>; finished ones are
not repeated and interrupted ones resume, so that the same call can be given again. OUT/ablation.json and ablation.png hold the
table: mean and spread over the seeds, the difference to the first row with a paired 95 % interval over seeds and clips, and the
accuracy on the clips of the classes that are most often confused. Where the paper states a figure for a row, it stands in the
last column.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks import layout, machine, plots, program
from benchmarks.ablation_rows import PAPERS, Paper, Row
from taggnn.cli import config as settings
from taggnn.evaluation.confusions import accuracy_on_pairs, most_confused
from taggnn.evaluation.intervals import Answers
from taggnn.evaluation.matching import matched
from taggnn.evaluation.predictions import read_predictions
from taggnn.evaluation.seeds import difference_over_seeds, over_seeds
from taggnn.names import unknown

SCRIPT = "benchmarks/ablations.py"
# The column of the figures that a paper states.
PUBLISHED = "in the paper"


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--paper", required=True, help=f"{', '.join(PAPERS)}")
    built.add_argument("--rows", nargs="+", default=[], help="of the paper (default: all); see --list")
    built.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="of each row (default 0 to 4)")
    built.add_argument("--config", help="recipe or file (default: that of the paper)")
    built.add_argument("--out", type=Path, help=f"folder of runs and table (default {program.OWN}/ablation-PAPER)")
    built.add_argument("--list", action="store_true", help="print the rows and stop")
    built.add_argument("--table", action="store_true", help="train nothing, make the table of the finished runs")
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
    # Seed by seed, so that an interrupted ablation has every row for the first seeds.
    jobs = [] if given.table else [(row, seed) for seed in given.seeds for row in rows]
    for number, (row, seed) in enumerate(jobs, 1):
        print(f"{number} of {len(jobs)}: {row.name}, seed {seed}", flush=True)
        code = train(row, seed, config, out, more)
        if code:
            return code
    results = table(rows, given.seeds, out)
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


def folder_of(row: Row, seed: int, out: Path) -> Path:
    """The run folder of a row and a seed."""
    return out / row.name.replace(" ", "_") / f"seed-{seed}"


def train(row: Row, seed: int, config: str, out: Path, more: Sequence[str]) -> int:
    """Trains a row, or resumes it; nothing if it is finished. Returns the exit code."""
    folder = folder_of(row, seed, out)
    if (folder / "report.html").is_file():
        return 0
    words = ["--config", config, "--seed", str(seed), "--run", str(folder), "--compare", "[]", *more, *row.options]
    return subprocess.run([sys.executable, "-m", "taggnn.train", *words]).returncode


def table(rows: Sequence[Row], seeds: Sequence[int], out: Path) -> dict[str, Any]:
    """Mean, spread and difference of every row over the seeds that it and the reference have finished.

    Raises:
        ValueError: the reference has no finished run.
    """
    models = _predictions(rows, seeds, out)
    reference = rows[0].name
    if not models.get(reference):
        raise ValueError(f"{out}: no finished run of {reference!r}, which the others are compared with")
    # Of all rows together, so that no row is favoured.
    pairs = most_confused([model for of_row in models.values() for model in of_row.values()])
    found = []
    for row in rows:
        of_row = models.get(row.name, {})
        both = [seed for seed in of_row if seed in models[reference]]
        if not of_row:
            continue
        entry: dict[str, Any] = {"row": row.name, "question": row.question, "options": list(row.options)}
        entry["published"] = dict(row.published)
        entry |= {"seeds": list(of_row), "top1": vars(over_seeds(list(of_row.values())))}
        confused = [accuracy_on_pairs(model, pairs) for model in of_row.values()]
        entry["confused"] = sum(one[0] for one in confused if one) / len(confused) if all(confused) else None
        if row.name != reference and both:
            sides = [[models[name][seed] for seed in both] for name in (reference, row.name)]
            entry["difference"] = vars(difference_over_seeds(*sides)) | {"seeds": both}
        found.append(entry)
    return {"reference": reference, "rows": found, "confused_classes": len({label for pair in pairs for label in pair})}


def _predictions(rows: Sequence[Row], seeds: Sequence[int], out: Path) -> dict[str, dict[int, Answers]]:
    """Predictions for the clips that all finished runs share, by row and seed."""
    keys = [(row.name, seed, folder_of(row, seed, out) / "predictions.csv") for row in rows for seed in seeds]
    keys = [key for key in keys if (key[2].parent / "report.html").is_file()]
    if not keys:
        return {}
    answers = matched([read_predictions(path) for *_, path in keys], [str(path) for *_, path in keys]).answers
    found: dict[str, dict[int, Answers]] = {}
    for (name, seed, _), model in zip(keys, answers, strict=True):
        found.setdefault(name, {})[seed] = model
    return found


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
