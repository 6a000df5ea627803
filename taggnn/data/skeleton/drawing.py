"""Pictures of what a skeleton network is fed, for people.

Axes: C channels, T frames, V joints, M persons, S the side of a picture in pixels.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from graphs.skeleton import Skeleton

SIDE, MARGIN = 160, 12
# Left limbs, right limbs, the middle of the body: colours that colour-blind readers can tell apart (Okabe and Ito).
_LEFT, _RIGHT, _MIDDLE = (0, 114, 178), (213, 94, 0), (60, 60, 60)


def pictures(x: Tensor, skeleton: Skeleton) -> Tensor:
    """Draws every frame: bones as lines, y upwards where the data have it so.

    Persons whose coordinates are all 0 are absent and not drawn. Three coordinates are seen from the front.

    Args:
        x: coordinates of a sample.
        skeleton: its joints.

    **Shapes:** (C, T, V, M) -> uint8 (T, S, S, 3)
    """
    bones = np.array([_colour(skeleton.joints[child]) for child, _ in skeleton.bones], dtype=np.uint8)
    frames, joints = x.shape[1], np.zeros((len(skeleton.joints), 3), dtype=np.uint8)
    return _drawn(x, skeleton, np.tile(joints, (frames, 1, 1)), np.tile(bones, (frames, 1, 1)), 2)


def rated_pictures(x: Tensor, skeleton: Skeleton, joints: Tensor, bones: Tensor) -> Tensor:
    """Draws every frame with a colour for each joint and each bone.

    Args:
        x: coordinates of a sample.
        skeleton: its joints.
        joints: colours.
        bones: colours, in the order of ``skeleton.bones``.

    **Shapes:** x (C, T, V, M), joints uint8 (T, V, 3), bones uint8 (T, bones, 3) -> uint8 (T, S, S, 3)
    """
    return _drawn(x, skeleton, joints.numpy(), bones.numpy(), 4)


def _drawn(x: Tensor, skeleton: Skeleton, joints: np.ndarray, bones: np.ndarray, radius: int) -> Tensor:
    flat = x[:2].double().permute(1, 3, 2, 0).numpy()  # (T, M, V, 2)
    absent = (x == 0).all(0).all(1).numpy()  # (T, M)
    # In pictures' coordinates of two dimensions y points down already.
    flat = flat * [1, -1 if x.shape[0] == 3 else 1]
    seen = flat[~absent]
    low = seen.reshape(-1, 2).min(0) if len(seen) else np.zeros(2)
    high = seen.reshape(-1, 2).max(0) if len(seen) else np.ones(2)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
    points = (flat - (low + high) / 2) * scale + SIDE / 2
    drawn = []
    for persons, missing, of_joints, of_bones in zip(points, absent, joints, bones, strict=True):
        image = Image.new("RGB", (SIDE, SIDE), "white")
        pen = ImageDraw.Draw(image)
        for body in persons[~missing]:
            for (child, parent), colour in zip(skeleton.bones, of_bones.tolist(), strict=True):
                pen.line([tuple(body[child]), tuple(body[parent])], fill=tuple(colour), width=3)
            for (across, down), colour in zip(body, of_joints.tolist(), strict=True):
                pen.ellipse([across - radius, down - radius, across + radius, down + radius], fill=tuple(colour))
        drawn.append(torch.from_numpy(np.array(image)))
    return torch.stack(drawn)


def _colour(joint: str) -> tuple[int, int, int]:
    words = joint.split()
    return _LEFT if "left" in words else _RIGHT if "right" in words else _MIDDLE
