"""One row an epoch, in ``metrics.csv`` and in the checkpoint, so that a resumed run continues where the file ends."""

import csv
import io
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
from taggnn.training.bar import in_words

# Further columns, such as named losses, follow the training loss and the validation metrics in order of appearance.
COLUMNS = (
    "epoch",
    "train/loss",
    "train/clips",
    "train/top1",
    "val/loss",
    *(f"val/{key}" for key, metric in metrics.METRICS.items() if metric.each_epoch),
    "val/clips",
    "lr",
    "clips/s",
    "seconds",
)


class History:
    """The measurements of every epoch, and the clips that could not be read.

    Args:
        folder: the run folder.
        listed: number of clips in the validation list; None (default) if it is not known.
    """

    def __init__(self, folder: Path, listed: int | None = None) -> None:
        self.folder, self.listed = folder, listed
        self.rows: list[dict[str, float]] = []
        self.skipped: dict[str, Skipped] = {}
        # Start of the running epoch, moved back by the time before an interruption, and start of its validation.
        self._began = self._validated = time.perf_counter()

    def begin(self, spent: float = 0.0) -> None:
        """Starts the clock of an epoch; ``spent``: its seconds before an interruption."""
        self._began = self._validated = time.perf_counter() - spent

    def begin_validation(self) -> None:
        """Ends the time of training."""
        self._validated = time.perf_counter()

    def skip(self, clips: Sequence[Any], split: str) -> None:
        """Records clips that could not be read, each once."""
        for clip in clips:
            self.skipped.setdefault(f"{split}/{clip.name}", Skipped(clip.name, clip.path, split, clip.reason))

    def add(self, row: Mapping[str, float], epochs: int, later: int = 0) -> dict[str, float]:
        """Adds the row of an epoch and its times, writes the files and prints a line.

        Args:
            row: losses, metrics, clips.
            epochs: of the run.
            later: epochs of heads that are trained afterwards, for the time that is left (default 0).
        """
        now = time.perf_counter()
        # Over all processes, without validation.
        speed = row["train/clips"] / max(self._validated - self._began, 1e-9)
        self.rows.append({**row, "clips/s": speed, "seconds": now - self._began})
        if distributed.is_main_process():
            write_text(self.folder / "metrics.csv", self._table())
            write_skipped(self.folder / "skipped.csv", self.skipped.values())
        print(self._line(self.rows[-1], epochs, later), flush=True)
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
        """Resumes from ``state_dict``, inside an epoch if it was made in one."""
        self.rows = [dict(row) for row in state["rows"]]
        self.skipped = {key: Skipped(*clip) for key, clip in state["skipped"].items()}
        self.begin(state["spent"])

    def _line(self, row: Mapping[str, float], epochs: int, later: int) -> str:
        left = (epochs + later - row["epoch"]) * sum(past["seconds"] for past in self.rows) / len(self.rows)
        measured, skipped = int(row["val/clips"]), len(self.skipped)
        # One figure: metrics.csv has the others.
        metric, value = metrics.METRICS["top1"], row.get("val/top1")
        top1 = "" if value is None else f"  {metric.title} {metric.text(value, 1)}"
        on = f" on {measured:,} of {self.listed:,} clips" if self.listed not in (None, measured) else ""
        return (
            f"epoch {row['epoch']:3.0f}/{epochs}  loss {row['train/loss']:.3f}  val loss {row['val/loss']:.3f}{top1}{on}"
            f"  {row['clips/s']:.3g} clips/s, {in_words(left)} left" + (f"  {skipped} clips skipped" if skipped else "")
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
        # A line that a killed process cut off lacks cells; the csv module gives None for them.
        values = {key: value for key in columns if (value := _float(line.get(key))) is not None}
        if "epoch" in values:
            rows.setdefault(values["epoch"], {}).update(values)
    return [rows[epoch] for epoch in sorted(rows)]


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
