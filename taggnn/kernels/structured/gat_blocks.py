"""GAT inside a frame with all weights of a few frames at a time, in both directions, and no exponential of a pair of nodes.

Axes: F frames of all clips, P positions of a frame, A attention heads, D channels of a head.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Weights that exist at a time: 4 MB in float32, faster than pieces of 1 MB or less for 49 and for 196 positions.
_AT_ONCE = 2**20


def forward(v: Tensor, a: Tensor, b: Tensor, e: Tensor, f: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Computes ``sum_j w_ij v_j / (rest_i + sum_j w_ij)``, ``w_ij = max(a_i e_j, b_i f_j)``.

    Returns:
        the sum; its denominator.

    **Shapes:** v (F, P, A, D); a, b, e, f, rest (F, A, P) -> (F, P, A, D), (F, A, P).
    """
    out, total = torch.empty_like(v), torch.empty_like(rest)
    for part, head in _pieces(rest):
        piece = part, head
        weights = _weights(a[piece], b[piece], e[piece], f[piece])
        total[piece] = weights.sum(-1).add_(rest[piece])
        out[part, :, head] = torch.bmm(weights, v[part, :, head]).div_(total[piece][..., None])
    return out, total


def backward(
    grad: Tensor,
    mean: Tensor,
    v: Tensor,
    s: Tensor,
    d: Tensor,
    a: Tensor,
    b: Tensor,
    e: Tensor,
    f: Tensor,
    *,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of v, of s, and that part of the gradient of d that comes from scores above 0, before its factor.

    Args:
        grad: of the sum.
        mean: ``grad_i . out_i``, over all neighbours of a node.
        v: values.
        s: score of the source.
        d: score of the target.
        a: over the denominator.
        b: over the denominator.
        e: as in ``forward``.
        f: as in ``forward``.
        slope: of the LeakyReLU.

    **Shapes:** as in ``forward``; mean, s, d (F, A, P).
    """
    to_v, to_s, to_d = torch.empty_like(v), torch.empty_like(s), torch.empty_like(d)
    for part, head in _pieces(s):
        piece = part, head
        weights = _weights(a[piece], b[piece], e[piece], f[piece])
        g, u = grad[part, :, head], v[part, :, head]
        to_v[part, :, head] = torch.bmm(weights.mT, g)
        to_scores = torch.bmm(g, u.mT).sub_(mean[piece][..., None]).mul_(weights)
        flat = to_scores.sum(-2)
        high = to_scores.mul_(s[piece][..., None, :] > -d[piece][..., None])
        to_s[piece] = torch.lerp(high.sum(-2), flat, slope)
        to_d[piece] = high.sum(-1)
    return to_v, to_s, to_d


def _pieces(s: Tensor) -> Iterator[tuple[slice, int]]:
    """Some frames and one head at a time: a head's values are matrices as they lie, and nothing is copied for a product."""
    frames, heads, positions = s.shape
    # Compiled, the number of clips may be a symbol: all frames at once.
    step = frames if torch.compiler.is_compiling() else max(_AT_ONCE // (positions * positions), 1)
    starts = (0,) if torch.compiler.is_compiling() else range(0, frames, step)
    return ((slice(start, start + step), head) for start in starts for head in range(heads))


def _weights(a: Tensor, b: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """**Shapes:** (F, P) each -> (F, P, P), target by source."""
    return (a[..., None] * e[..., None, :]).clamp_(min=b[..., None] * f[..., None, :])
