"""``python -m taggnn.evaluate --predictions FILE``: the figures and the report of a predictions.csv, without a model.

What the file itself does not say (clips missing or unreadable, training clips of each class, the loss) is taken from the
results.json and skipped.csv beside it, where they are about the same predictions.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from taggnn.cli.parser import Parser
from taggnn.evaluation.calibration import are_probabilities
from taggnn.evaluation.metrics import METRICS, Scores, summarise
from taggnn.evaluation.predictions import Predictions, read_predictions, read_skipped, write_predictions, write_skipped
from taggnn.evaluation.results import Results, headline
from taggnn.io.run_folder import new_folder
from taggnn.reporting.console import print_evaluation
from taggnn.reporting.run_page import write_report
from taggnn.runtime.atomic import write_bytes

# Of a run; a report shows them.
_ALONG = ("metrics.csv", "config.yaml")


def asked(arguments: Sequence[str]) -> bool:
    """Whether a command line of ``taggnn.evaluate`` asks for predictions to be scored again."""
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
        print(note)
    folder = Path(given.out) if given.out else new_folder(Path("runs") / "evaluate")
    if folder.resolve() != file.parent.resolve():
        _write_beside(file, predictions, folder)
    elif not set(Results.read(folder).to_json()) <= set(results.to_json()):
        raise ValueError(
            f"--out {folder}: what its results.json says of other predictions would be lost; give another folder"
        )
    results.write(folder)
    print_evaluation(results.to_json(), split, predictions, folder, write_report(folder))


def parser() -> Parser:
    """Builds the command line of this part of the program."""
    built = Parser(prog="taggnn.evaluate", description="Scores a predictions.csv again, without a model.")
    built.add_argument("--predictions", type=str, required=True, help="a predictions.csv, or a folder that holds one")
    built.add_argument(
        "--split", type=str | None, default=None, help="name of the clips; null: as the results.json beside it says"
    )
    built.add_argument("--out", type=str | None, default=None, help="folder of the results; null: runs/evaluate/<time>")
    return built


def rescored(predictions: Predictions, file: Path, split: str | None = None) -> tuple[Results, str, list[str]]:
    """The content of results.json of a predictions.csv.

    Args:
        predictions: content of the file.
        file: where it lies; its neighbours say what it does not.
        split: name of the clips; None (default) for what results.json says, else "test".

    Returns:
        The content, the name of the split, and sentences about what is not known.

    Raises:
        ValueError: probabilities that are not numbers, another split than results.json names, or a file beside it that
            cannot be read.
    """
    beside = file.parent
    results = Results.read(beside)
    known = headline(results.to_json())
    again = summarise(predictions.probabilities, predictions.labels)
    stated = (results.scores or {}).get(known or "")
    notes, same = [], stated is not None and _about(stated, again)
    if stated is not None and not same:
        notes.append(
            f"{beside / 'results.json'}: about other predictions (top-1 {stated['top1']:.4f} of {stated['measured']:,} clips, "
            f"here {again.top1:.4f} of {again.measured:,}); nothing is taken from it"
        )
    if not same:
        results, known = Results(), None
    elif split not in (None, known):
        raise ValueError(f"--split {split}: {beside / 'results.json'} says that these clips are of {known}")
    split = known or split or "test"
    missing = stated["missing"] if stated and same else 0
    unreadable = stated["unreadable"] if stated and same else _unreadable(beside)
    loss = stated["loss"] if stated and same else _loss(predictions)
    counts = results.counts_of(predictions.classes)
    if not same:
        if stated is None:
            notes.append(f"no figures in {beside / 'results.json'}: whether listed clips are missing is not known")
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
        notes = [*notes, f"{file}: its columns p: are no probabilities, so that the calibration error is not stated"]
    found = Results.from_predictions(
        split, predictions, missing=missing, unreadable=unreadable, loss=loss, training_counts=counts
    ).to_json()
    # Of other splits results.json may have figures as well.
    found["scores"] = {**(results.scores or {}), **found["scores"]}
    return replace(results, **found), split, notes


def _about(stated: dict[str, Any], again: Scores) -> bool:
    """Whether figures of results.json are those of these predictions; another machine may add up in another order."""
    # Files of earlier versions lack some of the figures.
    keys = ("measured", "classes", *METRICS)
    known = {key: getattr(again, key) for key in keys if stated.get(key) is not None}
    return all(
        value is not None and math.isclose(stated[key], value, rel_tol=1e-9, abs_tol=1e-12)
        for key, value in known.items()
    )


def _unreadable(beside: Path) -> int:
    path = beside / "skipped.csv"
    skipped = read_skipped(path) if path.is_file() else []
    # Rows of several splits cannot be told to belong to these clips.
    return len(skipped) if len({row.split for row in skipped}) == 1 else 0


def _loss(predictions: Predictions) -> float | None:
    """Negative log likelihood from the probabilities; None where they are none, or one is too small to be held."""
    true = predictions.probabilities.double().gather(1, predictions.labels[:, None])
    if not are_probabilities(predictions.probabilities) or not bool((true > 0).all()):
        return None
    # Not -0.0 where all are certain.
    return 0.0 - float(torch.log(true).mean())


def _write_beside(file: Path, predictions: Predictions, folder: Path) -> None:
    write_predictions(folder / "predictions.csv", predictions)
    skipped = file.parent / "skipped.csv"
    write_skipped(folder / "skipped.csv", read_skipped(skipped) if skipped.is_file() else [])
    for name in _ALONG:
        if (file.parent / name).is_file():
            write_bytes(folder / name, (file.parent / name).read_bytes())
