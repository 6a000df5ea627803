"""The probabilities of every clip as a file: ``predictions.csv``; the clips without, and why: ``skipped.csv``.

``predictions.csv`` has one row per clip: name, path, label, class, predicted, predicted_class, probability, then one
column ``p:<class>`` per class. It is enough to compute every metric again without the model. ``skipped.csv`` has one row
per clip that could not be used: name, path, split, reason.

Names in ``predictions.csv`` are those of the files, byte for byte, and programs find clips by them. A spreadsheet takes a name
that begins with = + - or @ for a formula (Diving48's begin with -): import such a file as text. ``skipped.csv`` is for people,
and there an apostrophe stands before such cells.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from torch import Tensor

from taggnn.evaluation.metrics import predicted_classes
from taggnn.runtime import spreadsheet
from taggnn.runtime.atomic import replacing, write_text

COLUMNS = ("name", "path", "label", "class", "predicted", "predicted_class", "probability")
# How much of the beginning of another kind of file a message shows, in characters.
SHOWN = 60
SKIPPED_COLUMNS = ("name", "path", "split", "reason")


@dataclass(frozen=True)
class Predictions:
    """The probabilities of M clips over K classes, with the truth.

    Args:
        names: short name of each clip, M of them.
        paths: file of each clip, M of them.
        labels: true class of each clip.
        probabilities: float32.
        classes: class names in label order, K of them.

    Shapes:
        labels (M,) long, probabilities (M, K)

    Raises:
        ValueError: lengths that do not fit, or a label out of range.
    """

    names: Sequence[str]
    paths: Sequence[str]
    labels: Tensor
    probabilities: Tensor
    classes: Sequence[str]

    def __post_init__(self) -> None:
        clips, classes = len(self.names), len(self.classes)
        given = {
            "paths": (len(self.paths),),
            "labels": tuple(self.labels.shape),
            "probabilities": tuple(self.probabilities.shape),
        }
        wanted = {"paths": (clips,), "labels": (clips,), "probabilities": (clips, classes)}
        for what, shape in given.items():
            if shape != wanted[what]:
                raise ValueError(f"{what} of {clips} clips and {classes} classes must be {wanted[what]}, got {shape}")
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            if not 0 <= label < classes:
                raise ValueError(f"label {label} of clip {name!r} is out of range: possible are 0..{classes - 1}")


@dataclass(frozen=True)
class Skipped:
    """A clip that could not be used, in which split, and why."""

    name: str
    path: str
    split: str
    reason: str


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of models for different clips as one: those of the folds of a cross-validation.

    Raises:
        ValueError: no part, other classes, or a clip in two parts.
    """
    if not parts:
        raise ValueError("no predictions to pool")
    classes = list(parts[0].classes)
    if any(list(part.classes) != classes for part in parts):
        raise ValueError(
            "predictions of folds with other classes: each fold must know the same ones, in the same order"
        )
    names = [name for part in parts for name in part.names]
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"{twice!r} is a test clip of two folds")
    return Predictions(
        names,
        [path for part in parts for path in part.paths],
        torch.cat([part.labels for part in parts]),
        torch.cat([part.probabilities for part in parts]),
        classes,
    )


def write_predictions(path: str | os.PathLike, predictions: Predictions) -> Path:
    """Writes ``predictions.csv``, all or nothing.

    Probabilities are written as float32 with nine significant digits, which read back to the same float32: with fewer,
    two nearly equal classes become equal in the file and its accuracy is no longer the model's.

    Raises:
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    probabilities = predictions.probabilities.detach().cpu().float()
    classes, best = predictions.classes, predicted_classes(probabilities).tolist()
    rows = zip(predictions.names, predictions.paths, predictions.labels.tolist(), best, probabilities, strict=True)
    # A row at a time: of many classes, the text of all clips takes ten times the memory of the probabilities.
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        out.write(_line([*COLUMNS, *(f"p:{name}" for name in classes)]))
        for name, clip_path, label, predicted, row in rows:
            shares = [f"{p:.9g}" for p in row.tolist()]
            facts = [name, clip_path, label, classes[label], predicted, classes[predicted], shares[predicted]]
            out.write(_line([*facts, *shares]))
    return Path(path)


def read_predictions(path: str | os.PathLike) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or a broken row; names the file and the row.
    """
    rows = _rows(path, COLUMNS)
    header = next(rows)
    first = len(COLUMNS)
    classes = [column.removeprefix("p:") for column in header[first:]]
    if not classes or not all(column.startswith("p:") for column in header[first:]):
        raise ValueError(f"{path}: the columns after {COLUMNS[-1]!r} must be one 'p:<class>' per class")
    names, paths, labels = [], [], []
    probabilities: list[Tensor] = []
    for number, row in enumerate(rows, start=1):
        try:
            label, shares = int(row[2]), torch.tensor([float(p) for p in row[first:]], dtype=torch.float32)
        except ValueError as error:
            raise ValueError(f"{path}, clip {number} ({row[0]!r}): {error}") from error
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{path}, clip {number} ({row[0]!r}): label {label} is out of range: possible are 0..{len(classes) - 1}"
            )
        if row[3] != classes[label]:
            raise ValueError(
                f"{path}, clip {number} ({row[0]!r}): class {row[3]!r} is not that of label {label}, {classes[label]!r}"
            )
        names.append(row[0])
        paths.append(row[1])
        labels.append(label)
        probabilities.append(shares)
    table = torch.stack(probabilities) if probabilities else torch.empty(0, len(classes))
    broken = table.isnan().any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise ValueError(
            f"{path}: the probabilities of {len(broken)} of {len(names)} clips are not numbers (first: clip {broken[0] + 1}, "
            f"{names[broken[0]]!r}): the model has diverged"
        )
    return Predictions(names, paths, torch.tensor(labels, dtype=torch.long), table, classes)


def write_skipped(path: str | os.PathLike, skipped: Iterable[Skipped]) -> Path:
    """Writes ``skipped.csv``, all or nothing; the header alone when no clip was skipped.

    Raises:
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    return write_text(
        path, "".join(_line(map(spreadsheet.as_text, row)) for row in [SKIPPED_COLUMNS, *map(astuple, skipped)])
    )


def read_skipped(path: str | os.PathLike) -> list[Skipped]:
    """Reads what `write_skipped` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or a broken row; names the file and the row.
    """
    rows = _rows(path, SKIPPED_COLUMNS)
    next(rows)
    return [Skipped(*map(spreadsheet.original, row)) for row in rows]


def _line(cells: Iterable[object]) -> str:
    # Python before 3.13 puts quotes only around the characters of its own line end: with "\n" a "\r" in a name would
    # break the row.
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _rows(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[list[str]]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = _readable(csv.reader(file), path)
        header = next(rows, [])
        if header[: len(columns)] != list(columns):
            begins = "".join(c if c.isprintable() else "?" for c in ", ".join(header[: len(columns)])[:SHOWN])
            raise ValueError(
                f"{path}: not a {'predictions' if columns is COLUMNS else 'skipped'}.csv: it must begin with the "
                f"columns {', '.join(columns)}, and begins with {begins or 'nothing'}"
            )
        yield header
        for number, row in enumerate(rows, start=1):
            if len(row) != len(header):
                raise ValueError(f"{path}, clip {number}: {len(row)} cells, the header has {len(header)}: cut off?")
            yield row


def _readable(rows: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from error
