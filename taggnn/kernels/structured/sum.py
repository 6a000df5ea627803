"""Sums over frame cliques and chains in closed form: a frame's sum and a small matrix over time, whatever the convolution.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Sum
from taggnn.kernels.precision import unrounded

# Frames that L spans at most; beyond, only its band that is not zero is multiplied, so that the cost of a node does not grow.
# (G, where it is more than a diagonal, meets one sum for each frame and not each node.)
_SPAN = 64


class StructuredSum(nn.Module):
    """Computes any ``Sum`` on clique and chain as ``out = (L x I_P + G x J) x`` with T x T matrices L (local) and G (global).

    Source: ours. The adjacency of clique + chain is ``I_T x (J - I_P) + chain x I_P``, J the P x P matrix of ones, and its
    degrees depend on the frame alone, so that a normalisation only scales L and G. Such operators multiply into one another,
    ``(L1, G1)(L2, G2) = (L1 L2, L1 G2 + G1 L2 + P G1 G2)``, because ``J J = P J``: all steps of APPNP are one pair, computed
    when the layer is built, and a call costs the same however many steps there are.

    Args:
        family: which weights.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        positions: P.

    **Shapes:** x (B, N, C), bias (C,) or None -> (B, N, C).
    """

    def __init__(self, family: Sum, clique: bool, reach: int, frames: int, positions: int) -> None:
        super().__init__()
        self.frames, self.positions = frames, positions
        local, whole = _closed_form(family, clique, reach, frames, positions)
        self._reads_frames, self._reads_positions = bool(whole.any()), bool(local.any())
        self._same_frame = _is_diagonal(whole)
        # A number where every frame has the same weight and no other frame takes part.
        self._scale = (
            float(local[0, 0]) if _is_diagonal(local) and bool((local.diagonal() == local[0, 0]).all()) else None
        )
        self.band, self._step = _band(local)
        if self.band is not None:
            local = _windows(local, self.band, self._step)
        # Exact, next to the buffers: float64 stays float64 whatever precision the layer was made in or moved through.
        self._exact = {"local": local, "whole": whole}
        for name, matrix in self._exact.items():
            self.register_buffer(name, matrix.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        # Autocast would round float32 features that no layer rounded.
        with unrounded(x):
            return self._summed(x, bias)

    def _summed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        frames = x.unflatten(1, (self.frames, self.positions))
        out = self._over_time(frames) if self._reads_positions else None
        if self._reads_frames:
            # In 16 bits the sum of a frame could overflow where its weighted sum does not.
            wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
            total, whole = frames.sum(2, dtype=wide), self._matrix("whole", wide)
            shared = whole.diagonal()[:, None] * total if self._same_frame else whole @ total
            shared = (shared if bias is None else shared + bias)[:, :, None]
            kind = x.dtype if bias is None else torch.promote_types(x.dtype, bias.dtype)
            if out is None:
                out = shared.to(kind).expand_as(frames)
            else:
                # Rounded to 16 bits once: a node's own value, taken off the sum of its frame, may be most of it.
                out = out.add_(shared) if wide == x.dtype else (out + shared).to(kind)
            return out.flatten(1, 2)
        if out is None:
            # No neighbours: zeros that depend on x, so that its gradient is zeros and not None.
            out = frames.masked_fill(frames.new_ones((), dtype=torch.bool), 0)
        return (out if bias is None else out + bias).flatten(1, 2)

    def _over_time(self, frames: Tensor) -> Tensor:
        """L times x. **Shapes:** (B, T, P, C) -> the same, never x itself."""
        if self._scale is not None:
            return frames * self._scale
        local = self._matrix("local", frames.dtype)
        flat = frames.flatten(2)
        if self.band is None:
            out = local @ flat
        else:
            last = local.shape[0] * self._step - self.frames
            padded = F.pad(flat, (0, 0, self.band, self.band + last))
            windows = padded.unfold(1, self._step + 2 * self.band, self._step).movedim(-1, 2)
            out = (local @ windows).flatten(1, 2)[:, : self.frames]
        return out.unflatten(2, frames.shape[2:])

    def _matrix(self, name: str, dtype: torch.dtype) -> Tensor:
        buffer = getattr(self, name)
        if torch.finfo(dtype).bits > torch.finfo(buffer.dtype).bits:
            return self._exact[name].to(buffer.device, dtype)
        return buffer.to(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        # Made under inference mode, where evaluation moves a model, they could never again take part in training.
        with torch.inference_mode(False):
            for name, exact in self._exact.items():
                buffer = getattr(self, name)
                if buffer.device.type != "meta":
                    setattr(self, name, exact.to(buffer.device, buffer.dtype))
        return self


def _closed_form(family: Sum, clique: bool, reach: int, frames: int, positions: int) -> tuple[Tensor, Tensor]:
    """The pair (L, G) of a family. **Shapes:** two (T, T), float64."""
    one = torch.eye(frames, dtype=torch.float64, device="cpu")
    number = torch.arange(frames, device="cpu")
    apart = (number[:, None] - number).abs()
    local = ((apart > 0) & (apart <= reach)).double()
    # The clique is the all-ones matrix minus the identity; a self-loop adds it back.
    local = local + one * (int(family.self_loops) - int(clique))
    whole = one * int(clique)
    degree = local.sum(1) + positions * whole.sum(1)
    if family.norm == "mean":
        rows, columns = 1 / degree.clamp(min=1), torch.ones_like(degree)
    elif family.norm == "symmetric":
        rows = columns = torch.where(degree > 0, degree, torch.inf).rsqrt()
    else:
        rows = columns = torch.ones_like(degree)
    local, whole = (rows[:, None] * matrix * columns for matrix in (local, whole))
    if family.teleport is None:
        return local, whole
    through, jump = 1 - family.teleport, family.teleport
    steps_local, steps_whole = one, torch.zeros_like(one)
    for _ in range(family.steps):
        steps_whole = through * (local @ steps_whole + whole @ steps_local + positions * whole @ steps_whole)
        steps_local = through * (local @ steps_local) + jump * one
    return steps_local, steps_whole


def _is_diagonal(matrix: Tensor) -> bool:
    return not bool((matrix - matrix.diagonal().diag()).any())


def _band(local: Tensor) -> tuple[int | None, int]:
    """Half the width of L's band and the frames of a window, (None, 0) where L is small enough or full."""
    frames = len(local)
    row, column = local.nonzero(as_tuple=True)
    band = int((row - column).abs().max()) if len(row) else 0
    step = max(_SPAN // 2, 2 * band)
    return (band, step) if frames > max(_SPAN, 2 * step) else (None, 0)


def _windows(local: Tensor, band: int, step: int) -> Tensor:
    """Cuts the band of L into blocks. **Shapes:** (T, T) -> (windows, step, step + 2 band)"""
    frames = len(local)
    count = -(-frames // step)
    padded = F.pad(local, (band, band + count * step - frames, 0, count * step - frames))
    return torch.stack([padded[i * step : (i + 1) * step, i * step : (i + 1) * step + 2 * band] for i in range(count)])
