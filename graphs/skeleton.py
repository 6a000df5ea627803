"""Skeletons as data: joints by name, bones, and coordinates for a drawing.

Axes: V joints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .names import unknown


@dataclass(frozen=True)
class Skeleton:
    """The joints of a body or a hand, and the bones between them.

    Args:
        name: key of ``SKELETONS``.
        title: where the joints are defined.
        joints: names in the order of the data; "left ..." and "right ..." make a pair.
        bones: (child, parent) by index from 0; together a tree.
        layout: (x, y) of every joint in a drawing, y upwards; left joints are on the viewer's right, as of a person seen from
            the front.

    Raises:
        ValueError: the bones are no tree, or a joint has no coordinates in the layout.
    """

    name: str
    title: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    layout: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        count, parents = len(self.joints), dict(self.bones)
        roots = [joint for joint in range(count) if joint not in parents]
        if len(parents) != len(self.bones) or len(roots) != 1 or len(self.bones) != count - 1:
            raise ValueError(f"skeleton {self.name}: its bones are no tree: joints without a parent {roots}")
        if (
            not all(0 <= joint < count for bone in self.bones for joint in bone)
            or len(self._reached(roots[0])) != count
        ):
            raise ValueError(f"skeleton {self.name}: its bones do not connect its {count} joints")
        if len(self.layout) != count:
            raise ValueError(f"skeleton {self.name}: {len(self.layout)} coordinates in the layout for {count} joints")

    def __len__(self) -> int:
        return len(self.joints)

    def _reached(self, root: int) -> set[int]:
        found, waiting = {root}, [root]
        while waiting:
            parent = waiting.pop()
            children = [child for child, other in self.bones if other == parent and child not in found]
            found.update(children)
            waiting += children
        return found

    @cached_property
    def root(self) -> int:
        """The joint without a parent."""
        parents = dict(self.bones)
        return next(joint for joint in range(len(self)) if joint not in parents)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) of the joints that a mirror exchanges."""
        index = {name: number for number, name in enumerate(self.joints)}
        lefts = [name for name in self.joints if "left" in name.split()]
        return tuple((index[name], index[" ".join(_RIGHT.get(word, word) for word in name.split())]) for name in lefts)

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each joint the one on the other side of the body, itself in the middle."""
        exchanged = {left: right for pair in self.pairs for left, right in (pair, pair[::-1])}
        return tuple(exchanged.get(joint, joint) for joint in range(len(self)))


_RIGHT = {"left": "right"}


def find(name: str) -> Skeleton:
    """The skeleton of a name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in SKELETONS:
        raise unknown("skeleton", name, SKELETONS)
    return SKELETONS[name]


