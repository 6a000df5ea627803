"""Calibration of a recogniser: its predictions in bins of confidence, and the expected calibration error.

Axes: M clips, K classes, N bins.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15
# How far rows of probabilities may be from a sum of 1: files of other programs are rounded.
SUM_TOLERANCE = 0.02


@dataclass(frozen=True)
class Bin:
    """The clips whose confidence lies above ``low`` and not above ``high``.

    Args:
        low: lower edge.
        high: upper edge.
        clips: how many there are.
        confidence: mean probability of the class chosen; ``None`` without clips.
        accuracy: share of them that is right; ``None`` without clips.
    """

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


def are_probabilities(scores: Tensor) -> bool:
    """Whether every row holds numbers from 0 to 1 with a sum of 1: logits do not.

    **Shapes:** scores (M, K)
    """
    scores = scores.double()
    inside = (scores >= 0) & (scores <= 1 + SUM_TOLERANCE)
    return bool(inside.all()) and bool((scores.sum(dim=1) - 1).abs().le(SUM_TOLERANCE).all())


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> list[Bin]:
    """Sorts clips into bins of equal width by their confidence.

    Source: Guo et al., https://arxiv.org/abs/1706.04599, section 2: bin ``n`` holds confidences in ``((n-1)/N, n/N]``.

    Args:
        confidence: probability of the class chosen, of each clip.
        right: whether that class is the true one.
        bins: N (default 15).

    **Shapes:** confidence (M,), right (M,)
    """
    index = bin_of(confidence, bins)
    counts = torch.bincount(index, minlength=bins)
    sure = torch.bincount(index, weights=confidence.double(), minlength=bins)
    hits = torch.bincount(index, weights=right.double(), minlength=bins)
    return [
        Bin(n / bins, (n + 1) / bins, count, total / count if count else None, hit / count if count else None)
        for n, (count, total, hit) in enumerate(zip(counts.tolist(), sure.tolist(), hits.tolist(), strict=True))
    ]


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the clips: 0 for a calibrated model.

    Source: Guo et al., https://arxiv.org/abs/1706.04599, equation 3.
    Formula: ``sum_n |B_n| / M |acc(B_n) - conf(B_n)|``. Even a perfect model has more than 0 on few clips.

    Args:
        confidence: as `reliability`.
        right: as `reliability`.
        bins: as `reliability`.

    **Shapes:** confidence (M,), right (M,)
    """
    gaps = torch.bincount(bin_of(confidence, bins), weights=right.double() - confidence.double(), minlength=bins)
    return float(gaps.abs().sum()) / len(confidence)


def bin_of(confidence: Tensor, bins: int = BINS) -> Tensor:
    """The number of each clip's bin, 0..N-1.

    **Shapes:** confidence (M,) -> (M,) long
    """
    # In the precision of the confidences: 0.6 as float32 is above 9/15 as float64, and belongs below it.
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(confidence)
    return torch.bucketize(confidence, edges)
