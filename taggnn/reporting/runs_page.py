"""The page of a folder of runs: one table that sorts by a click, with the keys in which the runs differ."""

from collections.abc import Sequence

from taggnn.evaluation.metrics import METRICS
from taggnn.evaluation.run_rows import RunRow
from taggnn.reporting.page import count, percent, render


def runs_page(rows: Sequence[RunRow], left_out: Sequence[str], folder: str) -> str:
    """Builds the whole document.

    Args:
        rows: the runs, in the order of the table.
        left_out: folders that were left out, and why.
        folder: its name.
    """
    finished = sum(row.state == "finished" for row in rows)
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    return render(
        "runs.html.j2",
        title=f"Runs in {folder}",
        eyebrow="taggnn runs",
        subtitle=f"{count(len(rows), 'run')}, {finished} finished.",
        rows=[(row, _best(row)) for row in rows],
        keys=keys,
        monitors=list(dict.fromkeys(row.monitor for row in rows)),
        left_out=left_out,
    )


def _best(row: RunRow) -> str:
    if row.best is None:
        return "–"
    metric = METRICS.get(row.monitor.removeprefix("val/"))
    return percent(row.best) if metric is not None and metric.share else f"{row.best:.4f}"
