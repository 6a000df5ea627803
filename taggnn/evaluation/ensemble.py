"""The predictions of several models for the same clips, averaged; weights that are given, or chosen on validation clips.

Axes: R models, S clips that all of them have, K classes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor

from taggnn.evaluation.metrics import METRICS, larger_is_better, log_loss, mean_of, measure
from taggnn.names import unknown
from taggnn.nn.consensus import AVERAGES, Average

# Sets of weights that are tried, at most; of up to four models they are the multiples of 0.1.
TRIED = 300
# The parts that a weight is a multiple of: 1/10 at the finest.
FINEST = 10


@dataclass(frozen=True)
class Choice:
    """Weights and the figure that they were chosen by.

    Args:
        weights: of each model, with a sum of 1.
        value: the figure at these weights.
        equal: the figure at equal weights.
        tried: how many sets of weights were compared.
        step: distance of neighbouring weights.
    """

    weights: list[float]
    value: float
    equal: float
    tried: int
    step: float


def shares(weights: Sequence[float], models: int) -> list[float]:
    """Weights divided by their sum.

    Args:
        weights: one for each model, 0 or more; an empty sequence for equal ones.
        models: R.

    Raises:
        ValueError: another number of weights, one that is negative or not finite, or none above 0.
    """
    given = list(weights) or [1.0] * models
    shown = " ".join(f"{weight:g}" for weight in given)
    if len(given) != models:
        raise ValueError(
            f"weights {shown}: {len(given)} for {models} runs; give one for each, in the order of the runs"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in given):
        raise ValueError(f"weights {shown}: each must be a number of 0 or more")
    if not any(given):
        raise ValueError(f"weights {shown}: at least one must be above 0")
    return [weight / sum(given) for weight in given]


def fused(probabilities: Sequence[Tensor], weights: Sequence[float], average: Average = "probabilities") -> Tensor:
    """The weighted average of several models, clip by clip.

    Source: the late fusion of two-stream networks, https://arxiv.org/abs/1406.2199, section 5, which averages softmax scores.
    The skeleton streams of https://arxiv.org/abs/1805.07694 add logits.
    Formula: ``p = sum_r w_r p_r`` ("probabilities"), or ``p = softmax(sum_r w_r log p_r)`` ("logits") with ``sum_r w_r = 1``.
    The second one equals ``softmax(sum_r w_r l_r)`` of the logits l: the softmax takes off what depends on the clip alone. A
    probability of 0 counts as the smallest float32 there, so that one model rules out no class for good.

    Args:
        probabilities: of each model.
        weights: of each model, see `shares`.
        average: what is averaged (default "probabilities").

    **Shapes:** probabilities (S, K) each -> float32 (S, K)

    Raises:
        ValueError: an unknown average, or as `shares`.
    """
    if average not in AVERAGES:
        raise unknown("average", average, AVERAGES)
    return _mean(_prepared(probabilities, average), shares(weights, len(probabilities)), average)


def choose(
    probabilities: Sequence[Tensor], labels: Tensor, figure: str = "top1", average: Average = "probabilities"
) -> Choice:
    """The weights with the best figure among equal ones and all multiples of 1/n that sum to 1.

    Source: ours. n is 10, or less where that would be more than ``TRIED`` sets. Of several best sets the one nearest to equal
    weights counts, then the first in the order of the models.

    Args:
        probabilities: of each model.
        labels: true classes.
        figure: a name of `metrics.METRICS`, or "loss" (default "top1").
        average: see `fused` (default "probabilities").

    **Shapes:** probabilities (S, K) each, labels (S,)

    Raises:
        ValueError: an unknown figure, or one that these clips do not have.
    """
    check_figure(figure)
    models = len(probabilities)
    scores, equal = _prepared(probabilities, average), [1 / models] * models
    sign = 1 if larger_is_better(f"val/{figure}") else -1
    parts = _parts(models)
    values: list[tuple[float, float, list[float]]] = []
    for weights in [equal, *_simplex(models, parts)]:
        value = _figure(_mean(scores, weights, average), labels, figure)
        if value is None:
            raise ValueError(f"these clips have no figure {figure!r}, by which weights could be chosen")
        values.append((sign * value, -sum((weight - 1 / models) ** 2 for weight in weights), weights))
    # The first of equal ones: max keeps it.
    best = max(values, key=lambda row: row[:2])
    return Choice(best[2], sign * best[0], sign * values[0][0], len(values), 1 / parts)


def check_figure(name: str) -> None:
    """Refuses what is no figure to choose weights by.

    Raises:
        ValueError: names those that are.
    """
    if name != "loss" and name not in METRICS:
        raise unknown("figure", name, [*METRICS, "loss"], where="choose")


def _figure(probabilities: Tensor, labels: Tensor, name: str) -> float | None:
    if name == "loss":
        loss = log_loss(probabilities, labels)
        return math.inf if loss is None else loss
    return mean_of(measure(name, probabilities, labels))


def _prepared(probabilities: Sequence[Tensor], average: Average) -> Tensor:
    """**Shapes:** -> double (R, S, K)"""
    table = torch.stack(list(probabilities)).double()
    return table if average == "probabilities" else table.clamp(min=torch.finfo(torch.float32).tiny).log()


def _mean(scores: Tensor, weights: Sequence[float], average: Average) -> Tensor:
    """**Shapes:** (R, S, K) -> float32 (S, K)"""
    mean = torch.zeros_like(scores[0])
    for table, weight in zip(scores, weights, strict=True):
        mean.add_(table, alpha=weight)
    return (mean if average == "probabilities" else mean.softmax(1)).float()


def _parts(models: int) -> int:
    return next((n for n in range(FINEST, 1, -1) if math.comb(n + models - 1, models - 1) < TRIED), 1)


def _simplex(models: int, parts: int) -> Iterator[list[float]]:
    """All weights that are multiples of 1/parts and sum to 1, largest first weights first."""
    bars = range(parts + models - 1)
    for cut in reversed(list(combinations(bars, models - 1))):
        edges = [-1, *cut, parts + models - 1]
        yield [(high - low - 1) / parts for low, high in pairwise(edges)]
