"""Which epoch's weights are best.ckpt, and when training ends early: both follow from the rows of the history alone."""

import math
from collections.abc import Mapping, Sequence

from taggnn.evaluation import metrics
from taggnn.training.options import Training


def value_of(row: Mapping[str, float], monitor: str) -> float:
    """The monitored value of a row with the sign that makes larger better; -inf for a value that is not a number."""
    sign = 1 if metrics.larger_is_better(monitor) else -1
    value = sign * row.get(monitor, math.nan)
    return value if value == value else -math.inf


def best_row(rows: Sequence[Mapping[str, float]], monitor: str) -> int | None:
    """The index of the first row with the best value, from which patience counts; None if no value is a number."""
    values = [value_of(row, monitor) for row in rows]
    return values.index(max(values)) if values and max(values) > -math.inf else None


def checkpoint_row(rows: Sequence[Mapping[str, float]], monitor: str) -> int:
    """The index of the row of best.ckpt: of equal values the one with the lowest validation loss, then the last."""
    return max(
        range(len(rows)), key=lambda index: (value_of(rows[index], monitor), value_of(rows[index], "val/loss"), index)
    )


def stop_reason(
    rows: Sequence[Mapping[str, float]], monitor: str, patience: int | None, training: Training
) -> str | None:
    """The message of early stopping; None if training continues, or the last epoch was trained.

    Only the rows decide, and every checkpoint has them, so a resumed run stops where an uninterrupted one would. An equal
    value is no improvement.

    Args:
        rows: of the history.
        monitor: the monitored value.
        patience: epochs without improvement after which the run ends.
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
