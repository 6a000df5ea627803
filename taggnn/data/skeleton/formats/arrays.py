"""Arrays of a file checked: shapes, types, missing joints.

Axes: M persons, T frames, V joints, C coordinates.
"""

from dataclasses import replace
from math import prod

import numpy as np

from taggnn.data.skeleton.formats.recording import Array, Recording

# Numbers of one clip: two persons with 25 joints for four hours at 30 frames a second. A header that claims more is wrong.
MAX_NUMBERS = 2**26
_EXPECTED = "expected (T, V, C) or (M, T, V, C), persons, frames, joints, and 2 or 3 coordinates"


def check_shape(shape: tuple[int, ...], kind: str) -> None:
    """Refuses an array before it is read.

    Args:
        shape: as in the header of a file.
        kind: ``numpy.dtype.kind``.

    Raises:
        ValueError: no numbers, or too many.
    """
    if kind not in "fiu":
        raise ValueError(f"holds an array of NumPy kind {kind!r}; possible are floats and integers")
    if prod(shape) > MAX_NUMBERS:
        raise ValueError(f"an array {shape} has {prod(shape):,} numbers; at most {MAX_NUMBERS:,} are read")


def checked(found: Recording) -> Recording:
    """The frames of a clip, checked, without absent persons.

    A joint without all coordinates (NaN) is missing as a whole; a person whose joints are all at zero in a frame is missing in
    it, as in files with a fixed number of persons.

    **Shapes:** coordinates float32 (M, T, V, C), confidence float32 (M, T, V)

    Raises:
        ValueError: another shape, an infinite number, or no joint in any frame.
    """
    given = found.coordinates
    check_shape(given.shape, given.dtype.kind)
    if given.ndim not in (3, 4) or given.shape[-1] not in (2, 3) or not all(given.shape[:-1]):
        raise ValueError(f"coordinates {given.shape}: {_EXPECTED}")
    with np.errstate(over="ignore"):
        x = given.astype(np.float32, order="C", copy=not given.flags.writeable)
    x = x[None] if x.ndim == 3 else x
    missing = ~np.isfinite(x).all(-1)
    if missing.any() and np.isinf(x).any():
        raise ValueError("a coordinate is infinite or too large; missing joints are NaN")
    missing |= np.expand_dims(~x.any((2, 3)), 2)
    x[missing] = np.nan
    present = ~missing.all((1, 2))
    if not present.any():
        raise ValueError("no joint in any frame: all coordinates are zero or NaN")
    confidence = None if found.confidence is None else _confidence(found.confidence, x.shape)
    if not present.all():
        x = x[present]
        confidence = None if confidence is None else confidence[present]
    return replace(found, coordinates=x, confidence=confidence)


def _confidence(given: Array, shape: tuple[int, ...]) -> Array:
    """**Shapes:** (T, V[, 1]) or (M, T, V[, 1]) -> (M, T, V)"""
    check_shape(given.shape, given.dtype.kind)
    for possible in (given, given[None], given[..., 0] if given.ndim else given):
        if possible.shape == shape[:3]:
            break
    else:
        possible = given[None, ..., 0] if given.ndim else given
    if possible.shape != shape[:3]:
        raise ValueError(f"confidence {given.shape}: expected one value for each joint of {shape[:3]} (M, T, V)")
    # Scores of heatmaps exceed 1 by a rounding; a missing one is no confidence.
    return np.nan_to_num(np.array(possible, dtype=np.float32), nan=0.0).clip(0, 1)
