"""A trained model ready to use: video files, frames or clips in, class names with probabilities out.

Axes: B clips, T frames, H W pictures as they come and h w as the model is fed, K classes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor

from taggnn.consensus import Average, Consensus
from taggnn.data.video import VideoError
from taggnn.data.video_source import VideoSource
from taggnn.data.views import check_views, clip_views, frame_views
from taggnn.exported import Exported
from taggnn.model import Recogniser

# A video file; frames, uint8 (T, H, W, 3); or a clip, float (3, T, h, w).
Source: TypeAlias = str | os.PathLike[str] | Tensor | np.ndarray


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
        return f"{self.name} {self.probability:.1%}"


@dataclass(frozen=True)
class Prediction:
    """What a model says about one video.

    Args:
        source: its path; None for frames and clips.
        top: the most probable classes, the best first; empty where the file could not be read.
        probabilities: of all classes in label order, float32 on the CPU; empty where the file could not be read.
        error: why the file could not be read; None where it was.

    **Shapes:** probabilities (K,)
    """

    source: str | None
    top: tuple[Guess, ...]
    probabilities: Tensor = field(repr=False, compare=False)
    error: str | None = None

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
        return ", ".join(map(str, self.top)) if self.error is None else f"could not be read: {self.error}"


@dataclass
class Loaded:
    """A trained model with all that it takes to use it, as ``taggnn.load`` gives it.

    Args:
        recogniser: the model with its weights, in evaluation mode, or an exported one: clips (B, 3, T, h, w) -> (logits (B, K),
            extras).
        classes: class names in label order.
        preprocess: how a video becomes a clip, see ``taggnn.data.datamodule``.
        split_options: the published data set and its version, if one was used; seed and fractions by which clips were held
            out where the data came without splits.
        source: the file it came from.
        epoch: epochs it was trained for; None where the file does not say.
        training_counts: training clips of each class; None where the file does not say.
        spec: what ``model.build`` makes the model of; None where it was made otherwise.

    Example::

        loaded = taggnn.load("runs/folder/TIME")
        print(loaded.predict("clip.mp4").best.name)
        for prediction in loaded.predict(Path("clips").glob("*.mp4")):
            print(prediction.source, prediction)
    """

    recogniser: Recogniser | Exported = field(repr=False)
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    split_options: dict[str, Any]
    source: str
    epoch: int | None = None
    training_counts: tuple[int, ...] | None = None
    spec: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.recogniser.device

    def to(self, device: torch.device | str) -> "Loaded":
        """Moves the model to a device, and gives it back.

        Raises:
            ValueError: an implementation of its graph layers cannot compute there.
        """
        self.recogniser.check_device(device)
        self.recogniser.to(device)
        return self

    # A str is an iterable of str as well; the first signature that fits counts.
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
    ) -> Prediction | Iterator[Prediction]:
        """Classifies a video, or one after the other as they are asked for.

        Args:
            source: a video file; or its frames, uint8 (T, H, W, 3), of which the model's sampling takes its share; or a
                clip as the model is fed, float (3, T, h, w). Or a list or any other iterable of these.
            top: how many classes to name at most (default 5).
            views: choices of frames to look at (default 1, the one of evaluation); never more than 8 pictures of the clip at
                once, whatever their number.
            crops: of each choice of frames (default 1, the central one).
            average: of "probabilities" (default) or "logits" over views and crops.
            start: first second of a file to use (default: its beginning).
            stop: second to end before (default: its end).

        Returns:
            For one video its prediction. For several an iterator over their predictions, in order; a file that cannot be read is
            among them, with ``error`` set.

        Raises:
            VideoError: the one file given cannot be read; it is a ValueError and names the file.
            ValueError: a number below 1, an unknown average, a tensor that is neither frames nor a clip, several views of a clip.
        """
        if top < 1:
            raise ValueError(f"top {top}: must be 1 or more")
        # Said at once, and not by the first of many.
        Consensus(average)
        check_views(VideoSource(**self.preprocess), views, crops)
        how = partial(self._predict, top=top, views=views, crops=crops, average=average, start=start, stop=stop)
        if isinstance(source, str | os.PathLike | Tensor | np.ndarray):
            return how(source)
        return (_reported(how, each) for each in source)

    def logits(self, clips: Tensor) -> Tensor:
        """What the model says about clips as ``clip`` makes them, stacked: float32, on the model's device, without gradients.

        **Shapes:** float (B, 3, T, h, w) -> (B, K)

        Raises:
            ValueError: not a batch of clips.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
            raise ValueError(
                f"clips {clips.dtype} {tuple(clips.shape)}: expected floating point (B, 3, T, h, w); clip() makes one of a file"
            )
        model = self.recogniser
        with torch.no_grad():
            return model(clips.to(model.device, model.dtype))[0].float()

    def clip(self, source: Source, start: float | None = None, stop: float | None = None) -> Tensor:
        """Turns a video file or its frames into what the model is fed, exactly as its evaluation does.

        Args:
            source: a file; or frames, uint8 (T, H, W, 3), in RGB and upright; a clip is given back as it is.
            start: first second of a file to use (default: its beginning).
            stop: second to end before (default: its end).

        **Shapes:** -> float32 (3, T, h, w)

        Raises:
            VideoError: the file cannot be read.
            ValueError: a tensor that is neither frames nor a clip, or seconds of one.
        """
        return next(self._views(source, 1, 1, start, stop))[0]

    def _views(
        self, source: Source, views: int, crops: int, start: float | None, stop: float | None
    ) -> Iterator[Tensor]:
        """The views of a video, some at a time. **Shapes:** yields float32 (n, 3, T, h, w)"""
        if not isinstance(source, Tensor | np.ndarray):
            return clip_views(os.fspath(source), VideoSource(**self.preprocess), views, crops, start=start, stop=stop)
        if start is not None or stop is not None:
            raise ValueError("start and stop are seconds of a file; of frames or a clip give those to be used")
        given = torch.as_tensor(source)
        if given.is_floating_point() and given.ndim == 4 and len(given) == 3:
            if views * crops > 1:
                raise ValueError("a clip is one view already; several are taken from a file or from its frames")
            return iter([given[None]])
        if given.dtype != torch.uint8 or given.ndim != 4 or given.shape[-1] != 3 or 0 in given.shape:
            raise ValueError(
                f"{given.dtype} {tuple(given.shape)}: expected frames, uint8 (T, H, W, 3), or a clip, float (3, T, h, w)"
            )
        return frame_views(given.cpu(), VideoSource(**self.preprocess), views, crops)

    def _predict(
        self,
        source: Source,
        top: int,
        views: int,
        crops: int,
        average: Average,
        start: float | None,
        stop: float | None,
    ) -> Prediction:
        consensus = Consensus(average)
        for clips in self._views(source, views, crops, start, stop):
            consensus.add(self.logits(clips))
        probabilities = consensus.probabilities
        best = probabilities.topk(min(top, len(self.classes)))
        guesses = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return Prediction(
            _path(source),
            tuple(Guess(self.classes[label], label, probability) for probability, label in guesses),
            probabilities,
        )


def _reported(predict: Callable[[Source], Prediction], source: Source) -> Prediction:
    try:
        return predict(source)
    except VideoError as error:
        return Prediction(_path(source), (), torch.empty(0), error.reason)


def _path(source: Source) -> str | None:
    return None if isinstance(source, Tensor | np.ndarray) else os.fspath(source)
