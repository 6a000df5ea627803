"""Localisation: how often the peak of a spatial attention map lies in the true region.

Axes: B clips, T frames, R maps of a frame (tracklets; one for a class-activation map), H W the token grid of a frame, P = H*W its
positions, h w the input in pixels.

Source: the pointing game, https://arxiv.org/abs/1608.00507: a map hits where its maximum lies in the object. The peak is the
centre of the largest token [ours], without the tolerance of 15 pixels that they allow. Only frames in which the region is
visible count, that is, whose box overlaps the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taggnn.evaluation.intervals import RESAMPLES, Answers, interval, resample


@dataclass(frozen=True)
class Share:
    """A share of frames with its 95 % interval over clips.

    Args:
        value: of all frames of all clips.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Localisation:
    """How often peaks lie in the true region.

    Args:
        any: share of the frames in which the peak of any of the R maps does.
        best: the same of one map, the same one in all clips.
        index: which map that is.
        each: the share of every map.
        chance: of a peak at a random position: the mean share of positions in the region.
        chance_any: of any of R such peaks, independent of each other.
        reachable: share of the frames that any peak could hit: a region smaller than a token may hold no token's centre.
        frames: in which the region is visible.
        clips: with such frames.
    """

    any: Share
    best: Share
    index: int
    each: tuple[float, ...]
    chance: float
    chance_any: float
    reachable: float
    frames: int
    clips: int


def localisation(
    maps: Tensor, boxes: Tensor, size: Sequence[int], index: int | None = None, resamples: int = RESAMPLES
) -> Localisation:
    """How often the peaks of attention maps lie in the true regions.

    Intervals are those of `intervals.resample`: clips are drawn, with all their frames.

    Args:
        maps: of each frame, the larger the more attention.
        boxes: true regions in pixels of the input, as `boxes.boxes_of_input` gives them.
        size: (h, w) of the input.
        index: the map that counts as the best, chosen on other clips; None (default): the one that hits most often in these,
            which is a little too high by chance.
        resamples: of the intervals (default 2000).

    **Shapes:** maps (B, T, R, H, W), boxes (B, T, 4) as (x, y, width, height), x and y the centre

    Raises:
        ValueError: other shapes, a map that is not finite, or no frame in which the region is visible.
    """
    _check(maps, boxes)
    seen = visible(boxes, size)
    frames = seen.sum(1)
    if not frames.any():
        raise ValueError("the true region is visible in no frame, so there is nothing to localise")
    hits = peak_hits(maps, boxes, size) & seen[..., None]
    positions = hits_of_positions(boxes, maps.shape[-2:], size)
    inside = positions.double().mean((-2, -1))[seen]
    # Frames of each clip: those hit by any map, then by each map.
    counts = torch.cat([hits.any(-1, keepdim=True), hits], -1).sum(1).double()
    shares = counts.sum(0) / frames.sum()
    index = int(shares[1:].argmax()) if index is None else index
    low_high = [_interval(counts[:, column], frames.double(), resamples) for column in (0, 1 + index)]
    found_any, best = (
        Share(float(shares[column]), *ends) for column, ends in zip((0, 1 + index), low_high, strict=True)
    )
    return Localisation(
        any=found_any,
        best=best,
        index=index,
        each=tuple(shares[1:].tolist()),
        chance=float(inside.mean()),
        chance_any=float((1 - (1 - inside) ** maps.shape[2]).mean()),
        reachable=float((inside > 0).double().mean()),
        frames=int(frames.sum()),
        clips=int((frames > 0).sum()),
    )


@dataclass(frozen=True)
class Inside:
    """How much of a map lies in the true region.

    Args:
        share: mean over the clips, with its interval over clips.
        chance: the same of a map that is uniform: the mean share of the picture's area in the region.
        frames: in which the region is visible.
        clips: that count: with such frames, and with anything above 0 in them.
    """

    share: Share
    chance: float
    frames: int
    clips: int


def importance_inside(maps: Tensor, boxes: Tensor, size: Sequence[int], resamples: int = RESAMPLES) -> Inside:
    """The share of what is above 0 in a map that lies in the true region, over the frames in which the region is visible.

    Source: the energy-based pointing game, https://arxiv.org/abs/1910.01279, section 4.2; a cell on the edge of the region counts
    by the share of its area in it [ours]. Formula, for a clip: ``sum_tp max(v_tp, 0) s_tp / sum_tp max(v_tp, 0)``, with ``s_tp``
    of ``cell_shares``.

    Args:
        maps: importance of each position of each frame.
        boxes: true regions in pixels of the input, as `boxes.boxes_of_input` gives them.
        size: (h, w) of the input.
        resamples: of the interval (default 2000).

    **Shapes:** maps (B, T, H, W), boxes (B, T, 4) as (x, y, width, height), x and y the centre

    Raises:
        ValueError: other shapes, a map that is not finite, or no clip that counts.
    """
    _check(maps.unsqueeze(2), boxes)
    seen = visible(boxes, size)
    shares = cell_shares(boxes, maps.shape[-2:], size) * seen[..., None, None]
    above = maps.double().clamp(min=0) * seen[..., None, None]
    whole = above.flatten(1).sum(1)
    counts = whole > 0
    if not counts.any():
        raise ValueError("no map has anything above 0 in a frame in which the true region is visible")
    of_clips = ((above * shares).flatten(1).sum(1) / whole)[counts]
    frames = seen.sum(1)[counts].double()
    uniform = shares.mean((-2, -1)).sum(1)[counts] / frames
    low_high = _interval(of_clips, torch.ones_like(of_clips), resamples)
    return Inside(Share(float(of_clips.mean()), *low_high), float(uniform.mean()), int(frames.sum()), int(counts.sum()))


