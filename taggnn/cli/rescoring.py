"""``python -m taggnn.evaluate --predictions FILE``: the figures and the report of a predictions.csv, without a model.

What the file does not hold (missing or unreadable clips, training clips of each class, the loss) is taken from results.json
and skipped.csv in its folder if they belong to the same predictions.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taggnn.cli.parser import Parser
from taggnn.evaluation.calibration import are_probabilities
from taggnn.evaluation.metrics import METRICS, Scores, log_loss, summarise
from taggnn.evaluation.predictions import Predictions, read_predictions, read_skipped, write_predictions, write_skipped
from taggnn.evaluation.results import Results, headline
from taggnn.io.run_folder import new_folder
from taggnn.reporting.console import print_evaluation
from taggnn.reporting.run_page import write_report
from taggnn.runtime.atomic import write_bytes
from taggnn.runtime.printable import one_line

# Files of a run that a report shows.
_RUN_FILES = ("metrics.csv", "config.yaml")


def is_requested(arguments: Sequence[str]) -> bool:
    """Whether a command line of ``taggnn.evaluate`` has ``--predictions``."""
    return any(word.split("=")[0] == "--predictions" for word in arguments)


def main(arguments: Sequence[str]) -> None:
    """Reads, scores, writes and prints."""
    if any(word.split("=")[0] == "--checkpoint" for word in arguments):
        raise ValueError("--predictions and --checkpoint both say what to score: give one of them")
    given = parser().parse_args(arguments)
    file = Path(given.predictions)
    file = file / "predictions.csv" if file.is_dir() else file
    predictions = read_predictions(file)
    if not predictions.names:
        raise ValueError(f"{file}: no clip in it")
    results, split, notes = rescored(predictions, file, given.split)
    for note in notes:
        print(one_line(note))
    folder = Path(given.out) if given.out else new_folder(Path("runs") / "evaluate")
    if folder.resolve() != file.parent.resolve():
        _copy(file, predictions, folder)
    elif not set(Results.read(folder).to_json()) <= set(results.to_json()):
        raise ValueError(
            f"--out {folder}: the results.json of other predictions there would be overwritten; give another folder"
        )
    results.write(folder)
    print_evaluation(results.to_json(), split, predictions, folder, write_report(folder))


def parser() -> Parser:
    """Builds the command line of this part of the program."""
    built = Parser(prog="taggnn.evaluate", description="Scores a predictions.csv again, without a model.")
    built.add_argument("--predictions", type=str, required=True, help="a predictions.csv, or a folder that holds one")
    built.option("--split", str | None, None, "name of the split; null: that of results.json in the same folder")
    built.option("--out", str | None, None, "folder of the results; null: runs/evaluate/<time>")
    return built


def rescored(predictions: Predictions, file: Path, split: str | None = None) -> tuple[Results, str, list[str]]:
    """The content of results.json of a predictions.csv.

    Args:
        predictions: content of the file.
        file: its path; other files in its folder complete it.
        split: name of the split; None (default) for that of results.json, else "test".

    Returns:
        The content, the name of the split, and notes on what is not known.

    Raises:
        ValueError: probabilities that are not numbers, another split than results.json names, or an unreadable file in its
            folder.
    """
    folder = file.parent
    results = Results.read(folder)
    known = headline(results.to_json())
    again = summarise(predictions.probabilities, predictions.labels)
    stated = (results.scores or {}).get(known or "")
    notes, same = [], stated is not None and _about(stated, again)
    if stated is not None and not same:
        notes.append(
            f"{folder / 'results.json'}: about other predictions (top-1 {stated['top1']:.4f} of {stated['measured']:,} clips, "
            f"here {again.top1:.4f} of {again.measured:,}); nothing is taken from it"
        )
    if not same:
        results, known = Results(), None
    elif split not in (None, known):
        raise ValueError(f"--split {split}: {folder / 'results.json'} is about the split {known}")
    split = known or split or "test"
    missing = stated["missing"] if stated and same else 0
    unreadable = stated["unreadable"] if stated and same else _unreadable(folder)
    loss = stated["loss"] if stated and same else _loss(predictions)
    counts, groups = results.counts_of(predictions.classes), results.groups_of(predictions.classes)
    if not same:
        if stated is None:
            notes.append(f"no figures in {folder / 'results.json'}: whether listed clips are missing is not known")
        if loss is None:
            notes.append("the loss is not stated: not every true class has a probability above 0")
        title = f"predictions of {file.resolve().parent.name}"
        results = Results(title=title, unmeasured={split: []}, notes=notes)
    if counts is None:
        notes = [
            *notes,
            "training clips of each class are not known: no figures of many-, medium- and few-shot classes",
        ]
    if again.ece is None:
        notes = [*notes, f"{file}: its columns p: are no probabilities, so there is no calibration error"]
    found = Results.from_predictions(
        *(split, predictions),
        missing=missing,
        unreadable=unreadable,
        loss=loss,
        training_counts=counts,
        class_groups=groups,
    ).to_json()
    # Of other splits results.json may have figures as well.
    found["scores"] = {**(results.scores or {}), **found["scores"]}
    return replace(results, **found), split, notes


def _about(stated: dict[str, Any], again: Scores) -> bool:
    """Whether the figures of results.json belong to these predictions, up to rounding errors."""
    # Files of earlier versions lack some of the figures.
    keys = ("measured", "classes", *METRICS)
    known = {key: getattr(again, key) for key in keys if stated.get(key) is not None}
    return all(
        value is not None and math.isclose(stated[key], value, rel_tol=1e-9, abs_tol=1e-12)
        for key, value in known.items()
    )


def _unreadable(folder: Path) -> int:
    path = folder / "skipped.csv"
    skipped = read_skipped(path) if path.is_file() else []
    # With rows of several splits it is not known which belong to these clips.
    return len(skipped) if len({row.split for row in skipped}) == 1 else 0


def _loss(predictions: Predictions) -> float | None:
    """Negative log likelihood; None if they are no probabilities, or one of a true class is 0."""
    known = are_probabilities(predictions.probabilities)
    return log_loss(predictions.probabilities, predictions.labels) if known else None


def _copy(file: Path, predictions: Predictions, folder: Path) -> None:
    write_predictions(folder / "predictions.csv", predictions)
    skipped = file.parent / "skipped.csv"
    write_skipped(folder / "skipped.csv", read_skipped(skipped) if skipped.is_file() else [])
    for name in _RUN_FILES:
        if (file.parent / name).is_file():
            write_bytes(folder / name, (file.parent / name).read_bytes())
