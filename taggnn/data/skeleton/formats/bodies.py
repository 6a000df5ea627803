"""From tracked bodies to persons: noise left out, pieces joined, the main person first.

As the published pre-processing of NTU RGB+D does (https://arxiv.org/abs/2107.12213 and https://arxiv.org/abs/2205.09443); of
several bodies:

1. one of 11 frames or fewer is noise;
2. a frame in which a body is wider than 0.8 of its height is noise; a body with 0.69754 of such frames or more is left out, and
   the others' motion is at most that of their good frames;
3. they are sorted by motion, the sum over x, y and z of the variance over frames and joints, the largest first;
4. a body that begins after another has ended (or ends before it begins) is the same person with another id;
5. if the main person is not in the first frame and the second is, the two change their order.

Ours: where a step would leave nobody, the bodies before it stay; two bodies whose ids are exchanged from one frame to the next
are exchanged back; any number of persons is returned.

Axes: M persons, T frames, V joints, N frames of one body.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from taggnn.data.skeleton.formats.recording import Array

SHORTEST = 12
WIDEST = 0.8
NOISIEST = 0.69754
# Metres: a body moves less from one frame to the next, a change of ids more.
_JUMP = 0.5


@dataclass(frozen=True)
class Track:
    """A body over the frames that it is in.

    Args:
        frames: its frames, ascending.
        joints: coordinates in metres, y upwards.
        confidence: of each joint.
        motion: see the module.

    **Shapes:** frames (N,); joints (N, V, 3); confidence (N, V)
    """

    frames: Array
    joints: Array
    confidence: Array
    motion: float


def tracks_of(ids: Sequence[Hashable], frames: Array, joints: Array, confidence: Array) -> list[Track]:
    """The bodies of single frames by their ids, in order of appearance.

    **Shapes:** ids, frames (N,) ascending; joints (N, V, 3); confidence (N, V)
    """
    rows: dict[Any, list[int]] = {}
    seen: dict[Any, int] = {}
    for number, (name, frame) in enumerate(zip(ids, frames.tolist(), strict=True)):
        # Two bodies with one id in one frame are two bodies.
        again = seen[name, frame] = seen.get((name, frame), -1) + 1
        rows.setdefault((name, again), []).append(number)
    if len(rows) == 1:
        return [_track(frames, joints, confidence)]
    return [_track(frames[own], joints[own], confidence[own]) for own in rows.values()]


def persons(tracks: Sequence[Track], frames: int) -> tuple[Array, Array, tuple[str, ...]]:
    """Persons, the main one first, in the frames with at least one.

    Args:
        tracks: bodies.
        frames: T of the file.

    Returns:
        Coordinates, NaN where absent, and confidence, with sentences on what was changed.

    **Shapes:** (M, T', V, 3), (M, T', V)
    """
    notes = []
    tracks, swapped = _unswapped(list(tracks))
    notes += [f"two bodies that exchange their ids at frame {frame} are exchanged back" for frame in swapped]
    kept = _cleaned(tracks)
    if len(kept) < len(tracks):
        notes.append(f"left out as noise: {len(tracks) - len(kept)} of {len(tracks)} bodies")
    merged = _joined(kept)
    joined = np.full((len(merged), frames, *kept[0].joints.shape[1:]), np.nan, np.float32)
    confidence = np.zeros(joined.shape[:3], np.float32)
    present = np.zeros(joined.shape[:2], dtype=bool)
    for person, parts in enumerate(merged):
        for part in parts:
            joined[person, part.frames] = part.joints
            confidence[person, part.frames] = part.confidence
            present[person, part.frames] = ~np.isnan(part.joints[..., 0]).all(1)
    used = present.any(0)
    if not used.all():
        notes.append(f"left out: {int((~used).sum())} of {frames} frames, without a body")
        joined, confidence, present = joined[:, used], confidence[:, used], present[:, used]
    if len(joined) > 1 and present.shape[1] and present[1, 0] and not present[0, 0]:
        order = [1, 0, *range(2, len(joined))]
        joined, confidence = joined[order], confidence[order]
    return joined, confidence, tuple(notes)


def _track(frames: Array, joints: Array, confidence: Array) -> Track:
    return Track(frames, joints, confidence, _motion(joints))


def _motion(joints: Array) -> float:
    # Sums as products, in float64: a fraction of the time of numpy.var.
    flat = joints.reshape(-1, 3).astype(np.float64)
    weights = np.full(len(flat), 1 / len(flat))
    found = float((weights @ np.square(flat) - np.square(weights @ flat)).sum())
    # Of a body with missing joints nothing is known: the last in the order.
    return found if found == found else 0.0


def _cleaned(tracks: list[Track]) -> list[Track]:
    """Steps 1 to 3."""
    if len(tracks) > 1:
        tracks = [track for track in tracks if len(track.frames) >= SHORTEST] or tracks
    if len(tracks) > 1:
        checked = [(track, _good_frames(track)) for track in tracks]
        tracks = [
            track if good.all() else replace(track, motion=min(track.motion, _motion(track.joints[good])))
            for track, good in checked
            if 1 - good.mean() < NOISIEST
        ] or tracks
    return sorted(tracks, key=lambda track: -track.motion)


def _good_frames(track: Track) -> Array:
    width, height = (np.ptp(track.joints[..., axis], 1) for axis in (0, 1))
    return width <= WIDEST * height


def _joined(tracks: Sequence[Track]) -> list[list[Track]]:
    """Step 4: persons as lists of bodies that do not overlap in time."""
    found: list[list[Track]] = []
    spans: list[tuple[int, int]] = []
    for track in tracks:
        first, last = int(track.frames[0]), int(track.frames[-1])
        for person, (begin, end) in enumerate(spans):
            if first > end or last < begin:
                found[person].append(track)
                spans[person] = min(first, begin), max(last, end)
                break
        else:
            found.append([track])
            spans.append((first, last))
    return found


def _unswapped(tracks: list[Track]) -> tuple[list[Track], list[int]]:
    """Exchanges two bodies from a frame on at which both jump to where the other was; with those frames."""
    if len(tracks) != 2 or not np.array_equal(tracks[0].frames, tracks[1].frames) or len(tracks[0].frames) < 2:
        return tracks, []
    centres = np.stack([track.joints.mean(1) for track in tracks])
    before, after = centres[:, :-1], centres[:, 1:]
    stay = np.linalg.norm(after - before, axis=-1)
    cross = np.linalg.norm(after[::-1] - before, axis=-1)
    jumps = (stay.min(0) > _JUMP) & (4 * cross.max(0) < stay.min(0))
    if not jumps.any():
        return tracks, []
    other = np.concatenate([[False], np.cumsum(jumps) % 2 == 1])
    one, two = tracks
    pairs = [
        (np.where(other[:, None, None], b.joints, a.joints), np.where(other[:, None], b.confidence, a.confidence))
        for a, b in ((one, two), (two, one))
    ]
    frames = one.frames
    return [_track(frames, *pair) for pair in pairs], frames[1:][jumps].tolist()
