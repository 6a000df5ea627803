"""GAT on cliques and chains with every weight of a frame written out, some frames at a time.

Axes: F frames of all clips, P places of a frame, A attention heads, D channels of a head, O offsets in frames.
"""

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

    A group of frames is worked out again for its gradient, so that no weight outlives the group.

    **Shapes:** v (F, P, A, D), s, d and reference (F, P, A) -> (F, P, A, D), (F, P, A).
    """
    places, heads = s.shape[1:]
    groups = zip(
        *(part.split(max(_AT_ONCE // (places * places * heads), 1)) for part in (v, s, d, reference)), strict=True
    )
    again = torch.is_grad_enabled() and any(part.requires_grad for part in (v, s, d))
    sums, totals = [], []
    for group in groups:
        if again:
            found = checkpoint(_group, *group, slope, self_loops, dropout, use_reentrant=False)
        else:
            found = _group(*group, slope, self_loops, dropout)
        sums.append(found[0])
        totals.append(found[1])
    return torch.cat(sums), torch.cat(totals)


def _group(
    v: Tensor, s: Tensor, d: Tensor, reference: Tensor, slope: float, self_loops: bool, dropout: float
) -> tuple[Tensor, Tensor]:
    s, d, reference = (part.transpose(1, 2) for part in (s, d, reference))
    weights = (F.leaky_relu(s[:, :, None] + d[..., None], slope) - reference[..., None]).exp()  # (F, A, P, P), j last
    if not self_loops:
        weights = weights.masked_fill(torch.eye(s.shape[2], dtype=torch.bool, device=s.device), 0)
    total = weights.sum(-1).transpose(1, 2)
    if dropout:
        weights = F.dropout(weights, dropout)
    return (weights.to(v.dtype) @ v.transpose(1, 2)).transpose(1, 2), total
