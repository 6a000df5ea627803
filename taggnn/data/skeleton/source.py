"""Skeleton sequences as samples: persons chosen, coordinates normalised and augmented, frames sampled.

Axes: M persons, T frames, V joints, C channels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from graphs.skeleton import SKELETONS, find
from taggnn.data import frame_sampling
from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats, streams, synthetic, transforms
from taggnn.data.skeleton.body import axes_of, center_of
from taggnn.data.skeleton.drawing import pictures, rated_pictures
from taggnn.data.skeleton.probe import inspection
from taggnn.data.skeleton.sequence import SkeletonSequence
from taggnn.data.skeleton.streams import Stream
from taggnn.names import unknown
from taggnn.types import SKELETON_AXES, BadClip, InputSpec, Sample

Sampling = Literal["resize", "random", "uniform", "segment", "dense"]
SAMPLINGS: tuple[str, ...] = get_args(Sampling)
NORMALIZED = ("each_axis", "extent", "picture")
# Part of a sequence that "resize" takes of its middle in evaluation, as released.
MIDDLE = 0.95
# Options that evaluation needs too, and a checkpoint stores.
EVALUATED = (
    *("skeleton", "frames", "sampling", "stride", "persons", "dimensions", "confidence", "stream"),
    *("center", "align", "normalize"),
)


class SkeletonSource:
    """Makes samples of skeleton files; the defaults are CTR-GCN's recipe for NTU RGB+D.

    A training sample depends on its seed alone. The order of the steps: missing joints filled in, ``center``, ``align``, the
    random rotation, scale and flip of training, ``normalize``, frames sampled, ``stream``. Persons that are absent are zeros.

    Args:
        skeleton: the joints of the files, see ``python -m graphs --skeleton NAME``: ntu, nw_ucla, coco, openpose, mediapipe or
            hand.
        frames: T, frames of a sequence that the model sees.
        sampling: how frames are chosen: resize, a random part of the sequence interpolated to T frames; random, T sorted random
            frames; uniform, spread evenly; segment, one at random of each of T segments; dense, a window of neighbours.
        stride: distance between frames in dense sampling.
        crop: smallest and largest part, 0 to 1, of a sequence that resize takes at random in training.
        persons: M, persons of a sample: the first of the file, the main ones.
        dimensions: coordinates of a joint: 3, or 2 (x and y, also of files with three).
        confidence: add the confidence of each joint as a last channel; 1 where the file has none, 0 where a joint is missing.
        stream: joint (coordinates), bone (joint minus its parent), joint_motion or bone_motion (their change to the next frame).
        center: what is subtracted: the centre of the main person in its first_frame, or in every_frame; null: nothing.
        align: turn the scene so that the main person first stands upright and faces the camera; three dimensions only.
        normalize: scale into [-1, 1] over the sequence: each_axis by itself, all by the largest extent, or pixels by the size of
            the picture; null: not scaled.
        rotation: largest angles in degrees of a random rotation about x, y and z in training; in two dimensions only about z.
        scale: smallest and largest random factor on the coordinates in training; without effect with normalize.
        flip: probability in training that left and right are exchanged; 0, or see data.flip_pairs, where labels have sides.

    **Shapes:** a sample float32 (C, T, V, M), C the dimensions and 1 for confidence

    Raises:
        ValueError: if an option is out of range; the message begins with its name.
    """

    # In class folders texts are notes, and a pickle holds the clips of many classes.
    endings = formats.ENDINGS - {".txt", ".pkl", ".pickle"}
    synthetic: ClassVar = {"motions": synthetic.SET}

    def __init__(
        self,
        skeleton: str = "ntu",
        frames: int = 64,
        sampling: Sampling = "resize",
        stride: int = 1,
        crop: tuple[float, float] = (0.5, 1.0),
        persons: int = 2,
        dimensions: Literal[2, 3] = 3,
        confidence: bool = False,
        stream: Stream = "joint",
        center: Literal["first_frame", "every_frame"] | None = "first_frame",
        align: bool = False,
        normalize: Literal["each_axis", "extent", "picture"] | None = None,
        rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
        flip: float = 0.0,
    ):
        self.skeleton = find(skeleton)
        _check("frames", frames >= 1, frames, "1 or more")
        _check("persons", persons >= 1, persons, "1 or more")
        _check("dimensions", dimensions in (2, 3), dimensions, "2 and 3")
        _check("sampling", sampling in SAMPLINGS, sampling, ", ".join(SAMPLINGS))
        _check("stream", stream in streams.STREAMS, stream, ", ".join(streams.STREAMS))
        _check("center", center in (None, "first_frame", "every_frame"), center, "first_frame, every_frame and null")
        _check("normalize", normalize in (None, *NORMALIZED), normalize, f"{', '.join(NORMALIZED)} and null")
        _check("normalize", normalize != "picture" or dimensions == 2, normalize, "each_axis, extent and null in 3-D")
        _check("crop", 0 < crop[0] <= crop[1] <= 1, crop, "0 < smallest <= largest <= 1")
        _check("scale", 0 < scale[0] <= scale[1], scale, "0 < smallest <= largest")
        _check("rotation", all(0 <= angle <= 180 for angle in rotation), rotation, "0 to 180 degrees")
        _check("flip", 0 <= flip <= 1, flip, "0 to 1")
        _check("align", not align or dimensions == 3, align, "False with two dimensions")
        self.axes = axes_of(self.skeleton) if align else None
        self.frames, self.persons, self.dimensions, self.stream = frames, persons, dimensions, stream
        self.center, self.normalize, self.confidence = center, normalize, confidence
        self.crop, self.rotation, self.scale, self.flip = crop, rotation, scale, flip
        self.sampler = _sampler(sampling, frames, stride)
        options = locals()
        self.spec = InputSpec(
            "skeleton",
            SKELETON_AXES,
            (dimensions + confidence, frames, len(self.skeleton), persons),
            {option: options[option] for option in EVALUATED},
        )
        self.inspection = inspection(len(self.skeleton), dimensions)
        still = not stream.endswith("motion")
        self.picture = self._pictures if still else None
        self.rated_picture = self._rated_pictures if still else None
        self.bones = self.skeleton.bones
        self.position_names = self.skeleton.joints

    @classmethod
    def from_spec(cls, spec: InputSpec) -> "SkeletonSource":
        """The source of a checkpoint's input, for evaluation.

        Raises:
            ValueError: an option that evaluation does not have.
        """
        for option in spec.options:
            if option not in EVALUATED:
                raise unknown("option of a skeleton input", str(option), EVALUATED)
        return cls(**spec.options)

    def __call__(self, clip: Clip, seed: int | None) -> Sample | BadClip:
        """One clip.

        Args:
            clip: the row.
            seed: of every random draw of training; None: as evaluation sees the clip.
        """
        read = self._read(clip)
        if isinstance(read, BadClip):
            return read
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        x, confidence, flipped = self._normalized(*read, generator)
        return Sample(self._sampled(x, confidence, self._choice(x.shape[1], generator)), clip.label, flipped=flipped)

    def check_views(self, views: int, crops: int) -> None:
        """Refuses impossible numbers of evaluation views.

        Raises:
            ValueError: several views where the whole sequence is resized, or several crops.
        """
        if crops != 1:
            raise ValueError(f"crops {crops}: possible is 1, skeletons have no crops of pictures")
        if views > 1 and self.sampler is None:
            raise ValueError(f"views {views}: possible is 1 with sampling resize, which shows the whole sequence")
        if self.sampler is not None:
            frame_sampling.spread(self.sampler, views)

    def evaluation_views(
        self, clip: Clip, chosen: Sequence[tuple[int, int]], views: int, crops: int
    ) -> list[Sample] | BadClip:
        """Some of the evaluation views of a clip, each with other frames.

        Args:
            clip: the row.
            chosen: (view, crop) of each.
            views: number of views.
            crops: 1.
        """
        read = self._read(clip)
        if isinstance(read, BadClip):
            return read
        x, confidence, _ = self._normalized(*read, None)
        if self.sampler is None:
            return [Sample(self._sampled(x, confidence, self._choice(x.shape[1], None)), clip.label) for _ in chosen]
        choices = frame_sampling.spread(self.sampler, views)
        return [Sample(self._sampled(x, confidence, choices[view](x.shape[1])), clip.label) for view, _ in chosen]

    def describe(self) -> list[str]:
        """Sentences on what training does to a clip."""
        facts = []
        if any(self.rotation):
            angles = ", ".join(f"{angle:g}" for angle in self.rotation)
            facts.append(f"turned at random by up to {angles} degrees about x, y, z")
        if self.scale != (1, 1) and self.normalize is None:
            facts.append(f"scaled at random by {self.scale[0]:g} to {self.scale[1]:g}")
        if self.flip:
            facts.append(f"left and right exchanged with probability {self.flip:g}")
        if self.sampler is None:
            facts.append(f"a random part of {self.crop[0]:g} to {self.crop[1]:g} of the frames")
        return facts

    def preprocessing(self) -> list[str]:
        """Sentences on every step from a file to the input in evaluation."""
        joints = " and ".join(self.skeleton.joints[joint] for joint in center_of(self.skeleton))
        steps = [
            f"The first {self.persons} persons of the file, {len(self.skeleton)} joints of the skeleton {self.skeleton.name}, "
            f"{self.dimensions} coordinates; joints that are missing in a frame are interpolated in time."
        ]
        if self.center is not None:
            which = "its first frame" if self.center == "first_frame" else "each frame"
            steps.append(f"The centre ({joints}) of the first person in {which} is subtracted.")
        if self.axes is not None:
            steps.append("The scene is turned so that the first person stands along y with its shoulders along x.")
        if self.normalize is not None:
            ways = {"each_axis": "each axis by itself", "extent": "all axes by the largest extent"}
            how = ways.get(self.normalize, "by the size of the picture, before the centre is subtracted")
            steps.append(f"Coordinates are scaled into [-1, 1], {how}.")
        chosen = f"the middle {MIDDLE:g} resized linearly" if self.sampler is None else f"chosen by {self.sampler}"
        steps += [
            f"{self.frames} frames, {chosen}.",
            f"Stream {self.stream}; absent persons are 0; the input is (channel, frame, joint, person).",
        ]
        return steps

    def _read(self, clip: Clip) -> tuple[Tensor, Tensor] | BadClip:
        """Coordinates of M persons and the confidence of their joints. **Shapes:** -> (M, T, V, C), (M, T, V)"""
        try:
            return self._checked(formats.read(clip))
        except formats.FormatError as error:
            return BadClip(clip.name, clip.path, error.reason)
        except (ValueError, OSError) as error:
            return BadClip(clip.name, clip.path, str(error))

    def _checked(self, read: SkeletonSequence) -> tuple[Tensor, Tensor]:
        x = read.coordinates[: self.persons]
        joints, dimensions = x.shape[2:]
        if joints != len(self.skeleton):
            fitting = [name for name, other in SKELETONS.items() if len(other) == joints]
            hint = f"; with {joints} joints: skeleton.skeleton {' or '.join(fitting)}" if fitting else ""
            raise ValueError(f"{joints} joints, and the skeleton {self.skeleton.name} has {len(self.skeleton)}{hint}")
        if dimensions < self.dimensions:
            raise ValueError(f"{dimensions} coordinates a joint, skeleton.dimensions is {self.dimensions}")
        x = x[..., : self.dimensions].float()
        if self.normalize == "picture":
            if read.picture is None:
                raise ValueError(
                    "skeleton.normalize is picture, and the file states no size of the picture; give extent"
                )
            x = transforms.in_picture(x, read.picture)
        known = x.isfinite().all(-1)
        if not known.any():
            raise ValueError("no joint has coordinates in any frame")
        confidence = torch.ones(known.shape) if read.confidence is None else read.confidence[: self.persons].float()
        return transforms.filled(x), torch.where(known, confidence.nan_to_num(), 0.0)

    def _normalized(
        self, x: Tensor, confidence: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, bool]:
        if self.center is not None:
            x = transforms.centered(x, self.skeleton, self.center == "every_frame")
        if self.axes is not None:
            x = transforms.aligned(x, self.axes)
        flipped = False
        if generator is not None:
            # Always five numbers, so that an option changes no draw of another.
            *turn, factor, side = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
            if any(self.rotation):
                x = transforms.rotated(x, [angle * (2 * u - 1) for angle, u in zip(self.rotation, turn, strict=True)])
            low, high = self.scale
            x = x * (low + (high - low) * factor) if self.scale != (1, 1) else x
            flipped = side < self.flip
            if flipped:
                x = transforms.mirrored(x, self.skeleton)
                confidence = confidence[:, :, list(self.skeleton.mirrored)]
        if self.normalize in ("each_axis", "extent"):
            x = transforms.fitted(x, self.normalize == "each_axis")
        return x.nan_to_num(0.0), confidence, flipped

    def _choice(self, n: int, generator: torch.Generator | None) -> list[int] | tuple[int, int]:
        """The indices of the frames, or first frame and length of the part that is resized."""
        if self.sampler is not None:
            return self.sampler(n, generator)
        if generator is None:
            return transforms.crop(n, MIDDLE, 0.5)
        part, start = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        low, high = self.crop
        return transforms.crop(n, low + (high - low) * part, start)

    def _sampled(self, x: Tensor, confidence: Tensor, choice: list[int] | tuple[int, int]) -> Tensor:
        """**Shapes:** (m, n, V, C), (m, n, V) -> (C, T, V, M)"""
        channels = torch.cat([x, confidence[..., None]], -1) if self.confidence else x
        if isinstance(choice, tuple):
            first, length = choice
            channels = transforms.resized(channels[:, first : first + length], self.frames)
        else:
            channels = channels[:, choice]
        moved = streams.stream(channels[..., : self.dimensions], self.stream, self.skeleton)
        sample = torch.zeros(self.spec.shape[0], self.frames, len(self.skeleton), self.persons)
        sample[: self.dimensions, ..., : len(x)] = moved.permute(3, 1, 2, 0)
        if self.confidence:
            sample[-1, ..., : len(x)] = channels[..., -1].permute(1, 2, 0)
        return sample

    def _pictures(self, x: Tensor) -> Tensor:
        """**Shapes:** (C, T, V, M) -> uint8 (T, S, S, 3)"""
        return pictures(self._coordinates(x), self.skeleton)

    def _rated_pictures(self, x: Tensor, joints: Tensor, bones: Tensor) -> Tensor:
        """**Shapes:** (C, T, V, M), uint8 (T, V, 3), uint8 (T, bones, 3) -> uint8 (T, S, S, 3)"""
        return rated_pictures(self._coordinates(x), self.skeleton, joints, bones)

    def _coordinates(self, x: Tensor) -> Tensor:
        joints = streams.joints_of(x[: self.dimensions], self.skeleton) if self.stream == "bone" else x
        return joints[: self.dimensions]


def _sampler(name: str, frames: int, stride: int) -> frame_sampling.Sampler | None:
    if name == "resize":
        return None
    window: dict[str, Any] = {"stride": stride} if name == "dense" else {}
    return frame_sampling.build(name, frames, **window)


def _check(option: str, fits: bool, given: object, possible: str) -> None:
    if not fits:
        raise ValueError(f"{option} {given}: possible are {possible}")
