"""GAT over frame cliques and chains in one softmax, without an edge list.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, A attention heads, D channels of a head, O offsets in frames.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Additive
from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import fused, gat_blocks, gat_explicit, gat_sorted, plain, temporal
from taggnn.kernels.structured.fused import gat as fused_gat
from taggnn.kernels.structured.softmax import no_neighbours

# From so many positions of a frame on, sorted sums are as fast as blocks, in inference and in training: 49 to 784 with 64 to
# 512 channels in 4 heads, B = 2, T = 8, float32 on 2 cores, medians of 15. At 49 positions blocks win by 1.7, at 784 sums by 3.
_SORTED_FROM, _SORTED_FROM_IN_TRAINING = 200, 100
# The same where fused loops take the part of blocks, on a CPU with AVX-512: at 400 positions loops win by 1.3 and, in training,
# by 1.1; at 784 by 1.3, and sums in training by 1.3. Earlier than that, because with narrower vectors loops take longer.
_SORTED_FROM_WITH_LOOPS, _SORTED_FROM_WITH_LOOPS_IN_TRAINING = 600, 300


class StructuredGAT(nn.Module):
    """Computes GAT on clique and chain: ``softmax_j(LeakyReLU(s_j + d_i)) v_j``, a node's frame and its chain in one softmax.

    Source: https://arxiv.org/abs/1710.10903, equation 3; the form is ours. As LeakyReLU rises, the largest score of a
    node follows from the largest ``s_j`` of its neighbours: the softmax is stable without computing every score first.

    Args:
        family: slope and self-loops.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        positions: P.

    **Shapes:** v (B, N, A, D), s (B, N, A), d (B, N, A), probability that a weight is dropped -> (B, N, A, D).
    """

    def __init__(self, family: Additive, clique: bool, reach: int, frames: int, positions: int) -> None:
        super().__init__()
        self.slope, self.self_loops = family.slope, family.self_loops
        self.frames, self.positions = frames, positions
        self.clique = clique and (positions > 1 or family.self_loops)
        self.steps = temporal.offsets(frames, reach, itself=family.self_loops and not self.clique)

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        kind = torch.promote_types(v.dtype, s.dtype)
        # Scores stay in full precision.
        with unrounded(v):
            wide = torch.promote_types(kind, torch.float32)
            v, s, d = (part.to(wide).unflatten(1, (self.frames, self.positions)) for part in (v, s, d))
            train = torch.is_grad_enabled() and any(part.requires_grad for part in (v, s, d))
            if torch.compiler.is_exporting() and not dropout and (self.clique or self.steps):
                out = plain.gat(v, s, d, self.slope, self.steps, self.clique, self.self_loops)
            elif self.clique and self.self_loops and self._loops(v, train, dropout):
                out = fused_gat.attend(v, s, d, self.slope, self.steps, dropout)
            elif self.clique and self.self_loops and not dropout:
                sorts = self.positions >= (_SORTED_FROM_IN_TRAINING if train else _SORTED_FROM)
                out = _Attend.apply(v, s, d, self.slope, self.steps, sorts, train)
            else:
                out = self._explicit(v, s, d, dropout)
        return out.flatten(1, 2).to(kind)

    def how(self) -> str:
        """How float32 is computed on a CPU."""
        if not self.clique or not self.self_loops:
            return "in blocks: no clique with self-loops"
        if self.positions >= _SORTED_FROM_WITH_LOOPS:
            return f"by sorted sums: frames of {_SORTED_FROM_WITH_LOOPS} positions or more"
        return fused.how(self.positions)

    def _loops(self, v: Tensor, train: bool, dropout: float) -> bool:
        most = _SORTED_FROM_WITH_LOOPS_IN_TRAINING if train else _SORTED_FROM_WITH_LOOPS
        return (self.positions < most or dropout > 0) and fused.takes(v, self.positions, dropout)

    def _explicit(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        if not self.clique and not self.steps:
            return no_neighbours(v, s[..., None], d[..., None])
        with torch.no_grad():
            reference = F.leaky_relu(self._largest(s) + d, self.slope)
        out, total = v.new_zeros(()), s.new_zeros(())
        if self.clique:
            out, total = gat_explicit.frames(v, s, d, reference, self.slope, self.self_loops, dropout)
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
                here = torch.arange(self.positions, device=s.device)[:, None] == top.indices[:, :, :1]
                first = torch.where(here, top.values[:, :, 1:], top.values[:, :, :1])
            around.append(first)
        return around[0] if len(around) == 1 else torch.maximum(*around)


class _Attend(torch.autograd.Function):
    """The frame, the node itself included, and the chain, without storing weights of pairs of nodes.

    With m_i the largest score of a node, ``exp(LeakyReLU(s_j + d_i) - m_i)`` is the larger one of
    ``exp(s_j + d_i - m_i)`` and ``exp(slope (s_j + d_i) - m_i)``. Both factor, into ``a_i e_j`` and ``b_i f_j``, with no exponent
    above 0.

    **Shapes:** v (B, T, P, A, D), s, d (B, T, P, A) -> (B, T, P, A, D).
    """

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, s: Tensor, d: Tensor, slope: float, steps: tuple[int, ...], sorts: bool, train: bool
    ) -> Tensor:
        clips, frames = v.shape[:2]
        given = v, s, d
        s, d = (part.transpose(2, 3).contiguous() for part in (s, d))  # (B, T, A, P)
        first = largest = s.amax(-1, keepdim=True)
        spans = [(o, here, there) for o, here, there in temporal.spans(frames, steps)]
        if spans:
            largest = first.expand_as(s).clone()
            for _, here, there in spans:
                largest[:, here] = torch.maximum(largest[:, here], s[:, there])
        reference = F.leaky_relu(largest + d, slope)
        top = first + d
        a, b = (top - reference).exp_(), (top * slope - reference).exp_()
        e = (s - first).exp_()
        f = ((s - first) * slope).exp_()
        around = [
            (F.leaky_relu(s[:, there] + d[:, here], slope) - reference[:, here]).exp_() for _, here, there in spans
        ]
        rest = torch.zeros_like(s)
        for (_, here, _), weights in zip(spans, around, strict=True):
            rest[:, here] += weights
        flat = [part.flatten(0, 1) for part in (s, d, a, b, e, f, rest)]
        if sorts:
            out, total, saved = gat_sorted.forward(v.flatten(0, 1), *flat, train=train)
        else:
            out, total = gat_blocks.forward(v.flatten(0, 1), *flat[2:])
            saved = ()
        out, total = (part.unflatten(0, (clips, frames)) for part in (out, total))
        a, b = a.div_(total), b.div_(total)
        for (_, here, there), weights in zip(spans, around, strict=True):
            weights.div_(total[:, here])
            out[:, here].addcmul_(weights.transpose(2, 3)[..., None], v[:, there])
        ctx.save_for_backward(*given, out, a, b, e, f, *around, *saved)
        ctx.slope, ctx.steps, ctx.sorts = slope, steps, sorts
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        v, s, d, out, a, b, e, f, *more = ctx.saved_tensors
        around, saved = more[: len(ctx.steps)], tuple(more[len(ctx.steps) :])
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            function = partial(plain.gat, slope=ctx.slope, steps=ctx.steps)
            with unrounded(grad):
                return *plain.gradients(function, (v, s, d), grad, ctx.needs_input_grad[:3]), None, None, None, None
        s, d = (part.transpose(2, 3).contiguous() for part in (s, d))
        with unrounded(grad):
            mean = (grad * out).sum(-1).transpose(2, 3).contiguous()
            g, c, u, scores, target, *flat = (part.flatten(0, 1) for part in (grad, mean, v, s, d, a, b, e, f))
            if ctx.sorts:
                found = gat_sorted.backward(g, c, u, *flat, slope=ctx.slope, saved=saved)
            else:
                found = gat_blocks.backward(g, c, u, scores, target, *flat, slope=ctx.slope)
            to_v, to_s, to_d = (part.unflatten(0, v.shape[:2]) for part in found)
            for (_, here, there), weights in zip(temporal.spans(v.shape[1], ctx.steps), around, strict=True):
                to_v[:, there].addcmul_(weights.transpose(2, 3)[..., None], grad[:, here])
                to_scores = (grad[:, here] * v[:, there]).sum(-1).transpose(2, 3)
                to_scores = (to_scores - mean[:, here]).mul_(weights)
                high = to_scores * (s[:, there] > -d[:, here])
                to_d[:, here] += high
                to_s[:, there] += torch.lerp(high, to_scores, ctx.slope)
            to_d.mul_(1 - ctx.slope)
        return to_v, to_s.transpose(2, 3), to_d.transpose(2, 3), None, None, None, None
