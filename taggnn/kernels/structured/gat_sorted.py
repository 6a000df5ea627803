"""GAT inside a frame in O(P log P): with scores in order, prefix sums are all that a node needs, in both directions.

Axes: F frames of all clips, P positions of a frame, A attention heads, D channels of a head.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Numbers in the table of prefix sums of a few frames: 1 MB in float32 stays in the cache.
_AT_ONCE = 2**18

Saved = tuple[Tensor, ...]


def forward(
    v: Tensor, s: Tensor, d: Tensor, a: Tensor, b: Tensor, e: Tensor, f: Tensor, rest: Tensor, *, train: bool
) -> tuple[Tensor, Tensor, Saved]:
    """Computes ``sum_j w_ij v_j / (rest_i + sum_j w_ij)``, where ``w_ij = a_i e_j`` if ``s_j + d_i > 0`` else ``b_i f_j``.

    Source: ours. With the sources of a frame in the order of s, those with the second form come first and those with the first
    form last, so that a target needs one prefix sum of ``f_j v_j`` and one suffix sum of ``e_j v_j``. Only sums of weights that
    are not negative are made and nothing is subtracted: they are as exact as the sum over pairs. The gradient of v is the same
    sum with sources and targets exchanged.

    Returns:
        the sum; its denominator; what ``backward`` needs, nothing unless ``train``.

    **Shapes:** v (F, P, A, D); s, d, a, b, e, f, rest (F, A, P) -> (F, P, A, D), (F, A, P).
    """
    # A target's first ones are the sources with s_j <= -d_i, a source's last ones the targets with -d_i < s_j.
    ends = -d
    split = _Split(*_ranks(s, ends, right=True), f, e, b, a)
    first, last = split.totals()
    total = rest + first + last
    out = torch.empty_like(v)
    high_part = torch.empty_like(v) if train else None
    for part, (low_sum, high_sum) in split.sums(v, 1 / total):
        if high_part is not None:
            high_part[part] = high_sum
        out[part] = low_sum.add_(high_sum)
    saved = () if high_part is None else (*_ranks(ends, s, right=False), high_part, last / total)
    return out, total, saved


def backward(
    grad: Tensor, mean: Tensor, v: Tensor, a: Tensor, b: Tensor, e: Tensor, f: Tensor, *, slope: float, saved: Saved
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of v, of s, and that part of the gradient of d that comes from scores above 0, before its factor.

    Args:
        grad: of the sum.
        mean: ``grad_i . out_i``, over all neighbours of a node.
        v: values.
        a: over the denominator.
        b: over the denominator.
        e: as in ``forward``.
        f: as in ``forward``.
        slope: of the LeakyReLU.
        saved: from ``forward``.

    **Shapes:** as in ``forward``; mean (F, A, P).
    """
    targets, before, high_part, high_share = saved
    high, low = _Split(targets, before, a * mean, b * mean, e, f).totals()
    to_s = high.add_(low, alpha=slope).neg_()
    to_d = mean * -high_share
    to_v = torch.empty_like(v)
    for part, (high, low) in _Split(targets, before, a, b, e, f).sums(grad):
        to_scores = (high * v[part]).sum(-1).add_((low * v[part]).sum(-1), alpha=slope)
        to_v[part] = high.add_(low)
        to_s[part] += to_scores.transpose(1, 2)
        to_d[part] += (grad[part] * high_part[part]).sum(-1).transpose(1, 2)
    return to_v, to_s, to_d


class _Split:
    """Sums over the nodes in an order, up to a count of them under one weight, and from there on under another.

    Formula: ``by_first_i sum_{rank_j < count_i} first_j x_j`` and ``by_last_i sum_{rank_j >= count_i} last_j x_j``.

    **Shapes:** all (F, A, P).
    """

    def __init__(
        self, order: Tensor, count: Tensor, first: Tensor, last: Tensor, by_first: Tensor, by_last: Tensor
    ) -> None:
        positions = order.shape[-1]
        # Sums of the last ones are prefix sums from the other end: no sum is taken from another.
        self.order = torch.stack([order, order.flip(-1)], 1)
        self.weights = torch.stack([first, last], 1).gather(-1, self.order)
        sums = torch.stack([count, positions - count], 1)
        self.at = (sums - 1).clamp_(min=0)
        self.by = torch.stack([by_first, by_last], 1).mul_(sums > 0)

    def totals(self) -> tuple[Tensor, ...]:
        """The sums of the weights alone. **Shapes:** two (F, A, P)"""
        found = self.weights.cumsum(-1).gather(-1, self.at).mul_(self.by)
        return found[:, 0], found[:, 1]

    def sums(self, x: Tensor, scale: Tensor | None = None) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
        """The sums of x, some frames at a time. **Shapes:** (F, P, A, D) -> two (frames, P, A, D)"""
        frames, positions, heads, width = x.shape
        # Compiled, the number of clips may be a symbol: all frames at once.
        step = frames if torch.compiler.is_compiling() else max(_AT_ONCE // (2 * positions * heads * width), 1)
        # Rows of a group of frames, and of its sums.
        frame = torch.arange(frames, device=x.device).remainder_(step)[:, None, None, None]
        head = torch.arange(heads, device=x.device)[:, None]
        rows = (self.order * heads).add_(frame * (heads * positions) + head)
        side = torch.arange(2, device=x.device)[:, None, None]
        at = (self.at + ((frame * 2 + side) * heads + head) * positions).transpose(2, 3).contiguous()
        by = (self.by if scale is None else self.by * scale[:, None]).transpose(2, 3)[..., None].contiguous()
        weights = self.weights[..., None]
        for start in (0,) if torch.compiler.is_compiling() else range(0, frames, step):
            part = slice(start, start + step)
            table = x[part].reshape(-1, width).index_select(0, rows[part].flatten())
            table = table.view(-1, positions, width).mul_(weights[part].flatten(0, 2)).cumsum_(1)
            found = table.view(-1, width).index_select(0, at[part].flatten())
            found = found.view(-1, 2, positions, heads, width).mul_(by[part])
            yield part, (found[:, 0], found[:, 1])


def _ranks(sources: Tensor, targets: Tensor, right: bool) -> tuple[Tensor, Tensor]:
    """The order of the sources, and how many of them come before each target; with ``right``, those equal to it too.

    **Shapes:** (F, A, P) -> two (F, A, P), long.
    """
    keys, order = sources.sort(dim=-1)
    return order, torch.searchsorted(keys, targets, right=right)
