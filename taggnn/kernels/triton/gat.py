"""GAT on cliques and chains: the score is a sum of two numbers, so that no product of queries and keys is needed.

Axes: B clips, T frames, P places of a frame, N nodes, M = B*N rows, A attention heads, D channels of
a head, I targets, J sources.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from taggnn.kernels.operators import Additive
from taggnn.kernels.triton.blocks import blocks
from taggnn.kernels.triton.device import around, bent, hears, leaky, logarithm, raised, stand, tile
from taggnn.kernels.triton.neighbours import Neighbours, check, launch, rows


class TritonGAT(nn.Module):
    """Computes ``Additive`` in one pass forward and two backward.

    Source: online softmax and backward by recomputation after FlashAttention-2, https://arxiv.org/abs/2307.08691, algorithms 1
    and 2, with the score of GAT in the place of the product.

    Formula, with the weights ``w_ij = exp(LeakyReLU(z_ij) - lse_i)``, ``z_ij = s_j + d_i``, the gradient g of the result and
    ``e_ij = w_ij (g_i . v_j - g_i . out_i) LeakyReLU'(z_ij)``: ``dv_j = sum_i w_ij g_i``, ``ds_j = sum_i e_ij``,
    ``dd_i = sum_j e_ij``.

    Args:
        family: slope and self-loops.
        near: who hears whom.

    **Shapes:** v (B, N, A, D), s and d (B, N, A), dropout -> (B, N, A, D).

    Raises:
        ValueError: in ``forward``, dropout, or tensors that are not on a CUDA device.
    """

    def __init__(self, family: Additive, near: Neighbours) -> None:
        super().__init__()
        self.family, self.near = family, near

    def forward(self, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
        check(v, dropout, gat_forward)
        out, _ = attend(rows(v), rows(s), rows(d), self.family.slope, self.family.self_loops, *self.near)
        return out.unflatten(0, v.shape[:2])


@torch.library.custom_op("taggnn::triton_gat", mutates_args=())
def attend(
    v: Tensor, s: Tensor, d: Tensor, slope: float, loops: bool, frames: int, places: int, clique: bool, reach: int
) -> tuple[Tensor, Tensor]:
    """Returns what each node hears (M, A, D), and the log-sum-exp of its scores (M, A)."""
    out = torch.empty_like(v, dtype=torch.promote_types(v.dtype, s.dtype), memory_format=torch.contiguous_format)
    lse = s.new_empty(s.shape, dtype=_kept(v))
    size = blocks(places, v)
    launch(
        gat_forward,
        Neighbours(frames, places, clique, reach),
        size.targets,
        v,
        *(v, s, d, out, lse, v.stride(0), s.stride(0), d.stride(0)),
        loops=loops,
        SLOPE=slope,
        **size.constants(),
    )
    return out, lse


@attend.register_fake
def _(v, s, d, slope, loops, frames, places, clique, reach):
    out = torch.empty_like(v, dtype=torch.promote_types(v.dtype, s.dtype), memory_format=torch.contiguous_format)
    return out, s.new_empty(s.shape, dtype=_kept(v))


@torch.library.custom_op("taggnn::triton_gat_backward", mutates_args=())
def attend_backward(
    g: Tensor,
    v: Tensor,
    s: Tensor,
    d: Tensor,
    out: Tensor,
    lse: Tensor,
    slope: float,
    loops: bool,
    frames: int,
    places: int,
    clique: bool,
    reach: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of v, s and d."""
    near = Neighbours(frames, places, clique, reach)
    size = blocks(places, v)
    # A block of channels adds its share to the gradients of the scores.
    shares = triton.cdiv(v.shape[2], size.channels)
    to_v = torch.empty_like(v, memory_format=torch.contiguous_format)
    to_s, to_d, delta = lse.new_empty(3, shares, *lse.shape)
    strides = g.stride(0), v.stride(0), s.stride(0), d.stride(0)
    options = {"loops": loops, "SLOPE": slope, **size.constants()}
    launch(gat_targets, near, size.targets, v, g, v, s, d, out, lse, delta, to_d, *strides, **options)
    launch(gat_sources, near, size.sources, v, g, v, s, d, lse, delta, to_v, to_s, *strides, **options)
    return to_v, to_s.sum(0).to(s.dtype), to_d.sum(0).to(d.dtype)


