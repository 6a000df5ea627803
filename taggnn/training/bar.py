"""The progress bar of a training at a terminal: progress of the epoch, losses, and the remaining time of the run."""

import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

# Least seconds between two updates of the text.
_OFTEN = 0.2
# Fits 80 columns; a narrower terminal cuts what comes last.
_SHAPE = "{desc} |{bar}| [{n_fmt}/{total_fmt}{postfix}]"


class Bar:
    """One bar for the running epoch, and one for its validation; shown in the first process, at a terminal.

    Args:
        shown: whether it is drawn.
        epochs: of the run.
        later: epochs of heads that are trained afterwards, counted as long as those of this one (default 0).
    """

    def __init__(self, shown: bool, epochs: int, later: int = 0) -> None:
        self.shown, self.epochs, self.later = shown, epochs, later
        self._bar: tqdm | None = None
        self._began, self._clips, self._first, self._drawn = 0.0, 0, 0, 0.0

    def begin(self, name: str, total: int, first: int = 0, clips: int = 0) -> None:
        """Opens a bar at batch ``first``; ``clips``: those that the epoch has trained on already."""
        self.close()
        if not self.shown:
            return
        self._began, self._clips, self._first = time.perf_counter(), clips, first
        options = {"leave": False, "dynamic_ncols": True, "mininterval": _OFTEN}
        self._bar = tqdm(desc=name, total=total, initial=first, bar_format=_SHAPE, file=sys.stderr, **options)

    def train(
        self, epoch: int, clips: int, losses: Mapping[str, float], rate: float, rows: Sequence[Mapping[str, float]]
    ) -> None:
        """Advances by a batch.

        Args:
            epoch: epochs finished.
            clips: that the running epoch has trained on.
            losses: the loss of the batch, and its parts by name.
            rate: the learning rate.
            rows: of the history; their seconds predict the remaining time.
        """
        if self._bar is None:
            return
        now, done, total = time.perf_counter(), self._bar.n + 1, self._bar.total
        if now - self._drawn > _OFTEN:
            self._drawn, seconds = now, now - self._began
            here = seconds * total / (done - self._first)
            left = in_words(time_left(epoch + done / total, self.epochs + self.later, rows, here))
            parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            speed = (clips - self._clips) / seconds
            self._bar.set_postfix_str(f"{left} left, {parts}, {speed:.3g} clips/s, lr {rate:.2e}", refresh=False)
        self._bar.update(1)

    def advance(self) -> None:
        """Advances by a batch of validation."""
        if self._bar is not None:
            self._bar.update(1)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def time_left(epoch: float, epochs: int, rows: Sequence[Mapping[str, float]], here: float) -> float:
    """Seconds to the end of a run.

    Args:
        epoch: epochs done, in fractions.
        epochs: how many there will be.
        rows: of the history; the mean of their "seconds" is used if there are any.
        here: seconds of an epoch, predicted from the running one.
    """
    each = sum(row["seconds"] for row in rows) / len(rows) if rows else here
    return max(0.0, epochs - epoch) * each


def in_words(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min"""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
