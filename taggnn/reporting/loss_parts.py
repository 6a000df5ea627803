"""The parts of the loss in a report: the criterion and every named loss, as metrics.csv and results.json hold them.

loss = criterion + sum over names of weight[name] * loss[name]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from taggnn.evaluation.metrics import METRICS
from taggnn.nn.losses import LOSSES
from taggnn.reporting import page

# Columns behind ``train/`` that are no parts.
_OTHERS = ("loss", "clips")


def parts_of(history: Sequence[Mapping[str, float]], results: Mapping[str, Any]) -> dict[str, float | None]:
    """The parts of the loss that a run has a history of, each with its weight; ``None`` where that is not known.

    Args:
        history: rows of metrics.csv.
        results: content of results.json, whose "losses" names the parts. Without a results.json, as of a run that was
            interrupted, every further column ``train/<name>`` is taken for one.

    Returns:
        Name -> weight, the criterion first; empty for a run without named losses.
    """
    columns = dict.fromkeys(key.removeprefix("train/") for row in history for key in row if key.startswith("train/"))
    known = results.get("losses")
    if not known and results:
        return {}
    weights = {name: about.get("weight") for name, about in (known or {}).items()}
    criteria = {name: weights.get(name, 1.0) for name in LOSSES if name in columns}
    if known:
        return criteria | {name: weight for name, weight in weights.items() if name not in criteria}
    further = [name for name in columns if name not in (*_OTHERS, *METRICS, *criteria)]
    return criteria | dict.fromkeys(further) if further else {}


def parts_table(
    parts: Mapping[str, float | None],
    history: Sequence[Mapping[str, float]],
    best: int | None,
    losses: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """A table with a line for each part: its weight, and its value in the best and in the last epoch.

    Args:
        parts: as ``parts_of`` gives them.
        history: rows of metrics.csv.
        best: the epoch whose weights were kept; ``None`` where none is known.
        losses: "losses" of results.json, for the last value of a part that metrics.csv does not have.

    Returns:
        HTML; empty without parts.
    """
    if not parts:
        return ""
    rows = {int(row["epoch"]): row for row in history}
    last = max(rows)
    epochs = [epoch for epoch in dict.fromkeys((best, last)) if epoch in rows]
    header = [("Part of the loss", ""), ("Weight", "n")]
    header += [(f"Epoch {epoch}, {'kept' if epoch == best else 'last'}", "n") for epoch in epochs]
    lines = []
    for name, weight in parts.items():
        values = [rows[epoch].get(f"train/{name}") for epoch in epochs]
        if values[-1] is None and epochs[-1] == last:
            values[-1] = (losses or {}).get(name, {}).get("last")
        lines.append(("", [page.cell(name), *(page.cell(page.number(one), "n") for one in (weight, *values))]))
    note = "Means over the training clips of an epoch, before the weights: the loss is the sum of the parts times their weights."
    return f"{page.table(header, lines)}\n<p>{note}</p>"
