"""From decoded frames to the input of the model: crop, augmentation, normalisation.

Axes: T frames, H W the picture before and h w after.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

RELEASED_MEAN = (0.45, 0.45, 0.45)
RELEASED_STD = (0.225, 0.225, 0.225)
# Largest magnitude of RandAugment.
MAX_MAGNITUDE = 30


@dataclass(frozen=True)
class Transform:
    """Turns the frames of a clip into a normalised tensor; one random draw serves all frames.

    Source: the released TAG-Head recipe (https://arxiv.org/abs/2604.11498): in training a flip with probability 0.5
    and a random square crop of 0.5 to 1 of the area resized to 112, at test the central 112 x 112, on frames whose short
    side the decoder has made 128; (x / 255 - 0.45) / 0.225. RandAugment (https://arxiv.org/abs/1909.13719), colour jitter
    and random erasing (https://arxiv.org/abs/1708.04896) are options and off by default. None of RandAugment's operations
    mirrors a picture; what it moves in from outside the frame has the mean colour.

    In training, in this order: crop and resize, flip, RandAugment, color jitter, grayscale, normalise, random erasing. At test:
    central crop, grayscale, normalise; frames smaller than the crop are first enlarged to cover it. Cropping and resizing
    work on uint8. With ``stretch`` the whole frame is resized to the aspect ratio of the output first, and at test nothing is
    cropped.

    Every field is a plain type: ``Transform(**transform.options)`` equals the transform.

    Args:
        size: side of the output in pixels, or (height, width).
        train: whether to draw at random; False is the fixed transform of evaluation.
        flip: probability of a horizontal flip; ``draw`` reports whether it happened, for labels with left and right.
        scale: smallest and largest part of the frame's area that a training crop covers.
        ratio: smallest and largest distortion of a training crop's aspect (width over height) against the output's; (1,
            1) distorts nothing.
        randaugment: number of RandAugment operations on a training clip; 0 for none.
        magnitude: magnitude of the RandAugment operations, 0 to 30.
        magnitude_std: standard deviation of the magnitude, drawn for each operation and clipped to 0 .. 30; 0 for none.
        color_jitter: largest relative change of brightness, contrast and saturation, from 0 (none) to 1; hue changes by a
            tenth of it.
        random_erasing: probability that one rectangle of a training clip (2 to 33 % of the area, the same in all frames) is set
            to the mean.
        grayscale: whether to convert to grayscale (three equal channels).
        stretch: whether frames are resized to the aspect ratio of the output, for pictures already cropped to their subject.
        per_clip_norm: whether the clip's own mean and standard deviation, over all its pixels, replace ``mean`` and ``std``:
            for data whose lighting differs from clip to clip.
        mean: mean to subtract from each channel, of pixels in [0, 1]; one number or three.
        std: standard deviation to divide each channel by; one number or three.

    **Shapes:** uint8 (T, H, W, 3) -> float32 (3, T, h, w)

    Raises:
        ValueError: if an option is out of range, or the frames are not uint8 (T, H, W, 3).
    """

    size: Any = 112
    train: bool = False
    flip: float = 0.5
    scale: Sequence[float] = (0.5, 1.0)
    ratio: Sequence[float] = (1.0, 1.0)
    randaugment: int = 0
    magnitude: int = 9
    magnitude_std: float = 0.0
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    grayscale: bool = False
    stretch: bool = False
    per_clip_norm: bool = False
    mean: Any = RELEASED_MEAN
    std: Any = RELEASED_STD

    def __post_init__(self) -> None:
        # Tuples instead of numbers and lists: equal options are then equal transforms, and hashable.
        for field, length in (("size", 2), ("scale", 2), ("ratio", 2), ("mean", 3), ("std", 3)):
            value = getattr(self, field)
            value = tuple(value) if isinstance(value, Sequence) else (value,) * length
            if len(value) != length:
                raise ValueError(f"{field} {value}: expected {length} numbers")
            object.__setattr__(self, field, value)
        for field in ("flip", "color_jitter", "random_erasing"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} {getattr(self, field)}: possible are 0 to 1")
        if min(self.size) < 1:
            raise ValueError(f"size {self.size}: at least 1 pixel")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale}: expected 0 < smallest <= largest <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio {self.ratio}: expected 0 < smallest <= largest")
        if self.randaugment < 0:
            raise ValueError(f"randaugment {self.randaugment}: expected a number of operations, from 0")
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"magnitude {self.magnitude}: possible are 0 to {MAX_MAGNITUDE}")
        if not self.magnitude_std >= 0:
            raise ValueError(f"magnitude_std {self.magnitude_std}: must be 0 or more")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std}: must be above 0")

    @property
    def options(self) -> dict[str, Any]:
        """The fields as plain types, lists for tuples, as a checkpoint stores them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def __call__(self, frames: np.ndarray | Tensor, seed: int = 0) -> Tensor:
        """Transforms one clip.

        Args:
            frames: the decoded frames.
            seed: integer from 0, of all random draws; the global random streams are not touched.
        """
        return self.draw(frames, seed)[0]

    def crop(self, frames: np.ndarray | Tensor, number: int, crops: int) -> Tensor:
        """One of several crops of evaluation; a single one is the center crop.

        Source: SlowFast, https://arxiv.org/abs/1812.03982, section 4, with three crops of frames whose short side is that of
        the crop. Here frames keep the short side that they were decoded with.

        Args:
            frames: the decoded frames.
            number: index of the crop; see ``cut``.
            crops: number of crops.

        **Shapes:** uint8 (T, H, W, 3) -> float32 (3, T, h, w)

        Raises:
            ValueError: as ``check_crops``.
        """
        self.check_crops(crops)
        if crops == 1:
            return self(frames)
        return self._normalised(cut(_pictures(frames), self.size, number, crops))

    def check_crops(self, crops: int) -> None:
        """Refuses impossible numbers of crops.

        Raises:
            ValueError: fewer than one, or several of frames that are stretched, or in training.
        """
        if crops < 1:
            raise ValueError(f"crops must be 1 or more, not {crops}")
        if crops > 1 and self.stretch:
            raise ValueError(
                f"crops {crops}: the model sees whole frames, stretched to its input (video.stretch), so there is nothing to "
                "crop; possible is 1"
            )
        if self.train:
            raise ValueError(f"crops {crops}: for evaluation only, and this is the transform of training")

    def draw(self, frames: np.ndarray | Tensor, seed: int = 0) -> tuple[Tensor, bool]:
        """Transforms one clip and reports whether it was flipped, so that the label can follow.

        Args:
            frames: the decoded frames.
            seed: as in a call.

        **Shapes:** uint8 (T, H, W, 3) -> float32 (3, T, h, w), and a bool
        """
        frames = _pictures(frames)
        if self.stretch:
            frames = stretched(frames, self.size, keep=self.train)
        if not self.train:
            return self._normalised(cut(frames, self.size)), False
        crop, color, erase = _steps(self)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would reseed every accelerator too.
            torch.default_generator.manual_seed(seed)
            frames = crop(frames)
            # Nothing is drawn if a flip is impossible.
            flipped = self.flip > 0 and bool(torch.rand(1) < self.flip)
            clip = self._normalised(color(functional.horizontal_flip(frames) if flipped else frames))
            # (3, T, h, w): the rectangle is the same along all leading axes.
            return erase(clip), flipped

    def _normalised(self, frames: Tensor) -> Tensor:
        if self.grayscale:
            frames = functional.rgb_to_grayscale(frames, num_output_channels=3)
        clip = _normalise(frames, self.mean, self.std)
        if self.per_clip_norm:
            # A clip of one colour has deviation 0 and becomes zero.
            deviation, mean = torch.std_mean(clip, correction=0)
            clip = (clip - mean) / deviation.clamp(min=1e-3)
        return clip


def cut(frames: Tensor, size: Sequence[int], number: int = 0, crops: int = 1) -> Tensor:
    """The center crop of every frame, or one of several crops, enlarging frames that are smaller than it.

    Several are spread evenly along the longer side of the frame, relative to the output's aspect ratio, and centered along the
    other side: three are left, center, right or top, center, bottom. The middle one of an odd number is the center crop.

    Args:
        frames: the pictures.
        size: (height, width) of the output.
        number: index of the crop.
        crops: number of crops.

    **Shapes:** (T, 3, H, W) -> (T, 3, h, w)
    """
    (height, width), (h, w) = frames.shape[-2:], size
    enlarge = max(h / height, w / width)
    if enlarge > 1:
        # max: rounding must not leave a frame one pixel short of the crop.
        covering = [max(h, round(height * enlarge)), max(w, round(width * enlarge))]
        frames = functional.resize(frames, covering, antialias=True)
    if crops == 1:
        return functional.center_crop(frames, list(size))
    height, width = frames.shape[-2:]
    part = number / (crops - 1)
    # Rounded as center_crop does, so that the middle one is equal.
    down, right = (part, 0.5) if height * w > width * h else (0.5, part)
    return functional.crop(frames, round((height - h) * down), round((width - w) * right), h, w)


def stretched(frames: Tensor, size: Sequence[int], keep: bool) -> Tensor:
    """Resizes every frame to the aspect ratio of the output.

    Args:
        frames: the pictures.
        size: (height, width) of the output.
        keep: whether to keep the resolution for a later crop, as far as both sides have it; False gives the output's size.

    **Shapes:** (T, 3, H, W) -> (T, 3, k h, k w), k >= 1
    """
    (height, width), (h, w) = frames.shape[-2:], size
    k = max(1.0, min(height / h, width / w)) if keep else 1.0
    return functional.resize(frames, [round(h * k), round(w * k)], antialias=True)


class _RandAugment(v2.Transform):
    """RandAugment with a random magnitude for each operation."""

    def __init__(self, operations: int, magnitude: int, std: float, fill: Sequence[float]) -> None:
        super().__init__()
        self.operations, self.magnitude, self.std = operations, magnitude, std
        bilinear = v2.InterpolationMode.BILINEAR
        self.by_magnitude = [
            v2.RandAugment(1, level, MAX_MAGNITUDE + 1, interpolation=bilinear, fill=list(fill))
            for level in range(MAX_MAGNITUDE + 1)
        ]

    def forward(self, frames: Tensor) -> Tensor:
        for _ in range(self.operations):
            level = self.magnitude
            if self.std:
                level += round(float(torch.randn(())) * self.std)
            frames = self.by_magnitude[min(max(level, 0), MAX_MAGNITUDE)](frames)
        return frames


@lru_cache(maxsize=16)
def _steps(transform: Transform) -> tuple[v2.Transform, v2.Transform, v2.Transform]:
    """The random steps before and after the flip on uint8 pictures, and the one on normalised pictures."""
    (h, w), (low, high) = transform.size, transform.ratio
    crop = v2.RandomResizedCrop((h, w), scale=transform.scale, ratio=(low * w / h, high * w / h), antialias=True)
    color: list[v2.Transform] = [v2.Identity()]
    if transform.randaugment:
        mean = [round(255 * min(max(m, 0), 1)) for m in transform.mean]
        color.append(_RandAugment(transform.randaugment, transform.magnitude, transform.magnitude_std, mean))
    if transform.color_jitter:
        strength = transform.color_jitter
        color.append(v2.ColorJitter(strength, strength, strength, hue=strength / 10))
    erase = v2.RandomErasing(transform.random_erasing, value=0.0) if transform.random_erasing else v2.Identity()
    return crop, v2.Compose(color), erase


def _pictures(frames: np.ndarray | Tensor) -> Tensor:
    """**Shapes:** uint8 (T, H, W, 3) -> (T, 3, H, W)"""
    frames = torch.as_tensor(frames)
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames {frames.dtype} {tuple(frames.shape)}: expected uint8 (T, H, W, 3)")
    # A view whose memory stays channels-last, for which torch resizes uint8 fastest.
    return frames.permute(0, 3, 1, 2)


def _normalise(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """**Shapes:** uint8 (T, 3, h, w) -> float32 (3, T, h, w)"""
    # One multiplication and one addition, on memory laid out as the model reads it.
    gain = torch.tensor([1 / (255 * s) for s in std]).view(3, 1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(3, 1, 1, 1)
    clip = frames.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return clip.mul_(gain).add_(shift)
