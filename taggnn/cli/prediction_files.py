"""The predictions of runs, as programs are given them: run folders, evaluation folders or predictions.csv files."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taggnn.cli import config
from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.evaluation.results import Results, headline
from taggnn.io.exported import ENDINGS

# The folder inside a run with the predictions of its validation clips.
VALIDATION = "val"


def file_of(run: str) -> Path:
    """The predictions.csv of a run.

    Raises:
        FileNotFoundError: a folder without one.
        ValueError: a model instead of its predictions.
    """
    path = Path(run)
    if path.is_dir():
        if not (path / "predictions.csv").is_file():
            raise FileNotFoundError(f"{path}: no predictions.csv in it; give a run's or an evaluation's folder")
        return path / "predictions.csv"
    if path.suffix in (".ckpt", ".pth", ".pt", ".safetensors", *ENDINGS):
        raise ValueError(
            f"{path}: a model, not its predictions; give its run folder, or the folder that python -m taggnn.evaluate wrote "
            "for it"
        )
    return path


def split_of(files: Sequence[Path]) -> str:
    """The split that several files of predictions are about; "test" where no results.json states one.

    Raises:
        ValueError: they are about different splits.
    """
    stated = {file: split for file in files if (split := headline(Results.read(file.parent).to_json()))}
    first, *others = stated or {Path(): "test"}
    split = stated.get(first, "test")
    for other in others:
        if stated[other] != split:
            raise ValueError(
                f"{other} is about the split {stated[other]}, {first} about {split}: give runs of one split"
            )
    return split


def validation_of(files: Sequence[Path], test: Sequence[Predictions]) -> list[Predictions]:
    """The predictions of the validation clips of several runs.

    Args:
        files: their predictions.csv.
        test: what they hold, the predictions that the figures are about.

    Raises:
        FileNotFoundError: a run without them; the message has the command that computes them.
        ValueError: they are about clips that the figures are about.
    """
    found = []
    for file, of_test in zip(files, test, strict=True):
        path = file.parent / VALIDATION / "predictions.csv"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file: weights are chosen on the validation clips of every run, whose predictions taggnn.train "
                f"writes there unless they are the test clips; for a run without them: {_command(file.parent)}"
            )
        predictions = read_predictions(path)
        # Class folders of two splits may hold files of the same name.
        known = set(zip(of_test.names, of_test.paths, strict=True))
        both = [row[0] for row in zip(predictions.names, predictions.paths, strict=True) if row in known]
        if both:
            raise ValueError(
                f"{path}: {len(both):,} of its {len(predictions.names):,} clips are test clips as well, the first {both[0]!r}: "
                "weights chosen on them would be chosen on the test; give --weights, or leave both out for equal ones"
            )
        found.append(predictions)
    return found


def _command(run: Path) -> str:
    """The command that evaluates the validation clips of a run."""
    data = _data_of(run)
    words = ["python", "-m", "taggnn.evaluate", "--checkpoint", str(run), "--data.root", str(data.get("root") or "DIR")]
    if data.get("val_list"):
        words += ["--data.list", str(data["val_list"])]
    elif data.get("val_folder", VALIDATION) != VALIDATION:
        words += ["--data.folder", str(data["val_folder"])]
    return shlex.join([*words, "--split", "val", "--out", os.path.join(run, VALIDATION)])


def _data_of(run: Path) -> dict[str, Any]:
    known = config.flat(run)
    return {key.removeprefix("data."): value for key, value in known.items() if key.startswith("data.")}
