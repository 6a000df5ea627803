"""GAT over frame cliques and chains in one softmax, without an edge list.

Axes: B clips, T frames, P places of a frame, N = T*P nodes, A attention heads, D channels of a head, O offsets in frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Additive
from taggnn.kernels.structured import gat_explicit, temporal


class StructuredGAT(nn.Module):
    """Computes GAT on clique and chain: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``, a node's frame and its chain in one softmax.

    Source: https://arxiv.org/abs/1710.10903, equation 3; the form is ours. As LeakyReLU rises, the largest score that a node
    meets follows from the largest ``s_j`` around it: the softmax is stable without a look at every score.

    Args:
        family: slope and self-loops.
        clique: the nodes of a frame hear each other.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        places: P.

    **Shapes:** v (B, N, A, D), s (B, N, A), d (B, N, A), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Additive, clique: bool, reach: int, frames: int, places: int) -> None:
        super().__init__()
        self.slope, self.self_loops = family.slope, family.self_loops
        self.frames, self.places = frames, places
        self.clique = clique and (places > 1 or family.self_loops)
        self.steps = temporal.offsets(frames, reach, itself=family.self_loops and not self.clique)

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        # Scores stay in full precision.
        with torch.autocast(v.device.type, enabled=False):
            wide = torch.promote_types(s.dtype, torch.float32)
            v, s, d = (part.unflatten(1, (self.frames, self.places)) for part in (v, s.to(wide), d.to(wide)))
            out = self._written_out(v, s, d, dropout)
        return out.flatten(1, 2)

    def _written_out(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        if not self.clique and not self.steps:
            # Zeros that depend on all inputs, so that gradients of zeros arrive and not none.
            return v * 0 + ((s + d) * 0)[..., None]
        with torch.no_grad():
            reference = F.leaky_relu(self._largest(s) + d, self.slope)
        out = total = 0
        if self.clique:
            flat = (part.flatten(0, 1) for part in (v, s, d, reference))
            found = gat_explicit.frames(*flat, self.slope, self.self_loops, dropout)
            out, total = (part.unflatten(0, v.shape[:2]) for part in found)
        if self.steps:
            there = temporal.shifted(torch.ones_like(s[:, :, :1, :1]), self.steps, 0) > 0
            scores = F.leaky_relu(temporal.shifted(s, self.steps, 0) + d[..., None], self.slope) - reference[..., None]
            weights = scores.masked_fill(~there, float("-inf")).exp()
            total = total + weights.sum(-1)
            out = out + temporal.weighted(F.dropout(weights, dropout) if dropout else weights, v, self.steps)
        return out / total[..., None]

    def _largest(self, s: Tensor) -> Tensor:
        """The largest source score among the neighbours of each node. **Shapes:** (B, T, P, A) -> the same."""
        around = [temporal.shifted(s, self.steps, float("-inf")).amax(-1)] if self.steps else []
        if self.clique:
            first = s.amax(2, keepdim=True)
            if not self.self_loops:
                top = s.topk(2, 2)
                here = torch.arange(self.places, device=s.device)[:, None] == top.indices[:, :, :1]
                first = torch.where(here, top.values[:, :, 1:], top.values[:, :, :1])
            around.append(first)
        return around[0] if len(around) == 1 else torch.maximum(*around)
