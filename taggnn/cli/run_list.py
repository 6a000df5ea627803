"""The runs in a folder: what differs between them, how good they are, how far they have come."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from taggnn.cli import config, run_titles
from taggnn.data.token_index import INDEX
from taggnn.evaluation.metrics import METRICS, larger_is_better
from taggnn.evaluation.results import Results
from taggnn.evaluation.run_rows import RunRow
from taggnn.io.run_folder import is_locked
from taggnn.names import unknown
from taggnn.reporting.text_table import text_table
from taggnn.training.best_epoch import best_row
from taggnn.training.history import read_history

# What runs can be sorted by, next to the keys in which they differ; of figures the largest comes first.
SORTED_BY = ("name", "best", "test", "epochs", "state", "date")
# Folders in folders; links are not followed.
_DEEPEST = 12
# What makes a folder without config.yaml look like something of ours.
_OURS = {"results.json": "an evaluation or a run without its config.yaml", "last.ckpt": "a run without its config.yaml"}


def list_runs(folder: Path) -> tuple[list[RunRow], list[str]]:
    """Every run below a folder, by path, and what was left out and why.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: not one run.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    paths, problems = _found(folder)
    read: list[tuple[Path, dict[str, Any], dict[str, Any]]] = []
    for path in paths:
        try:
            settings = _settings(path)
            read.append((path, settings, _facts(path, settings)))
        except (OSError, ValueError) as error:
            problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    settings_of_all = [settings for _, settings, _ in read]
    keys = run_titles.differing(settings_of_all)
    rows = [
        RunRow(
            name=os.path.relpath(path, folder),
            differs=differs,
            values={key: settings.get(key) for key in keys},
            **facts,
        )
        for (path, settings, facts), differs in zip(read, run_titles.names(settings_of_all), strict=True)
    ]
    if not rows and not problems:
        raise ValueError(f"{folder}: no run in it; a run's folder has a config.yaml")
    return rows, problems


def ordered(rows: Sequence[RunRow], by: str, reverse: bool = False) -> list[RunRow]:
    """The rows sorted by a column or by a key in which they differ; rows without a value come last.

    Raises:
        ValueError: neither; names what is possible.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    if by not in SORTED_BY and by not in keys:
        raise unknown("column", by, [*SORTED_BY, *keys], "--sort")
    values = {row.name: _sortable(row, by) for row in rows}
    known = [row for row in rows if values[row.name] is not None]
    largest_first = by in ("test", "epochs", "date") or (by == "best" and all(row.larger_is_better for row in known))
    known.sort(key=lambda row: values[row.name], reverse=largest_first != reverse)
    return known + [row for row in rows if values[row.name] is None]


def _sortable(row: RunRow, by: str) -> Any:
    value = row.values.get(by) if by in row.values else asdict(row)[by]
    if by in SORTED_BY or value is None:
        return value
    # Values of one key may be of several types.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, value, "") if number else (1, 0, str(value))


def _found(folder: Path) -> tuple[list[Path], list[str]]:
    """The folders with a configuration, and those that look like runs and are none."""
    paths: list[Path] = []
    problems: list[str] = []
    for path, folders, files in os.walk(folder):
        here = Path(path)
        if INDEX in files:
            problems.append(f"{here}: stored tokens, no run")
            folders.clear()
        elif "config.yaml" in files:
            paths.append(here)
            # The heads that were trained with it, and its validation clips, are parts of it.
            folders.clear()
        elif what := next((what for name, what in _OURS.items() if name in files), None):
            problems.append(f"{here}: {what}")
            folders.clear()
        elif len(here.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        folders.sort()
    return sorted(paths), problems


def _settings(path: Path) -> dict[str, Any]:
    """The keys of a run's configuration.

    Raises:
        ValueError: not that of a run, or damaged.
    """
    settings = config.flat(path)
    if not settings:
        raise ValueError(f"{path / 'config.yaml'}: cannot be read as YAML with keys; damaged, or of another program")
    missing = [key for key in ("head", "backbone.name", "train.epochs") if key not in settings]
    if missing:
        raise ValueError(f"{path / 'config.yaml'}: has no {missing[0]}; cut off, or of another program")
    if type(settings["train.epochs"]) is not int:
        raise ValueError(f"{path / 'config.yaml'}: train.epochs is no whole number; damaged")
    return settings


def _facts(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything of a row but its name and values."""
    results = Results.read(path) if (path / "results.json").is_file() else None
    history = read_history(path / "metrics.csv") if (path / "metrics.csv").is_file() else []
    monitor = str(settings.get("monitor", "val/top1"))
    larger = larger_is_better(monitor)
    index = best_row(history, monitor) if history else None
    test = ((results.scores or {}).get("test") or {}) if results else {}
    files = [path / name for name in ("config.yaml", "metrics.csv", "results.json") if (path / name).is_file()]
    return {
        "monitor": monitor,
        "larger_is_better": larger,
        "best": None if index is None else history[index].get(monitor),
        "best_epoch": None if index is None else int(history[index]["epoch"]),
        "test": test.get("top1"),
        "epochs": int(history[-1]["epoch"]) if history else 0,
        "epochs_planned": settings["train.epochs"],
        "state": "smoke run"
        if settings.get("fast")
        else "finished"
        if test
        else "running"
        if is_locked(path)
        else "interrupted",
        "date": datetime.fromtimestamp(max(file.stat().st_mtime for file in files)).strftime("%Y-%m-%d %H:%M"),
    }


def best_text(row: RunRow) -> str:
    """The best value of the monitored figure, with its name and epoch: "val/top1 0.912 (12)"."""
    if row.best is None:
        return "-"
    metric = METRICS.get(row.monitor.removeprefix("val/"))
    value = metric.text(row.best, 1) if metric else f"{row.best:.3f}"
    return f"{row.monitor} {value} ({row.best_epoch})"


def lines(rows: Sequence[RunRow], columns: int | None = None) -> list[str]:
    """The runs as aligned lines for a terminal of so many columns; None (default) for any number."""
    header = ["run", "what differs", "best (epoch)", "test top-1", "epochs", "state", "date"]
    table = [header]
    for row in rows:
        test = "-" if row.test is None else METRICS["top1"].text(row.test, 1)
        done = f"{row.epochs} of {row.epochs_planned}"
        table.append([row.name, row.differs or "-", best_text(row), test, done, row.state, row.date])
    return text_table(table, columns)
