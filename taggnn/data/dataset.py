"""From clip rows to samples and batches, and a single clip for prediction.

Axes: B clips, T frames, h w the picture as the model is fed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from taggnn.data import sampling
from taggnn.data.clips import Clip, ClipList
from taggnn.data.store import ClipStore
from taggnn.data.transforms import Transform
from taggnn.data.video import GIVE_UP, VideoError, read_views

# Options of the transform that evaluation needs too.
EVAL_OPTIONS = ("size", "mean", "std", "grey", "stretch", "standardise")


@dataclass(frozen=True)
class BadClip:
    """A clip that could not be decoded: what stands in a batch's "skipped" and in skipped.csv."""

    name: str
    path: str
    reason: str


class ClipDataset(Dataset):
    """Decodes, samples and transforms the clips of a list.

    An item's key is (index, seed), as ``order.SeededSampler`` yields it. With a training transform the seed decides
    which frames are drawn and how they are augmented; otherwise it changes nothing.

    Args:
        clips: the rows.
        sampler: which frames to take, see sampling.py.
        transform: what to do with them, see transforms.py.
        short_side: pixels the shorter side is scaled to while decoding; None keeps the size.
        mirrored: for each label the one that a clip has after a horizontal flip, see mirror.py; None where a flip
            changes no label.
        give_up: wall seconds after which the decoding of a clip is given up.
        store: decoded clips on disk, see store.py; None decodes each time.
        decoder: see ``video.read_frames``; a store always takes PyAV.

    **Shapes:** item {"clip": float32 (3, T, h, w), "label": int, "index": int, "flipped": bool}, or a ``BadClip``
    """

    def __init__(
        self,
        clips: ClipList,
        sampler: sampling.Sampler,
        transform: Transform,
        short_side: int | None = None,
        mirrored: Sequence[int] | None = None,
        give_up: float = GIVE_UP,
        store: ClipStore | None = None,
        decoder: str = "auto",
    ):
        self.clips, self.sampler, self.transform, self.short_side = clips, sampler, transform, short_side
        self.mirrored, self.give_up, self.store, self.decoder = mirrored, give_up, store, decoder

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | BadClip:
        index, seed = key
        frames = self._alone(index, self.sampler, self._generator(seed))
        return frames if isinstance(frames, BadClip) else self._item(index, frames, seed)

    def views(
        self, index: int, seeds: Sequence[int], evaluation: "ClipDataset | None" = None
    ) -> list[dict[str, Any] | BadClip]:
        """Several views of a clip from one decode, each exactly the item that it would be alone.

        Where one view cannot be read, or the clip's frames are miscounted in its container, each is read by itself; so is
        each from a store, which keeps what it decodes.

        Args:
            index: the clip's place in the list.
            seeds: one a view.
            evaluation: the same clips as evaluation sees them; its view comes last. None: no such view.

        Raises:
            ValueError: no view is asked for, or ``evaluation`` reads its clips in another way.
        """
        asked = [(self, seed) for seed in seeds] + ([] if evaluation is None else [(evaluation, 0)])
        if not asked:
            raise ValueError("no seed given; views needs one a view")
        if len({(id(each.clips), each.short_side, each.decoder, id(each.store)) for each, _ in asked}) > 1:
            raise ValueError("evaluation: must have the clips, short_side, decoder and store of the data set itself")
        pictures = self.pictures(index, [(each.sampler, partial(each._generator, seed)) for each, seed in asked])
        return [
            frames if isinstance(frames, BadClip) else each._item(index, frames, seed)
            for (each, seed), frames in zip(asked, pictures, strict=True)
        ]

    def pictures(
        self, index: int, asked: Sequence[tuple[sampling.Sampler, Callable[[], torch.Generator | None]]]
    ) -> list[Tensor | BadClip]:
        """The frames of several views of a clip from one decode, each exactly as they would be alone.

        Where they cannot be, each view is read by itself, as in ``views``.

        Args:
            index: the clip's place in the list.
            asked: for each view its sampler, and what makes its draws anew.

        **Shapes:** uint8 (T, H, W, 3) for each view
        """
        try:
            if self.store is not None or len(asked) == 1:
                raise _Apart
            samples = [_once(partial(sampler, generator=generator())) for sampler, generator in asked]
            return _read(self.clips[index], samples, self.short_side, self.give_up, self.decoder)
        except (VideoError, _Apart):
            return [self._alone(index, sampler, generator()) for sampler, generator in asked]

    def _alone(self, index: int, sampler: sampling.Sampler, generator: torch.Generator | None) -> Tensor | BadClip:
        """**Shapes:** -> uint8 (T, H, W, 3)"""
        clip = self.clips[index]
        try:
            read = partial(_frames, decoder=self.decoder) if self.store is None else self.store.frames
            return read(clip, sampler, self.short_side, generator, self.give_up)
        except VideoError as error:
            return BadClip(clip.name, clip.path, error.reason)

    def _generator(self, seed: int) -> torch.Generator | None:
        # Two streams: drawing one frame more or less must not change the augmentation.
        return torch.Generator().manual_seed(seed + 1) if self.transform.train else None

    def _item(self, index: int, frames: Tensor, seed: int) -> dict[str, Any]:
        tensor, flipped = self.transform.draw(frames, seed)
        label = self.clips[index].label
        return {
            "clip": tensor,
            "label": self.mirrored[label] if flipped and self.mirrored else label,
            "index": index,
            "flipped": flipped,
        }


