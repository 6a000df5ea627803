"""GATv2 on cliques and chains: a non-linearity in each channel of a score, so that a tile has an axis of channels.

Axes: B clips, T frames, P positions of a frame, N nodes, M = B*N rows, A attention heads, D channels of a head,
I targets, J sources.
"""

# Triton has no `(*sums, more)`, and a tuple that grows is one variable to it.
# ruff: noqa: RUF005
# mypy: disable-error-code="assignment"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from taggnn.kernels.operators import Dynamic
from taggnn.kernels.triton.blocks import gatv2_blocks
from taggnn.kernels.triton.device import (
    dot,
    is_edge,
    leaky,
    leaky_backward,
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


class TritonGATv2(nn.Module):
    """Computes ``Dynamic`` in one pass forward and two backward.

    Source: online softmax and backward by recomputation after FlashAttention-2, https://arxiv.org/abs/2307.08691, algorithms 1
    and 2, with the score of GATv2 instead of the product.

    Formula, with ``z_ijc = l_jc + r_ic``, the weights ``w_ij = exp(sum_c a_c LeakyReLU(z_ijc) - lse_i)``, the gradient g of the
    result, ``e_ij = w_ij (g_i . l_j - g_i . out_i)``, ``U_jc = sum_i e_ij LeakyReLU'(z_ijc)`` and ``V_ic`` the same sum over j:
    ``dl_j = sum_i w_ij g_i + a U_j``, ``dr_i = a V_i``, and, since ``LeakyReLU(z) = z LeakyReLU'(z)``,
    ``da_c = sum_j l_jc U_jc + sum_i r_ic V_ic``.

    Args:
        family: slope and self-loops.
        near: the neighbours of every node.

    **Shapes:** l, r (B, N, A, D), a (A, D), dropout -> (B, N, A, D).

    Raises:
        ValueError: in ``forward``, dropout, or tensors that are not on a CUDA device.
    """

    def __init__(self, family: Dynamic, near: Neighbours) -> None:
        super().__init__()
        self.family, self.near = family, near

    def forward(self, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        check(l, dropout, gatv2_forward)
        out, _ = attend(rows(l), rows(r), a.contiguous(), self.family.slope, self.family.self_loops, *self.near)
        return out.unflatten(0, l.shape[:2])


@torch.library.custom_op("taggnn::triton_gatv2", mutates_args=())
def attend(
    left: Tensor, right: Tensor, a: Tensor, slope: float, loops: bool, frames: int, positions: int, clique: bool,
    reach: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns the output (M, A, D) and the log-sum-exp of its scores (M, A)."""
    out, lse = _results(left, right, a, slope, loops, frames, positions, clique, reach)
    near, size = Neighbours(frames, positions, clique, reach), gatv2_blocks(positions, left)
    strides = left.stride(0), right.stride(0)
    launch(gatv2_forward, near, size, left, (left, right, a, out, lse, *strides), loops, SLOPE=slope)
    return out, lse


@attend.register_fake
def _results(left, right, a, slope, loops, frames, positions, clique, reach):
    out = torch.empty_like(left, dtype=torch.promote_types(left.dtype, a.dtype), memory_format=torch.contiguous_format)
    return out, left.new_empty(left.shape[:2], dtype=torch.promote_types(left.dtype, torch.float32))


@torch.library.custom_op("taggnn::triton_gatv2_backward", mutates_args=())
def attend_backward(
    g: Tensor, left: Tensor, right: Tensor, a: Tensor, out: Tensor, lse: Tensor, slope: float, loops: bool,
    frames: int, positions: int, clique: bool, reach: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns the gradients of l, r and a."""
    near, size = Neighbours(frames, positions, clique, reach), gatv2_blocks(positions, left)
    to_left, to_right = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (left, right))
    delta = torch.empty_like(lse)
    # Each program has a share in the gradient of a: nothing is added up in an order that changes.
    of_targets, of_sources = lse.new_empty(2, len(left) // positions * triton.cdiv(positions, size.own), *a.shape)
    strides = g.stride(0), left.stride(0), right.stride(0)
    operands = (g, left, right, a)
    options: dict[str, Any] = {"loops": loops, "SLOPE": slope}
    launch(gatv2_targets, near, size, left, (*operands, out, lse, delta, to_right, of_targets, *strides), **options)
    outputs = to_left, of_sources
    launch(gatv2_sources, near, size, left, (*operands, lse, delta, *outputs, *strides), sources=True, **options)
    return to_left, to_right, (of_targets.sum(0) + of_sources.sum(0)).to(a.dtype)


@attend_backward.register_fake
def _(g, left, right, a, out, lse, slope, loops, frames, positions, clique, reach):
    return *(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (left, right)), torch.empty_like(a)


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    left, right, a, *ctx.rule = inputs
    ctx.save_for_backward(left, right, a, *output)


def _backward(ctx: Any, g: Tensor, _: Tensor) -> tuple:
    return *attend_backward(g.contiguous(), *ctx.saved_tensors, *ctx.rule), *(None for _ in ctx.rule)


attend.register_autograd(_backward, setup_context=_save)


@triton.jit
def coefficients(a, head, c, CHANNELS: tl.constexpr, FLOAT: tl.constexpr):
    return tl.load(a + head * CHANNELS + c, mask=c < CHANNELS, other=0.0).to(FLOAT)


@triton.jit
def transposed(x, stride, start, position, valid, head, c, CHANNELS: tl.constexpr, FLOAT: tl.constexpr):
    """Loads (channels, rows)."""
    return tl.trans(tile(x, stride, start, position, valid, head, c, CHANNELS).to(FLOAT))


@triton.jit
def scores(
    x, x_row, x_position, y, y_row, y_position, a, start, head, SLOPE: tl.constexpr, POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_Y: tl.constexpr, BLOCK_C: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Scores positions of x with positions of y in the same frame: (X, Y)."""
    score = tl.zeros((BLOCK_X, BLOCK_Y), FLOAT)
    for first in range(0, CHANNELS, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        one = transposed(x, x_row, start, x_position, x_position < POSITIONS, head, c, CHANNELS, FLOAT)
        other = transposed(y, y_row, start, y_position, y_position < POSITIONS, head, c, CHANNELS, FLOAT)
        # Channels come first, because a thread holds the whole slowest axis and sums it alone.
        bend = leaky(one[:, :, None] + other[:, None, :], SLOPE)
        score += tl.sum(coefficients(a, head, c, CHANNELS, FLOAT)[:, None, None] * bend, 0)
    return score


@triton.jit
def pair_scores(
    x, x_row, x_start, y, y_row, y_start, a, position, valid, head, SLOPE: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Scores the same positions of two frames: (positions,)."""
    score = tl.zeros((BLOCK,), FLOAT)
    for first in range(0, CHANNELS, BLOCK_D):
        c = first + tl.arange(0, BLOCK_D)
        z = tile(x, x_row, x_start, position, valid, head, c, CHANNELS).to(FLOAT)
        z += tile(y, y_row, y_start, position, valid, head, c, CHANNELS).to(FLOAT)
        score += tl.sum(coefficients(a, head, c, CHANNELS, FLOAT)[None, :] * leaky(z, SLOPE), 1)
    return score


@triton.jit
def gatv2_forward(
    left, right, a, out, lse, left_row, right_row, SLOPE: tl.constexpr, FRAMES: tl.constexpr, POSITIONS: tl.constexpr,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr, LOOPS: tl.constexpr, REACH: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr, TYPE: tl.constexpr,
    FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = i < POSITIONS
    top = tl.full((BLOCK_I,), float("-inf"), FLOAT)
    total = tl.zeros((BLOCK_I,), FLOAT)
    acc = tl.zeros((BLOCK_I, BLOCK_D), FLOAT)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            score = scores(
                *(right, right_row, i, left, left_row, j, a, start, head),
                *(SLOPE, POSITIONS, CHANNELS, BLOCK_I, BLOCK_J, BLOCK_C, FLOAT),
            )
            score = tl.where(is_edge(i[:, None], j[None, :], POSITIONS, LOOPS), score, float("-inf"))
            top, base, fade = online_max(top, tl.max(score, 1))
            weight = tl.exp(score - base[:, None])
            total = total * fade + tl.sum(weight, 1)
            value = tile(left, left_row, start, j, j < POSITIONS, head, c, CHANNELS)
            acc = acc * fade[:, None] + dot(weight, value, TYPE, FLOAT, PRECISION)
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for n in range(2 * REACH + ITSELF):
        near, there = temporal_frame(n, start, frame, i, FRAMES, POSITIONS, REACH, ITSELF)
        score = pair_scores(
            *(right, right_row, start, left, left_row, near, a, i, there, head),
            *(SLOPE, CHANNELS, BLOCK_I, BLOCK_D, FLOAT),
        )
        score = tl.where(there, score, float("-inf"))
        top, base, fade = online_max(top, score)
        weight = tl.exp(score - base)
        total = total * fade + weight
        value = tile(left, left_row, near, i, there, head, c, CHANNELS).to(FLOAT)
        acc = acc * fade[:, None] + weight[:, None] * value
    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    store_tile(out, start, i, here, head, c, acc, HEADS, CHANNELS)
    if tl.program_id(2) == 0:
        store_scalars(lse, start, i, here, head, log_sum_exp(top, total), HEADS)


@triton.jit
def gatv2_targets(
    g, left, right, a, out, lse, delta, to_right, to_a, g_row, left_row, right_row, SLOPE: tl.constexpr,
    FRAMES: tl.constexpr, POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr,
    LOOPS: tl.constexpr, REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr, TYPE: tl.constexpr, FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, i = locate(FRAMES, POSITIONS, BLOCK_I)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_C)
    here = i < POSITIONS
    level = load_scalars(lse, HEADS, start, i, here, head, float("inf"), FLOAT)
    slope = tile(g, g_row, start, i, here, head, tl.arange(0, BLOCK_C), CHANNELS)
    share = pairs(
        *(g, g_row, start, out, HEADS * CHANNELS, start, i, here, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT),
    )
    # A tile for each few channels: one tile cannot be indexed by parts.
    sums = ()
    for _ in tl.static_range(BLOCK_D // BLOCK_C):
        sums = sums + (tl.zeros((BLOCK_C, BLOCK_I), FLOAT),)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_J):
            j = first + tl.arange(0, BLOCK_J)
            score = scores(
                *(left, left_row, j, right, right_row, i, a, start, head),
                *(SLOPE, POSITIONS, CHANNELS, BLOCK_J, BLOCK_I, BLOCK_C, FLOAT),
            )
            edge = is_edge(i[None, :], j[:, None], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(score - level[None, :]), 0.0)
            gain = products(
                *(slope, g, g_row, start, i, here, left, left_row, start, j, j < POSITIONS, head),
                *(CHANNELS, BLOCK_C, TYPE, FLOAT, PRECISION),
            )
            change = weight * (tl.trans(gain) - share[None, :])
            more = ()
            for n in tl.static_range(BLOCK_D // BLOCK_C):
                b = c + n * BLOCK_C
                own = transposed(right, right_row, start, i, here, head, b, CHANNELS, FLOAT)
                other = tile(left, left_row, start, j, j < POSITIONS, head, b, CHANNELS).to(FLOAT)
                bend = leaky_backward(change[:, None, :], other[:, :, None] + own[None, :, :], SLOPE)
                more = more + (sums[n] + tl.sum(bend, 0),)
            sums = more
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for m in range(2 * REACH + ITSELF):
        near, there = temporal_frame(m, start, frame, i, FRAMES, POSITIONS, REACH, ITSELF)
        score = pair_scores(
            *(right, right_row, start, left, left_row, near, a, i, there, head),
            *(SLOPE, CHANNELS, BLOCK_I, BLOCK_D, FLOAT),
        )
        weight = tl.where(there, tl.exp(score - level), 0.0)
        gain = pairs(g, g_row, start, left, left_row, near, i, there, head, CHANNELS, BLOCK_I, BLOCK_D, FLOAT)
        change = weight * (gain - share)
        more = ()
        for n in tl.static_range(BLOCK_D // BLOCK_C):
            b = c + n * BLOCK_C
            z = transposed(right, right_row, start, i, here, head, b, CHANNELS, FLOAT)
            z += transposed(left, left_row, near, i, there, head, b, CHANNELS, FLOAT)
            more = more + (sums[n] + leaky_backward(change[None, :], z, SLOPE),)
        sums = more
    part = (tl.program_id(0) * HEADS + head).to(tl.int64) * CHANNELS
    for n in tl.static_range(BLOCK_D // BLOCK_C):
        b = c + n * BLOCK_C
        own = transposed(right, right_row, start, i, here, head, b, CHANNELS, FLOAT)
        tl.store(to_a + part + b, tl.sum(own * sums[n], 1), mask=b < CHANNELS)
        result = coefficients(a, head, b, CHANNELS, FLOAT)[:, None] * sums[n]
        store_tile(to_right, start, i, here, head, b, tl.trans(result), HEADS, CHANNELS)
    if tl.program_id(2) == 0:
        store_scalars(delta, start, i, here, head, share, HEADS)


@triton.jit
def gatv2_sources(
    g, left, right, a, lse, delta, to_left, to_a, g_row, left_row, right_row, SLOPE: tl.constexpr,
    FRAMES: tl.constexpr, POSITIONS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, CLIQUE: tl.constexpr,
    LOOPS: tl.constexpr, REACH: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr, TYPE: tl.constexpr, FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    start, frame, j = locate(FRAMES, POSITIONS, BLOCK_J)
    head = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_C)
    here = j < POSITIONS
    value = tile(left, left_row, start, j, here, head, tl.arange(0, BLOCK_C), CHANNELS)
    spreads = ()
    sums = ()
    for _ in tl.static_range(BLOCK_D // BLOCK_C):
        spreads = spreads + (tl.zeros((BLOCK_J, BLOCK_C), FLOAT),)
        sums = sums + (tl.zeros((BLOCK_C, BLOCK_J), FLOAT),)
    if CLIQUE:
        for first in range(0, POSITIONS, BLOCK_I):
            i = first + tl.arange(0, BLOCK_I)
            level = load_scalars(lse, HEADS, start, i, i < POSITIONS, head, float("inf"), FLOAT)
            share = load_scalars(delta, HEADS, start, i, i < POSITIONS, head, 0.0, FLOAT)
            score = scores(
                *(right, right_row, i, left, left_row, j, a, start, head),
                *(SLOPE, POSITIONS, CHANNELS, BLOCK_I, BLOCK_J, BLOCK_C, FLOAT),
            )
            edge = is_edge(i[:, None], j[None, :], POSITIONS, LOOPS)
            weight = tl.where(edge, tl.exp(score - level[:, None]), 0.0)
            gain = products(
                *(value, left, left_row, start, j, here, g, g_row, start, i, i < POSITIONS, head),
                *(CHANNELS, BLOCK_C, TYPE, FLOAT, PRECISION),
            )
            change = weight * (tl.trans(gain) - share[:, None])
            turn = tl.trans(weight)
            further = ()
            more = ()
            for n in tl.static_range(BLOCK_D // BLOCK_C):
                b = c + n * BLOCK_C
                slope = tile(g, g_row, start, i, i < POSITIONS, head, b, CHANNELS)
                further = further + (spreads[n] + dot(turn, slope, TYPE, FLOAT, PRECISION),)
                own = transposed(left, left_row, start, j, here, head, b, CHANNELS, FLOAT)
                other = tile(right, right_row, start, i, i < POSITIONS, head, b, CHANNELS).to(FLOAT)
                bend = leaky_backward(change[:, None, :], other[:, :, None] + own[None, :, :], SLOPE)
                more = more + (sums[n] + tl.sum(bend, 0),)
            spreads = further
            sums = more
    ITSELF: tl.constexpr = LOOPS and not CLIQUE
    for m in range(2 * REACH + ITSELF):
        near, there = temporal_frame(m, start, frame, j, FRAMES, POSITIONS, REACH, ITSELF)
        level = load_scalars(lse, HEADS, near, j, there, head, float("inf"), FLOAT)
        share = load_scalars(delta, HEADS, near, j, there, head, 0.0, FLOAT)
        score = pair_scores(
            *(left, left_row, start, right, right_row, near, a, j, there, head),
            *(SLOPE, CHANNELS, BLOCK_J, BLOCK_D, FLOAT),
        )
        weight = tl.where(there, tl.exp(score - level), 0.0)
        gain = pairs(left, left_row, start, g, g_row, near, j, there, head, CHANNELS, BLOCK_J, BLOCK_D, FLOAT)
        change = weight * (gain - share)
        further = ()
        more = ()
        for n in tl.static_range(BLOCK_D // BLOCK_C):
            b = c + n * BLOCK_C
            slope = tile(g, g_row, near, j, there, head, b, CHANNELS).to(FLOAT)
            further = further + (spreads[n] + weight[:, None] * slope,)
            z = transposed(left, left_row, start, j, here, head, b, CHANNELS, FLOAT)
            z += transposed(right, right_row, near, j, there, head, b, CHANNELS, FLOAT)
            more = more + (sums[n] + leaky_backward(change[None, :], z, SLOPE),)
        spreads = further
        sums = more
    part = (tl.program_id(0) * HEADS + head).to(tl.int64) * CHANNELS
    for n in tl.static_range(BLOCK_D // BLOCK_C):
        b = c + n * BLOCK_C
        own = transposed(left, left_row, start, j, here, head, b, CHANNELS, FLOAT)
        tl.store(to_a + part + b, tl.sum(own * sums[n], 1), mask=b < CHANNELS)
        result = spreads[n] + tl.trans(coefficients(a, head, b, CHANNELS, FLOAT)[:, None] * sums[n])
        store_tile(to_left, start, j, here, head, b, result, HEADS, CHANNELS)
