"""What a body's normalisation needs of a skeleton, found by the names of its joints.

Axes: V joints.
"""

from dataclasses import dataclass

from graphs.skeleton import Skeleton

# The joint in the middle of the body, of Kinect v2 and v1.
_CENTERS = ("spine middle", "spine")


@dataclass(frozen=True)
class Axes:
    """The joints between which a body's axes are measured, by index.

    Args:
        hips: left and right.
        shoulders: left and right.
    """

    hips: tuple[int, int]
    shoulders: tuple[int, int]


def center_of(skeleton: Skeleton) -> tuple[int, ...]:
    """The joints whose mean is the centre: the spine, else both hips, else the root.

    The published recipes for NTU RGB+D and NW-UCLA take the joint of the spine; the others are ours.
    """
    for name in _CENTERS:
        if name in skeleton.joints:
            return (skeleton.joints.index(name),)
    if {"left hip", "right hip"} <= set(skeleton.joints):
        return tuple(skeleton.joints.index(f"{side} hip") for side in ("left", "right"))
    return (skeleton.root,)


def axes_of(skeleton: Skeleton) -> Axes:
    """The joints of a body's axes.

    Raises:
        ValueError: the skeleton has no hips or shoulders, as a hand.
    """
    sides = {part: [f"{side} {part}" for side in ("left", "right")] for part in ("hip", "shoulder")}
    missing = [name for names in sides.values() for name in names if name not in skeleton.joints]
    if missing:
        raise ValueError(f"align True: the skeleton {skeleton.name} has no {missing[0]}; give align False")
    left_hip, right_hip = (skeleton.joints.index(name) for name in sides["hip"])
    left, right = (skeleton.joints.index(name) for name in sides["shoulder"])
    return Axes((left_hip, right_hip), (left, right))
