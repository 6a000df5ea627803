"""Video files as samples: frames chosen, decoded, cropped, augmented and normalised.

Axes: T frames, H W the decoded picture, h w the input of the model.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from taggnn.data import frame_sampling, synthetic, synthetic_regions, synthetic_relations
from taggnn.data.audit.inspection import Inspection
from taggnn.data.clips import Clip
from taggnn.data.video.decoders import Decoder, chosen, resized
from taggnn.data.video.formats import VIDEO_ENDINGS
from taggnn.data.video.frame_cache import FrameCache
from taggnn.data.video.inspection import video_inspection
from taggnn.data.video.reading import DECODE_TIMEOUT, VideoError, read_views
from taggnn.data.video.transforms import RELEASED_MEAN, RELEASED_STD, Transform
from taggnn.names import unknown
from taggnn.runtime import distributed
from taggnn.types import VIDEO_AXES, BadClip, InputSpec, Sample

# Options of the transform that evaluation needs too.
EVAL_OPTIONS = ("size", "mean", "std", "grayscale", "stretch", "per_clip_norm")
# Standard deviations from black to white where a clip is normalised by its own statistics.
SPAN = 5.0
# Short side for a side of the input, as 128 for 112 in the released recipe.
FOLLOWS = 8 / 7
# Of pictures, the highest that a camera for people takes.
MAX_RATE = 10_000
log = logging.getLogger(__name__)
Draws = Callable[[], torch.Generator | None]


class VideoSource:
    """Makes samples of video files; the defaults, except the number of frames, are the released recipe of TAG-Head.

    A training sample depends on its seed alone, and the global random streams are not touched.

    Args:
        frames: T, frames of a clip that the model sees.
        sampling: how frames are chosen: spread evenly, one at random of each of T segments, or a window of neighbours.
        stride: distance between frames in dense sampling, in frames of the video.
        temporal_jitter: part of the distance between frames, 0 to 1, by which training shifts each frame of uniform
            sampling.
        temporal_scale: smallest and largest part, 0 to 1, of a clip's length that training crops at random in uniform and
            segment sampling.
        short_side: pixels that the shorter side is scaled to while decoding; auto: 8/7 of the shorter side of size, 128 for the
            released 112; null: the size of the video. Below size a frame is scaled down and up again, which is logged.
        size: side of the model's input in pixels, or [height, width].
        flip: probability of a horizontal flip in training; 0, or see data.flip_pairs, where labels have left and right.
        scale: smallest and largest part, 0 to 1, of the area that a training crop covers.
        ratio: smallest and largest factor on the aspect ratio of a training crop.
        randaugment: number of RandAugment operations on a training clip.
        magnitude: magnitude of the RandAugment operations, 0 to 30.
        magnitude_std: standard deviation of that magnitude, drawn for each operation.
        color_jitter: largest relative change, 0 to 1, of brightness, contrast and saturation in training.
        random_erasing: probability that a rectangle of a training clip is erased.
        grayscale: convert to grayscale (three equal channels).
        stretch: resize frames to the aspect ratio of the input instead of a center crop.
        per_clip_norm: normalise each clip by its own mean and standard deviation.
        mean: mean of pixels in [0, 1] to subtract, one number or one for each channel; null: what the backbone's weights
            expect, if taggnn.train knows it, else 0.45.
        std: standard deviation to divide by, one number or one for each channel; null: as for mean, else 0.225.
        decode_timeout: seconds of processor time that decoding a clip may take before the clip is left out and reported.
        decoder: video decoder; auto is pyav, the faster one, which a frame cache always uses.
        frame_rate: frames a second of clips that are folders of images, needed where a list cuts them by seconds; null: not
            stated. Videos have their own.
        frame_cache: folder in which decoded frames are cached for later epochs and runs, H x W x 3 bytes a frame, all frames
            of a clip where they are drawn at random; null: no cache.

    **Shapes:** a sample float32 (3, T, h, w)

    Raises:
        ValueError: if an option is out of range; the message begins with its name.
        OSError: the frame cache cannot be made or written.
    """

    endings = VIDEO_ENDINGS
    synthetic: ClassVar = {"motions": synthetic.SET, "regions": synthetic_regions.SET, **synthetic_relations.SETS}

    def __init__(
        self,
        frames: int = 16,
        sampling: Literal["uniform", "segment", "dense"] = "uniform",
        stride: int = 1,
        temporal_jitter: float = 0.0,
        temporal_scale: tuple[float, float] = (1.0, 1.0),
        short_side: int | Literal["auto"] | None = "auto",
        size: int | list[int] = 112,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (1.0, 1.0),
        randaugment: int = 0,
        magnitude: int = 9,
        magnitude_std: float = 0.0,
        color_jitter: float = 0.0,
        random_erasing: float = 0.0,
        grayscale: bool = False,
        stretch: bool = False,
        per_clip_norm: bool = False,
        mean: float | tuple[float, float, float] | None = None,
        std: float | tuple[float, float, float] | None = None,
        decode_timeout: float = DECODE_TIMEOUT,
        decoder: Decoder = "auto",
        frame_rate: float | None = None,
        frame_cache: str | None = None,
    ):
        if frame_rate is not None and not 0 < frame_rate <= MAX_RATE:
            raise ValueError(f"frame_rate {frame_rate}: expected frames a second, above 0 and at most {MAX_RATE}")
        self.frame_rate = frame_rate
        if not decode_timeout > 0:
            raise ValueError(f"decode_timeout {decode_timeout}: must be above 0 seconds")
        self.decode_timeout, self.decoder, self.flip = decode_timeout, chosen(decoder), flip
        self.frame_cache = None if frame_cache is None else FrameCache(frame_cache)
        self.train_transform = Transform(
            size=size,
            train=True,
            flip=flip,
            scale=scale,
            ratio=ratio,
            randaugment=randaugment,
            magnitude=magnitude,
            magnitude_std=magnitude_std,
            color_jitter=color_jitter,
            random_erasing=random_erasing,
            grayscale=grayscale,
            stretch=stretch,
            per_clip_norm=per_clip_norm,
            mean=RELEASED_MEAN if mean is None else mean,
            std=RELEASED_STD if std is None else std,
        )
        self.short_side = _short_side(short_side, min(self.train_transform.size))
        eval_options = {option: self.train_transform.options[option] for option in EVAL_OPTIONS}
        self.transform = Transform(**eval_options)
        self.mean, self.std = self.transform.mean, self.transform.std
        window = {"stride": stride} if sampling == "dense" else {}
        self.sampler = _sampler(sampling, frames, 0.0, (1.0, 1.0), **window)
        self.train_sampler = _sampler(sampling, frames, temporal_jitter, temporal_scale, **window)
        options = {
            "frames": frames,
            "sampling": sampling,
            "stride": stride,
            "short_side": self.short_side,
            **eval_options,
            **({} if frame_rate is None else {"frame_rate": frame_rate}),
        }
        self.spec = InputSpec("video", VIDEO_AXES, (3, frames, *eval_options["size"]), options)

    @property
    def inspection(self) -> Inspection:
        """How ``taggnn.check`` looks at its files."""
        return video_inspection(self.frame_rate)

    @classmethod
    def from_spec(cls, spec: InputSpec) -> "VideoSource":
        """The source of a checkpoint's input, for evaluation.

        Raises:
            ValueError: an option that evaluation does not have, such as a folder to write into.
        """
        known = ("frames", "sampling", "stride", "short_side", "frame_rate", *EVAL_OPTIONS)
        for option in spec.options:
            if option not in known:
                raise unknown("option of a video input", str(option), known)
        return cls(**spec.options)

    def __call__(self, clip: Clip, seed: int | None) -> Sample | BadClip:
        """One clip.

        Args:
            clip: the row.
            seed: of every random draw of training; None: as evaluation sees the clip.
        """
        sampler, draws = self._view(seed)
        frames = self._read_alone(clip, sampler, draws())
        return frames if isinstance(frames, BadClip) else self._sample(clip, frames, seed)

    def views(self, clip: Clip, seeds: Sequence[int], evaluation: bool = False) -> list[Sample | BadClip]:
        """Several views of a clip from one decode, each equal to the single sample.

        Where one view cannot be read, or the clip's frames are miscounted in its container, each is read separately; so is
        each from a frame cache.

        Args:
            clip: the row.
            seeds: one for each training view.
            evaluation: whether the view of evaluation comes last.
        """
        wanted = [*seeds, *([None] if evaluation else [])]
        pictures = self._pictures(clip, [self._view(seed) for seed in wanted])
        return [
            frames if isinstance(frames, BadClip) else self._sample(clip, frames, seed)
            for seed, frames in zip(wanted, pictures, strict=True)
        ]

    def check_views(self, views: int, crops: int) -> None:
        """Refuses impossible numbers of evaluation views.

        Raises:
            ValueError: fewer than one, or several crops where frames are stretched.
        """
        frame_sampling.spread(self.sampler, views)
        self.transform.check_crops(crops)

    def evaluation_views(
        self, clip: Clip, chosen: Sequence[tuple[int, int]], views: int, crops: int
    ) -> list[Sample] | BadClip:
        """Some of the evaluation views of a clip, from one decode.

        Args:
            clip: the row.
            chosen: (index of the choice of frames, index of the crop) of each.
            views: number of choices of frames.
            crops: number of crops of each.

        Returns:
            A sample for each view; a bad clip where one of them cannot be read.
        """
        samplers, choices = (
            frame_sampling.spread(self.sampler, views),
            list(dict.fromkeys(choice for choice, _ in chosen)),
        )
        pictures = self._pictures(clip, [(samplers[choice], _no_draws) for choice in choices])
        bad = next((frames for frames in pictures if isinstance(frames, BadClip)), None)
        if bad is not None:
            return bad
        frames: dict[int, Any] = dict(zip(choices, pictures, strict=True))
        return [Sample(self.transform.crop(frames[choice], crop, crops), clip.label) for choice, crop in chosen]

    def frame_views(self, frames: Tensor, chosen: Sequence[tuple[int, int]], views: int, crops: int) -> Tensor:
        """Some of the evaluation views of a video in memory; arguments as for ``evaluation_views``.

        **Shapes:** uint8 (F, H, W, 3) -> float32 (n, 3, T, h, w)
        """
        samplers = frame_sampling.spread(self.sampler, views)
        pictures = {
            choice: resized(frames[samplers[choice](len(frames))], self.short_side)
            for choice in dict.fromkeys(choice for choice, _ in chosen)
        }
        return torch.stack([self.transform.crop(pictures[choice], crop, crops) for choice, crop in chosen])

    def picture(self, x: Tensor) -> Tensor:
        """A normalised clip as pictures again.

        A clip normalised by its own statistics shows its mean as mid gray, and 2.5 standard deviations as black and white.

        **Shapes:** float32 (3, T, h, w) -> uint8 (T, h, w, 3)
        """
        if self.transform.per_clip_norm:
            pixels = x / SPAN + 0.5
        else:
            mean, std = (torch.tensor(part).view(3, 1, 1, 1) for part in (self.mean, self.std))
            pixels = x * std + mean
        return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 3, 0)

    def describe(self) -> list[str]:
        """Sentences on what training does to a clip."""
        transform = self.train_transform
        done = [
            f"crop of {transform.scale[0]:g} to {transform.scale[1]:g} of the area",
            f"flip {transform.flip:g}" if transform.flip else "no flip",
        ]
        if transform.randaugment:
            deviation = f" ± {transform.magnitude_std:g}" if transform.magnitude_std else ""
            done.append(f"RandAugment {transform.randaugment} x {transform.magnitude}{deviation}")
        done += [
            f"{name} {value:g}"
            for name, value in (("color jitter", transform.color_jitter), ("random erasing", transform.random_erasing))
            if value
        ]
        done += [name for name in ("grayscale", "stretch") if getattr(transform, name)]
        scale, jitter = getattr(self.train_sampler, "scale", (1, 1)), getattr(self.train_sampler, "jitter", 0)
        done += [f"{scale[0]:g} to {scale[1]:g} of the length"] if tuple(scale) != (1, 1) else []
        done += [f"jitter in time {jitter:g}"] if jitter else []
        sentences = [f"frames chosen by {self.spec.options['sampling']} sampling; {', '.join(done)}"]
        if transform.per_clip_norm:
            sentences.append(
                "each clip normalised by itself: mid gray is its mean, black and white 2.5 standard deviations"
            )
        return sentences

    def preprocessing(self) -> list[str]:
        """Sentences on every step from a file to the input of the model in evaluation, with its numbers.

        ``taggnn/io/infer.py`` does the same steps without taggnn.
        """
        options, transform, short = self.spec.options, self.transform, self.short_side
        count, (height, width), stride = options["frames"], transform.size, options["stride"]
        chosen = {
            "uniform": f"frames floor(float32(t s)), s = float32((n - 1) / {max(count - 1, 1)}), and floor(float32(n - 1 - "
            f"({count - 1} - t) s)) from t = {count // 2} on",
            "segment": f"frames floor(n (2 t + 1) / {2 * count})",
            "dense": f"frames min(s + {stride} t, n - 1), s = floor(max(0, n - 1 - {stride * (count - 1)}) / 2)",
        }[options["sampling"]]
        scaled = (
            f"the shorter side is scaled to {short} pixels and the longer one to the nearest even number, with swscale, "
            "bicubic: yuv420p to yuv422p while scaling, then to rgb24"
        )
        shape = f"{height} x {width} (height x width)"
        whole = f"each picture is resized to {shape}, whole"
        middle = f"the middle {shape} of each picture is cut out, a smaller picture enlarged before"
        gray = "gray = floor(0.2989 R + 0.587 G + 0.114 B) in all three channels"
        own = "minus the mean of the whole clip, over its standard deviation, at least 0.001"
        return [
            "all n frames of the video stream are decoded in the order in which they are shown, and turned upright",
            f"{count} {chosen}, for t = 0 to {count - 1}",
            "pictures keep their size" if short is None else scaled,
            f"{whole if transform.stretch else middle}; resizing is bilinear with antialiasing on whole numbers, as in Pillow, "
            "columns first",
            *([gray] if transform.grayscale else []),
            f"(x / 255 - mean) / std with mean {list(transform.mean)} and std {list(transform.std)} of red, green and blue",
            *([own] if transform.per_clip_norm else []),
            f"float32, axes (channel, frame, height, width) = {self.spec.shape}, clips stacked along a first axis",
        ]

    def notes(self) -> dict[str, str]:
        """The size of the frame cache, where there is one."""
        return {} if self.frame_cache is None else {"frame_cache": self.frame_cache.summary()}

    def _view(self, seed: int | None) -> tuple[frame_sampling.FrameChoice, Draws]:
        """The sampler of a view, and a function that makes its generator anew."""
        if seed is None:
            return self.sampler, _no_draws
        # Two streams: drawing one frame more or less must not change the augmentation.
        return self.train_sampler, lambda: torch.Generator().manual_seed(seed + 1)

    def _sample(self, clip: Clip, frames: Tensor, seed: int | None) -> Sample:
        if seed is None:
            return Sample(self.transform(frames), clip.label)
        x, flipped = self.train_transform.draw(frames, seed)
        return Sample(x, clip.label, flipped=flipped)

    def _pictures(
        self, clip: Clip, views: Sequence[tuple[frame_sampling.FrameChoice, Draws]]
    ) -> list[Tensor | BadClip]:
        """The frames of several views of a clip from one decode, or one after the other where that would differ.

        **Shapes:** uint8 (T, H, W, 3) for each view
        """
        if self.frame_cache is None and len(views) > 1:
            with suppress(VideoError, _NotShared):
                return list(self._read(clip, [_once(partial(sampler, generator=draws())) for sampler, draws in views]))
        return [self._read_alone(clip, sampler, draws()) for sampler, draws in views]

    def _read_alone(
        self, clip: Clip, sampler: frame_sampling.FrameChoice, generator: torch.Generator | None
    ) -> Tensor | BadClip:
        """**Shapes:** -> uint8 (T, H, W, 3)"""
        try:
            if self.frame_cache is not None:
                return self.frame_cache.frames(
                    clip, sampler, self.short_side, generator, self.decode_timeout, self.frame_rate
                )
            return self._read(clip, [partial(sampler, generator=generator)])[0]
        except VideoError as error:
            return BadClip(clip.name, clip.path, error.reason)

    def _read(self, clip: Clip, samples: Sequence[Callable[[int], list[int]]]) -> list[Tensor]:
        """**Shapes:** -> uint8 (T, H, W, 3) for each sample"""
        return read_views(
            clip.path,
            samples,
            self.short_side,
            clip.start,
            clip.stop,
            origin=clip.origin,
            decode_timeout=self.decode_timeout,
            decoder=self.decoder,
            frame_rate=self.frame_rate,
        )


class _NotShared(Exception):
    """The views of a clip cannot share a decode."""


def _short_side(given: int | Literal["auto"] | None, size: int) -> int | None:
    """The shorter side of decoded frames, for the shorter side of the model's input."""
    if given == "auto":
        return round(size * FOLLOWS)
    if given is not None and given < 1:
        raise ValueError(f"short_side {given}: possible are 1 or more, auto and null")
    if given is not None and given < size:
        _log_small(given, size)
    return given


@cache
def _log_small(short_side: int, size: int) -> None:
    """Once in a process, whatever the number of sources."""
    if distributed.is_main_process():
        log.warning(
            "video.short_side %d is smaller than video.size %d: frames are scaled down and up again, and lose detail; leave it "
            "out (it is then %d)",
            *(short_side, size, round(size * FOLLOWS)),
        )


def _no_draws() -> None:
    """The generator of evaluation: none."""


def _once(sample: Callable[[int], list[int]]) -> Callable[[int], list[int]]:
    """A sample that may be drawn once only: how often a sampler is called may depend on the other views."""
    drawn: list[int] = []

    def once(n: int) -> list[int]:
        if drawn:
            raise _NotShared
        drawn.append(n)
        return sample(n)

    return once


def _sampler(name: str, frames: int, jitter: float, scale: Sequence[float], **options: Any) -> frame_sampling.Sampler:
    with _named(jitter="temporal_jitter", scale="temporal_scale"):
        return frame_sampling.build(name, frames, jitter, scale, **options)


@contextmanager
def _named(**options: str) -> Iterator[None]:
    """Errors that begin with a name in ``options`` begin with its replacement instead."""
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub(r"^\w+", lambda name: options.get(name[0], name[0]), str(error))) from None
