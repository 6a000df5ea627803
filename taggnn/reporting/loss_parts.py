"""The parts of the loss in a report: the criterion and every named loss, as metrics.csv and results.json hold them.

loss = criterion + sum over names of weight[name] * loss[name]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from taggnn.evaluation.metrics import METRICS
from taggnn.nn.criteria import CRITERIA

# Columns after ``train/`` that are no parts.
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
    criteria = {name: weights.get(name, 1.0) for name in CRITERIA if name in columns}
    if known:
        return criteria | {name: weight for name, weight in weights.items() if name not in criteria}
    further = [name for name in columns if name not in (*_OTHERS, *METRICS, *criteria)]
    return criteria | dict.fromkeys(further) if further else {}
