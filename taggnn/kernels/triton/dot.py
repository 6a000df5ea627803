"""TransformerConv on cliques and chains: attention inside a frame, joined with the same position in the frames around.

Axes: B clips, T frames, P positions of a frame, N nodes, M = B*N rows, A attention heads, D channels of a head,
I targets, J sources.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from taggnn.kernels.operators import Dot
from taggnn.kernels.triton.blocks import blocks
from taggnn.kernels.triton.device import (
    dot,
    is_edge,
    load_scalars,
    locate,
    log_sum_exp,
    online_max,
    pairs,
    products,
    store_scalars,
    store_tile,
    temporal_frame,
    tile,
)
from taggnn.kernels.triton.neighbours import Neighbours, check, launch, rows


class TritonDot(nn.Module):
    """Computes ``Dot`` in one pass forward and two backward.

    Source: FlashAttention-2, https://arxiv.org/abs/2307.08691, algorithms 1 and 2; the temporal neighbours join its softmax.

    Formula, with the weights ``w_ij = exp(q_i . k_j / sqrt(D) - lse_i)``, the gradient g of the result and
    ``e_ij = w_ij (g_i . v_j - g_i . out_i) / sqrt(D)``: ``dv_j = sum_i w_ij g_i``, ``dk_j = sum_i e_ij q_i``,
    ``dq_i = sum_j e_ij k_j``.

    Args:
        family: dot-product attention, without options.
        near: the neighbours of every node.

    **Shapes:** q, k, v (B, N, A, D), dropout -> (B, N, A, D).

    Raises:
        ValueError: in ``forward``, dropout, or tensors that are not on a CUDA device.
    """

    def __init__(self, family: Dot, near: Neighbours) -> None:
        super().__init__()
        self.near = near

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        check(q, dropout, dot_forward)
        out, _ = attend(rows(q), rows(k), rows(v), *self.near)
        return out.unflatten(0, q.shape[:2])


@torch.library.custom_op("taggnn::triton_dot", mutates_args=())
def attend(
    q: Tensor, k: Tensor, v: Tensor, frames: int, positions: int, clique: bool, reach: int
) -> tuple[Tensor, Tensor]:
    """Returns the output (M, A, D) and the log-sum-exp of its scores (M, A)."""
    out, lse = _results(q, k, v, frames, positions, clique, reach)
    near, size = Neighbours(frames, positions, clique, reach), blocks(positions, v)
    strides = q.stride(0), k.stride(0), v.stride(0)
    launch(dot_forward, near, size, v, (q, k, v, out, lse, *strides), False, SCALE=v.shape[2] ** -0.5)
    return out, lse


@attend.register_fake
def _results(q, k, v, frames, positions, clique, reach):
    out = torch.empty_like(v, dtype=torch.promote_types(q.dtype, v.dtype), memory_format=torch.contiguous_format)
    return out, v.new_empty(v.shape[:2], dtype=torch.promote_types(v.dtype, torch.float32))


@torch.library.custom_op("taggnn::triton_dot_backward", mutates_args=())
def attend_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, frames: int, positions: int, clique: bool,
    reach: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns the gradients of q, k and v."""
    near, size = Neighbours(frames, positions, clique, reach), blocks(positions, v)
    to_q, to_k, to_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    delta = torch.empty_like(lse)
    strides = g.stride(0), q.stride(0), k.stride(0), v.stride(0)
    scale = v.shape[2] ** -0.5
    launch(dot_targets, near, size, v, (g, q, k, v, out, lse, delta, to_q, *strides), False, SCALE=scale)
    launch(dot_sources, near, size, v, (g, q, k, v, lse, delta, to_k, to_v, *strides), False, True, SCALE=scale)
    return to_q, to_k, to_v


@attend_backward.register_fake
def _(g, q, k, v, out, lse, frames, positions, clique, reach):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *ctx.rule = inputs
    ctx.save_for_backward(q, k, v, *output)


def _backward(ctx: Any, g: Tensor, _: Tensor) -> tuple:
    return *attend_backward(g.contiguous(), *ctx.saved_tensors, *ctx.rule), *(None for _ in ctx.rule)


attend.register_autograd(_backward, setup_context=_save)


