"""Loading a clip, part by part: bare decode, our reading of the same frames, the training transform, the loader.

Every part is a call without arguments that goes once through the same clips, with the same draws for each.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import av
import torch

from taggnn.data.dataset import ClipDataset, collate
from taggnn.data.samplers import EpochLoader, SeededSampler
from taggnn.data.video.reading import frame_times
from taggnn.types import BadClip

Key = tuple[int, int]


@dataclass(frozen=True)
class Depth:
    """How far a decoder has to go for the frames of a clip.

    Args:
        path: the video.
        frames: how many frames to decode from the file's beginning.
        begin: tick of the first frame of a cut inside a longer video, from whose key frame to decode; None: the beginning.
        until: tick of the last frame needed, for such a cut.
    """

    path: str
    frames: int
    begin: int | None = None
    until: int | None = None


@dataclass
class Recorder:
    """A frame sampler that remembers the last frame that it chose.

    Args:
        sampler: the one that it wraps.
    """

    sampler: Callable[..., Sequence[int]]
    last: int = 0

    def __call__(self, n: int, generator: torch.Generator | None = None) -> Sequence[int]:
        wanted = self.sampler(n, generator=generator)
        self.last = max(wanted)
        return wanted


@dataclass(frozen=True)
class Untouched:
    """A transform of training that leaves the frames as they were read."""

    def draw(self, frames: torch.Tensor, seed: int) -> tuple[torch.Tensor, bool]:
        return frames, False


def part_of(dataset: ClipDataset, seed: int, count: int) -> tuple[ClipDataset, list[str]]:
    """A data set of some clips of another, drawn by the seed; and the names of those that could not be read.

    Raises:
        ValueError: no clip can be read.
    """
    good, bad = [], []
    for index, draw in SeededSampler(len(dataset), seed, shuffle=True):
        item = dataset[index, draw]
        if isinstance(item, BadClip):
            bad.append(item.name)
        else:
            good.append(dataset.clips[index])
        if len(good) == count:
            break
    if not good:
        raise ValueError(f"{dataset.clips.source}: none of the {len(dataset)} clips can be read")
    few = copy.copy(dataset)
    few.clips = replace(dataset.clips, clips=tuple(good), missing=(), missing_labels=())
    return few, bad


def untransformed(dataset: ClipDataset) -> ClipDataset:
    """The same data set, whose items are the frames as they were read."""
    plain = copy.copy(dataset)
    plain.source = copy.copy(dataset.source)
    plain.source.train_transform = Untouched()
    return plain


def depths(dataset: ClipDataset, keys: Sequence[Key]) -> list[Depth]:
    """How far each clip has to be decoded for the frames that training draws of it."""
    watched = copy.copy(dataset)
    watched.source = copy.copy(dataset.source)
    watched.source.train_sampler = Recorder(dataset.source.train_sampler)
    found = []
    for key in keys:
        watched[key]
        clip = dataset.clips[key[0]]
        timeline = frame_times(clip.path)
        shown = timeline if clip.origin is None else timeline.since(clip.origin)
        first = shown.between(clip.start, clip.stop).start
        last = first + watched.source.train_sampler.last
        inside = first > 0 and timeline.stamps is not None
        cut = {"begin": timeline.stamps[first], "until": timeline.stamps[last]} if inside else {}
        found.append(Depth(clip.path, last + 1, **cut))
    return found


def decode(depth: Depth) -> int:
    """Decodes a clip up to the last frame needed, on one thread, and does nothing with the frames.

    Returns:
        How many frames were decoded.
    """
    with av.open(depth.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if depth.begin is not None:
            container.seek(depth.begin, stream=stream)
        number = 0
        for number, frame in enumerate(container.decode(stream), start=1):
            if number >= depth.frames if depth.until is None else frame.pts is not None and frame.pts >= depth.until:
                break
    return number


def loader(dataset: ClipDataset, seed: int, batch: int, workers: int, pinned: bool) -> EpochLoader:
    """Training's loader over a data set, with some worker processes, which stay."""
    return EpochLoader(
        dataset,
        batch_size=batch,
        sampler=SeededSampler(len(dataset), seed, shuffle=True),
        num_workers=workers,
        collate_fn=partial(collate, spec=dataset.source.spec),
        persistent_workers=workers > 0,
        pin_memory=pinned,
        generator=torch.Generator().manual_seed(seed),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of PyTorch, as a loader's worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
