"""Skeleton text of PKU-MMD: a line for each frame, 150 numbers: two persons, 25 joints, x y z in metres.

Paper: https://arxiv.org/abs/1703.07475. A recording takes minutes; a clip is the frames [start, stop) of it, and only their lines
are parsed. An absent person is zeros.
"""

import numpy as np

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats import decimals
from taggnn.data.skeleton.formats.cut import frames_of
from taggnn.data.skeleton.formats.reading import read_bytes
from taggnn.data.skeleton.formats.recording import Array, Recording

MAX_BYTES = 2**28
SHAPE = (2, 25, 3)
VALUES = 150


def begins(head: bytes) -> bool:
    return len(head.split(b"\n", 1)[0].split()) == VALUES


def read(clip: Clip) -> Recording:
    """Reads the frames of a clip.

    Raises:
        ValueError: no frame of the file in the clip, or a line without 150 numbers.
        OSError: it cannot be opened.
    """
    text = read_bytes(clip.path, MAX_BYTES).rstrip()
    # Ends of the lines; the first begins after an end of its own.
    ends = np.concatenate([[-1], np.flatnonzero(np.frombuffer(text, np.uint8) == 10), [len(text)]])
    first, last = frames_of(clip.start, clip.stop, len(ends) - 1)
    values = _numbers(text[ends[first] + 1 : ends[last]], ends[first : last + 1] - ends[first], first)
    frames = values.astype(np.float32).reshape(-1, *SHAPE)
    return Recording(frames.transpose(1, 0, 2, 3), whole=False)


def _numbers(part: bytes, ends: Array, first: int) -> Array:
    """The numbers of some lines.

    Args:
        part: their text.
        ends: end of the line before and of each line, from 0 at the former.
        first: number of the first line, for messages.
    """
    if b"\0" in part:
        raise ValueError("zero bytes in the text, as damaged files have")
    text = part + b" " * decimals.AFTER
    gaps = np.concatenate([[-1], np.flatnonzero(np.frombuffer(text, np.uint8) <= 32)])
    starts = gaps[np.flatnonzero(np.diff(gaps) > 1)] + 1
    counts = np.diff(np.searchsorted(starts, ends))
    wrong = np.flatnonzero(counts != VALUES)
    if len(wrong):
        raise ValueError(
            f"line {first + wrong[0] + 1}: {counts[wrong[0]]} numbers; expected {VALUES}, of two persons with 25 joints"
        )
    return decimals.parse(text, starts)[0]
