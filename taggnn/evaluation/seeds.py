"""Two ways of training, each with several seeds, on the same clips.

Axes: S seeds, M clips, G groups of clips, R resamples.

Clips of one group (a speaker, a camera) are alike, so that they count as less than as many others. Where groups are given they
are drawn instead of clips, each with all of its clips: the cluster bootstrap, Field and Welsh,
https://doi.org/10.1111/j.1467-9868.2007.00593.x. Of few groups its intervals are somewhat too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taggnn.evaluation.intervals import RESAMPLES, Answers, interval
from taggnn.evaluation.significance import Difference


@dataclass(frozen=True)
class OverSeeds:
    """The accuracy of one way of training over its seeds.

    Args:
        mean: over the seeds.
        std: standard deviation over the seeds (S - 1); 0 for a single one.
        lowest, highest: of the seeds.
        seeds: S.
    """

    mean: float
    std: float
    lowest: float
    highest: float
    seeds: int


def over_seeds(models: Sequence[Answers]) -> OverSeeds:
    """Mean and spread of the accuracy.

    Args:
        models: predictions for the same clips, one for each seed.
    """
    shares = [model.right.double().mean().item() for model in models]
    mean = sum(shares) / len(shares)
    spread = math.sqrt(sum((share - mean) ** 2 for share in shares) / (len(shares) - 1)) if len(shares) > 1 else 0.0
    return OverSeeds(mean, spread, min(shares), max(shares), len(shares))


def interval_over_seeds(
    models: Sequence[Answers], groups: Tensor | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The interval of the mean accuracy, over seeds and clips, or seeds and groups.

    Args:
        models: predictions for the same clips, one for each seed.
        groups: number of the group of each clip, from 0 (default: clips are drawn).
        resamples: R (default 2000).
        seed: of the draws (default 0).

    **Shapes:** groups (M,) long
    """
    return interval(_resampled(_right(models), groups, resamples, seed))


def difference_over_seeds(
    first: Sequence[Answers],
    second: Sequence[Answers],
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: Tensor | None = None,
) -> Difference:
    """Mean accuracy of the second way minus that of the first, with an interval over seeds and clips.

    Source: the pigeonhole bootstrap, https://arxiv.org/abs/0712.1111, which draws the seeds and the clips, both with replacement;
    its intervals are a little too wide rather than too narrow. Both ways are drawn with the same seeds and clips (paired).
    Formula: ``mean over s, c of right2[s, c] - right1[s, c]``.

    Args:
        first: predictions for the clips, one for each seed.
        second: those of the other way, for the same clips and seeds in the same order.
        resamples: R (default 2000).
        seed: of the draws (default 0).
        groups: number of the group of each clip, from 0; groups are drawn instead of clips (default: clips are drawn).

    **Shapes:** groups (M,) long

    Raises:
        ValueError: another number of seeds, or other clips.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} seeds: a paired difference needs the same ones, 1 or more")
    if any(not torch.equal(model.labels, first[0].labels) for model in (*first, *second)):
        raise ValueError("the models do not answer to the same clips: their labels differ")
    gain = _right(second) - _right(first)
    return Difference(gain.mean().item(), *interval(_resampled(gain, groups, resamples, seed)))


def _resampled(values: Tensor, groups: Tensor | None, resamples: int, seed: int) -> Tensor:
    """The mean of values in every resample of seeds and of clips or groups.

    **Shapes:** (S, M), (M,) -> (R,)
    """
    # A clip is a group of one.
    sums, sizes = values, torch.ones(values.shape[1], dtype=values.dtype)
    if groups is not None:
        count = int(groups.max()) + 1
        sums = torch.zeros(len(values), count, dtype=values.dtype).index_add_(1, groups, values)
        sizes = torch.zeros(count, dtype=values.dtype).index_add_(0, groups, sizes)
    seeds, count = sums.shape
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(resamples):
        of_seeds = torch.randint(seeds, (seeds,), generator=draw)
        of_groups = torch.randint(count, (count,), generator=draw)
        found.append(sums[of_seeds].mean(0)[of_groups].sum() / sizes[of_groups].sum())
    return torch.stack(found)


def _right(models: Sequence[Answers]) -> Tensor:
    """**Shapes:** -> double (S, M)"""
    return torch.stack([model.right for model in models]).double()
