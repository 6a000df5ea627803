"""Leakage: the same clip in two splits, such as train and test."""

from collections.abc import Mapping
from math import inf

from taggnn.data.clips import Clip, ClipList

# Neighbouring actions of one video may overlap by a few frames; as a part of the shorter one.
TOLERATED = 0.1


def leaked_clips(splits: Mapping[str, ClipList]) -> list[tuple[str, Clip, str, Clip]]:
    """Finds clips of different splits that show the same part of the same file.

    Source: ours. Formula: two cuts of one file are the same clip if they share more than a tenth of the shorter one.

    Returns:
        (split, clip, earlier split, its clip) for each clip that an earlier split of the mapping has too, in order.
    """
    earlier: dict[tuple[str, str | None], list[tuple[str, Clip]]] = {}
    found = []
    for split, clips in splits.items():
        for clip in clips:
            other = next(
                (one for one in earlier.get((clip.path, clip.member), ()) if overlap(_cut(clip), _cut(one[1]))), None
            )
            if other is not None:
                found.append((split, clip, *other))
        for clip in clips:
            earlier.setdefault((clip.path, clip.member), []).append((split, clip))
    return found


def overlap(*cuts: tuple[float, float]) -> float:
    """Seconds that two cuts (start, stop) of one file share; 0 if no more than neighbours may share."""
    common = min(stop for _, stop in cuts) - max(start for start, _ in cuts)
    # Two cuts that are open at the end have an unknown length, but share it.
    same = common > 0 and (common == inf or common > TOLERATED * min(stop - start for start, stop in cuts))
    return common if same else 0.0


def _cut(clip: Clip) -> tuple[float, float]:
    return clip.start or 0.0, inf if clip.stop is None else clip.stop
