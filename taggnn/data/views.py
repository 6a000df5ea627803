"""Evaluation with several views of a clip: V choices of frames, and S crops of each, a bounded number of them at a time.

Axes: B views of a batch, n views of a clip, T frames, h w the picture as the model is fed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import Clip
from taggnn.data.dataset import ClipDataset, collate
from taggnn.data.video.reading import VideoError
from taggnn.types import BadClip, Batch, InputSpec, Sample, Source

# (number of the choice of frames, number of the crop)
View = tuple[int, int]
Key = tuple[int, tuple[View, ...]]


class EvaluationViews(Dataset):
    """Views of the clips of a list; an item's key is (index, views), and its views share a decode.

    A view does not depend on the others that are made with it.

    Args:
        samples: the clips as evaluation sees them.
        views: V, choices of frames (default 1: the one of evaluation).
        crops: S, crops of each (default 1: the central one).

    **Shapes:** item: a ``Sample`` for each view, or a ``BadClip`` where one of them cannot be read

    Raises:
        ValueError: as ``check_views``.
    """

    def __init__(self, samples: ClipDataset, views: int = 1, crops: int = 1) -> None:
        check_views(samples.source, views, crops)
        self.samples, self.views, self.crops = samples, views, crops

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> list[Sample] | BadClip:
        index, chosen = key
        samples = _views(self.samples.source, self.samples.clips[index], chosen, self.views, self.crops)
        return samples if isinstance(samples, BadClip) else [replace(sample, index=index) for sample in samples]


def check_views(source: Source, views: int = 1, crops: int = 1) -> None:
    """Refuses numbers of views and crops that a source cannot give.

    Raises:
        ValueError: fewer than one, several of a source that gives one, or several crops where frames are stretched.
    """
    capabilities = capabilities_of(source)
    if capabilities.check_views is not None:
        capabilities.check_views(views, crops)
    for name, number in (("views", views), ("crops", crops)):
        if number < 1:
            raise ValueError(f"{name} must be 1 or more, not {number}")
    if views * crops > 1 and capabilities.evaluation_views is None:
        raise ValueError(
            f"views {views}, crops {crops}: {source.spec.kind} give one view of a clip, so 1 and 1 are possible"
        )


def collate_evaluation_views(items: Sequence[list[Sample] | BadClip], spec: InputSpec) -> Batch:
    """Puts the views of several clips into one batch and leaves bad clips out, naming them.

    Views of one clip have the same index.

    Args:
        items: of ``EvaluationViews``.
        spec: what one view is.
    """
    return collate([view for item in items for view in ([item] if isinstance(item, BadClip) else item)], spec)


def view_batches(clips: int, views: int, crops: int, size: int) -> list[list[list[Key]]]:
    """The keys of all views of clips in batches of at most ``size`` views, in the order of the list.

    As many whole clips as fit make a batch. A clip that does not fit is split: between two choices of frames if at least
    one choice with all its crops fits, so that no frame is decoded twice.

    Args:
        clips: number of clips.
        views: V.
        crops: S.
        size: largest number of views in a batch.

    Returns:
        Batches in groups; all views of a clip are in one group.
    """
    every = all_views(views, crops)
    whole = size // len(every)
    if whole:
        return [[[(clip, every) for clip in range(clips)[first : first + whole]]] for first in range(0, clips, whole)]
    parts = split_views(every, crops, size)
    return [[[(clip, part)] for part in parts] for clip in range(clips)]


def all_views(views: int, crops: int) -> tuple[View, ...]:
    """All views of a clip in order, the crops of one choice of frames next to each other."""
    return tuple((choice, crop) for choice in range(views) for crop in range(crops))


def split_views(views: Sequence[View], crops: int, size: int) -> list[tuple[View, ...]]:
    """Views in parts of at most ``size``, the crops of a choice of frames in one part where possible."""
    length = size // crops * crops or size
    return [tuple(views[first : first + length]) for first in range(0, len(views), length)]


def clip_views(
    path: str,
    source: Source,
    views: int = 1,
    crops: int = 1,
    max_views: int = 8,
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[Tensor]:
    """The views of one file, exactly as evaluation sees them, a few at a time.

    Args:
        path: the file.
        source: what makes samples of files.
        views: V, choices of frames (default 1: the one of evaluation).
        crops: S, crops of each (default 1: the central one).
        max_views: largest number of views in memory (default 8); they share a decode.
        start: first second to use; None (default) for the beginning.
        stop: second to end at; None (default) for the end.

    **Shapes:** yields (n, *source.spec.shape), n at most ``max_views``, V S views in total; the crops of one choice of
    frames next to each other

    Raises:
        ValueError: impossible numbers.
        VideoError: if the file cannot be used.
    """
    _check_max_views(max_views)
    check_views(source, views, crops)
    clip = Clip(str(path), 0, str(path), start, stop)
    # Not a generator itself, so that impossible numbers raise at the call.
    return _chunks(source, clip, views, crops, split_views(all_views(views, crops), crops, max_views))


def frame_views(frames: Tensor, source: Source, views: int = 1, crops: int = 1, max_views: int = 8) -> Iterator[Tensor]:
    """The views of a video whose frames are in memory, a few at a time.

    Frames of another size than the source decodes to are scaled by torch, which differs from the decoder's scaling by one or
    two levels of 255.

    Args:
        frames: of the whole video or cut, upright RGB.
        source: what makes samples of videos, such as ``VideoSource``.
        views: V, choices of frames (default 1: the one of evaluation).
        crops: S, crops of each (default 1: the central one).
        max_views: largest number of views in memory (default 8).

    **Shapes:** uint8 (F, H, W, 3); yields as ``clip_views``

    Raises:
        ValueError: impossible numbers, frames of another type, or a source that takes no frames.
    """
    _check_max_views(max_views)
    check_views(source, views, crops)
    views_of = capabilities_of(source).frame_views
    if views_of is None:
        raise ValueError(f"frames: {source.spec.kind} are not made of frames; give the path of a file")
    return (views_of(frames, part, views, crops) for part in split_views(all_views(views, crops), crops, max_views))


def _check_max_views(max_views: int) -> None:
    if max_views < 1:
        raise ValueError(f"max_views {max_views}: must be 1 or more")


def _chunks(source: Source, clip: Clip, views: int, crops: int, parts: Sequence[tuple[View, ...]]) -> Iterator[Tensor]:
    for part in parts:
        samples = _views(source, clip, part, views, crops)
        if isinstance(samples, BadClip):
            raise VideoError(samples.path, samples.reason)
        yield torch.stack([sample.x for sample in samples])


def _views(source: Source, clip: Clip, chosen: Sequence[View], views: int, crops: int) -> list[Sample] | BadClip:
    views_of = capabilities_of(source).evaluation_views
    if views_of is not None:
        return views_of(clip, chosen, views, crops)
    sample = source(clip, None)
    return sample if isinstance(sample, BadClip) else [sample for _ in chosen]
