"""Files of skeleton sequences: one module for each format, found by the ending of the name and the first bytes."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats import json_text, npy, npz, ntu, pku_mmd, pyskl
from taggnn.data.skeleton.formats.arrays import checked
from taggnn.data.skeleton.formats.cut import cut_frames
from taggnn.data.skeleton.formats.recording import Recording

if TYPE_CHECKING:
    from taggnn.data.skeleton.sequence import SkeletonSequence

# Bytes of a file that its format is recognised by.
_HEAD = 4096


class Format(NamedTuple):
    """A format of the table.

    Args:
        endings: extensions of its files, in lower case with the dot.
        begins: whether a file with these first bytes has this format.
        read: reads the recording of a clip; a ``ValueError`` or an ``OSError`` for a bad file.
        summary: what it is, in one line.
    """

    endings: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Clip], Recording]
    summary: str


FORMATS: dict[str, Format] = {
    "ntu": Format(
        (".skeleton",), ntu.begins, ntu.read, "NTU RGB+D's text: bodies by id, the main ones chosen by motion"
    ),
    "pyskl": Format(
        pyskl.ENDINGS, pyskl.begins, pyskl.read, "pyskl's pickle of a whole data set, opened without running it"
    ),
    "pku_mmd": Format(
        (".txt",), pku_mmd.begins, pku_mmd.read, "PKU-MMD's text: 150 numbers for each frame of a recording"
    ),
    "json": Format((".json",), json_text.begins, json_text.read, "JSON: NW-UCLA's, or coordinates of one's own"),
    "npy": Format((".npy",), npy.begins, npy.read, "one NumPy array (T, V, C) or (M, T, V, C)"),
    "npz": Format((".npz",), npz.begins, npz.read, "NumPy arrays by name: coordinates and confidence"),
}

ENDINGS = frozenset(ending for row in FORMATS.values() for ending in row.endings)


class FormatError(ValueError):
    """A file that is no readable skeleton sequence.

    Args:
        path: the file.
        reason: what is wrong with it, or with the cut of the clip.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # A process of a loader sends it to another.
        return type(self), (self.path, self.reason)


def read(clip: Clip) -> "SkeletonSequence":
    """Reads the skeletons of a clip.

    The format is found by the ending of the file's name and its first bytes; see ``FORMATS``. Nothing in the file is run, and
    what it takes of memory is bounded by its size.

    Args:
        clip: its ``path``; its ``member`` in a file that holds many; ``start`` and ``stop`` are frames of the file, from 0.

    Returns:
        The persons that have at least one joint in the clip, in the order of the file or, where the format names the main
        person, by motion.

    Raises:
        FormatError: a ``ValueError``: an unknown format, a damaged file, no frame in the cut, or no joint in any frame.
        OSError: the file cannot be opened.
    """
    # The processes of a check do without torch, which takes seconds to import.
    import torch

    from taggnn.data.skeleton.sequence import SkeletonSequence

    found = read_arrays(clip)
    confidence = None if found.confidence is None else torch.from_numpy(found.confidence)
    return SkeletonSequence(torch.from_numpy(found.coordinates), confidence, found.notes, found.picture)


def read_arrays(clip: Clip) -> Recording:
    """As ``read``, with NumPy arrays.

    **Shapes:** coordinates float32 (M, T, V, C), confidence float32 (M, T, V)
    """
    try:
        found = FORMATS[format_of(clip.path)].read(clip)
        return checked(cut_frames(found, clip.start, clip.stop))
    except ValueError as error:
        raise FormatError(clip.path, f"{error}{_hint(clip.path)}") from error
    except MemoryError:
        raise FormatError(clip.path, "needs more memory than there is") from None


def format_of(path: str) -> str:
    """The name of a file's format; the file is opened only where several have its ending.

    Raises:
        ValueError: none has this ending.
        OSError: the file cannot be opened.
    """
    possible = _by_ending(path)
    if not possible:
        ending = os.path.splitext(path)[1]
        raise ValueError(
            f"files ending in {ending or 'nothing'!r} are not read; possible are {', '.join(sorted(ENDINGS))}"
        )
    if len(possible) == 1:
        return possible[0]
    head = _head(path)
    return next((name for name in possible if FORMATS[name].begins(head)), possible[0])


def _by_ending(path: str) -> list[str]:
    ending = os.path.splitext(path)[1].lower()
    return [name for name, row in FORMATS.items() if ending in row.endings]


def _head(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(_HEAD)


def _hint(path: str) -> str:
    """For a bad file: what it seems to be instead of what its ending stands for."""
    try:
        head = _head(path)
    except OSError:
        return ""
    expected = _by_ending(path)
    if not expected or any(FORMATS[name].begins(head) for name in expected):
        return ""
    others = [name for name, row in FORMATS.items() if row.begins(head)]
    return f" (it begins as {' or '.join(others)}, not as {' or '.join(expected)})" if others else ""
