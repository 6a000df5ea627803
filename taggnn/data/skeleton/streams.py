"""The four streams of skeleton networks: joints, bones, and the motion of both.

Axes: M persons, T frames, V joints, C channels.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from graphs.skeleton import Skeleton

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]
STREAMS: tuple[str, ...] = get_args(Stream)


def stream(x: Tensor, name: Stream, skeleton: Skeleton) -> Tensor:
    """Computes a stream of the joints' coordinates.

    Source: 2s-AGCN (https://arxiv.org/abs/1805.07694, section 3.4) for bones, and MS-AAGCN (https://arxiv.org/abs/1912.06971,
    section 3.5) for motion. Formula: a bone is ``child - parent``, at the index of its child, and 0 at the root; motion is
    ``x[t + 1] - x[t]``, and 0 in the last frame.

    Args:
        x: coordinates.
        name: one of ``STREAMS``.
        skeleton: its joints.

    **Shapes:** (M, T, V, C) -> the same
    """
    if name.startswith("bone"):
        child, parent = torch.tensor(skeleton.bones).T
        bones = torch.zeros_like(x)
        bones[:, :, child] = x[:, :, child] - x[:, :, parent]
        x = bones
    if name.endswith("motion"):
        moved = torch.zeros_like(x)
        moved[:, :-1] = x[:, 1:] - x[:, :-1]
        x = moved
    return x


def joints_of(bones: Tensor, skeleton: Skeleton) -> Tensor:
    """The joints of a stream of bones, with the root at 0: the inverse of ``stream`` up to a shift, for pictures.

    **Shapes:** (C, T, V, M) -> the same
    """
    joints = bones.clone()
    parents = dict(skeleton.bones)
    # From the root outwards.
    for child in sorted(parents, key=lambda joint: _depth(joint, parents)):
        joints[:, :, child] = joints[:, :, parents[child]] + bones[:, :, child]
    return joints


def _depth(joint: int, parents: dict[int, int]) -> int:
    return 1 + _depth(parents[joint], parents) if joint in parents else 0
