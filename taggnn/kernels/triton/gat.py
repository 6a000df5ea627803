"""GAT on cliques and chains: the score is a sum of two numbers, so that no product of queries and keys is needed.

Axes: B clips, T frames, P positions of a frame, N nodes, M = B*N rows, A attention heads, D channels of a head,
I targets, J sources.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from taggnn.kernels.operators import Additive
from taggnn.kernels.triton.blocks import blocks
from taggnn.kernels.triton.device import (
    dot,
    is_edge,
    leaky,
    leaky_backward,
    load_scalars,
    locate,
    log_sum_exp,
    store_scalars,
    store_tile,
    temporal_frame,
    tile,
)
from taggnn.kernels.triton.neighbours import Neighbours, check, launch, rows


class TritonGAT(nn.Module):
    """Computes ``Additive`` in one pass forward and two backward.

    Source: online softmax and backward by recomputation after FlashAttention-2, https://arxiv.org/abs/2307.08691, algorithms 1
    and 2, with the score of GAT instead of the product.

    Formula, with the weights ``w_ij = exp(LeakyReLU(z_ij) - lse_i)``, ``z_ij = s_j + d_i``, the gradient g of the result and
    ``e_ij = w_ij (g_i . v_j - g_i . out_i) LeakyReLU'(z_ij)``: ``dv_j = sum_i w_ij g_i``, ``ds_j = sum_i e_ij``,
    ``dd_i = sum_j e_ij``.

    Args:
        family: slope and self-loops.
        near: the neighbours of every node.

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
    v: Tensor, s: Tensor, d: Tensor, slope: float, loops: bool, frames: int, positions: int, clique: bool, reach: int
) -> tuple[Tensor, Tensor]:
    """Returns the output (M, A, D) and the log-sum-exp of its scores (M, A)."""
    out, lse = _results(v, s, d, slope, loops, frames, positions, clique, reach)
    near, size = Neighbours(frames, positions, clique, reach), blocks(positions, v)
    strides = v.stride(0), s.stride(0), d.stride(0)
    launch(gat_forward, near, size, v, (v, s, d, out, lse, *strides), loops, SLOPE=slope)
    return out, lse


@attend.register_fake
def _results(v, s, d, slope, loops, frames, positions, clique, reach):
    out = torch.empty_like(v, dtype=torch.promote_types(v.dtype, s.dtype), memory_format=torch.contiguous_format)
    return out, s.new_empty(s.shape, dtype=torch.promote_types(v.dtype, torch.float32))


