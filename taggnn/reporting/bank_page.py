"""The page of a text bank: how alike its classes are, as a picture and as a list, with a warning where they hardly differ.

Axes: K classes.
"""

import torch
from torch import Tensor

from taggnn.reporting.figures import block_of, similarity_matrix
from taggnn.reporting.page import ROWS, count, render
from taggnn.reporting.theme import DARK, LIGHT, png, size_on_page
from taggnn.text.bank import TextBank
from taggnn.text.similarity import CLOSE, AlikePair, alike_pairs, close_pairs, similarity

# Pairs that are always listed, and classes whose rows are open.
LISTED, SHORT = 20, 30
# Cosine of vectors that are equal but for rounding.
EQUAL = 1 - 1e-5


def bank_page(bank: TextBank, name: str) -> str:
    """Builds the whole document.

    Args:
        bank: the bank.
        name: of its file.
    """
    matrix = similarity(bank)
    prompts, classes, channels = bank.vectors.shape
    close = close_pairs(matrix)
    light, dark = (png(similarity_matrix(matrix, bank.classes, CLOSE, theme)) for theme in (LIGHT, DARK))
    pairs = alike_pairs(matrix, min(max(close, LISTED), ROWS))
    return render(
        "bank.html.j2",
        title=f"Text of {count(classes, 'class', 'classes')}",
        eyebrow="taggnn text bank",
        subtitle=f"{count(prompts, 'prompt')} for each class, by {bank.model}.",
        bank=bank,
        tiles=_tiles(matrix, pairs, close),
        close=close,
        threshold=CLOSE,
        equal=sum(pair.cosine > EQUAL for pair in pairs),
        light=light,
        dark=dark,
        size=size_on_page(light),
        block=block_of(classes),
        low=_others(matrix).min().item() if classes > 1 else None,
        pairs=pairs,
        nearest=_nearest(matrix)[:ROWS],
        short=SHORT,
        facts=[
            ("file", name),
            ("model", bank.model),
            ("channels", channels),
            ("digest", bank.digest[:16]),
        ],
    )


def warning(bank: TextBank) -> str:
    """A sentence on the pairs of classes that hardly differ; empty where there is none."""
    close = close_pairs(similarity(bank))
    if not close:
        return ""
    return f"{count(close, 'pair')} of classes with a cosine above {CLOSE}: their texts hardly tell them apart"


def _tiles(matrix: Tensor, pairs: list[AlikePair], close: int) -> list[tuple[str, str, str]]:
    if not pairs:
        return []
    others = _others(matrix)
    return [
        (f"{close:,}".replace(",", "\u202f"), f"Pairs above {CLOSE}", f"of {count(len(others), 'pair')}"),
        (f"{pairs[0].cosine:.3f}", "Most alike", "cosine of two classes"),
        (f"{others.median().item():.3f}", "Median", "of all pairs"),
        (f"{others.min().item():.3f}", "Least alike", "cosine of two classes"),
    ]


def _others(matrix: Tensor) -> Tensor:
    """The cosines of all pairs of different classes."""
    rows, columns = torch.triu_indices(len(matrix), len(matrix), 1)
    return matrix[rows, columns]


def _nearest(matrix: Tensor) -> list[AlikePair]:
    """The nearest other class of each class."""
    if len(matrix) < 2:
        return []
    values, labels = matrix.clone().fill_diagonal_(-2).max(1)
    rows = zip(labels.tolist(), values.tolist(), strict=True)
    return [AlikePair(label, *row) for label, row in enumerate(rows)]
