"""The frames of a clip in a recording."""

from dataclasses import replace

from taggnn.data.skeleton.formats.recording import Recording


def frames_of(start: float | None, stop: float | None, count: int) -> tuple[int, int]:
    """The frames [first, last) of a cut.

    Args:
        start: first frame, from 0; None: the first of the file.
        stop: first frame after the cut; None: the end of the file. One beyond the end means the end.
        count: T, frames of the file.

    Raises:
        ValueError: a cut that is no whole number, or has no frame of the file.
    """
    for name, value in (("start", start), ("stop", stop)):
        if value is not None and not float(value).is_integer():
            raise ValueError(f"{name} {value:g}: the cuts of skeletons are whole frames, from 0")
    first, last = int(start or 0), count if stop is None else min(int(stop), count)
    if not 0 <= first < last:
        raise ValueError(
            f"no frame from {first} to {'the end' if stop is None else int(stop)}; the file has {count} frames"
        )
    return first, last


def cut_frames(found: Recording, start: float | None, stop: float | None) -> Recording:
    """The frames of the clip alone; the same object where that is the whole recording, or the cut is made already.

    Raises:
        ValueError: as ``frames_of``; or coordinates without an axis of frames.
    """
    shape = found.coordinates.shape
    if len(shape) not in (3, 4) or not found.whole:
        return found
    first, last = frames_of(start, stop, shape[-3])
    if (first, last) == (0, shape[-3]):
        return found
    confidence = found.confidence
    if confidence is not None and confidence.ndim >= len(shape) - 1:
        confidence = confidence[first:last] if len(shape) == 3 else confidence[:, first:last]
    frames = (slice(first, last),) if len(shape) == 3 else (slice(None), slice(first, last))
    return replace(found, coordinates=found.coordinates[frames], confidence=confidence)