class ClipViews(Dataset):
    """Several views of each clip of a list, each clip decoded once; an item's key is (index, seeds).

    Args:
        training: the clips, with a training transform; it gives a view a seed.
        evaluation: the same clips as evaluation sees them, whose view comes last; None: no such view.

    **Shapes:** item: a list of items of ``ClipDataset``
    """

    def __init__(self, training: ClipDataset, evaluation: ClipDataset | None):
        self.training, self.evaluation = training, evaluation

    def __len__(self) -> int:
        return len(self.training)

    def __getitem__(self, key: tuple[int, Sequence[int]]) -> list[dict[str, Any] | BadClip]:
        index, seeds = key
        return self.training.views(index, seeds, self.evaluation)


class _Apart(Exception):
    """The views of a clip cannot share a decode."""


def collate(items: Sequence[dict[str, Any] | BadClip]) -> dict[str, Any]:
    """Stacks samples to a batch and leaves bad clips out, naming them.

    **Shapes:** {"clip": (B, 3, T, h, w), "label": (B,) long, "index": (B,) long, "skipped": [(name, path, reason),
    ...]}; B is the number of good clips and may be 0, with "clip" (0, 3, 0, 0, 0). Stored tokens come as "tokens"
    (B, T', H', W', C) instead.
    """
    good = [item for item in items if not isinstance(item, BadClip)]
    bad = [(item.name, item.path, item.reason) for item in items if isinstance(item, BadClip)]
    kind = "tokens" if good and "tokens" in good[0] else "clip"
    return {
        kind: torch.stack([item[kind] for item in good]) if good else torch.empty(0, 3, 0, 0, 0),
        "label": torch.tensor([item["label"] for item in good], dtype=torch.long),
        "index": torch.tensor([item["index"] for item in good], dtype=torch.long),
        "skipped": bad,
    }


def collate_views(items: Sequence[Sequence[dict[str, Any] | BadClip]]) -> list[dict[str, Any]]:
    """A batch, as ``collate`` makes it, for each view."""
    return [collate(view) for view in zip(*items, strict=True)]


def eval_sampler(preprocess: dict[str, Any]) -> sampling.Sampler:
    """The frame sampler that a checkpoint's ``preprocess`` describes."""
    return train_sampler(preprocess, 0.0, (1.0, 1.0))


def train_sampler(preprocess: dict[str, Any], jitter: float, scale: Sequence[float]) -> sampling.Sampler:
    """The same with what training adds to it, see ``sampling.training``."""
    stride = {"stride": preprocess["stride"]} if preprocess["sampling"] == "dense" else {}
    return sampling.training(preprocess["sampling"], preprocess["frames"], jitter, scale, **stride)


def eval_transform(preprocess: dict[str, Any]) -> Transform:
    """The transform of evaluation that a checkpoint's ``preprocess`` describes."""
    return Transform(**{option: preprocess[option] for option in EVAL_OPTIONS})


def load_clip(path: str, preprocess: dict[str, Any], start: float | None = None, stop: float | None = None) -> Tensor:
    """Loads one video file exactly as the evaluation of a model does.

    Args:
        path: the file.
        preprocess: what the checkpoint stores, see ``ClipData.preprocess``.
        start: first second to use; None for the beginning.
        stop: second to end at; None for the end.

    **Shapes:** -> float32 (3, T, h, w)

    Raises:
        VideoError: if the file cannot be used.
    """
    clip = Clip(str(path), 0, str(path), start, stop)
    frames = _frames(clip, eval_sampler(preprocess), preprocess["short_side"], None)
    return eval_transform(preprocess)(frames)


def _frames(
    clip: Clip,
    sampler: sampling.Sampler,
    short_side: int | None,
    generator: torch.Generator | None,
    give_up: float = GIVE_UP,
    decoder: str = "auto",
) -> Tensor:
    """**Shapes:** -> uint8 (T, H, W, 3)"""
    return _read(clip, [partial(sampler, generator=generator)], short_side, give_up, decoder)[0]


def _read(
    clip: Clip, samples: Sequence[Callable[[int], list[int]]], short_side: int | None, give_up: float, decoder: str
) -> list[Tensor]:
    """**Shapes:** -> uint8 (T, H, W, 3) for each sample"""
    limits = {"give_up": give_up, "decoder": decoder}
    return read_views(clip.path, samples, short_side, clip.start, clip.stop, origin=clip.origin, **limits)


def _once(sample: Callable[[int], list[int]]) -> Callable[[int], list[int]]:
    """A sample that is drawn once only: how often it is drawn may depend on the other views."""
    drawn = []

    def once(n: int) -> list[int]:
        if drawn:
            raise _Apart
        drawn.append(n)
        return sample(n)

    return once