@torch.library.custom_op("taggnn::triton_gat_backward", mutates_args=())
def attend_backward(
    g: Tensor, v: Tensor, s: Tensor, d: Tensor, out: Tensor, lse: Tensor, slope: float, loops: bool, frames: int,
    positions: int, clique: bool, reach: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns the gradients of v, s and d."""
    near, size = Neighbours(frames, positions, clique, reach), blocks(positions, v)
    # Each block of channels has a share in the gradients of the scores.
    shares = triton.cdiv(v.shape[2], size.channels)
    to_v = torch.empty_like(v, memory_format=torch.contiguous_format)
    to_s, to_d, delta = lse.new_empty(3, shares, *lse.shape)
    strides = g.stride(0), v.stride(0), s.stride(0), d.stride(0)
    launch(gat_targets, near, size, v, (g, v, s, d, out, lse, delta, to_d, *strides), loops, SLOPE=slope)
    launch(gat_sources, near, size, v, (g, v, s, d, lse, delta, to_v, to_s, *strides), loops, True, SLOPE=slope)
    return to_v, to_s.sum(0).to(s.dtype), to_d.sum(0).to(d.dtype)


@attend_backward.register_fake
def _(g, v, s, d, out, lse, slope, loops, frames, positions, clique, reach):
    return (
        torch.empty_like(v, memory_format=torch.contiguous_format),
        s.new_empty(s.shape),
        d.new_empty(d.shape),
    )


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    v, s, d, *ctx.rule = inputs
    ctx.save_for_backward(v, s, d, *output)


def _backward(ctx: Any, g: Tensor, _: Tensor) -> tuple:
    return *attend_backward(g.contiguous(), *ctx.saved_tensors, *ctx.rule), *(None for _ in ctx.rule)


attend.register_autograd(_backward, setup_context=_save)


@triton.jit
def two_largest(s, s_row, start, head, POSITIONS: tl.constexpr, BLOCK_J: tl.constexpr, FLOAT: tl.constexpr):
    """Returns the largest number of a frame, its position, and the largest of the others."""
    j = tl.arange(0, BLOCK_J)
    best = tl.full((BLOCK_J,), float("-inf"), FLOAT)
    next_best = tl.full((BLOCK_J,), float("-inf"), FLOAT)
    position = j
    for first in range(0, POSITIONS, BLOCK_J):
        number = load_scalars(s, s_row, start, first + j, first + j < POSITIONS, head, float("-inf"), FLOAT)
        next_best = tl.maximum(next_best, tl.minimum(best, number))
        position = tl.where(number > best, first + j, position)
        best = tl.maximum(best, number)
    largest = tl.max(best, 0)
    index = tl.min(tl.where(best == largest, position, POSITIONS), 0)
    return largest, index, tl.max(tl.where(position == index, next_best, best), 0)


@triton.jit
def gat_forward(
    v, s, d, out, lse, v_row, s_row, d_row, SLOPE: tl.constexpr, FRAMES: tl.constexpr, POSITIONS: tl.constexpr,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr, REACH: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr, FLOAT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < POSITIONS
    own = load_scalars(d, d_row, start, i, here, head, 0.0, FLOAT)
    # A score rises with the source's number, so that the largest number gives the largest score before any weight is computed:
    # no sum has to be rescaled.
    top = tl.full((BLOCK_I,), float("-inf"), FLOAT)
    if CLIQUE:
        largest, index, second = two_largest(s, s_row, start, head, POSITIONS, BLOCK_J, FLOAT)
        peak = tl.where(i == index, second, largest) if not LOOPS else tl.zeros((BLOCK_I,), FLOAT) + largest
        # A frame of one position has no other.
        top = tl.where(peak > float("-inf"), leaky(own + peak, SLOPE), top)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, ITSELF)
        score = leaky(own + load_scalars(s, s_row, near, i, there, head, 0.0, FLOAT), SLOPE)
        top = tl.maximum(top, tl.where(there, score, float("-inf")))
    base = tl.where(top > float("-inf"), top, 0.0)
    weights = tl.zeros((BLOCK_I, BLOCK_J), FLOAT)
    acc = tl.zeros((BLOCK_I, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            other = load_scalars(s, s_row, start, j, j < POSITIONS, head, 0.0, FLOAT)
            weight = tl.exp(leaky(own[:, None] + other[None, :], SLOPE) - base[:, None])
            weight = tl.where(is_edge(i[:, None], j[None, :], POSITIONS, LOOPS), weight, 0.0)
            weights += weight
            value = tile(v, v_row, start, j, j < POSITIONS, head, c, CHANNELS)
            acc += dot(weight, value, TYPE, FLOAT, PRECISION)
    total = tl.sum(weights, 1)
    for n in range(2 * REACH + ITSELF):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, ITSELF)
        score = leaky(own + load_scalars(s, s_row, near, i, there, head, 0.0, FLOAT), SLOPE)
        weight = tl.where(there, tl.exp(score - base), 0.0)
        total += weight
        acc += weight[:, None] * tile(v, v_row, near, i, there, head, c, CHANNELS).to(FLOAT)
    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    store_tile(out, start, i, here, head, c, acc, HEADS, CHANNELS)
    if tl.program_id(2) == 0:
        store_scalars(lse, start, i, here, head, log_sum_exp(top, total), HEADS)


@triton.jit
def gat_targets(
    g, v, s, d, out, lse, delta, to_d, g_row, v_row, s_row, d_row, SLOPE: tl.constexpr, FRAMES: tl.constexpr,
    POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr,
    REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr,
    FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < POSITIONS
    own = load_scalars(d, d_row, start, i, here, head, 0.0, FLOAT)
    level = load_scalars(lse, HEADS, start, i, here, head, float("inf"), FLOAT)
    slope = tile(g, g_row, start, i, here, head, c, CHANNELS)
    result = tile(out, HEADS * CHANNELS, start, i, here, head, c, CHANNELS)
    # What these channels have in g . out: the gradients of the scores are linear in it.
    share = tl.sum(slope.to(FLOAT) * result.to(FLOAT), 1)
    total = tl.zeros((BLOCK_I,), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            z = own[:, None] + load_scalars(s, s_row, start, j, j < POSITIONS, head, 0.0, FLOAT)[None, :]
            edge = is_edge(i[:, None], j[None, :], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(leaky(z, SLOPE) - level[:, None]), 0.0)
            value = tile(v, v_row, start, j, j < POSITIONS, head, c, CHANNELS)
            gain = dot(slope, tl.trans(value), TYPE, FLOAT, PRECISION)
            total += tl.sum(leaky_backward(weight * (gain - share[:, None]), z, SLOPE), 1)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, ITSELF)
        z = own + load_scalars(s, s_row, near, i, there, head, 0.0, FLOAT)
        weight = tl.where(there, tl.exp(leaky(z, SLOPE) - level), 0.0)
        gain = tl.sum(slope.to(FLOAT) * tile(v, v_row, near, i, there, head, c, CHANNELS).to(FLOAT), 1)
        total += leaky_backward(weight * (gain - share), z, SLOPE)
    # Rows of the shares before this program's.
    start += tl.program_id(2) * (tl.num_programs(0) // tl.cdiv(POSITIONS, BLOCK_I)).to(tl.int64) * POSITIONS
    store_scalars(delta, start, i, here, head, share, HEADS)
    store_scalars(to_d, start, i, here, head, total, HEADS)


@triton.jit
def gat_sources(
    g, v, s, d, lse, delta, to_v, to_s, g_row, v_row, s_row, d_row, SLOPE: tl.constexpr, FRAMES: tl.constexpr,
    POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr,
    REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr,
    FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, j = locate(FRAMES, POSITIONS, BLOCK_J)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = j < POSITIONS
    # Rows of the shares before this program's.
    part = tl.program_id(2) * (tl.num_programs(0) // tl.cdiv(POSITIONS, BLOCK_J)).to(tl.int64) * POSITIONS
    own = load_scalars(s, s_row, start, j, here, head, 0.0, FLOAT)
    value = tile(v, v_row, start, j, here, head, c, CHANNELS)
    spread = tl.zeros((BLOCK_J, BLOCK_D), FLOAT)
    total = tl.zeros((BLOCK_J,), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_I):
            i = first + tl.arange(0, BLOCK_I)
            level = load_scalars(lse, HEADS, start, i, i < POSITIONS, head, float("inf"), FLOAT)
            share = load_scalars(delta, HEADS, part + start, i, i < POSITIONS, head, 0.0, FLOAT)
            z = own[:, None] + load_scalars(d, d_row, start, i, i < POSITIONS, head, 0.0, FLOAT)[None, :]
            edge = is_edge(i[None, :], j[:, None], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(leaky(z, SLOPE) - level[None, :]), 0.0)
            slope = tile(g, g_row, start, i, i < POSITIONS, head, c, CHANNELS)
            spread += dot(weight, slope, TYPE, FLOAT, PRECISION)
            gain = dot(value, tl.trans(slope), TYPE, FLOAT, PRECISION)
            total += tl.sum(leaky_backward(weight * (gain - share[None, :]), z, SLOPE), 1)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = temporal_frame(n, start, frame, j, FRAMES, POSITIONS, REACH, ITSELF)
        level = load_scalars(lse, HEADS, near, j, there, head, float("inf"), FLOAT)
        share = load_scalars(delta, HEADS, part + near, j, there, head, 0.0, FLOAT)
        z = own + load_scalars(d, d_row, near, j, there, head, 0.0, FLOAT)
        weight = tl.where(there, tl.exp(leaky(z, SLOPE) - level), 0.0)
        slope = tile(g, g_row, near, j, there, head, c, CHANNELS).to(FLOAT)
        spread += weight[:, None] * slope
        gain = tl.sum(value.to(FLOAT) * slope, 1)
        total += leaky_backward(weight * (gain - share), z, SLOPE)
    store_tile(to_v, start, j, here, head, c, spread, HEADS, CHANNELS)
    store_scalars(to_s, part + start, j, here, head, total, HEADS)
