"""GAT on cliques and chains with an explicit matrix of weights for each frame, some frames at a time.

Axes: B clips, T frames, F frames of a group, P positions of a frame, A attention heads, D channels of a head, O offsets.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Weights that exist at a time: 8 MB in float32, and no faster with more.
_AT_ONCE = 2**21


def frames(
    v: Tensor, s: Tensor, d: Tensor, reference: Tensor, slope: float, self_loops: bool, dropout: float
) -> tuple[Tensor, Tensor]:
    """Sums values and weights ``exp(LeakyReLU(s_j + d_i) - reference_i)`` over the nodes j of a frame.

    A group of frames is computed again for its gradient, so that no weight outlives the group.

    **Shapes:** v (B, T, P, A, D), s, d and reference (B, T, P, A) -> (B, T, P, A, D), (B, T, P, A).
    """
    times, positions, heads = s.shape[1:]
    parts = (v, s, d, reference)
    if torch.compiler.is_compiling():
        # The number of clips may be a symbol: one frame of all clips at a time.
        groups: list[tuple[Tensor, ...]] = [tuple(part[:, time] for part in parts) for time in range(times)]
    else:
        step = max(_AT_ONCE // (positions * positions * heads), 1)
        groups = list(zip(*(part.flatten(0, 1).split(step) for part in parts), strict=True))
    again = torch.is_grad_enabled() and any(part.requires_grad for part in parts) and not torch.compiler.is_exporting()
    sums, totals = [], []
    compute = partial(_group, slope=slope, self_loops=self_loops, dropout=dropout)
    for group in groups:
        found = checkpoint(compute, *group, use_reentrant=False) if again else compute(*group)
        sums.append(found[0])
        totals.append(found[1])
    if torch.compiler.is_compiling():
        return torch.stack(sums, 1), torch.stack(totals, 1)
    return torch.cat(sums).view_as(v), torch.cat(totals).view_as(s)


def _group(
    v: Tensor, s: Tensor, d: Tensor, reference: Tensor, slope: float, self_loops: bool, dropout: float
) -> tuple[Tensor, Tensor]:
    s, d, reference = (part.transpose(1, 2) for part in (s, d, reference))
    scores = F.leaky_relu(s[:, :, None] + d[..., None], slope) - reference[..., None]  # (F, A, P, P), source last
    if not self_loops:
        # Before exp: a node's own score may be far above the reference, which is of the others.
        scores = scores.masked_fill(torch.eye(s.shape[2], dtype=torch.bool, device=s.device), float("-inf"))
    weights = scores.exp()
    total = weights.sum(-1).transpose(1, 2)
    if dropout:
        weights = F.dropout(weights, dropout)
    return (weights.to(v.dtype) @ v.transpose(1, 2)).transpose(1, 2), total
