"""Device functions of all kernels: the rows of a program, loading and storing tiles, one step of the online softmax.

Axes: B clips, T frames, P positions of a frame, M = B*T*P rows, I targets, J sources, D channels of a head.
"""

import triton
import triton.language as tl


@triton.jit
def locate(FRAMES: tl.constexpr, POSITIONS: tl.constexpr, BLOCK: tl.constexpr):
    """Returns the first row of the program's frame, the frame's number in its clip, and the positions of the program."""
    blocks = tl.cdiv(POSITIONS, BLOCK)
    frame = tl.program_id(0) // blocks
    position = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    return frame.to(tl.int64) * POSITIONS, frame % FRAMES, position


@triton.jit
def temporal_frame(
    n, start, frame, position, FRAMES: tl.constexpr, POSITIONS: tl.constexpr, REACH: tl.constexpr, ITSELF: tl.constexpr
):
    """Returns the first row of the n-th frame that the chain reaches, and its mask; with the own frame where ``ITSELF``."""
    offset = n - REACH
    if not ITSELF:
        # The second half starts after the own frame.
        offset += n // max(REACH, 1)
    node = (frame + offset) * POSITIONS + position
    return start + offset * POSITIONS, (position < POSITIONS) & (node >= 0) & (node < FRAMES * POSITIONS)


@triton.jit
def is_edge(target, source, POSITIONS: tl.constexpr, LOOPS: tl.constexpr):
    """Returns the adjacency of targets and sources of one frame; the two have different axes."""
    edge = (target < POSITIONS) & (source < POSITIONS)
    if not LOOPS:
        edge &= target != source
    return edge


@triton.jit
def within(valid, c, CHANNELS: tl.constexpr):
    """Returns the mask of a tile (rows, channels)."""
    inside = valid[:, None]
    if tl.constexpr(CHANNELS) % c.shape[0] != 0:
        inside = inside & (c < CHANNELS)[None, :]
    return inside


@triton.jit
def tile(x, stride, start, position, valid, head, c, CHANNELS: tl.constexpr):
    """Loads the positions of a frame as (rows, channels), 0 outside."""
    # One 64-bit offset for the tile, so that those of its elements are 32-bit.
    at = x + (start * stride + head * CHANNELS) + (position[:, None] * stride + c[None, :])
    return tl.load(at, mask=within(valid, c, CHANNELS), other=0.0)


@triton.jit
def store_tile(x, start, position, valid, head, c, value, HEADS: tl.constexpr, CHANNELS: tl.constexpr):
    """Stores (rows, channels) to the positions of a frame in a contiguous tensor."""
    at = x + (start * HEADS + head) * CHANNELS + (position[:, None] * (HEADS * CHANNELS) + c[None, :])
    tl.store(at, value, mask=within(valid, c, CHANNELS))


@triton.jit
def load_scalars(x, stride, start, position, valid, head, outside, FLOAT: tl.constexpr):
    """Loads one number for each position of a frame."""
    return tl.load(x + (start * stride + head) + position * stride, mask=valid, other=outside).to(FLOAT)


@triton.jit
def store_scalars(x, start, position, valid, head, value, HEADS: tl.constexpr):
    """Stores one number for each position of a frame to a contiguous tensor."""
    tl.store(x + (start * HEADS + head) + position * HEADS, value, mask=valid)


@triton.jit
def leaky(z, SLOPE: tl.constexpr):
    return tl.where(z > 0, z, SLOPE * z)


@triton.jit
def leaky_backward(slope, z, SLOPE: tl.constexpr):
    """The gradient before a LeakyReLU, given the gradient ``slope`` after it."""
    return tl.where(z > 0, slope, SLOPE * slope)


@triton.jit
def online_max(top, score):
    """Returns the new maximum, what to subtract from scores (never infinite), and the factor for what was summed before."""
    new = tl.maximum(top, score)
    base = tl.where(new == float("-inf"), 0.0, new)
    return new, base, tl.exp(top - base)


@triton.jit
def log_sum_exp(top, total):
    """Returns the log-sum-exp; +inf without neighbours, so that every weight computed from it is 0."""
    return tl.where(total > 0, top + tl.log(tl.where(total > 0, total, 1.0)), float("inf"))


@triton.jit
def dot(x, y, TYPE: tl.constexpr, FLOAT: tl.constexpr, PRECISION: tl.constexpr):
    """Multiplies two matrices, rounded to ``TYPE`` first, with sums in ``FLOAT``."""
    return tl.dot(x.to(TYPE), y.to(TYPE), input_precision=PRECISION, out_dtype=FLOAT)


@triton.jit
def products(
    first, x, x_row, x_start, x_position, x_valid, y, y_row, y_start, y_position, y_valid, head, CHANNELS: tl.constexpr,
    BLOCK_D: tl.constexpr, TYPE: tl.constexpr, FLOAT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Multiplies rows of x with rows of y over all channels: (X, Y). ``first`` is the tile of x with its first channels."""
    c = tl.arange(0, BLOCK_D)
    other = tile(y, y_row, y_start, y_position, y_valid, head, c, CHANNELS)
    total = dot(first, tl.trans(other), TYPE, FLOAT, PRECISION)
    for more in range(BLOCK_D, CHANNELS, BLOCK_D):
        one = tile(x, x_row, x_start, x_position, x_valid, head, more + c, CHANNELS)
        other = tile(y, y_row, y_start, y_position, y_valid, head, more + c, CHANNELS)
        total += dot(one, tl.trans(other), TYPE, FLOAT, PRECISION)
    return total


@triton.jit
def pairs(
    x, x_row, x_start, y, y_row, y_start, position, valid, head, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Multiplies the same positions of two frames over all channels: (positions,)."""
    total = tl.zeros((BLOCK,), FLOAT)
    for first in range(0, CHANNELS, BLOCK_D):
        c = first + tl.arange(0, BLOCK_D)
        one = tile(x, x_row, x_start, position, valid, head, c, CHANNELS).to(FLOAT)
        total += tl.sum(one * tile(y, y_row, y_start, position, valid, head, c, CHANNELS).to(FLOAT), 1)
    return total
