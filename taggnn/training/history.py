"""One row an epoch, in ``metrics.csv`` and in the checkpoint, so that a resumed run continues where the file ends."""

import csv
import io
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from taggnn.evaluation import metrics
from taggnn.evaluation.predictions import Skipped, write_skipped
from taggnn.runtime import distributed
from taggnn.runtime.atomic import write_text
from taggnn.training.options import Training

# Further columns, such as those of named losses, stand after "train/loss" and "val/mca" in the order in which they came.
COLUMNS = (
    "epoch",
    "train/loss",
    "train/clips",
    "val/loss",
    "val/top1",
    "val/mca",
    "val/clips",
    "lr",
    "clips/s",
    "seconds",
)


class History:
    """The measurements of every epoch, and the clips that could not be read.

    Args:
        folder: the run folder.
        listed: how many clips the validation list names; None (default) where that is not known.
    """

    def __init__(self, folder: Path, listed: int | None = None) -> None:
        self.folder, self.listed = folder, listed
        self.rows: list[dict[str, float]] = []
        self.skipped: dict[str, Skipped] = {}
        # Of the running epoch: when it would have begun without interruptions, and when its validation began.
        self._began = self._validated = time.perf_counter()

    def begin(self, spent: float = 0.0) -> None:
        """Starts the clock of an epoch, which took so many seconds before an interruption."""
        self._began = self._validated = time.perf_counter() - spent

    def begin_validation(self) -> None:
        """Ends the time of training."""
        self._validated = time.perf_counter()

    def skip(self, clips: Sequence[Any], split: str) -> None:
        """Notes clips that could not be read, each once."""
        for clip in clips:
            self.skipped.setdefault(f"{split}/{clip.name}", Skipped(clip.name, clip.path, split, clip.reason))

    def add(self, row: Mapping[str, float], epochs: int) -> dict[str, float]:
        """Adds the row of an epoch with its times, writes the files and prints a line."""
        now = time.perf_counter()
        # Of all processes together, and without validation.
        speed = row["train/clips"] / max(self._validated - self._began, 1e-9)
        self.rows.append({**row, "clips/s": speed, "seconds": now - self._began})
        if distributed.is_main_process():
            write_text(self.folder / "metrics.csv", self._table())
            write_skipped(self.folder / "skipped.csv", self.skipped.values())
        print(self._line(self.rows[-1], epochs), flush=True)
        return self.rows[-1]

    def reasons(self) -> str:
        """Why clips could not be read, in one line."""
        shown = [f"{clip.name}: {clip.reason}" for clip in self.skipped.values()]
        return "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")

    def state_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        skipped = {key: list(astuple(clip)) for key, clip in self.skipped.items()}
        return {
            "rows": [dict(row) for row in self.rows],
            "skipped": skipped,
            "spent": time.perf_counter() - self._began,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from ``state_dict``, within an epoch where it was made in one."""
        self.rows = [dict(row) for row in state["rows"]]
        self.skipped = {key: Skipped(*clip) for key, clip in state["skipped"].items()}
        self.begin(state["spent"])

    def _line(self, row: Mapping[str, float], epochs: int) -> str:
        left = (epochs - row["epoch"]) * sum(past["seconds"] for past in self.rows) / len(self.rows)
        measured, skipped = int(row["val/clips"]), len(self.skipped)
        on = f" on {measured:,} of {self.listed:,} clips" if self.listed not in (None, measured) else ""
        return (
            f"epoch {row['epoch']:3.0f}/{epochs}   loss {row['train/loss']:.4f}   val loss {row['val/loss']:.4f}   "
            f"top-1 {row['val/top1']:.4f}   class mean {row['val/mca']:.4f}{on}   "
            f"{row['clips/s']:.3g} clips/s, {row['seconds']:.1f} s, {left / 60:.1f} min left"
            + (f"   {skipped} clips skipped" if skipped else "")
        )

    def _table(self) -> str:
        further = dict.fromkeys(key for row in self.rows for key in row if key not in COLUMNS)
        after = {"train/clips": [key for key in further if key.startswith("train/")]}
        after["val/clips"] = [key for key in further if key not in after["train/clips"]]
        columns = [name for key in COLUMNS for name in (*after.get(key, ()), key)]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in self.rows)
        return text.getvalue()


def figure(row: Mapping[str, float], monitor: str) -> float:
    """A figure of a row, larger for better; one that is no number is worse than any other."""
    sign = 1 if metrics.larger_is_better(monitor) else -1
    value = sign * row.get(monitor, math.nan)
    return value if value == value else -math.inf


def best_row(rows: Sequence[Mapping[str, float]], monitor: str) -> int | None:
    """The index of the first row with the best figure: what patience counts from. None where no figure is a number."""
    figures = [figure(row, monitor) for row in rows]
    return figures.index(max(figures)) if figures and max(figures) > -math.inf else None


def kept_row(rows: Sequence[Mapping[str, float]], monitor: str) -> int:
    """The index of the row whose weights are kept: of equal figures that with the lowest validation loss, then the last."""
    return max(
        range(len(rows)), key=lambda index: (figure(rows[index], monitor), figure(rows[index], "val/loss"), index)
    )


def stop_reason(
    rows: Sequence[Mapping[str, float]], monitor: str, patience: int | None, training: Training
) -> str | None:
    """Why no further epoch is trained, as a sentence; None where one is, or where it was the last anyhow.

    The rows alone decide, which every checkpoint has, so a run that is resumed counts as if it had not been interrupted. Equal is
    not better.

    Args:
        rows: of the history.
        monitor: the figure.
        patience: epochs without a better figure after which the run ends.
        training: its epochs and hours.
    """
    best, hours, over = best_row(rows, monitor), sum(row["seconds"] for row in rows) / 3600, None
    if patience is not None and best is not None and len(rows) - 1 - best >= patience:
        epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
        over = f"{monitor} no better than in epoch {rows[best]['epoch']:.0f} for {epochs}"
    elif training.max_hours is not None and hours >= training.max_hours:
        over = f"{hours:.3g} hours, train.max_hours {training.max_hours:g}"
    return (
        f"stopped after epoch {len(rows)} of {training.epochs}: {over}"
        if over and len(rows) < training.epochs
        else None
    )


def read_history(path: str | os.PathLike) -> list[dict[str, float]]:
    """Reads ``metrics.csv``: one row an epoch, in order, cells without a number left out.

    Raises:
        ValueError: no CSV table, or one without the column "epoch".
    """
    rows: dict[float, dict[str, float]] = {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, lines = reader.fieldnames or [], list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from error
    if "epoch" not in columns:
        raise ValueError(f"{path}: the history needs a column 'epoch', has {', '.join(columns) or 'none'}")
    for line in lines:
        # A line cut off by a killed process lacks cells; the csv module gives None for those.
        values = {key: value for key in columns if (value := _float(line.get(key))) is not None}
        if "epoch" in values:
            rows.setdefault(values["epoch"], {}).update(values)
    return [rows[epoch] for epoch in sorted(rows)]


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