def cell_shares(boxes: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Which share of the area of each position's cell lies in the true region.

    Args:
        boxes: true regions in pixels of the input.
        grid: (H, W).
        size: (h, w).

    **Shapes:** boxes (*, 4) -> (*, H, W), 0 to 1
    """
    x, y, width, height = boxes.double().unbind(-1)
    sides = []
    for middle, side, count, pixels in ((y, height, grid[0], size[0]), (x, width, grid[1], size[1])):
        edges = torch.arange(count + 1, dtype=torch.double) * pixels / count
        first, last = (middle - side / 2)[..., None], (middle + side / 2)[..., None]
        inside = torch.minimum(edges[1:], last) - torch.maximum(edges[:-1], first)
        sides.append(inside.clamp(min=0) * count / pixels)
    return sides[0][..., :, None] * sides[1][..., None, :]


def peak_hits(maps: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Whether the peak of each map lies in the true region; of equal maxima the first counts.

    **Shapes:** maps (B, T, R, H, W), boxes (B, T, 4) -> bool (B, T, R)
    """
    peaks = maps.flatten(-2).argmax(-1)
    return hits_of_positions(boxes, maps.shape[-2:], size).flatten(-2).gather(-1, peaks)


def hits_of_positions(boxes: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Which positions of the token grid have their centre in the true region.

    Formula: ``|(j + 1/2) w / W - x| <= width / 2`` and likewise for rows.

    Args:
        boxes: true regions in pixels of the input.
        grid: (H, W).
        size: (h, w).

    **Shapes:** boxes (*, 4) -> bool (*, H, W)
    """
    x, y, width, height = boxes.unbind(-1)
    down, across = (
        (torch.arange(count, dtype=boxes.dtype) + 0.5) * side / count for count, side in zip(grid, size, strict=True)
    )
    in_column = (across - x[..., None]).abs() <= width[..., None] / 2
    in_row = (down - y[..., None]).abs() <= height[..., None] / 2
    return in_row[..., :, None] & in_column[..., None, :]


def visible(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Whether a part of the region lies in the input. **Shapes:** boxes (*, 4) -> bool (*)"""
    x, y, width, height = boxes.unbind(-1)
    return ((x + width / 2 > 0) & (x - width / 2 < size[1])) & ((y + height / 2 > 0) & (y - height / 2 < size[0]))


def middle_share(boxes: Tensor, size: Sequence[int]) -> float:
    """The share of frames whose region covers the middle of the picture, which a head that never moves would reach.

    **Shapes:** boxes (B, T, 4)
    """
    covered = hits_of_positions(boxes, (1, 1), size)[..., 0, 0]
    return float(covered[visible(boxes, size)].double().mean())


def class_activation(tokens: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """Class-activation maps of a head that averages tokens and classifies the average.

    Source: https://arxiv.org/abs/1512.04150, equation 2. Formula: ``M_c(p) = sum_k w_ck x_k(p)``.

    Args:
        tokens: of the backbone.
        weight: of the linear layer.
        classes: c of each clip.

    **Shapes:** tokens (B, T, H, W, C), weight (K, C), classes (B,) -> (B, T, 1, H, W)
    """
    return torch.einsum("bthwc,bc->bthw", tokens, weight[classes])[:, :, None]


def over_frames(maps: Tensor, frames: int) -> Tensor:
    """Maps of a backbone that merges frames, repeated for each frame of the input. **Shapes:** (B, T', *) -> (B, T, *)"""
    return maps[:, torch.arange(frames) * maps.shape[1] // frames]


def _interval(counts: Tensor, frames: Tensor, resamples: int) -> tuple[float, float]:
    """The interval of the share ``sum counts / sum frames`` over clips. **Shapes:** (B,) each"""
    none = torch.zeros(len(counts), dtype=torch.long)
    answers = Answers(none, none, None, 1, {"hits": counts, "frames": frames})
    (drawn,) = resample([answers], resamples=resamples)
    return interval(drawn["hits"] / drawn["frames"])


def _check(maps: Tensor, boxes: Tensor) -> None:
    if maps.ndim != 5 or boxes.shape != (*maps.shape[:2], 4):
        raise ValueError(
            f"maps {tuple(maps.shape)} and boxes {tuple(boxes.shape)}: expected (B, T, R, H, W) and (B, T, 4) of the same clips "
            "and frames"
        )
    if not maps.isfinite().all():
        raise ValueError("maps: expected finite numbers, or a peak cannot be found")
