"""A trained model ready to use: files, frames or clips in, class names with probabilities out.

Axes: B clips, T frames, H W of the images, h w of the model's input, K classes; "clip" is any input of a model.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor

from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.video.reading import VideoError
from taggnn.data.views import check_views, clip_views, frame_views
from taggnn.io.calibrated import Calibration
from taggnn.io.exported import Exported
from taggnn.model import Recogniser
from taggnn.nn.consensus import Average, Consensus
from taggnn.types import InputSpec
from taggnn.types import Source as Reader

# A file; frames of video, uint8 (T, H, W, 3); or a clip, float (*spec.shape) such as (3, T, h, w).
Source: TypeAlias = str | os.PathLike[str] | Tensor | np.ndarray


# What a rejected clip is called.
NONE = "none of these"


@dataclass(frozen=True)
class Guess:
    """A class and how probable it is.

    Args:
        name: of the class.
        label: its number.
        probability: 0 to 1.
    """

    name: str
    label: int
    probability: float

    def __str__(self) -> str:
        return f"{self.name} {100 * self.probability:.1f} %"


@dataclass(frozen=True)
class Prediction:
    """The prediction for one video.

    Args:
        source: its path; None for frames and clips.
        top: the most probable classes, the best first; empty if the file could not be read.
        probabilities: of all classes in label order, float32 on the CPU; empty if the file could not be read.
        error: why the file could not be read; None if it was read.
        rejected: whether even the best class is less probable than wanted: none of these.

    **Shapes:** probabilities (K,)
    """

    source: str | None
    top: tuple[Guess, ...]
    probabilities: Tensor = field(repr=False, compare=False)
    error: str | None = None
    rejected: bool = False

    def plain(self) -> dict[str, Any]:
        """What programs are given, without the file's name: ``{"top": [{"class", "label", "probability"}]}``, or ``{"error"}``.

        A rejected one has ``"rejected": True`` as well.
        """
        if self.error is not None:
            return {"error": self.error}
        top = [
            {"class": guess.name, "label": guess.label, "probability": round(guess.probability, 6)}
            for guess in self.top
        ]
        return {**({"rejected": True} if self.rejected else {}), "top": top}

    @property
    def best(self) -> Guess:
        """The most probable class.

        Raises:
            ValueError: the file could not be read.
        """
        if self.error is not None:
            raise ValueError(f"{self.source}: could not be read: {self.error}")
        return self.top[0]

    def __str__(self) -> str:
        if self.error is not None:
            return f"could not be read: {self.error}"
        classes = ", ".join(map(str, self.top))
        return f"{NONE} ({classes})" if self.rejected else classes


@dataclass
class Loaded:
    """A trained model with its classes and its input, as ``taggnn.load`` returns it.

    Args:
        model: the model with its weights, in evaluation mode, or an exported one: inputs (B, *spec.shape) -> ``Output``.
        classes: class names in label order.
        split_options: the published data set and its version, if one was used; seed and fractions by which clips were held
            out if the data came without splits.
        source: the file it came from.
        epoch: epochs it was trained for; None if the file does not say.
        training_counts: training clips of each class; None if the file does not say.
        architecture: what ``taggnn.model.build`` makes the model of; None if it was made otherwise.
        calibration: what ``taggnn.evaluate --calibrate`` found; None if the model is not calibrated.

    Example::

        loaded = taggnn.load("runs/folder/TIME")
        print(loaded.predict("clip.mp4").best.name)
        for prediction in loaded.predict(Path("clips").glob("*.mp4")):
            print(prediction.source, prediction)
    """

    model: Recogniser | Exported = field(repr=False)
    classes: tuple[str, ...]
    split_options: dict[str, Any]
    source: str
    epoch: int | None = None
    training_counts: tuple[int, ...] | None = None
    architecture: dict[str, Any] | None = field(default=None, repr=False)
    calibration: Calibration | None = None

    @classmethod
    def read(cls, model: Recogniser | Exported, fields: Mapping[str, Any], source: str) -> "Loaded":
        """A model with the fields of its file.

        Args:
            model: with its weights.
            fields: the architecture and those of ``plain``, of a checkpoint or of the metadata of an exported file, checked.
            source: the file.

        Raises:
            ValueError: a calibration with a field that is out of range; names it.
        """
        counts = fields.get("training_counts")
        return cls(
            model,
            tuple(fields["architecture"]["classes"]),
            dict(fields["split_options"]),
            source,
            fields.get("epoch"),
            None if counts is None else tuple(counts),
            dict(fields["architecture"]),
            Calibration.read(fields.get("calibration"), source),
        )

    def plain(self) -> dict[str, Any]:
        """What an exported file holds besides the architecture and the weights, as plain types."""
        return {
            "split_options": self.split_options,
            "source": self.source,
            "epoch": self.epoch,
            "training_counts": self.training_counts,
            "calibration": None if self.calibration is None else self.calibration.plain(),
        }

    @property
    def temperature(self) -> float:
        """What ``predict`` divides logits by; 1 without a calibration."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    @property
    def spec(self) -> InputSpec:
        """The input of the model."""
        return self.model.spec

    @cached_property
    def reader(self) -> Reader:
        """What makes its inputs of files, as its evaluation does."""
        return sources.of(self.spec)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device

    def to(self, device: torch.device | str) -> "Loaded":
        """Moves the model to a device, and returns the same object.

        Raises:
            ValueError: an implementation of its graph layers cannot compute there.
        """
        self.model.check_device(device)
        self.model.to(device)
        return self

    # A str is an iterable of str as well; the first matching signature is used.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        source: Source,
        top: int = ...,
        *,
        views: int = ...,
        crops: int = ...,
        average: Average = ...,
        start: float | None = ...,
        stop: float | None = ...,
        reject: float | None = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        source: Iterable[Source],
        top: int = ...,
        *,
        views: int = ...,
        crops: int = ...,
        average: Average = ...,
        start: float | None = ...,
        stop: float | None = ...,
        reject: float | None = ...,
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        source: Source | Iterable[Source],
        top: int = 5,
        *,
        views: int = 1,
        crops: int = 1,
        average: Average = "probabilities",
        start: float | None = None,
        stop: float | None = None,
        reject: float | None = None,
    ) -> Prediction | Iterator[Prediction]:
        """Classifies a file, or several of them one after the other.

        The logits of a calibrated model are divided by its temperature.

        Args:
            source: a file; or an input of the model, floating point (*spec.shape), such as a clip (3, T, h, w); or the frames of
                a video, uint8 (T, H, W, 3), which the model's sampling selects from. Or a list or another iterable of these.
            top: number of classes to name (default 5).
            views: samplings of frames (default 1, that of evaluation); at most 8 of them are in memory at once.
            crops: of each sampling of frames (default 1, the central one).
            average: of "probabilities" (default) or "logits" over views and crops.
            start: first second of a file to use (default: its beginning).
            stop: second to end before (default: its end).
            reject: probability, 0 to 1; a file whose best class has less is ``rejected`` (default: none is).

        Returns:
            For one video its prediction. For several an iterator over their predictions, in order; those of unreadable files
            have ``error`` set.

        Raises:
            VideoError: the one file given cannot be read; it is a ValueError and names the file.
            ValueError: a number below 1, an unknown average, an array that is neither frames nor an input, several views of an
                input, or of a kind of input that has one view.
        """
        if top < 1:
            raise ValueError(f"top {top}: must be 1 or more")
        if reject is not None and not 0 <= reject <= 1:
            raise ValueError(f"reject {reject}: possible are 0 to 1, a probability")
        # Raises here, and not in the first prediction.
        Consensus(average)
        check_views(self.reader, views, crops)
        predict = partial(self._predict, top=top, views=views, crops=crops, average=average, start=start, stop=stop)
        predict = partial(predict, reject=reject)
        if isinstance(source, str | os.PathLike | Tensor | np.ndarray):
            return predict(source)
        return (_with_error(predict, each) for each in source)

    def logits(self, clips: Tensor) -> Tensor:
        """The logits of stacked clips as ``clip`` returns them: float32, on the model's device, without gradients.

        **Shapes:** float (B, *spec.shape), such as (B, 3, T, h, w) -> (B, K)

        Raises:
            ValueError: not a batch of clips.
        """
        if not clips.is_floating_point() or not _fits(clips.shape[1:], self.spec):
            raise ValueError(
                f"clips {clips.dtype} {tuple(clips.shape)}: expected floating point (B, {_sizes(self.spec)}); clip() makes one "
                "of a file"
            )
        with torch.no_grad():
            return self.model(clips.to(self.model.device, self.model.dtype)).logits.float()

    def clip(self, source: Source, start: float | None = None, stop: float | None = None) -> Tensor:
        """Turns a file, or the frames of a video, into an input of the model, exactly as its evaluation does.

        Args:
            source: a file; or frames, uint8 (T, H, W, 3), in RGB and upright; an input is returned unchanged.
            start: first second of a file to use (default: its beginning).
            stop: second to end before (default: its end).

        **Shapes:** -> float32 (*spec.shape), such as (3, T, h, w)

        Raises:
            VideoError: the file cannot be read.
            ValueError: an array that is neither frames nor an input, or seconds of one.
        """
        return next(self._views(source, 1, 1, start, stop))[0]

    def _views(
        self, source: Source, views: int, crops: int, start: float | None, stop: float | None
    ) -> Iterator[Tensor]:
        """The views of a file, of frames or of an input, some at a time. **Shapes:** yields float32 (n, *spec.shape)"""
        if not isinstance(source, Tensor | np.ndarray):
            return clip_views(os.fspath(source), self.reader, views, crops, start=start, stop=stop)
        if start is not None or stop is not None:
            raise ValueError("start and stop are seconds of a file; select frames or a clip beforehand")
        given = torch.as_tensor(source)
        if given.is_floating_point() and _fits(given.shape, self.spec):
            if views * crops > 1:
                raise ValueError("a clip is one view already; several are taken from a file or from its frames")
            return iter([given[None]])
        of_frames = capabilities_of(self.reader).frame_views is not None
        if not of_frames or given.dtype != torch.uint8 or given.ndim != 4 or given.shape[-1] != 3 or 0 in given.shape:
            possible = f"a clip, floating point ({_sizes(self.spec)})"
            raise ValueError(
                f"{given.dtype} {tuple(given.shape)}: expected "
                + (f"frames, uint8 (T, H, W, 3), or {possible}" if of_frames else possible)
            )
        return frame_views(given.cpu(), self.reader, views, crops)

    def _predict(
        self,
        source: Source,
        top: int,
        views: int,
        crops: int,
        average: Average,
        start: float | None,
        stop: float | None,
        reject: float | None,
    ) -> Prediction:
        consensus = Consensus(average)
        for clips in self._views(source, views, crops, start, stop):
            consensus.add(self.logits(clips) / self.temperature)
        probabilities = consensus.probabilities
        best = probabilities.topk(min(top, len(self.classes)))
        guesses = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return Prediction(
            _path(source),
            tuple(Guess(self.classes[label], label, probability) for probability, label in guesses),
            probabilities,
            rejected=reject is not None and best.values[0].item() < reject,
        )


def _with_error(predict: Callable[[Source], Prediction], source: Source) -> Prediction:
    try:
        return predict(source)
    except VideoError as error:
        return Prediction(_path(source), (), torch.empty(0), error.reason)


def _fits(shape: Sequence[int], spec: InputSpec) -> bool:
    """Whether a shape has the axes and the channels of an input; other sizes are checked by the model."""
    return len(shape) == len(spec.shape) and (
        "channel" not in spec.axes or shape[spec.axes.index("channel")] == spec.size("channel")[0]
    )


def _sizes(spec: InputSpec) -> str:
    return ", ".join(map(str, spec.shape))


def _path(source: Source) -> str | None:
    return None if isinstance(source, Tensor | np.ndarray) else os.fspath(source)