def _sides(
    left: Mapping[str, tuple[float, float]], middle: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Coordinates by name: those of the right side mirror those of the left."""
    right = {" ".join(_RIGHT.get(word, word) for word in name.split()): (-x, y) for name, (x, y) in left.items()}
    return {**middle, **left, **right}


def _made(name: str, title: str, joints: str, bones: str, coordinates: Mapping[str, tuple[float, float]]) -> Skeleton:
    """A skeleton from texts: joints separated by commas, bones as ``child-parent`` by number."""
    names = tuple(joint.strip() for joint in joints.split(","))
    pairs = tuple((int(child), int(parent)) for child, parent in (bone.split("-") for bone in bones.split()))
    return Skeleton(name, title, names, pairs, tuple(coordinates[joint] for joint in names))


_ARM = {"left shoulder": (1.0, 5.0), "left elbow": (1.7, 4.0), "left wrist": (2.1, 3.0)}
_LEG = {"left hip": (0.6, 2.6), "left knee": (0.8, 1.3), "left ankle": (0.8, 0.0)}
_FACE = {"left eye": (0.25, 6.6), "left ear": (0.55, 6.4)}
_KINECT = _sides(
    {
        **_ARM,
        **_LEG,
        "left hand": (2.3, 2.4),
        "left foot": (1.2, -0.3),
        "left hand tip": (2.5, 1.9),
        "left thumb": (1.9, 2.0),
    },
    {
        "spine base": (0.0, 2.8),
        "spine middle": (0.0, 3.9),
        "neck": (0.0, 5.6),
        "head": (0.0, 6.4),
        "spine shoulder": (0.0, 5.1),
    },
)
_KINECT |= {"hip center": _KINECT["spine base"], "spine": _KINECT["spine middle"], "shoulder center": (0.0, 5.4)}
_POSE = _sides(
    {
        **_ARM,
        **_LEG,
        **_FACE,
        "left eye inner": (0.15, 6.75),
        "left eye outer": (0.38, 6.7),
        "left mouth": (0.2, 6.0),
        "left pinky": (2.5, 2.5),
        "left index": (2.25, 2.35),
        "left thumb": (1.9, 2.5),
        "left heel": (0.65, -0.5),
        "left foot index": (1.3, -0.5),
    },
    {"nose": (0.0, 6.35), "neck": (0.0, 5.2)},
)


def _hand() -> dict[str, tuple[float, float]]:
    """Coordinates of a right hand seen from the palm: five fingers of four joints."""
    fans = {"thumb": (-1.0, 0.7), "index": (-0.45, 1.1), "middle": (0.0, 1.2), "ring": (0.4, 1.1), "pinky": (0.8, 0.95)}
    coordinates = {"wrist": (0.0, 0.0)}
    for finger, (x, y) in fans.items():
        for number in range(4):
            length = 1.0 + 0.42 * number
            coordinates[f"{finger} {number + 1}"] = (x * length, y * length)
    return coordinates


SKELETONS: dict[str, Skeleton] = {
    one.name: one
    for one in (
        _made(
            "ntu",
            "Kinect v2: NTU RGB+D, PKU-MMD",
            "spine base, spine middle, neck, head, left shoulder, left elbow, left wrist, left hand, right "
            "shoulder, right elbow, right wrist, right hand, left hip, left knee, left ankle, left foot, right "
            "hip, right knee, right ankle, right foot, spine shoulder, left hand tip, left thumb, right hand tip, "
            "right thumb",
            "0-1 1-20 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 21-22 22-7 "
            "23-24 24-11",
            _KINECT,
        ),
        _made(
            "nw_ucla",
            "Kinect v1: NW-UCLA",
            "hip center, spine, shoulder center, head, left shoulder, left elbow, left wrist, left hand, right "
            "shoulder, right elbow, right wrist, right hand, left hip, left knee, left ankle, left foot, right "
            "hip, right knee, right ankle, right foot",
            "0-1 1-2 3-2 4-2 5-4 6-5 7-6 8-2 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18",
            _KINECT,
        ),
        _made(
            "coco",
            "COCO keypoints",
            "nose, left eye, right eye, left ear, right ear, left shoulder, right shoulder, left elbow, right "
            "elbow, left wrist, right wrist, left hip, right hip, left knee, right knee, left ankle, right ankle",
            "15-13 13-11 16-14 14-12 11-5 12-6 9-7 7-5 10-8 8-6 5-0 6-0 1-0 3-1 2-0 4-2",
            _POSE,
        ),
        _made(
            "openpose",
            "OpenPose, 18 keypoints: Kinetics-Skeleton",
            "nose, neck, right shoulder, right elbow, right wrist, left shoulder, left elbow, left wrist, right "
            "hip, right knee, right ankle, left hip, left knee, left ankle, right eye, left eye, right ear, left "
            "ear",
            "4-3 3-2 7-6 6-5 13-12 12-11 10-9 9-8 11-5 8-2 5-1 2-1 0-1 15-0 14-0 17-15 16-14",
            _POSE,
        ),
        _made(
            "mediapipe",
            "MediaPipe Pose, 33 landmarks; shoulders and mouth joined to the nose [ours]",
            "nose, left eye inner, left eye, left eye outer, right eye inner, right eye, right eye outer, left "
            "ear, right ear, left mouth, right mouth, left shoulder, right shoulder, left elbow, right elbow, "
            "left wrist, right wrist, left pinky, right pinky, left index, right index, left thumb, right thumb, "
            "left hip, right hip, left knee, right knee, left ankle, right ankle, left heel, right heel, left "
            "foot index, right foot index",
            "1-0 2-1 3-2 7-3 4-0 5-4 6-5 8-6 9-0 10-0 11-0 12-0 13-11 14-12 15-13 16-14 17-15 18-16 19-15 20-16 "
            "21-15 22-16 23-11 24-12 25-23 26-24 27-25 28-26 29-27 30-28 31-27 32-28",
            _POSE,
        ),
        _made(
            "hand",
            "21 landmarks of a hand: MediaPipe Hands, HaGRID",
            "wrist, "
            + ", ".join(
                f"{finger} {n}" for finger in ("thumb", "index", "middle", "ring", "pinky") for n in range(1, 5)
            ),
            " ".join(
                f"{4 * finger + n}-{4 * finger + n - 1 if n > 1 else 0}" for finger in range(5) for n in range(1, 5)
            ),
            _hand(),
        ),
    )
}
