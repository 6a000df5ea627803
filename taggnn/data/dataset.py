"""From clip rows to samples and batches, and a single clip for prediction.

Axes: B clips, T frames, h w the picture as the model is fed.
"""

from collections.abc import Sequence
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
from taggnn.data.video import GIVE_UP, VideoError, read_frames

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
        clip = self.clips[index]
        # Two streams: drawing one frame more or less must not change the augmentation.
        generator = torch.Generator().manual_seed(seed + 1) if self.transform.train else None
        try:
            read = partial(_frames, decoder=self.decoder) if self.store is None else self.store.frames
            frames = read(clip, self.sampler, self.short_side, generator, self.give_up)
        except VideoError as error:
            return BadClip(clip.name, clip.path, error.reason)
        tensor, flipped = self.transform.draw(frames, seed)
        label = self.mirrored[clip.label] if flipped and self.mirrored else clip.label
        return {"clip": tensor, "label": label, "index": index, "flipped": flipped}


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
    sample = partial(sampler, generator=generator)
    limits = {"give_up": give_up, "decoder": decoder}
    return read_frames(clip.path, sample, short_side, clip.start, clip.stop, origin=clip.origin, **limits)
