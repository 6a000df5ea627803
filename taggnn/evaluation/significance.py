"""Two recognisers on the same clips: differences of their figures, and significance tests.

Axes: M clips, K classes, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from taggnn.evaluation.intervals import RESAMPLES, Answers, interval, resample
from taggnn.evaluation.metrics import METRICS, Metric, Scores

# Level of the tests.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """How much higher a figure of the second model is.

    Args:
        value: second minus first.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """The clips on which only one of two models is right, and the p-value of so uneven a split.

    Args:
        only_first: clips that only the first has right, often called b.
        only_second: clips that only the second has right, often called c.
        p: probability of a split at least as uneven if either model were as likely to win each of these clips.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """McNemar's test, exact at any number of clips.

    Source: McNemar, https://doi.org/10.1007/BF02295996, with the binomial distribution itself in place of its limit.
    Formula: ``p = min(1, 2 sum_{i <= min(b, c)} binomial(b + c, i) / 2^(b + c))``; 1 without such clips.

    Args:
        only_first: b, clips that only the first has right.
        only_second: c, clips that only the second has right.
    """
    apart, term, total = only_first + only_second, 1, 0
    for wins in range(min(only_first, only_second) + 1):
        total += term
        term = term * (apart - wins) // (wins + 1)
    return McNemar(only_first, only_second, min(1.0, float(Fraction(2 * total, 2**apart))))


def top1_test(first: Answers, second: Answers) -> McNemar:
    """McNemar's test on the clips whose best class is the true one.

    Args:
        first: predictions for the clips.
        second: those of the other model, for the same clips in the same order.
    """
    return mcnemar(int((first.right & ~second.right).sum()), int((second.right & ~first.right).sum()))


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that the family-wise error rate is at most 5 %.

    Source: Holm, https://www.jstor.org/stable/4615733.
    Formula: the j-th smallest of m becomes ``max over i <= j of min(1, (m - i + 1) p_i)``.

    Args:
        p: p-values, in any order.
    """
    corrected, reached = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        reached = max(reached, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = reached
    return corrected


# For every comparison of single runs: what its intervals and tests leave out.
ONE_RUN_EACH = (
    "One run each: intervals and p-values are over the clips alone. Another seed moves accuracy too, often by some points; "
    "taggnn sweep --seeds measures that."
)


def verdict(test: McNemar, p: float, first: str, second: str) -> str:
    """The result of the test, in a sentence.

    Args:
        test: McNemar's.
        p: its p-value, corrected where it is one of several tests.
        first: name of the first model.
        second: name of the second.
    """
    apart, clips = test.only_second - test.only_first, test.only_first + test.only_second
    if not clips:
        return f"{first} and {second} have the same clips right."
    if p >= SIGNIFICANT:
        counts = f"{first} has {test.only_first:,} and {second} {test.only_second:,}"
        only = "1 clip" if clips == 1 else f"{clips:,} clips"
        return (
            f"No difference is shown: of {only} that only one of them has right, {counts}; chance alone could do that."
        )
    better, worse = (second, first) if apart > 0 else (first, second)
    more = "1 more clip" if abs(apart) == 1 else f"{abs(apart):,} more clips"
    return f"{better} has {more} right than {worse}; chance alone would hardly do that."


def top1_difference(
    first: Answers, second: Answers, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Difference, McNemar]:
    """Accuracy of the second minus that of the first, with its paired bootstrap interval, and McNemar's test.

    A resample counts only how many clips each model alone has right: those counts are drawn at once.

    Args:
        first: predictions for the clips, one or more.
        second: those of the other model, for the same clips in the same order.
        resamples: R (default 2000).
        seed: of the draws (default 0).
    """
    test, clips = top1_test(first, second), len(first.labels)
    shares = [test.only_first / clips, test.only_second / clips]
    drawn = np.random.default_rng(seed).multinomial(clips, [*shares, 1 - sum(shares)], resamples)
    low, high = interval(torch.from_numpy((drawn[:, 1] - drawn[:, 0]) / clips))
    return Difference((test.only_second - test.only_first) / clips, low, high), test


def differences(
    models: Sequence[Answers], scores: Sequence[Scores], resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Difference]]:
    """Figures of each model minus those of the first, with intervals from resamples that all of them share.

    The interval of a calibration error is the percentile one reflected about the difference, see
    `taggnn.evaluation.intervals.interval_of_ece`.

    Args:
        models: predictions for the same clips in the same order, two models or more.
        scores: the figures of each.
        resamples: R (default 2000).
        seed: of the draws (default 0).

    Returns:
        Of every model but the first, the figures that both have and whose row of `taggnn.evaluation.metrics.METRICS` is compared.
    """
    drawn = resample(models, resamples=resamples, seed=seed)
    return [
        {
            name: _difference(row, getattr(other, name) - getattr(scores[0], name), values[name] - drawn[0][name])
            for name, row in METRICS.items()
            if row.compared and name in values and name in drawn[0]
        }
        for other, values in zip(scores[1:], drawn[1:], strict=True)
    ]


def recalls(answers: Answers) -> tuple[Tensor, Tensor]:
    """Clips of each class, and how many of them are right.

    **Shapes:** -> (K,) long, (K,) long
    """
    support = torch.bincount(answers.labels, minlength=answers.classes)
    return support, torch.bincount(answers.labels[answers.right], minlength=answers.classes)


def _difference(row: Metric, value: float, values: Tensor) -> Difference:
    low, high = interval(values)
    if row.interval == "calibration":
        return Difference(value, 2 * value - high, 2 * value - low)
    return Difference(value, low, high)