@triton.jit
def dot_forward(
    q, k, v, out, lse, q_row, k_row, v_row, SCALE: tl.constexpr, FRAMES: tl.constexpr, POSITIONS: tl.constexpr,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr, REACH: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr, FLOAT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < POSITIONS
    query = tile(q, q_row, start, i, here, head, tl.arange(0, BLOCK_D), CHANNELS)
    top = tl.full((BLOCK_I,), float("-inf"), FLOAT)
    total = tl.zeros((BLOCK_I,), FLOAT)
    acc = tl.zeros((BLOCK_I, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            score = SCALE * products(
                *(query, q, q_row, start, i, here, k, k_row, start, j, j < POSITIONS, head),
                *(CHANNELS, BLOCK_D, TYPE, FLOAT, PRECISION),
            )
            score = tl.where(is_edge(i[:, None], j[None, :], POSITIONS, LOOPS), score, float("-inf"))
            top, base, fade = online_max(top, tl.max(score, 1))
            weight = tl.exp(score - base[:, None])
            total = total * fade + tl.sum(weight, 1)
            value = tile(v, v_row, start, j, j < POSITIONS, head, c, CHANNELS)
            acc = acc * fade[:, None] + dot(weight, value, TYPE, FLOAT, PRECISION)
    for n in range(2 * REACH):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, False)
        score = SCALE * pairs(q, q_row, start, k, k_row, near, i, there, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT)
        score = tl.where(there, score, float("-inf"))
        top, base, fade = online_max(top, score)
        weight = tl.exp(score - base)
        total = total * fade + weight
        value = tile(v, v_row, near, i, there, head, c, CHANNELS).to(FLOAT)
        acc = acc * fade[:, None] + weight[:, None] * value
    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    store_tile(out, start, i, here, head, c, acc, HEADS, CHANNELS)
    if tl.program_id(2) == 0:
        store_scalars(lse, start, i, here, head, log_sum_exp(top, total), HEADS)


@triton.jit
def dot_targets(
    g, q, k, v, out, lse, delta, to_q, g_row, q_row, k_row, v_row, SCALE: tl.constexpr, FRAMES: tl.constexpr,
    POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr,
    REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr,
    FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < POSITIONS
    level = load_scalars(lse, HEADS, start, i, here, head, float("inf"), FLOAT)
    query = tile(q, q_row, start, i, here, head, tl.arange(0, BLOCK_D), CHANNELS)
    slope = tile(g, g_row, start, i, here, head, tl.arange(0, BLOCK_D), CHANNELS)
    share = pairs(
        *(g, g_row, start, out, HEADS * CHANNELS, start, i, here, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT),
    )
    total = tl.zeros((BLOCK_I, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            score = SCALE * products(
                *(query, q, q_row, start, i, here, k, k_row, start, j, j < POSITIONS, head),
                *(CHANNELS, BLOCK_D, TYPE, FLOAT, PRECISION),
            )
            edge = is_edge(i[:, None], j[None, :], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(score - level[:, None]), 0.0)
            gain = products(
                *(slope, g, g_row, start, i, here, v, v_row, start, j, j < POSITIONS, head),
                *(CHANNELS, BLOCK_D, TYPE, FLOAT, PRECISION),
            )
            key = tile(k, k_row, start, j, j < POSITIONS, head, c, CHANNELS)
            change = weight * (gain - share[:, None])
            total += dot(change, key, TYPE, FLOAT, PRECISION)
    for n in range(2 * REACH):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, False)
        score = SCALE * pairs(q, q_row, start, k, k_row, near, i, there, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT)
        weight = tl.where(there, tl.exp(score - level), 0.0)
        gain = pairs(g, g_row, start, v, v_row, near, i, there, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT)
        key = tile(k, k_row, near, i, there, head, c, CHANNELS).to(FLOAT)
        total += (weight * (gain - share))[:, None] * key
    store_tile(to_q, start, i, here, head, c, SCALE * total, HEADS, CHANNELS)
    if tl.program_id(2) == 0:
        store_scalars(delta, start, i, here, head, share, HEADS)


@triton.jit
def dot_sources(
    g, q, k, v, lse, delta, to_k, to_v, g_row, q_row, k_row, v_row, SCALE: tl.constexpr, FRAMES: tl.constexpr,
    POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr,
    REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, TYPE: tl.constexpr,
    FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, j = locate(FRAMES, POSITIONS, BLOCK_J)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = j < POSITIONS
    key = tile(k, k_row, start, j, here, head, tl.arange(0, BLOCK_D), CHANNELS)
    value = tile(v, v_row, start, j, here, head, tl.arange(0, BLOCK_D), CHANNELS)
    spread = tl.zeros((BLOCK_J, BLOCK_D), FLOAT)
    total = tl.zeros((BLOCK_J, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_I):
            i = first + tl.arange(0, BLOCK_I)
            level = load_scalars(lse, HEADS, start, i, i < POSITIONS, head, float("inf"), FLOAT)
            share = load_scalars(delta, HEADS, start, i, i < POSITIONS, head, 0.0, FLOAT)
            score = SCALE * products(
                *(key, k, k_row, start, j, here, q, q_row, start, i, i < POSITIONS, head),
                *(CHANNELS, BLOCK_D, TYPE, FLOAT, PRECISION),
            )
            edge = is_edge(i[None, :], j[:, None], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(score - level[None, :]), 0.0)
            gain = products(
                *(value, v, v_row, start, j, here, g, g_row, start, i, i < POSITIONS, head),
                *(CHANNELS, BLOCK_D, TYPE, FLOAT, PRECISION),
            )
            slope = tile(g, g_row, start, i, i < POSITIONS, head, c, CHANNELS)
            spread += dot(weight, slope, TYPE, FLOAT, PRECISION)
            query = tile(q, q_row, start, i, i < POSITIONS, head, c, CHANNELS)
            change = weight * (gain - share[None, :])
            total += dot(change, query, TYPE, FLOAT, PRECISION)
    for n in range(2 * REACH):
        near, there = temporal_frame(n, start, frame, j, FRAMES, POSITIONS, REACH, False)
        level = load_scalars(lse, HEADS, near, j, there, head, float("inf"), FLOAT)
        share = load_scalars(delta, HEADS, near, j, there, head, 0.0, FLOAT)
        score = SCALE * pairs(k, k_row, start, q, q_row, near, j, there, head, CHANNELS, BLOCK_J, BLOCK_D, FLOAT)
        weight = tl.where(there, tl.exp(score - level), 0.0)
        gain = pairs(v, v_row, start, g, g_row, near, j, there, head, CHANNELS, BLOCK_J, BLOCK_D, FLOAT)
        spread += weight[:, None] * tile(g, g_row, near, j, there, head, c, CHANNELS).to(FLOAT)
        total += (weight * (gain - share))[:, None] * tile(q, q_row, near, j, there, head, c, CHANNELS).to(FLOAT)
    store_tile(to_v, start, j, here, head, c, spread, HEADS, CHANNELS)
    store_tile(to_k, start, j, here, head, c, SCALE * total, HEADS, CHANNELS)
