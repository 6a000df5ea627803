"""Sums over frame cliques and chains in closed form: a frame's sum and a small matrix over time, whatever the convolution.

Axes: B clips, T frames, P places of a frame, N = T*P nodes, C channels.
"""

import torch
from torch import Tensor, nn

from taggnn.kernels.operators import Sum

# Above, a time matrix is cut into bands of this many frames, so that the cost stays linear in T.
_WHOLE = 32


class StructuredSum(nn.Module):
    """Computes any ``Sum`` on clique and chain as ``out = (L x I_P + G x J) x`` with T x T matrices L (local) and G (global).

    Source: ours. The adjacency of clique + chain is ``I_T x (J - I_P) + chain x I_P``, J the P x P matrix of ones; its degree
    depends on the frame alone, so a normalisation scales L and G. Such operators multiply into one another,
    ``(L1, G1)(L2, G2) = (L1 L2, L1 G2 + G1 L2 + P G1 G2)``, because ``J J = P J``: all steps of APPNP are one pair (L, G), worked
    out once when the layer is built, and a call costs one pass over x however many steps there are.

    Args:
        family: which weights.
        clique: the nodes of a frame hear each other.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        places: P.

    **Shapes:** x (B, N, C), bias (C,) or None -> (B, N, C).
    """

    def __init__(self, family: Sum, clique: bool, reach: int, frames: int, places: int) -> None:
        super().__init__()
        self.frames, self.places = frames, places
        local, everyone = _closed_form(family, clique, reach, frames, places)
        # Kept exact beside the buffers, so that a change of precision on the way never rounds twice.
        self._exact = (local, everyone)
        self._diagonal = bool((everyone - everyone.diag().diag() == 0).all())
        self._whole_frame = bool((everyone != 0).any())
        self._mixes = bool((local - torch.eye(frames) * local[0, 0] != 0).any())
        default = torch.get_default_dtype()
        self.register_buffer("local", local.to(default), persistent=False)
        self.register_buffer("everyone", everyone.to(default), persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        frames = x.unflatten(1, (self.frames, self.places))
        local, everyone = self._matrices(x.dtype)
        out = self._over_time(local, frames)
        if self._whole_frame:
            total = frames.sum(2)
            shared = everyone.diagonal()[:, None] * total if self._diagonal else everyone @ total
            out = out + (shared if bias is None else shared + bias)[:, :, None]
        elif bias is not None:
            out = out + bias
        return out.flatten(1, 2)
