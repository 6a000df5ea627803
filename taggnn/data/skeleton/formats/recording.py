"""The content of a file as its format's reader returns it, before cuts and checks that all formats share.

Axes: M persons, T frames, V joints, C coordinates.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Recording:
    """Coordinates as they are in a file.

    Args:
        coordinates: integers or floats; NaN, or zero for a whole person in a frame, where missing.
        confidence: of each joint, where the file has it.
        notes: sentences on what was changed while reading.
        whole: whether the cut of the clip is still to be made; else ``coordinates`` are those of the clip.
        picture: (height, width) in pixels of the pictures of 2-D coordinates, where the file has it.

    **Shapes:** coordinates (T, V, C) or (M, T, V, C); confidence (T, V) or (M, T, V), with or without a last axis of size 1
    """

    coordinates: Array
    confidence: Array | None = None
    notes: tuple[str, ...] = ()
    whole: bool = True
    picture: tuple[int, int] | None = None
