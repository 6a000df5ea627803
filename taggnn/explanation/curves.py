"""Whether a map matters: the probability of the class while the most important tokens are removed or added; random orders too.

Source: deletion and insertion, https://arxiv.org/abs/1806.07421, section 4.3; tokens, frames or edges for pixels [ours].

Axes: N what a method rates (tokens, frames or edges), S steps, D random orders, M masks, K classes, B clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taggnn.explanation.edges import ExplicitHead
from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.importance import Importance
from taggnn.explanation.occlusion import masked_logits
from taggnn.explanation.options import Options

STEPS, DRAWS = 16, 20


@dataclass(frozen=True)
class Curves:
    """The probability of the class, from nothing to everything removed (deletion) or added (insertion).

    Args:
        deletion: the most important first; the lower the curve, the better the map.
        insertion: likewise; the higher, the better.
        random_deletion: the same for random orders.
        random_insertion: likewise.
        constant: whether the map has one value everywhere, so that its order is random.

    **Shapes:** deletion, insertion (S + 1,); random_deletion, random_insertion (D, S + 1)
    """

    deletion: Tensor
    insertion: Tensor
    random_deletion: Tensor
    random_insertion: Tensor
    constant: bool = False


@dataclass(frozen=True)
class Figure:
    """An area under curves, and that of random orders.

    Args:
        value: mean over the clips.
        random: mean over the clips and the random orders.
        low: of random orders the lower end of the range with 95 % of them, each order's area being its mean over the clips.
        high: its upper end.
    """

    value: float
    random: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """A method next to random orders, over clips.

    Args:
        deletion: area under the deletion curve, 0 to 1; better if low.
        insertion: area under the insertion curve, 0 to 1; better if high.
        gain: insertion minus deletion; 0 on average for random orders.
        better: whether ``gain`` is above the range of the random orders, and not every map is constant.
        clips: B.
    """

    deletion: Figure
    insertion: Figure
    gain: Figure
    better: bool
    clips: int


def curves(
    given: HeadInput,
    importance: Importance,
    options: Options | None = None,
    steps: int = STEPS,
    draws: int = DRAWS,
    other: Curves | None = None,
) -> Curves:
    """Computes the curves of a map, and of random orders of what it rates.

    Of equal values a random one comes first, so that no order of memory counts as a map.

    Args:
        given: the clip.
        importance: the map; its target is the class.
        options: baseline, batch and seed.
        steps: S, equal parts that are removed or added one after the other (default 16).
        draws: D (default 20).
        other: curves of another map of the same clip, class, unit and options: its random orders are these, too.
    """
    options = options or Options()
    rated = importance.rated
    count = len(rated)
    random = torch.Generator().manual_seed(options.seed)
    shuffled = torch.randperm(count, generator=random)
    order = shuffled[rated[shuffled].argsort(descending=True, stable=True)]
    masks = [_masks(order, steps, inserted=False), _masks(order, steps, inserted=True)]
    if other is None:
        orders = [torch.randperm(count, generator=random) for _ in range(2 * draws)]
        # One half is removed, the other half added.
        masks += [_masks(one, steps, number >= draws) for number, one in enumerate(orders)]
    found = probabilities(given, importance, torch.cat(masks), options).view(-1, steps + 1)
    own = found[2 : 2 + draws], found[2 + draws :]
    randoms = own if other is None else (other.random_deletion, other.random_insertion)
    return Curves(found[0], found[1], *randoms, bool(rated.max() == rated.min()))


def probabilities(given: HeadInput, importance: Importance, removed: Tensor, options: Options) -> Tensor:
    """The probability of the class without some of what a map rates.

    **Shapes:** removed bool (M, N) -> (M,) on the CPU
    """
    removed = removed.to(given.tokens.device)
    if importance.edges is not None:
        logits = ExplicitHead(given).masked_logits(given.tokens, removed, options)
    elif importance.unit == "frame":
        wide = removed.view(*removed.shape, *[1] * (len(given.grid) - 1)).expand(-1, *given.grid)
        logits = masked_logits(given, wide, options)
    else:
        logits = masked_logits(given, removed.view(-1, *given.grid), options)
    return logits.float().softmax(1)[:, importance.target].cpu()


def area(curve: Tensor) -> Tensor:
    """Area under curves from 0 to 1, by trapezoids. **Shapes:** (*, S + 1) -> (*)"""
    return torch.trapezoid(curve.double(), dx=1 / (curve.shape[-1] - 1))


def verdict(found: Sequence[Curves]) -> Verdict:
    """Compares a method with random orders over the clips.

    Raises:
        ValueError: no clips.
    """
    if not found:
        raise ValueError("no clips, so that no method can be compared with random orders")
    deletion, insertion = (
        area(torch.stack([one.deletion for one in found])),
        area(torch.stack([one.insertion for one in found])),
    )
    below = area(torch.stack([one.random_deletion for one in found])).mean(0)
    above = area(torch.stack([one.random_insertion for one in found])).mean(0)
    gain = _figure(insertion - deletion, above - below)
    better = gain.value > gain.high and not all(one.constant for one in found)
    return Verdict(_figure(deletion, below), _figure(insertion, above), gain, better, len(found))


def _figure(values: Tensor, draws: Tensor) -> Figure:
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return Figure(values.mean().item(), draws.mean().item(), low, high)


def _masks(order: Tensor, steps: int, inserted: bool) -> Tensor:
    """What is removed at each step. **Shapes:** (N,) -> bool (S + 1, N)"""
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    reached = torch.tensor([round(step * len(order) / steps) for step in range(steps + 1)])
    first = rank < reached[:, None]
    return ~first if inserted else first
