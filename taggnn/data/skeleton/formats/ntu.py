"""``.skeleton`` files of NTU RGB+D 60 and 120: the text that the Kinect's recorder wrote.

Papers: https://arxiv.org/abs/1604.02808, https://arxiv.org/abs/1905.04757. Format: the number of frames; for each frame the
number of bodies; for each body a line of 10 values, of which the first is its id, a line with the number of joints, and for each
joint a line of 12 values: x y z in metres, four coordinates in pictures, four of its orientation, and its tracking state.

Bodies are tracked by their ids and cleaned as in ``bodies.py``; all are returned, the main one first. Frames without any are left
out. Confidence is the tracking state: 1 tracked, 0.5 inferred from other joints, 0 neither [ours].
"""

from dataclasses import dataclass

import numpy as np

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats import bodies, decimals
from taggnn.data.skeleton.formats.cut import frames_of
from taggnn.data.skeleton.formats.reading import read_bytes
from taggnn.data.skeleton.formats.recording import Array, Recording

MAX_BYTES = 2**28
# Bytes in which ends of lines are looked for at once: the processor's cache holds them.
_PIECE = 2**16
# Values of a line of a body and of a joint.
_BODY, _JOINT = 10, 12
_CONFIDENCE = np.array([0, 0.5, 1], dtype=np.float32)


@dataclass(frozen=True)
class Content:
    """The bodies of a file, frame by frame.

    Args:
        frames: number of frames.
        frame: frame of each body.
        ids: of each body.
        joints: their coordinates in metres.
        states: tracking states, 0 to 2.

    **Shapes:** frame, ids (N,); joints (N, V, 3); states (N, V)
    """

    frames: int
    frame: list[int]
    ids: list[bytes]
    joints: Array
    states: Array


def begins(head: bytes) -> bool:
    first = head.split(b"\n", 1)[0].split()
    return len(first) == 1 and first[0].isdigit()


def read(clip: Clip) -> Recording:
    """Reads the file of a clip.

    Raises:
        ValueError: truncated or no such text, bodies with different numbers of joints, or no usable body.
        OSError: it cannot be opened.
    """
    found = parse(read_bytes(clip.path, MAX_BYTES))
    first, last = frames_of(clip.start, clip.stop, found.frames)
    chosen = [number for number, frame in enumerate(found.frame) if first <= frame < last]
    if not chosen:
        raise ValueError(f"no body in {'any of its' if last - first == found.frames else 'the'} {last - first} frames")
    joints, states = found.joints, found.states
    if len(chosen) < len(joints):
        joints, states = joints[chosen], states[chosen]
    frames = np.array([found.frame[number] - first for number in chosen])
    tracks = bodies.tracks_of([found.ids[number] for number in chosen], frames, joints, _CONFIDENCE[states])
    coordinates, confidence, notes = bodies.persons(tracks, last - first)
    return Recording(coordinates, confidence, notes, whole=False)


def parse(text: bytes) -> Content:
    """The content of a file.

    Raises:
        ValueError: truncated, text after the last frame, no numbers, or bodies with different numbers of joints.
    """
    found = _by_lines(text)
    return _by_words(text) if found is None else found


def _by_lines(text: bytes) -> Content | None:
    """Parses a text with one space between values; None: another, or a damaged one.

    No line is split: only the bytes of the coordinates and of the states are looked at, for all joints at once.
    """
    if b"\0" in text:
        return None
    data = np.frombuffer(text, np.uint8)
    pieces = range(0, len(text), _PIECE)
    ends = np.concatenate([np.flatnonzero(data[begin : begin + _PIECE] == 10) + begin for begin in pieces])
    try:
        frames, frame, ids, lines, joints = _structure(text, ends.tolist())
        chosen = (np.array(lines, dtype=np.intp)[:, None] + np.arange(joints)).ravel()
        position = ends[chosen - 1] + 1
        coordinates = np.empty((len(chosen), 3), np.float32)
        for axis in range(3):
            coordinates[:, axis], stops = decimals.parse(text, position)
            position = stops + 1
    except (IndexError, ValueError):
        return None
    last = ends[chosen] - 1
    if not lines or text[ends[-1] + 1 :].strip() or (position >= last).any():
        return None
    while (blank := data[last] <= 32).any():
        last -= blank
    state = data[last] ^ np.uint8(0x30)
    if (state > 2).any() or (data[last - 1] > 32).any():
        return None
    shape = (len(lines), joints)
    return Content(frames, frame, ids, coordinates.reshape(*shape, 3), state.reshape(shape))


def _structure(text: bytes, ends: list[int]) -> tuple[int, list[int], list[bytes], list[int], int]:
    """The number of frames; of each body its frame, its id and the line of its first joint; the number of joints.

    Raises:
        IndexError, ValueError: another structure.
    """
    frame, ids, lines = list[int](), list[bytes](), list[int]()
    frames, line, joints = int(text[: ends[0]]), 1, 0
    for number in range(frames):
        for _ in range(int(text[ends[line - 1] + 1 : ends[line]])):
            begin = ends[line] + 1
            frame.append(number)
            ids.append(text[begin : text.index(b" ", begin, ends[line + 1])])
            here = int(text[ends[line + 1] + 1 : ends[line + 2]])
            joints = joints or here
            if here != joints or here < 1:
                raise ValueError(f"{here} joints")
            lines.append(line + 3)
            line += 2 + here
        line += 1
    if line != len(ends):
        raise ValueError("more lines")
    return frames, frame, ids, lines, joints


def _by_words(text: bytes) -> Content:
    """Parses any text, with a reason why it cannot be."""
    words = text.split()
    frame, ids, joints, states = list[int](), list[bytes](), list[Array](), list[Array]()
    position = 0

    def number(what: str) -> int:
        nonlocal position
        if position >= len(words):
            raise ValueError(f"truncated: the text ends where {what} should follow")
        word = words[position]
        position += 1
        if not word.isdigit() or len(word) > 9:
            raise ValueError(f"{what}: expected a whole number, found {word[:20].decode('utf-8', 'replace')!r}")
        return int(word)

    frames = number("the number of frames")
    for index in range(frames):
        for _ in range(number(f"the number of bodies of frame {index}")):
            where = f"frame {index}"
            if position + _BODY > len(words):
                raise ValueError(f"truncated: the text ends in {where} of {frames}")
            name = words[position]
            position += _BODY
            count = number(f"the number of joints in {where}")
            if count < 1 or (joints and count != len(joints[0])):
                expected = f"{len(joints[0])} as before" if joints else "1 or more"
                raise ValueError(f"{where}: a body with {count} joints; expected {expected}")
            values = words[position : position + count * _JOINT]
            if len(values) < count * _JOINT:
                raise ValueError(f"truncated: the text ends in {where} of {frames}")
            position += count * _JOINT
            try:
                rows = np.array(list(map(float, values))).reshape(count, _JOINT)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if not np.isin(rows[:, -1], (0, 1, 2)).all():
                raise ValueError(f"{where}: a tracking state that is none of 0, 1, 2")
            frame.append(index)
            ids.append(name)
            with np.errstate(over="ignore"):
                joints.append(rows[:, :3].astype(np.float32))
            states.append(rows[:, -1].astype(np.uint8))
    if position < len(words):
        raise ValueError(f"{len(words) - position} more values after the last of {frames} frames")
    if not joints:
        return Content(frames, frame, ids, np.zeros((0, 1, 3), np.float32), np.zeros((0, 1), np.uint8))
    return Content(frames, frame, ids, np.stack(joints), np.stack(states))
