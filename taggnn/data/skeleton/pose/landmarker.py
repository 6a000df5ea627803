"""MediaPipe's PoseLandmarker: from pictures to the landmarks of every person in them.

Axes: P persons found in a picture, H W the picture.
"""

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

# The networks in a task file.
NETWORKS = ("pose_detector.tflite", "pose_landmarks_detector.tflite")
WHERE = (
    "download pose_landmarker_full.task (also lite, heavy) from https://storage.googleapis.com/mediapipe-models/pose_landmarker/"
    "pose_landmarker_full/float16/latest/pose_landmarker_full.task, described on "
    "https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker"
)


@dataclass(frozen=True)
class Poses:
    """The persons of one picture.

    Args:
        pixels: landmarks in the picture, x to the right and y down.
        metres: landmarks in space around the middle of the hips, x to the right, y down, z away from the camera.
        visibility: of each landmark, 0 to 1.

    **Shapes:** pixels (P, 33, 2), metres (P, 33, 3), visibility (P, 33)
    """

    pixels: Tensor
    metres: Tensor
    visibility: Tensor

    def only(self, persons: list[int]) -> "Poses":
        """Some of the persons, in the order given."""
        return Poses(self.pixels[persons], self.metres[persons], self.visibility[persons])


class Landmarker(Protocol):
    """Finds the persons of the pictures of one video, in the order of time."""

    def __call__(self, picture: np.ndarray, milliseconds: int) -> Poses:
        """**Shapes:** picture uint8 (H, W, 3)"""


class Opener(Protocol):
    """Makes a landmarker for one video."""

    def __call__(self) -> Any:
        """A context manager that yields a `Landmarker`."""


def check_task(path: Path) -> None:
    """Refuses what is no task file of a pose landmarker, before any video is read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file. Both messages have the address of the right one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--task {path}: no such file; {WHERE}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeError):
        raise ValueError(f"--task {path}: no task file of MediaPipe (a zip archive of networks); {WHERE}") from None
    missing = [name for name in NETWORKS if name not in names]
    if missing:
        has = ", ".join(names[:5]) or "nothing"
        raise ValueError(f"--task {path}: no pose landmarker: it holds {has}, not {', '.join(missing)}; {WHERE}")


def import_mediapipe() -> ModuleType:
    """Imports MediaPipe when the first landmarker is made.

    Raises:
        ImportError: it is not installed, or too old.
    """
    try:
        import mediapipe
    except ImportError as error:
        raise ImportError(
            f"skeletons from videos need MediaPipe: pip install 'taggnn[pose]' (mediapipe>=1.2); {error}"
        ) from error
    version = tuple(int(part) for part in mediapipe.__version__.split(".")[:2])
    if version < (1, 2):
        raise ImportError(f"MediaPipe {mediapipe.__version__} is too old: pip install 'mediapipe>=1.2'")
    return mediapipe


@contextmanager
def mediapipe_landmarker(task: Path, persons: int, confidence: float) -> Iterator[Landmarker]:
    """A landmarker for one video: a new one for each, so that no video depends on the one before.

    Source: BlazePose, https://arxiv.org/abs/2006.10204.

    Args:
        task: the task file.
        persons: how many are found in a picture, at most.
        confidence: lowest confidence of a detection, of a body in a followed region, and of following it.

    Raises:
        ImportError: as `import_mediapipe`.
        ValueError: MediaPipe cannot use the task file.
    """
    mediapipe = import_mediapipe()
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=persons,
        min_pose_detection_confidence=confidence,
        min_pose_presence_confidence=confidence,
        min_tracking_confidence=confidence,
    )
    with _without_native_messages():
        try:
            landmarker = vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"--task {task}: MediaPipe cannot use it: {error}; {WHERE}") from error

    def find(picture: np.ndarray, milliseconds: int) -> Poses:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        with _without_native_messages():
            found = landmarker.detect_for_video(image, milliseconds)
        height, width = picture.shape[:2]
        flat, space = found.pose_landmarks, found.pose_world_landmarks
        return Poses(
            _table([[(mark.x * width, mark.y * height) for mark in body] for body in flat], 2),
            _table([[(mark.x, mark.y, mark.z) for mark in body] for body in space], 3),
            _table([[(mark.visibility or 0.0,) for mark in body] for body in flat], 1)[..., 0],
        )

    try:
        yield find
    finally:
        with _without_native_messages():
            landmarker.close()


def _table(rows: list[list[tuple[float, ...]]], values: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 33, values)


@contextmanager
def _without_native_messages() -> Iterator[None]:
    """MediaPipe's C++ writes dozens of lines to the process's stderr for every landmarker, whatever its options say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
