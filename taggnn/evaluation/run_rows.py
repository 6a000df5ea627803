"""A row of the list of runs, for the terminal, the page and files; made by `taggnn.cli.run_list`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunRow:
    """A run.

    Args:
        name: its folder, from the listed one.
        differs: what differs from the other runs, in one line.
        values: key of the configuration in which the runs differ -> value.
        monitor: the figure that picks the best epoch.
        larger_is_better: its direction.
        best: its best value; None before the first epoch has ended.
        best_epoch: of that value.
        test: top-1 on the test clips; None while the run is not finished.
        epochs: that have ended.
        epochs_planned: of the configuration; early stopping needs fewer.
        state: "finished", "smoke run", "running" or "interrupted".
        date: when it last wrote its figures, local time, "2026-01-31 18:05".
    """

    name: str
    differs: str
    values: Mapping[str, Any]
    monitor: str
    larger_is_better: bool
    best: float | None
    best_epoch: int | None
    test: float | None
    epochs: int
    epochs_planned: int
    state: str
    date: str
