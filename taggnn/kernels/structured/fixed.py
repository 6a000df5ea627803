"""A fixed graph inside every frame, such as the bones of a skeleton, joined with a chain: few edges one by one, many as blocks.

Axes: B clips, T frames, P positions of a frame (V joints on skeletons), N = T*P nodes, C channels, A attention heads, D channels
of a head, F frames and R targets of a piece.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Additive, Dot, Dynamic, Family, Max, Sum
from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain, temporal
from taggnn.kernels.structured.dot import StructuredDot
from taggnn.kernels.structured.few_edges import FewEdges
from taggnn.kernels.structured.gatv2 import StructuredGATv2
from taggnn.kernels.structured.softmax import Piece, attend, attend_plainly

# Edges of a node inside its frame, on average, up to which a CPU computes them one by one: 2 to 32 of them were 1.1 to 10 times
# as fast as blocks, in frames of 25 and of 133 nodes. With 64 GATv2 is slower, and the lists of edges grow.
_FEW = 32


def propagation(family: Family, adjacency: Tensor, reach: int, frames: int) -> nn.Module:
    """Returns the module that computes a family.

    Args:
        family: what is computed.
        adjacency: the edges inside of every frame, target by source.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.

    **Shapes:** adjacency (P, P) bool

    Raises:
        ValueError: the maximum.
    """
    if isinstance(family, Max):
        raise ValueError("the maximum over a fixed graph inside a frame runs on edge lists only; possible: pyg, dense")
    blocks = _blocks(family, adjacency, reach, frames)
    few = 0 < int(adjacency.sum()) <= _FEW * len(adjacency)
    return FewEdges(family, adjacency, reach, frames, blocks) if few else blocks


def _blocks(family: Sum | Additive | Dynamic | Dot, adjacency: Tensor, reach: int, frames: int) -> nn.Module:
    positions = len(adjacency)
    if isinstance(family, Sum):
        return FixedSum(family, adjacency, reach, frames)
    if isinstance(family, Additive):
        return FixedGAT(family, adjacency, reach, frames)
    if isinstance(family, Dynamic):
        return StructuredGATv2(family, True, reach, frames, positions, adjacency)
    return StructuredDot(family, True, reach, frames, positions, adjacency)


class FixedSum(nn.Module):
    """Computes any ``Sum``: a P x P matrix inside every frame, and shifted frames for the chain.

    Formula: ``out = r (A (c x) + chain(c x) + loops c x)``, r and c the weights of target and source, K times for APPNP.

    Args:
        family: which weights.
        adjacency: A.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.

    **Shapes:** adjacency (P, P) bool; x (B, N, C), bias (C,) or None -> (B, N, C).
    """

    matrix: Tensor
    degree: Tensor

    def __init__(self, family: Sum, adjacency: Tensor, reach: int, frames: int) -> None:
        super().__init__()
        self.family, self.frames, self.positions = family, frames, len(adjacency)
        self.steps = temporal.offsets(frames, reach)
        inside = adjacency.double()
        if family.self_loops:
            inside = inside + torch.eye(self.positions, dtype=torch.float64)
        number = torch.arange(frames)
        apart = (number[:, None] - number).abs()
        in_time = ((apart > 0) & (apart <= reach)).sum(1)
        # Small whole numbers: exact in every precision.
        self.register_buffer("matrix", inside.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("degree", inside.sum(1).long() + in_time[:, None], persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        # Autocast would round float32 features that no layer rounded.
        with unrounded(x):
            wide = torch.promote_types(x.dtype, torch.float32)
            start = out = x.to(wide).unflatten(1, (self.frames, self.positions))
            if self.family.teleport is None:
                out = self._step(out)
            else:
                for _ in range(self.family.steps):
                    out = (1 - self.family.teleport) * self._step(out) + self.family.teleport * start
        out = out.flatten(1, 2).to(x.dtype)
        return out if bias is None else out + bias

    def _step(self, x: Tensor) -> Tensor:
        degree = self.degree.to(x.dtype)[..., None]
        if self.family.norm == "none":
            return self._summed(x)
        if self.family.norm == "mean":
            return self._summed(x) / degree.clamp(min=1)
        scale = torch.where(degree > 0, degree, torch.inf).rsqrt()
        return scale * self._summed(scale * x)

    def _summed(self, x: Tensor) -> Tensor:
        """**Shapes:** (B, T, P, C) -> the same"""
        out = self.matrix.to(x.dtype) @ x
        if self.steps:
            reach = self.steps[-1]
            padded = F.pad(x, (0, 0, 0, 0, reach, reach))
            for step in self.steps:
                out = out + padded[:, reach + step : reach + step + self.frames]
        return out


class FixedGAT(nn.Module):
    """Computes GAT: ``softmax_j(LeakyReLU(s_j + d_i)) v_j`` over the edges of a frame and the chain, at least in float32.

    Source: https://arxiv.org/abs/1710.10903, equation 3; the blocks are ours.

    Args:
        family: slope and self-loops.
        adjacency: the edges inside of every frame.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.

    **Shapes:** adjacency (P, P) bool; v (B, N, A, D), s (B, N, A), d (B, N, A), probability that a weight is dropped ->
    (B, N, A, D).
    """

    mask: Tensor

    def __init__(self, family: Additive, adjacency: Tensor, reach: int, frames: int) -> None:
        super().__init__()
        self.slope, self.frames, self.positions = family.slope, frames, len(adjacency)
        # A node's own score is one of those in time, whether or not there is a chain.
        self.steps = temporal.offsets(frames, reach, itself=family.self_loops)
        self.register_buffer("mask", adjacency, persistent=False)

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        kind = torch.promote_types(v.dtype, s.dtype)
        wide, scorer = torch.promote_types(kind, torch.float32), _Sums(self.slope)
        with unrounded(v):
            v, s, d = (part.to(wide).unflatten(1, (self.frames, self.positions)) for part in (v, s, d))
            if torch.compiler.is_exporting() and not dropout:
                out = attend_plainly(scorer, True, self.steps, v, s, d, mask=self.mask)
            else:
                out = attend(scorer, True, self.steps, dropout, v, (s, d), self.mask)
        return out.flatten(1, 2).to(kind)


class _Sums:
    """Scores ``LeakyReLU(s_j + d_i)``."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        return F.leaky_relu(self._pairs(piece, inputs), self.slope)

    def backward(self, piece: Piece, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        # Strictly: at 0 the slope is that of the negative side.
        passed = torch.where(self._pairs(piece, inputs) > 0, to_scores, self.slope * to_scores)
        piece.add(grads[0], passed.sum(1))
        piece.put(grads[1], passed.sum(2))

    def in_time(self, step: temporal.Span, inputs: tuple[Tensor, ...]) -> Tensor:
        here, there = step
        return F.leaky_relu(inputs[0][:, there] + inputs[1][:, here], self.slope)

    def in_time_backward(
        self, step: temporal.Span, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]
    ) -> None:
        here, there = step
        score = inputs[0][:, there] + inputs[1][:, here]
        passed = torch.where(score > 0, to_scores, self.slope * to_scores)
        grads[0][:, there] += passed
        grads[1][:, here] += passed

    def plain(
        self, clique: bool, steps: tuple[int, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, Tensor | None]:
        s, d = (part.transpose(2, 3) for part in inputs)
        frame = F.leaky_relu(s[..., None, :] + d[..., None], self.slope) if clique else None
        return frame, plain.in_time(lambda source: F.leaky_relu(source + d, self.slope), s, steps)

    def _pairs(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        """**Shapes:** -> (F, R, P)"""
        return piece.sources(inputs[0])[:, None] + piece.targets(inputs[1])[:, :, None]
