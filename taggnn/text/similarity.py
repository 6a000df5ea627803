"""How alike the classes of a text bank are.

Axes: N prompts, K classes, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.text.bank import TextBank

# Texts of classes above it hardly differ [ours].
CLOSE = 0.95


class AlikePair(NamedTuple):
    """The numbers of two classes and the cosine of their vectors."""

    one: int
    other: int
    cosine: float


def similarity(bank: TextBank) -> Tensor:
    """Cosines between all classes.

    Formula: cos(m_i, m_j) of m_k = mean over n of s_nk / |s_nk|.

    **Shapes:** bank (N, K, C) -> (K, K)
    """
    # Float64, so that equal texts have 1.
    means = F.normalize(F.normalize(bank.vectors.double(), dim=-1).mean(0), dim=-1)
    return (means @ means.T).clamp(-1, 1).float()


def alike_pairs(matrix: Tensor, most: int) -> list[AlikePair]:
    """Pairs of classes, the most alike first.

    Args:
        matrix: of ``similarity``.
        most: number of pairs, at most.

    **Shapes:** matrix (K, K)
    """
    rows, columns = torch.triu_indices(len(matrix), len(matrix), 1)
    cosines = matrix[rows, columns]
    order = cosines.argsort(descending=True, stable=True)[:most]
    chosen = zip(rows[order].tolist(), columns[order].tolist(), cosines[order].tolist(), strict=True)
    return [AlikePair(*pair) for pair in chosen]


def close_pairs(matrix: Tensor, above: float = CLOSE) -> int:
    """How many pairs of classes have a higher cosine. **Shapes:** matrix (K, K)"""
    return int((matrix.triu(1) > above).sum())
