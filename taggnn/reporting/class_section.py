"""The classes in a report: which are confused, the confusion matrix, and every class.

Few classes have a picture with names. Of many, the matrix is a grid that can be enlarged, with a name in front of every row,
and the classes that are confused most have a small matrix of their own.

Axes: K classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from taggnn.evaluation.metrics import confusion_matrix, per_class, worst_confusions, worst_pairs
from taggnn.evaluation.predictions import Predictions
from taggnn.reporting.figures import NAMES_UP_TO, block_of, confusion
from taggnn.reporting.theme import DARK, LIGHT, png, size_on_page
from taggnn.runtime.atomic import write_bytes

# Rows of the tables of confusions, and classes in the small matrix.
ROWS, SMALL = 12, 20
# Cells of a grid that is drawn cell by cell; each is some 100 bytes of the page.
MOST_CELLS = 6000


class Cell(NamedTuple):
    """A cell with clips: true class, predicted class, clips, and their share of the row from 0 to 1."""

    row: int
    column: int
    clips: int
    share: float


def classes_of(folder: Path, predictions: Predictions) -> dict[str, Any]:
    """What the template shows of the classes; writes ``confusion.png``.

    Args:
        folder: of the run.
        predictions: of the headline split.
    """
    matrix = confusion_matrix(predictions.probabilities, predictions.labels)
    names = list(predictions.classes)
    light = png(confusion(matrix, names, LIGHT))
    write_bytes(folder / "confusion.png", light)
    support = matrix.sum(dim=1).tolist()
    pairs = [
        (p.first, p.second, p.count, support[p.first] + support[p.second], p.share) for p in worst_pairs(matrix, ROWS)
    ]
    grid = cells_of(matrix) if len(names) > NAMES_UP_TO else []
    whole = _picture(light, png(confusion(matrix, names, DARK))) if not grid else None
    return {
        "names": names,
        "support": support,
        "whole": whole,
        "grid": grid,
        "small": _small(matrix, names) if len(names) > NAMES_UP_TO else None,
        "absent": support.count(0),
        "block": block_of(len(names)),
        "worst": [(c.true, c.predicted, c.count, support[c.true], c.share) for c in worst_confusions(matrix, ROWS)],
        "pairs": pairs,
        # Worst first; classes without clips, which have no recall, at the end.
        "rows": sorted(
            per_class(matrix), key=lambda row: (row.recall is None, row.recall or 0.0, -row.support, row.label)
        ),
    }


def cells_of(matrix: Tensor) -> list[Cell]:
    """The cells with clips, row by row; empty where they are more than ``MOST_CELLS``. **Shapes:** (K, K)"""
    counts = matrix.cpu().numpy()
    rows, columns = np.nonzero(counts)
    if len(rows) > MOST_CELLS:
        return []
    clips, support = counts[rows, columns], counts.sum(axis=1)[rows]
    found = zip(rows.tolist(), columns.tolist(), clips.tolist(), (clips / support).tolist(), strict=True)
    return [Cell(*cell) for cell in found]


def most_confused(matrix: Tensor, most: int = SMALL) -> list[int]:
    """The classes of the pairs that are confused most, pair by pair, so that both are next to each other.

    Args:
        matrix: counts, rows = truth.
        most: classes (default 20).

    **Shapes:** (K, K)
    """
    found: list[int] = []
    for pair in worst_pairs(matrix, 2 * most):
        new = [label for label in (pair.first, pair.second) if label not in found]
        if len(found) + len(new) <= most:
            found += new
    return found


def _small(matrix: Tensor, names: Sequence[str]) -> Mapping[str, Any] | None:
    """The matrix of the most confused classes alone; None without confusions."""
    labels = most_confused(matrix, SMALL)
    if len(labels) < 2:
        return None
    part, support = matrix[labels][:, labels], matrix.sum(dim=1)[labels]
    shown = [names[label] for label in labels]
    pictures = [png(confusion(part, shown, theme, support, labels)) for theme in (LIGHT, DARK)]
    return {**_picture(*pictures), "classes": len(labels)}


def _picture(light: bytes, dark: bytes) -> dict[str, Any]:
    return {"light": light, "dark": dark, "size": size_on_page(light)}
