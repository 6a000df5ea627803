"""Evaluation with several views of a clip: V choices of frames, and S crops of each, a bounded number of them at a time.

Axes: B views of a batch, T frames, h w the picture as the model is fed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import BadClip, ClipDataset, eval_sampler, eval_transform
from taggnn.data.decoders import resized
from taggnn.data.sampling import spread
from taggnn.data.video import VideoError

# (number of the choice of frames, number of the crop)
View = tuple[int, int]
Key = tuple[int, tuple[View, ...]]


class ViewsOfClips(Dataset):
    """Views of the clips of a list; an item's key is (index, views), and its views share a decode.

    A view is what it would be alone, whichever others are asked for with it.

    Args:
        samples: the clips as evaluation sees them.
        views: V, choices of frames (``view`` of the samplers in sampling.py).
        crops: S, crops of each (``Transform.crop``).

    **Shapes:** item {"clip": float32 (n, 3, T, h, w) for n views, "label": int, "index": int}, or a ``BadClip`` where one of the
    views cannot be read

    Raises:
        ValueError: fewer than one, or several crops where frames are stretched.
    """

    def __init__(self, samples: ClipDataset, views: int = 1, crops: int = 1):
        samples.transform.check_crops(crops)
        self.samples, self.crops = samples, crops
        self.samplers = spread(samples.sampler, views)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> dict[str, Any] | BadClip:
        index, views = key
        choices = list(dict.fromkeys(choice for choice, _ in views))
        pictures = self.samples.pictures(index, [(self.samplers[choice], _no_draws) for choice in choices])
        bad = next((frames for frames in pictures if isinstance(frames, BadClip)), None)
        if bad is not None:
            return bad
        frames, crop = dict(zip(choices, pictures, strict=True)), self.samples.transform.crop
        clip = torch.stack([crop(frames[choice], number, self.crops) for choice, number in views])
        return {"clip": clip, "label": self.samples.clips[index].label, "index": index}


def collate_views_of_clips(items: Sequence[dict[str, Any] | BadClip]) -> dict[str, Any]:
    """Puts the views of several clips into one batch and leaves bad clips out, naming them.

    **Shapes:** {"clip": (B, 3, T, h, w), "label": (B,) long, "index": (B,) long, "skipped": [(name, path, reason), ...]}; views
    of one clip have the same index. Without a good clip "clip" is (0, 3, 0, 0, 0).
    """
    good = [item for item in items if not isinstance(item, BadClip)]
    counts = torch.tensor([len(item["clip"]) for item in good], dtype=torch.long)
    labels, places = ([item[key] for item in good] for key in ("label", "index"))
    return {
        "clip": torch.cat([item["clip"] for item in good]) if good else torch.empty(0, 3, 0, 0, 0),
        "label": torch.tensor(labels, dtype=torch.long).repeat_interleave(counts),
        "index": torch.tensor(places, dtype=torch.long).repeat_interleave(counts),
        "skipped": [(item.name, item.path, item.reason) for item in items if isinstance(item, BadClip)],
    }


def batches_of_views(clips: int, views: int, crops: int, size: int) -> list[list[list[Key]]]:
    """The keys of all views of clips in batches of at most ``size`` views, in the order of the list.

    As many whole clips as fit make a batch. Where not even one fits, it is parted: between two choices of frames if at least one
    choice with all its crops fits, so that no frame is decoded twice.

    Args:
        clips: how many.
        views: V.
        crops: S.
        size: most views of a batch.

    Returns:
        Batches in groups; all views of a clip are in one group.
    """
    every = every_view(views, crops)
    whole = size // len(every)
    if whole:
        return [[[(clip, every) for clip in range(clips)[first : first + whole]]] for first in range(0, clips, whole)]
    parts = parted(every, crops, size)
    return [[[(clip, part)] for part in parts] for clip in range(clips)]


def every_view(views: int, crops: int) -> tuple[View, ...]:
    """All views of a clip in order, the crops of one choice of frames side by side."""
    return tuple((choice, crop) for choice in range(views) for crop in range(crops))


def parted(views: Sequence[View], crops: int, size: int) -> list[tuple[View, ...]]:
    """Views in parts of at most ``size``, each choice of frames in one part where that is possible."""
    length = size // crops * crops or size
    return [tuple(views[first : first + length]) for first in range(0, len(views), length)]


def clip_views(
    path: str,
    preprocess: dict[str, Any],
    views: int = 1,
    crops: int = 1,
    at_once: int = 8,
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[Tensor]:
    """The views of one video file, exactly as evaluation sees them, a few at a time.

    Args:
        path: the file.
        preprocess: what the checkpoint stores, see ``ClipData.preprocess``.
        views: V, choices of frames (default 1: the one of evaluation).
        crops: S, crops of each (default 1: the central one).
        at_once: most views in memory (default 8); they share a decode.
        start: first second to use; None (default) for the beginning.
        stop: second to end at; None (default) for the end.

    **Shapes:** yields float32 (n, 3, T, h, w), n at most ``at_once``, V S views altogether; the crops of one choice of frames
    side by side

    Raises:
        ValueError: numbers that are not possible.
        VideoError: if the file cannot be used.
    """
    _at_least_one_at_once(at_once)
    row = ClipList((Clip(str(path), 0, str(path), start, stop),), ("",), str(path))
    samples = ClipDataset(row, eval_sampler(preprocess), eval_transform(preprocess), preprocess["short_side"])
    # Not a generator itself: what is wrong with the numbers is told at once.
    return _chunks(ViewsOfClips(samples, views, crops), parted(every_view(views, crops), crops, at_once))


def frame_views(
    frames: Tensor, preprocess: dict[str, Any], views: int = 1, crops: int = 1, at_once: int = 8
) -> Iterator[Tensor]:
    """The views of a video whose frames are in memory already, a few at a time.

    Frames of another size than ``preprocess`` says are scaled by torch, which differs from the decoder's scaling by a level
    or two of 255.

    Args:
        frames: of the whole video or cut, upright and in RGB.
        preprocess, views, crops, at_once: as for ``clip_views``.

    **Shapes:** uint8 (F, H, W, 3); yields as ``clip_views``

    Raises:
        ValueError: numbers that are not possible, or other frames.
    """
    _at_least_one_at_once(at_once)
    transform, samplers = eval_transform(preprocess), spread(eval_sampler(preprocess), views)
    transform.check_crops(crops)
    parts = parted(every_view(views, crops), crops, at_once)

    def stacked(part: Sequence[View]) -> Tensor:
        pictures = {
            choice: resized(frames[samplers[choice](len(frames))], preprocess["short_side"])
            for choice in dict.fromkeys(choice for choice, _ in part)
        }
        return torch.stack([transform.crop(pictures[choice], number, crops) for choice, number in part])

    return map(stacked, parts)


def _at_least_one_at_once(at_once: int) -> None:
    if at_once < 1:
        raise ValueError(f"at_once {at_once}: must be 1 or more")


def _chunks(clips: ViewsOfClips, parts: Sequence[tuple[View, ...]]) -> Iterator[Tensor]:
    for part in parts:
        item = clips[0, part]
        if isinstance(item, BadClip):
            raise VideoError(item.path, item.reason)
        yield item["clip"]


def _no_draws() -> None:
    """What a sampler of evaluation draws with."""
