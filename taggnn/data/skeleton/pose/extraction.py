"""From a video to the skeletons in it, as a file that is a training clip.

Axes: M persons, T frames, V joints, C coordinates.
"""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taggnn.data.shards import checksum
from taggnn.data.skeleton.pose.landmarker import Landmarker, Poses
from taggnn.data.skeleton.pose.mapping import confidence_of, kinect_axes, mapped
from taggnn.data.skeleton.pose.overlay import Overlay
from taggnn.data.skeleton.pose.tracks import Tracker, distinct
from taggnn.data.skeleton.sequence import SkeletonSequence
from taggnn.data.video.reading import frame_times, iterate_frames
from taggnn.runtime.atomic import replacing

# The key of an .npz with the settings and the video that it was made from.
MADE = "made"


@dataclass(frozen=True)
class Settings:
    """What the skeletons of a video depend on, besides the video.

    Args:
        skeleton: a key of `mapping.AVERAGES`.
        coordinates: "metres" or "pixels", see `mapping.COORDINATES`.
        persons: how many are kept, at most.
        confidence: lowest confidence of a detection.
        overlapping: keep bodies that lie within the box of a larger one, see `tracks.distinct`.
        short_side: pixels of the shorter side of the pictures; ``None`` for those of the video.
        task: SHA-256 of the task file.
    """

    skeleton: str
    coordinates: str
    persons: int
    confidence: float
    overlapping: bool
    short_side: int | None
    task: str


@dataclass(frozen=True)
class Found:
    """The skeletons of one video.

    Args:
        sequence: coordinates and confidence; NaN and 0 where a person is not found in a frame. Persons in the order of the
            number of their frames.
        fps: frames a second.
        frames: of each person, in how many it is found.
        with_body: frames with at least one person.
        picture: (height, width) of the pictures.
    """

    sequence: SkeletonSequence
    fps: float
    frames: list[int]
    with_body: int
    picture: tuple[int, int]


class NoBody(ValueError):
    """A video without a body in any frame."""


def skeletons_of(
    video: Path,
    opened: Callable[[], AbstractContextManager[Landmarker]],
    settings: Settings,
    overlay: Path | None = None,
) -> Found:
    """Finds the skeletons of a video, frame by frame.

    Args:
        video: the file.
        opened: makes a landmarker.
        settings: of the extraction.
        overlay: where to write the video with the skeletons drawn into it, all or nothing; ``None`` (default) for none.

    Raises:
        taggnn.data.video.reading.VideoError: the video cannot be read.
        NoBody: no body in any frame.
        OSError: the overlay cannot be written.
    """
    times = frame_times(video)
    fps = float(times.rate) if times.rate is not None else len(times.times) / times.duration
    tracker, rows, picture, last = Tracker(settings.persons), [], (0, 0), -1
    with contextlib.ExitStack() as stack:
        find = stack.enter_context(opened())
        drawn = None
        if overlay is not None:
            temporary = stack.enter_context(replacing(overlay))
            drawn = stack.enter_context(Overlay(temporary, fps, settings.skeleton))
        for seconds, frame in iterate_frames(video, settings.short_side):
            # The landmarker wants times that grow.
            last = max(last + 1, round(1000 * seconds))
            poses, picture = find(frame, last), frame.shape[:2]
            if not settings.overlapping:
                poses = poses.only(distinct(poses.pixels))
            indices = tracker.assign(poses.pixels)
            rows.append(_row(poses, indices, settings))
            if drawn is not None:
                joints = mapped(poses.pixels, settings.skeleton)
                drawn.add(frame, dict(zip(indices, joints, strict=True)))
        if not any(row for row in rows):
            raise NoBody(f"no body in any of its {len(rows):,} frames")
    return _collected(rows, fps, picture)


def write(path: Path, found: Found, settings: Settings, video: Path) -> None:
    """Writes an ``.npz``, all or nothing: ``coordinates`` (M, T, V, C), ``confidence`` (M, T, V), ``fps``, ``picture`` (H, W).

    Args:
        path: where to.
        found: the skeletons.
        settings: that they were found with; stored, with size and time of the video.
        video: the file.
    """
    assert found.sequence.confidence is not None
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            coordinates=found.sequence.coordinates.numpy(),
            confidence=found.sequence.confidence.numpy(),
            fps=np.float64(found.fps),
            picture=np.array(found.picture),
            made=np.array(_made(settings, video)),
        )


def is_done(path: Path, settings: Settings, video: Path) -> bool:
    """Whether a file holds the skeletons of this video as it is now; not if it is damaged, or absent.

    Raises:
        ValueError: it was made with other settings, or by something else; a folder holds clips of one kind.
    """
    if not path.is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as held:
            made = json.loads(str(held[MADE])) if MADE in held.files else None
            shape = held["coordinates"].shape if made is not None else ()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
    if not isinstance(made, dict):
        raise ValueError(f"{path}: there, and not written by this program; give another --out")
    then, now = {**made}, json.loads(_made(settings, video))
    state, state_now = then.pop("video", None), now.pop("video")
    if then != now:
        changed = [f"{key} {then.get(key)}, now {now[key]}" for key in now if then.get(key) != now[key]]
        raise ValueError(f"{path}: made with other settings ({'; '.join(changed)}); give these again, or another --out")
    return state == state_now and len(shape) == 4


def settings_of(task: Path, **options: Any) -> Settings:
    """The settings with a task file."""
    return Settings(task=checksum(task), **options)


def _made(settings: Settings, video: Path) -> str:
    state = video.stat()
    return json.dumps({**asdict(settings), "video": [state.st_size, state.st_mtime_ns]}, sort_keys=True)


def _row(poses: Poses, indices: list[int], settings: Settings) -> dict[int, tuple[Tensor, Tensor]]:
    """Index of each person of a frame -> joints and their confidence."""
    given = kinect_axes(poses.metres) if settings.coordinates == "metres" else poses.pixels
    joints, confidence = mapped(given, settings.skeleton), confidence_of(poses.visibility, settings.skeleton)
    return {index: (joints[person], confidence[person]) for person, index in enumerate(indices)}


def _collected(rows: list[dict[int, tuple[Tensor, Tensor]]], fps: float, picture: tuple[int, int]) -> Found:
    counts: dict[int, int] = {}
    for row in rows:
        for index in row:
            counts[index] = counts.get(index, 0) + 1
    order = sorted(counts, key=lambda index: (-counts[index], index))
    joints, _ = next(iter(next(row for row in rows if row).values()))
    coordinates = torch.full((len(order), len(rows), *joints.shape), torch.nan)
    confidence = torch.zeros(len(order), len(rows), joints.shape[0])
    for number, row in enumerate(rows):
        for person, index in enumerate(order):
            if index in row:
                coordinates[person, number], confidence[person, number] = row[index]
    found: dict[str, Any] = {"frames": [counts[index] for index in order], "with_body": sum(map(bool, rows))}
    return Found(SkeletonSequence(coordinates, confidence), fps, picture=picture, **found)
