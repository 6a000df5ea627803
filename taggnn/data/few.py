"""A few clips of each split, for a smoke run: whether everything works, never how good it is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.splits import SPLITS, Splits

# Clips of each split, and of each class of a synthetic set.
FEW: Mapping[str, int] = {"train": 16, "val": 8, "test": 8}
SYNTHETIC = {"train": 2, "val": 1, "test": 1}


def few(splits: Splits) -> Splits:
    """The splits with the first clip of each class, then the second one and so on, up to ``FEW``.

    A split that is also another one stays so. Listed files that do not exist are not counted any more.
    """
    chosen: dict[int, ClipList] = {}
    for split in SPLITS:
        clips = getattr(splits, split)
        if clips is not None and id(clips) not in chosen:
            chosen[id(clips)] = replace(
                clips, clips=_first(clips, FEW[split]), missing=(), missing_labels=(), absent=()
            )
    parts: dict[str, Any] = {split: chosen.get(id(getattr(splits, split))) for split in SPLITS}
    return replace(splits, **parts)


def _first(clips: ClipList, most: int) -> tuple[Clip, ...]:
    """The first of each class, in the order of the list."""
    seen: dict[int, int] = {}
    turns = []
    for index, clip in enumerate(clips):
        turns.append((seen.setdefault(clip.label, 0), index))
        seen[clip.label] += 1
    return tuple(clips[index] for index in sorted(index for _, index in sorted(turns)[:most]))
