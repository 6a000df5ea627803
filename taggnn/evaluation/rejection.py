"""Rejection: which clips a model answers if it may leave out the least sure ones, and how often it is wrong then.

Axes: M clips, N thresholds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RiskCoverage:
    """Risk against coverage, from the surest clips to all of them.

    Args:
        thresholds: the different confidences, falling; clips with at least that confidence are answered.
        coverage: share of the clips that are answered.
        risk: share of those that is wrong.
        aurc: area under the curve, the mean risk over all coverages 1/M .. 1; lower is better.

    **Shapes:** thresholds, coverage and risk (N,) float64
    """

    thresholds: Tensor
    coverage: Tensor
    risk: Tensor
    aurc: float


def risk_coverage(confidence: Tensor, right: Tensor) -> RiskCoverage:
    """The risk-coverage curve of a classifier that rejects below a threshold.

    Source: Geifman and El-Yaniv, https://arxiv.org/abs/1705.08500, equations 1 and 2; its area, https://arxiv.org/abs/1805.08206,
    section 2. Formula: ``coverage(t) = |{c_i >= t}| / M``, ``risk(t) = |{c_i >= t, wrong}| / |{c_i >= t}|``,
    ``AURC = 1/M sum_k risk of the k surest``. Of clips with equal confidence each is as likely to be next [ours].

    Args:
        confidence: probability of the class chosen, of each clip.
        right: whether that class is the true one.

    **Shapes:** confidence (M,), right (M,)

    Raises:
        ValueError: no clip.
    """
    if not len(confidence):
        raise ValueError("confidence: no clip, so there is no curve")
    # In the precision of the confidences, so that a threshold keeps the clip that it was taken from.
    values, order = confidence.cpu().sort(descending=True, stable=True)
    wrong = (~right.cpu().bool()[order]).double()
    thresholds, counts = torch.unique_consecutive(values, return_counts=True)
    last = counts.cumsum(0)
    errors = wrong.cumsum(0)[last - 1]
    total = len(values)
    # Within a group of equal confidences errors come at a steady rate.
    rate = torch.diff(errors, prepend=errors.new_zeros(1)) / counts
    answered = torch.arange(1, total + 1, dtype=torch.float64)
    missing = (last.repeat_interleave(counts) - answered) * rate.repeat_interleave(counts)
    expected = errors.repeat_interleave(counts) - missing
    return RiskCoverage(thresholds.double(), last.double() / total, errors / last, float((expected / answered).mean()))


def threshold_for(curve: RiskCoverage, risk: float) -> float | None:
    """The threshold with the largest coverage whose risk is at most the wanted one; None where there is none.

    It is the risk of the clips of the curve; of others it differs by chance, the more the fewer clips there are.

    Args:
        curve: of validation clips.
        risk: wanted share of wrong answers, 0 to 1.

    Raises:
        ValueError: ``risk`` out of range.
    """
    if not 0 <= risk <= 1:
        raise ValueError(f"risk {risk}: possible are 0 to 1, a share of the answers")
    possible = (curve.risk <= risk + 1e-12).nonzero().flatten()
    return float(curve.thresholds[possible[-1]]) if len(possible) else None


def at_threshold(confidence: Tensor, right: Tensor, threshold: float) -> tuple[float, float | None]:
    """Coverage and risk of clips at a threshold; the risk is None where no clip is answered.

    **Shapes:** confidence (M,), right (M,)
    """
    answered = confidence.double() >= threshold
    count = int(answered.sum())
    wrong = int((answered & ~right.bool()).sum())
    return count / len(confidence), wrong / count if count else None
