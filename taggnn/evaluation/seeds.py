"""Two ways of training, each with several seeds, on the same clips.

Axes: S seeds, M clips, R resamples.
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


def difference_over_seeds(
    first: Sequence[Answers], second: Sequence[Answers], resamples: int = RESAMPLES, seed: int = 0
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

    Raises:
        ValueError: another number of seeds, or other clips.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} seeds: a paired difference needs the same ones, 1 or more")
    if any(not torch.equal(model.labels, first[0].labels) for model in (*first, *second)):
        raise ValueError("the models do not answer to the same clips: their labels differ")
    gain = _right(second) - _right(first)
    seeds, clips = gain.shape
    draw = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(resamples):
        of_seeds = torch.randint(seeds, (seeds,), generator=draw)
        of_clips = torch.randint(clips, (clips,), generator=draw)
        values.append(gain[of_seeds].mean(0)[of_clips].mean())
    return Difference(gain.mean().item(), *interval(torch.stack(values)))


def _right(models: Sequence[Answers]) -> Tensor:
    """**Shapes:** -> double (S, M)"""
    return torch.stack([model.right for model in models]).double()
