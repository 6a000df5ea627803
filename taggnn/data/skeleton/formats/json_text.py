"""JSON files: those of NW-UCLA, and coordinates of one's own.

NW-UCLA (https://arxiv.org/abs/1405.2941), as its skeletons are published for CTR-GCN: one file for each sequence,
``{"file_name": "a01_s01_e00_v01", "skeletons": (T, 20, 3), "label": 1}``. One's own: nested lists (T, V, C) or (M, T, V, C), or
an object with them as ``coordinates`` and, if wanted, ``confidence`` (T, V) or (M, T, V). ``null`` and ``NaN`` are missing.
"""

import json
from typing import Any

import numpy as np

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats.keys import find_keys
from taggnn.data.skeleton.formats.reading import read_bytes
from taggnn.data.skeleton.formats.recording import Array, Recording

# Nested lists take about ten times their text.
MAX_BYTES = 2**26


def begins(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def read(clip: Clip) -> Recording:
    """Reads the file of a clip.

    Raises:
        ValueError: larger than ``MAX_BYTES``, no JSON, no coordinates in it, or lists of different lengths.
        OSError: it cannot be opened.
    """
    try:
        content = json.loads(read_bytes(clip.path, MAX_BYTES).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not readable as JSON: {error}") from None
    if not isinstance(content, dict):
        return Recording(_array(content, "the list"))
    coordinates, confidence = find_keys(content)
    return Recording(
        _array(content[coordinates], coordinates), _array(content[confidence], confidence) if confidence else None
    )


def _array(lists: Any, name: str) -> Array:
    try:
        return np.array(lists, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: no nested lists of numbers with equal lengths ({error})") from None
