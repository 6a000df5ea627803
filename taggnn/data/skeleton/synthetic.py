"""A small synthetic set of skeletons: eight motions that no single frame distinguishes.

Axes: M persons, T frames, V joints.

A body with the joints of NTU RGB+D stands still, except for one limb, which turns about its shoulder or hip. Four cyclic angles
describe a frame: those of the left arm, the right arm, the left leg and the right leg. A class turns exactly one of them in one
direction, and the other three are constant:

    angle(t) = start + direction * speed * t / (T - 1)          in turns

All four starts are uniform and independent of each other, of the speed and of the class, so that at every t the four angles are
uniform and independent for all eight classes: no frame, and no set of frames without their order, determines the direction. An
exchange of left and right turns each class into the other direction of the other side: train with ``flip=0``, or with
``FLIP_PAIRS``. Size, position, view and noise have one distribution for all classes.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from graphs.skeleton import find
from taggnn.data.synthetic_set import SyntheticSet, claim, clip_counts, missing, planned
from taggnn.runtime.atomic import replacing

# A version, seed and size determine the data set: increase this with any change of the motions.
VERSION = 1
# Limb -> joints from the one that it turns about outwards, and the lengths of its bones.
LIMBS = {
    "left_arm": (("left shoulder", "left elbow", "left wrist", "left hand", "left hand tip"), (0.28, 0.24, 0.08, 0.07)),
    "right_arm": (
        ("right shoulder", "right elbow", "right wrist", "right hand", "right hand tip"),
        (0.28, 0.24, 0.08, 0.07),
    ),
    "left_leg": (("left hip", "left knee", "left ankle", "left foot"), (0.42, 0.40, 0.10)),
    "right_leg": (("right hip", "right knee", "right ankle", "right foot"), (0.42, 0.40, 0.10)),
}
# class -> (limb, direction); seen from the front, a growing angle turns counter-clockwise.
MOTIONS = {f"{limb}_{way}": (limb, direction) for limb in LIMBS for way, direction in (("forth", 1), ("back", -1))}
# Classes that an exchange of left and right turns into one another.
FLIP_PAIRS = {
    "left_arm_forth": "right_arm_back",
    "left_arm_back": "right_arm_forth",
    "left_leg_forth": "right_leg_back",
    "left_leg_back": "right_leg_forth",
}
CLIPS_PER_CLASS = {"train": 60, "val": 10, "test": 20}
SPEED = (0.75, 1.25)
# Metres, of joints that do not move; the others follow from the limbs.
_TRUNK = {
    "spine base": (0.0, 0.0),
    "spine middle": (0.0, 0.28),
    "spine shoulder": (0.0, 0.52),
    "neck": (0.0, 0.60),
    "head": (0.0, 0.75),
    "left shoulder": (0.18, 0.48),
    "right shoulder": (-0.18, 0.48),
    "left hip": (0.09, -0.02),
    "right hip": (-0.09, -0.02),
}


def make_sequence(motion: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a random sequence of a class.

    **Shapes:** -> float32 (M, T, V, 3) with M = 1
    """
    moving, direction = MOTIONS[motion]
    skeleton = find("ntu")
    index = {name: number for number, name in enumerate(skeleton.joints)}
    x = np.zeros((frames, len(skeleton), 3))
    for name, (across, up) in _TRUNK.items():
        x[:, index[name], :2] = across, up
    starts, speed = rng.uniform(size=len(LIMBS)), rng.uniform(*SPEED)
    for start, (limb, (joints, lengths)) in zip(starts, LIMBS.items(), strict=True):
        turns = start + (direction * speed * np.arange(frames) / (frames - 1) if limb == moving else np.zeros(frames))
        way = np.stack([np.cos(2 * math.pi * turns), np.sin(2 * math.pi * turns)], 1)
        for inner, outer, length in zip(joints, joints[1:], lengths, strict=False):
            x[:, index[outer]] = x[:, index[inner]]
            x[:, index[outer], :2] += length * way
        side = limb.split("_")[0]
        if limb.endswith("arm"):
            # The thumb is joined to the hand, across the limb.
            x[:, index[f"{side} thumb"]] = x[:, index[f"{side} hand"]]
            x[:, index[f"{side} thumb"], :2] += 0.05 * way[:, ::-1] * [1, -1]
    x *= rng.uniform(0.85, 1.15)
    turn = rng.uniform(-math.pi / 6, math.pi / 6)
    view = np.array([[math.cos(turn), 0, -math.sin(turn)], [0, 1, 0], [math.sin(turn), 0, math.cos(turn)]])
    x = x @ view + rng.uniform([-0.5, -0.2, 2.5], [0.5, 0.2, 3.5])
    return (x + 0.01 * rng.standard_normal(x.shape))[None].astype(np.float32)


def make_synthetic(
    root: str | Path,
    clips_per_class: Mapping[str, int] | None = None,
    frames: int = 48,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Makes the synthetic set once: ``root/<split>/<class>/<class>_NNN.npz`` and a manifest.

    A sequence depends on (version, seed, split, class, number, frames) only. Files are written atomically; an interrupted set is
    completed by the next call, and a complete set is not changed.

    Args:
        root: folder to make the set in; created when missing.
        clips_per_class: number of sequences of each class in each split; 60 train, 10 val, 20 test by default.
        frames: T, frames of a sequence, at least 8 so that the direction is visible (default 48).
        seed: integer that all sequences are drawn from.
        progress: whether to show a progress bar where there is a terminal.

    Returns:
        The root folder.

    Raises:
        ValueError: if a number is out of range, or root holds something else or a set with other settings.
    """
    root, splits = Path(root), clip_counts(clips_per_class, CLIPS_PER_CLASS)
    if frames < 8:
        raise ValueError(f"frames {frames}: at least 8, or the direction of motion cannot be seen")
    claim(
        root,
        {"version": VERSION, "seed": seed, "frames": frames, "clips_per_class": splits},
        {"what": "synthetic skeleton motions of taggnn", "classes": list(MOTIONS)},
    )
    for clip in missing(planned(root, splits, MOTIONS, ".npz"), "synthetic sequences", progress):
        with replacing(clip.path) as part, part.open("wb") as file:
            np.savez_compressed(file, coordinates=make_sequence(clip.name, frames, clip.random(seed)))
    return root


SET = SyntheticSet(make_synthetic, tuple(MOTIONS), FLIP_PAIRS)
