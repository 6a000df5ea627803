"""Coordinates of a sequence filled in, moved, turned and scaled.

All functions leave missing coordinates, NaN, as they are, except ``filled``.

Axes: M persons, T frames, V joints, C coordinates (x, y and, in three dimensions, z).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from graphs.skeleton import Skeleton
from taggnn.data.skeleton.body import Axes, center_of

# Of the shortest extent that is divided by: a sequence of one frame, or a still one, has extent 0 along an axis.
EPSILON = 1e-6


def present(x: Tensor) -> Tensor:
    """Whether a person is in a frame: any of its joints has coordinates. **Shapes:** (M, T, V, C) -> bool (M, T)"""
    return x.isfinite().all(-1).any(-1)


def filled(x: Tensor) -> Tensor:
    """Joints that are missing in a frame with the person, interpolated between the frames that have them [ours].

    Linear in time; before the first and after the last such frame the nearest one is taken. A joint that no frame has gets the
    mean of the person's joints in each frame. Frames without the person stay NaN.

    **Shapes:** (M, T, V, C) -> the same
    """
    whole = x.isfinite().all(-1)
    here = present(x)
    if bool((whole | ~here[..., None]).all()):
        return torch.where(whole[..., None], x, torch.nan)
    frames = x.shape[1]
    index = torch.arange(frames)[None, :, None].expand(whole.shape)
    before = torch.where(whole, index, -1).cummax(1).values
    after = torch.where(whole, index, frames).flip(1).cummin(1).values.flip(1)
    low = torch.where(before < 0, after, before).clamp(max=frames - 1)
    high = torch.where(after >= frames, before, after).clamp(min=0)
    part = (index - low) / (high - low).clamp(min=1)
    first, last = (x.gather(1, one[..., None].expand(x.shape)) for one in (low, high))
    between = first + part[..., None].to(x.dtype) * (last - first)
    middle = torch.where(whole[..., None], x, torch.nan).nanmean(2, keepdim=True).expand(x.shape)
    complete = torch.where(between.isfinite(), between, middle)
    return torch.where(here[..., None, None], torch.where(whole[..., None], x, complete), torch.nan)


def centered(x: Tensor, skeleton: Skeleton, every_frame: bool = False) -> Tensor:
    """Subtracts the centre of the body.

    Source: the released code of CTR-GCN (https://arxiv.org/abs/2107.12213), which subtracts the spine of the first frame.

    Args:
        x: the sequence; the first person is the main one.
        skeleton: its joints.
        every_frame: subtract the main person's centre of each frame, so that its path is lost, instead of that of its first
            frame; frames without the main person take the nearest earlier one.

    **Shapes:** (M, T, V, C) -> the same
    """
    middle = x[0][:, list(center_of(skeleton))].mean(1)
    seen = middle.isfinite().all(-1).nonzero().flatten()
    if not len(seen):
        return x
    if not every_frame:
        return x - middle[seen[0]]
    frames = torch.arange(len(middle))
    latest = torch.searchsorted(seen, frames, right=True).sub(1).clamp(min=0)
    return x - middle[seen[latest]][:, None]


def aligned(x: Tensor, axes: Axes) -> Tensor:
    """Turns the scene so that the main person first stands upright along y, with its shoulders along x.

    Source: view alignment as for NTU RGB+D (https://arxiv.org/abs/1604.02808, section 3.2); that both axes are exact is ours:
    the spine is kept and the shoulders are made perpendicular to it.

    Formula: ``x' = x R^T``, the rows of R are ``r_x = n(s - (s . r_y) r_y)``, ``r_y = n(shoulders - hips)`` and ``r_x x r_y``,
    s from the right to the left shoulder, n(v) = v / |v|, all in the first frame that has these joints.

    Args:
        x: the sequence, centred.
        axes: the joints, see ``body.axes_of``.

    **Shapes:** (M, T, V, 3) -> the same

    Raises:
        ValueError: coordinates with two dimensions.
    """
    if x.shape[-1] != 3:
        raise ValueError(f"align True: needs three coordinates, the sequence has {x.shape[-1]}")
    parts = x[0][:, [*axes.hips, *axes.shoulders]]
    seen = parts.isfinite().all(-1).all(-1).nonzero().flatten()
    if not len(seen):
        return x
    left_hip, right_hip, left, right = parts[seen[0]].double()
    up = (left + right - left_hip - right_hip) / 2
    across = left - right
    if up.norm() < EPSILON:
        return x
    up = up / up.norm()
    across = across - across.dot(up) * up
    if across.norm() < EPSILON:
        return x
    across = across / across.norm()
    matrix = torch.stack([across, up, torch.linalg.cross(across, up)])
    return x @ matrix.T.to(x.dtype)


def rotation(degrees: Sequence[float]) -> Tensor:
    """The matrix of a rotation about X, then Y, then Z.

    **Shapes:** 3 angles -> (3, 3), for ``x @ matrix``
    """
    turned = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(degrees):
        one, two = (number for number in range(3) if number != axis)
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        single = torch.eye(3, dtype=torch.float64)
        single[one, one] = single[two, two] = cosine
        single[one, two], single[two, one] = sine, -sine
        turned = turned @ single
    return turned.float()


def rotated(x: Tensor, degrees: Sequence[float]) -> Tensor:
    """Turns a sequence about the origin; in two dimensions only about Z.

    **Shapes:** (M, T, V, C) -> the same
    """
    dimensions = x.shape[-1]
    angles = degrees if dimensions == 3 else (0.0, 0.0, degrees[2])
    return x @ rotation(angles)[:dimensions, :dimensions].to(x.dtype)


def mirrored(x: Tensor, skeleton: Skeleton) -> Tensor:
    """Exchanges left and right: x is negated, and the joints of each pair change their index.

    **Shapes:** (M, T, V, C) -> the same
    """
    other = x[:, :, list(skeleton.mirrored)].clone()
    other[..., 0] = -other[..., 0]
    return other


def fitted(x: Tensor, each_axis: bool) -> Tensor:
    """Scales a sequence into [-1, 1] by its extent over all persons and frames.

    Source: the released code of CTR-GCN for NW-UCLA scales each axis by itself, ``2 (x - min) / (max - min) - 1``, which loses
    the aspect ratio; one scale for all axes is ours. Where the extent is 0, as in a sequence of one frame may be, the axis
    becomes 0 instead of 0/0 [ours].

    Args:
        x: the sequence.
        each_axis: scale each axis by itself; else all by the largest extent.

    **Shapes:** (M, T, V, C) -> the same
    """
    flat = x.reshape(-1, x.shape[-1])
    known = flat[flat.isfinite().all(-1)]
    if not len(known):
        return x
    low, high = known.amin(0), known.amax(0)
    extent = high - low if each_axis else (high - low).amax().expand(low.shape)
    return 2 * (x - (low + high) / 2) / extent.clamp(min=EPSILON)


def in_picture(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Scales pixels by the size of their picture: ``(2 x / width - 1, 2 y / height - 1)``.

    Source: the released code of PYSKL (https://arxiv.org/abs/2205.09443).

    Args:
        x: in pixels from the upper left corner.
        size: height and width.

    **Shapes:** (M, T, V, 2) -> the same
    """
    height, width = size
    return 2 * x / torch.tensor([width, height], dtype=x.dtype) - 1


def resized(x: Tensor, frames: int) -> Tensor:
    """Interpolates a sequence to another number of frames, linearly.

    Source: the released code of CTR-GCN for NTU RGB+D. Frame t of n is at ``(t + 1/2) n / T - 1/2``, and the first and last frame
    are repeated beyond the ends. Frames without a person must be zeros, not NaN.

    **Shapes:** (M, T, V, C) -> (M, frames, V, C)
    """
    persons, _, joints, dimensions = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(persons, joints * dimensions, -1)
    shown = F.interpolate(rows, size=frames, mode="linear", align_corners=False)
    return shown.reshape(persons, joints, dimensions, frames).permute(0, 3, 1, 2)


def crop(n: int, part: float, start: float) -> tuple[int, int]:
    """First frame and length of a part of n frames, one at least.

    Args:
        n: frames.
        part: of the length, above 0 up to 1.
        start: 0 for the beginning, 1 for the end.
    """
    length = min(max(round(n * part), 1), n)
    return min(int(start * (n - length + 1)), n - length), length