@attend_backward.register_fake
def _(g, v, s, d, out, lse, slope, loops, frames, places, clique, reach):
    return (
        torch.empty_like(v, memory_format=torch.contiguous_format),
        s.new_empty(s.shape),
        d.new_empty(d.shape),
    )


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    v, s, d, *ctx.rule = inputs
    ctx.save_for_backward(v, s, d, *output)


def _backward(ctx: Any, g: Tensor, _: Tensor) -> tuple:
    return *attend_backward(g.contiguous(), *ctx.saved_tensors, *ctx.rule), *(None for _ in ctx.rule)


attend.register_autograd(_backward, setup_context=_keep)


def _kept(v: Tensor) -> torch.dtype:
    return torch.promote_types(v.dtype, torch.float32)


@triton.jit
def gat_forward(
    v,
    s,
    d,
    out,
    lse,
    v_row,
    s_row,
    d_row,
    SLOPE: tl.constexpr,
    FRAMES: tl.constexpr,
    PLACES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    CLIQUE: tl.constexpr,
    LOOPS: tl.constexpr,
    REACH: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FLOAT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    start, frame, i = stand(FRAMES, PLACES, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < PLACES
    own = tl.load(d + (start + i) * d_row + head, mask=here, other=0.0).to(FLOAT)
    top = tl.full((BLOCK_I,), float("-inf"), FLOAT)
    total = tl.zeros((BLOCK_I,), FLOAT)
    heard = tl.zeros((BLOCK_I, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, PLACES, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            other = tl.load(s + (start + j) * s_row + head, mask=j < PLACES, other=0.0).to(FLOAT)
            score = leaky(own[:, None] + other[None, :], SLOPE)
            score = tl.where(hears(i[:, None], j[None, :], PLACES, LOOPS), score, float("-inf"))
            top, base, fade = raised(top, tl.max(score, 1))
            weight = tl.exp(score - base[:, None])
            total = total * fade + tl.sum(weight, 1)
            value = tile(v, v_row, start + j, j < PLACES, head, c, CHANNELS)
            heard = tl.dot(
                weight.to(value.dtype), value, heard * fade[:, None], input_precision=PRECISION, out_dtype=FLOAT
            )
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        at, there = around(n, start, frame, i, FRAMES, PLACES, REACH, ITSELF)
        score = leaky(own + tl.load(s + at * s_row + head, mask=there, other=0.0).to(FLOAT), SLOPE)
        score = tl.where(there, score, float("-inf"))
        top, base, fade = raised(top, score)
        weight = tl.exp(score - base)
        total = total * fade + weight
        heard = heard * fade[:, None] + weight[:, None] * tile(v, v_row, at, there, head, c, CHANNELS).to(FLOAT)
    heard = heard / tl.where(total > 0, total, 1.0)[:, None]
    at = (start + i) * HEADS + head
    tl.store(out + at[:, None] * CHANNELS + c[None, :], heard, mask=here[:, None] & (c < CHANNELS)[None, :])
    if tl.program_id(2) == 0:
        tl.store(lse + at, logarithm(top, total), mask=here)


@triton.jit
def gat_targets(
    g,
    v,
    s,
    d,
    out,
    lse,
    delta,
    to_d,
    g_row,
    v_row,
    s_row,
    d_row,
    SLOPE: tl.constexpr,
    FRAMES: tl.constexpr,
    PLACES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    CLIQUE: tl.constexpr,
    LOOPS: tl.constexpr,
    REACH: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FLOAT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    start, frame, i = stand(FRAMES, PLACES, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < PLACES
    at = (start + i) * HEADS + head
    own = tl.load(d + (start + i) * d_row + head, mask=here, other=0.0).to(FLOAT)
    level = tl.load(lse + at, mask=here, other=float("inf"))
    slope = tile(g, g_row, start + i, here, head, c, CHANNELS)
    # The share of these channels in g . out.
    result = tile(out, HEADS * CHANNELS, start + i, here, head, c, CHANNELS)
    share = tl.sum(slope.to(FLOAT) * result.to(FLOAT), 1)
    total = tl.zeros((BLOCK_I,), FLOAT)
    if CLIQUE:
        for first in range(0, PLACES, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            z = own[:, None] + tl.load(s + (start + j) * s_row + head, mask=j < PLACES, other=0.0).to(FLOAT)[None, :]
            heard = hears(i[:, None], j[None, :], PLACES, LOOPS)
            weight = tl.where(heard, tl.exp(leaky(z, SLOPE) - level[:, None]), 0.0)
            value = tile(v, v_row, start + j, j < PLACES, head, c, CHANNELS)
            gain = tl.dot(slope.to(value.dtype), tl.trans(value), input_precision=PRECISION, out_dtype=FLOAT)
            total += tl.sum(bent(weight * (gain - share[:, None]), z, SLOPE), 1)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = around(n, start, frame, i, FRAMES, PLACES, REACH, ITSELF)
        z = own + tl.load(s + near * s_row + head, mask=there, other=0.0).to(FLOAT)
        weight = tl.where(there, tl.exp(leaky(z, SLOPE) - level), 0.0)
        value = tile(v, v_row, near, there, head, c, CHANNELS).to(FLOAT)
        gain = tl.sum(slope.to(FLOAT) * value, 1)
        total += bent(weight * (gain - share), z, SLOPE)
    part = tl.program_id(2) * (tl.num_programs(0) // tl.cdiv(PLACES, BLOCK_I)).to(tl.int64) * PLACES * HEADS
    tl.store(delta + part + at, share, mask=here)
    tl.store(to_d + part + at, total, mask=here)


@triton.jit
def gat_sources(
    g,
    v,
    s,
    d,
    lse,
    delta,
    to_v,
    to_s,
    g_row,
    v_row,
    s_row,
    d_row,
    SLOPE: tl.constexpr,
    FRAMES: tl.constexpr,
    PLACES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    CLIQUE: tl.constexpr,
    LOOPS: tl.constexpr,
    REACH: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FLOAT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    start, frame, j = stand(FRAMES, PLACES, BLOCK_J)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = j < PLACES
    part = tl.program_id(2) * (tl.num_programs(0) // tl.cdiv(PLACES, BLOCK_J)).to(tl.int64) * PLACES * HEADS
    own = tl.load(s + (start + j) * s_row + head, mask=here, other=0.0).to(FLOAT)
    value = tile(v, v_row, start + j, here, head, c, CHANNELS)
    spread = tl.zeros((BLOCK_J, BLOCK_D), FLOAT)
    total = tl.zeros((BLOCK_J,), FLOAT)
    if CLIQUE:
        for first in range(0, PLACES, BLOCK_I):
            i = first + tl.arange(0, BLOCK_I)
            at = (start + i) * HEADS + head
            level = tl.load(lse + at, mask=i < PLACES, other=float("inf"))
            share = tl.load(delta + part + at, mask=i < PLACES, other=0.0)
            z = own[:, None] + tl.load(d + (start + i) * d_row + head, mask=i < PLACES, other=0.0).to(FLOAT)[None, :]
            heard = hears(i[None, :], j[:, None], PLACES, LOOPS)
            weight = tl.where(heard, tl.exp(leaky(z, SLOPE) - level[None, :]), 0.0)
            slope = tile(g, g_row, start + i, i < PLACES, head, c, CHANNELS).to(value.dtype)
            spread = tl.dot(weight.to(value.dtype), slope, spread, input_precision=PRECISION, out_dtype=FLOAT)
            gain = tl.dot(value, tl.trans(slope), input_precision=PRECISION, out_dtype=FLOAT)
            total += tl.sum(bent(weight * (gain - share[None, :]), z, SLOPE), 1)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = around(n, start, frame, j, FRAMES, PLACES, REACH, ITSELF)
        level = tl.load(lse + near * HEADS + head, mask=there, other=float("inf"))
        share = tl.load(delta + part + near * HEADS + head, mask=there, other=0.0)
        z = own + tl.load(d + near * d_row + head, mask=there, other=0.0).to(FLOAT)
        weight = tl.where(there, tl.exp(leaky(z, SLOPE) - level), 0.0)
        slope = tile(g, g_row, near, there, head, c, CHANNELS).to(FLOAT)
        spread += weight[:, None] * slope
        gain = tl.sum(value.to(FLOAT) * slope, 1)
        total += bent(weight * (gain - share), z, SLOPE)
    at = (start + j) * HEADS + head
    tl.store(to_v + at[:, None] * CHANNELS + c[None, :], spread, mask=here[:, None] & (c < CHANNELS)[None, :])
    tl.store(to_s + part + at, total, mask=here)
