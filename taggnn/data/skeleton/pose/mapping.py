"""The joints of published skeletons as averages of MediaPipe's 33 landmarks.

Axes: V joints, C coordinates.
"""

from functools import cache

import torch
from torch import Tensor

from graphs.skeleton import find
from taggnn.names import unknown

_HIPS = ("left hip", "right hip")
_SHOULDERS = ("left shoulder", "right shoulder")
_TRUNK = (*_HIPS, *_SHOULDERS)
_HEAD = ("left ear", "right ear")
_MOUTH = ("left mouth", "right mouth")

# Skeleton -> joint -> the landmarks that it is the average of [ours]; a joint that is not here is the landmark of its name.
# Names are those of graphs.skeleton. Kinect's hand is the palm, for which there are three knuckles and the wrist; its foot lies
# between heel and toes; tips of fingers are no landmarks, and the knuckles stand for them.
_SIDES = {
    f"{side} {joint}": tuple(f"{side} {name}" for name in names)
    for side in ("left", "right")
    for joint, names in {"hand": ("wrist", "pinky", "index"), "foot": ("heel", "foot index")}.items()
}
AVERAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "ntu": {
        "spine base": _HIPS,
        "spine middle": _TRUNK,
        "spine shoulder": _SHOULDERS,
        "neck": (*_SHOULDERS, *_MOUTH),
        "head": _HEAD,
        **_SIDES,
        "left hand tip": ("left pinky", "left index"),
        "right hand tip": ("right pinky", "right index"),
    },
    "nw_ucla": {"hip center": _HIPS, "spine": _TRUNK, "shoulder center": _SHOULDERS, "head": _HEAD, **_SIDES},
    "coco": {},
    "openpose": {"neck": _SHOULDERS},
    "mediapipe": {},
}

# "metres": 3-D around the hips, in the axes of Kinect; "pixels": 2-D in the picture.
COORDINATES = ("metres", "pixels")
# What the published data of a skeleton have.
USUAL = {"ntu": "metres", "nw_ucla": "metres", "coco": "pixels", "openpose": "pixels", "mediapipe": "metres"}


def landmarks_of(skeleton: str) -> dict[str, tuple[str, ...]]:
    """The landmarks that each joint of a skeleton is the average of, in the order of its joints.

    Raises:
        ValueError: no skeleton that landmarks of a body can be mapped to.
    """
    if skeleton not in AVERAGES:
        raise unknown("skeleton", skeleton, AVERAGES, where="landmarks of a body")
    return {joint: AVERAGES[skeleton].get(joint, (joint,)) for joint in find(skeleton).joints}


def mapped(landmarks: Tensor, skeleton: str) -> Tensor:
    """The joints of a skeleton: means of landmarks.

    Args:
        landmarks: of persons, in MediaPipe's order.
        skeleton: a key of ``AVERAGES``.

    **Shapes:** (..., 33, C) -> (..., V, C)
    """
    rows = _indices(skeleton)
    return torch.stack([landmarks[..., list(row), :].mean(-2) for row in rows], -2)


def confidence_of(visibility: Tensor, skeleton: str) -> Tensor:
    """The confidence of joints: the lowest visibility of the landmarks that they are means of [ours].

    **Shapes:** (..., 33) -> (..., V)
    """
    return torch.stack([visibility[..., list(row)].amin(-1) for row in _indices(skeleton)], -1)


def kinect_axes(metres: Tensor) -> Tensor:
    """MediaPipe's axes (x to the right of the picture, y down, z away) as Kinect's (x to its left, y up, z away) [ours].

    A half turn about z, so that left and right stay what they are; NTU RGB+D and NW-UCLA have these axes.

    **Shapes:** (..., 3) -> (..., 3)
    """
    return metres * torch.tensor([-1.0, -1.0, 1.0])


@cache
def _indices(skeleton: str) -> tuple[tuple[int, ...], ...]:
    index = {name: number for number, name in enumerate(find("mediapipe").joints)}
    return tuple(tuple(index[name] for name in names) for names in landmarks_of(skeleton).values())
