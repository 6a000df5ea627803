"""The skeleton that a network is built for, read from the specification of its input.

Axes: C channels, T frames, V joints, M persons.
"""

from dataclasses import dataclass

from graphs import skeleton as skeletons
from graphs.skeleton import SKELETONS, Skeleton
from taggnn.types import SKELETON_AXES, InputSpec


@dataclass(frozen=True)
class Body:
    """What a skeleton network has to know of its input.

    Args:
        channels: C, coordinates of a joint: 3, or 2 of an image.
        joints: V.
        persons: M.
        skeleton: the joints and their bones.
    """

    channels: int
    joints: int
    persons: int
    skeleton: Skeleton


def body_of(spec: InputSpec) -> Body:
    """The sizes of an input and its skeleton, ``options["skeleton"]``.

    Raises:
        ValueError: another kind of input, no or an unknown skeleton, or one with another number of joints.
    """
    if spec.axes != SKELETON_AXES:
        raise ValueError(f"a skeleton network takes {', '.join(SKELETON_AXES)}; the input is {spec}")
    name = spec.options.get("skeleton")
    if not isinstance(name, str):
        raise ValueError(f"input {spec}: its options must name the skeleton; possible: {', '.join(SKELETONS)}")
    skeleton = skeletons.find(name)
    channels, joints, persons = spec.size("channel", "joint", "person")
    if joints != len(skeleton):
        raise ValueError(f"input {spec}: skeleton {name} has {len(skeleton)} joints, the input {joints}")
    return Body(channels, joints, persons, skeleton)
