"""A synthetic fine-grained video set whose telling region moves across the frame, independently of the camera.

Axes: F frames of a video, S the side of the square picture in pixels.

The telling region is a small disc, half red and half white. Its class is what it does during the clip: turn, hop or swell, once
or twice. Around it everything moves too: the camera pans and shakes over a textured background, and further discs of other
colours, which stand or drift in the world behind, do the same things, each for itself. So neither the picture as a whole nor
its mean over all positions shows the class; the small region does.

Three cyclic attributes, phases in [0, 1), describe what a disc does:

    angle    direction of the coloured half, in turns
    height   vertical offset from the disc's path: HOP * sin(2 pi phase), in sides
    size     radius of the disc: radius * (1 + SWELL * sin(2 pi phase))

A class changes one attribute by one or two whole cycles, phase(t) = start + cycles * t / (F - 1), and the other two are
constant. As in ``synthetic``, all starts are uniform and independent of each other and of the class, so that at each t the
three phases have one distribution for all classes: no single frame shows the class, even if t is known. The disc's path, the
camera, the texture and the other discs have one distribution for all classes as well. Every frame is intra-coded.

The true region of every frame, its centre and its size in pixels of the file, is in ``regions.csv`` next to the videos. A
horizontal flip turns clockwise into counter-clockwise: train with ``flip=0``, or with ``FLIP_PAIRS``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taggnn.data.region_boxes import REGIONS, write_boxes
from taggnn.data.synthetic import write_video
from taggnn.data.synthetic_set import SyntheticSet, claim, clip_counts, missing, planned

# A version, seed and sizes determine the data set: increase this with any change of the drawing.
VERSION = 1
ATTRIBUTES = ("angle", "height", "size")
# class -> (changing attribute, cycles). The picture's y points down: a growing angle turns clockwise on screen.
MOTIONS = {
    "turns once clockwise": ("angle", 1),
    "turns twice clockwise": ("angle", 2),
    "turns once counter-clockwise": ("angle", -1),
    "turns twice counter-clockwise": ("angle", -2),
    "hops once": ("height", 1),
    "hops twice": ("height", 2),
    "swells once": ("size", 1),
    "swells twice": ("size", 2),
}
# Classes that a horizontal flip turns into one another.
FLIP_PAIRS = {
    "turns once clockwise": "turns once counter-clockwise",
    "turns twice clockwise": "turns twice counter-clockwise",
}
CLIPS_PER_CLASS = {"train": 60, "val": 10, "test": 20}

# In sides of the picture.
RADIUS = (0.11, 0.13)
HOP = 0.07
SWELL = 0.35
# The shortest way of the telling region across the frame, and what it keeps clear at the edge.
WAY, MARGIN = 0.3, 0.02
# The way of the camera during a clip, the amplitude of its shake, and the side of the world, which wraps around.
PAN, SHAKE, WORLD = (0.4, 1.0), (0.01, 0.03), 1.4
TELLING = np.array([0.95, 0.10, 0.10], dtype=np.float32)
OTHERS = np.array([[0.10, 0.80, 0.20], [0.15, 0.30, 1.00], [0.95, 0.85, 0.10], [0.10, 0.80, 0.85]], dtype=np.float32)
_WHITE = np.array([0.95, 0.95, 0.95], dtype=np.float32)


@dataclass(frozen=True)
class Disc:
    """A disc in every frame of a clip, all in sides of the picture; angle in turns.

    **Shapes:** x, y, radius, angle (F,); colour (3,)
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    colour: np.ndarray


def phases(motion: str, start: np.ndarray, frames: int) -> np.ndarray:
    """The three phases of every frame.

    Args:
        motion: class name, a key of ``MOTIONS``.
        start: phases of the first frame, in the order of ``ATTRIBUTES``.
        frames: F.

    **Shapes:** start (3,) -> (F, 3) in [0, 1)
    """
    attribute, cycles = MOTIONS[motion]
    found = np.tile(np.asarray(start, dtype=np.float64), (frames, 1))
    found[:, ATTRIBUTES.index(attribute)] += cycles * np.arange(frames) / (frames - 1)
    return found % 1.0


def disc(motion: str, path: np.ndarray, radius: float, colour: np.ndarray, start: np.ndarray) -> Disc:
    """A disc that does something on its path.

    Args:
        motion: what it does, a key of ``MOTIONS``.
        path: (x, y) of every frame, in sides.
        radius: mean radius, in sides.
        colour: of its coloured half.
        start: phases of the first frame.

    **Shapes:** path (F, 2), colour (3,), start (3,)
    """
    angle, height, size = phases(motion, start, len(path)).T
    hop = HOP * np.sin(2 * np.pi * height)
    return Disc(path[:, 0], path[:, 1] - hop, radius * (1 + SWELL * np.sin(2 * np.pi * size)), angle, colour)


def telling_disc(motion: str, frames: int, rng: np.random.Generator) -> Disc:
    """The telling region of a random clip: it crosses the frame on a straight line and never leaves it.

    Args:
        motion: class name.
        frames: F.
        rng: of its path, radius and starts.
    """
    radius, start = rng.uniform(*RADIUS), rng.uniform(size=3)
    clear = np.array([MARGIN, MARGIN + HOP]) + radius * (1 + SWELL)
    while True:
        ends = rng.uniform(clear, 1 - clear, size=(2, 2))
        if np.hypot(*(ends[1] - ends[0])) >= WAY:
            break
    t = np.linspace(0, 1, frames)[:, None]
    return disc(motion, ends[0] + t * (ends[1] - ends[0]), radius, TELLING, start)


def camera(frames: int, rng: np.random.Generator) -> np.ndarray:
    """The way of a camera that pans in one direction and shakes, in sides. **Shapes:** -> (F, 2)"""
    t = np.linspace(0, 1, frames)[:, None]
    direction = 2 * np.pi * rng.uniform()
    pan = rng.uniform(*PAN) * np.array([np.cos(direction), np.sin(direction)]) * t
    shake = rng.uniform(*SHAKE, size=2) * np.sin(2 * np.pi * (rng.uniform(2, 5, size=2) * t + rng.uniform(size=2)))
    return pan + shake


def other_discs(view: np.ndarray, number: int, rng: np.random.Generator) -> list[Disc]:
    """Discs of other colours in the world behind, each with a motion of its own; the world wraps around.

    Args:
        view: the way of the camera.
        number: how many.
        rng: of their positions, drifts, motions and looks.

    **Shapes:** view (F, 2)
    """
    t, found = np.linspace(0, 1, len(view))[:, None], []
    for index in range(number):
        drift = rng.uniform(-0.3, 0.3, size=2) * t
        # Spread over the world, so that some are in every frame.
        home = WORLD * (np.array([(index + rng.uniform()) / number, rng.uniform()]))
        path = (home + drift - view + 0.2) % WORLD - 0.2
        motion = list(MOTIONS)[rng.integers(len(MOTIONS))]
        colour = OTHERS[rng.integers(len(OTHERS))]
        found.append(disc(motion, path, rng.uniform(*RADIUS), colour, rng.uniform(size=3)))
    return found


def draw(view: np.ndarray, discs: list[Disc], size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the frames of one clip; the last disc covers the others.

    Args:
        view: the way of the camera over the texture.
        discs: from back to front.
        size: S.
        rng: of texture and noise.

    **Shapes:** view (F, 2) -> uint8 (F, S, S, 3)
    """
    row, column = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    picture = _texture(view, row, column, rng)
    for one in discs:
        x, y, radius, angle = (part.astype(np.float32)[:, None, None] for part in (one.x, one.y, one.radius, one.angle))
        right, below = (column - x) * size, (row - y) * size
        inside = np.clip(radius * size - np.hypot(right, below) + 0.5, 0, 1)[..., None]
        ahead = right * np.cos(2 * np.pi * angle) + below * np.sin(2 * np.pi * angle)
        half = np.clip(ahead + 0.5, 0, 1)[..., None]
        picture += inside * (half * one.colour + (1 - half) * _WHITE - picture)
    picture += 0.02 * rng.standard_normal(picture.shape, dtype=np.float32)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _texture(view: np.ndarray, row: np.ndarray, column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Plane waves of low frequency, seen by the camera. **Shapes:** -> float32 (F, S, S, 3)"""
    ground = np.full((len(view), *row.shape), rng.uniform(0.35, 0.55), dtype=np.float32)
    seen_x, seen_y = (part.astype(np.float32)[:, None, None] for part in view.T)
    for _ in range(7):
        across, down = rng.uniform(-5, 5, size=2)
        wave = across * (column + seen_x) + down * (row + seen_y) + rng.uniform()
        ground += 0.035 * np.sin(2 * np.pi * wave, dtype=np.float32)
    return ground[..., None] * rng.uniform(0.9, 1.1, size=3).astype(np.float32)


def make_clip(
    motion: str, frames: int, size: int, rng: np.random.Generator, others: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a random clip of a class, and its true region: centre and size of the box in pixels.

    **Shapes:** -> uint8 (F, S, S, 3), boxes (F, 4) as (x, y, width, height)
    """
    telling = telling_disc(motion, frames, rng)
    view = camera(frames, rng)
    pictures = draw(view, [*other_discs(view, others, rng), telling], size, rng)
    return pictures, boxes_of(telling, size)


def boxes_of(telling: Disc, size: int) -> np.ndarray:
    """The boxes around a disc, in pixels, rounded as they are stored. **Shapes:** -> (F, 4) as (x, y, width, height)"""
    parts = [telling.x, telling.y, 2 * telling.radius, 2 * telling.radius]
    return np.round(size * np.stack(parts, axis=1), 2)


def make_regions(
    root: str | Path,
    clips_per_class: dict[str, int] | None = None,
    frames: int = 24,
    size: int = 64,
    others: int = 3,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Makes the set once: ``root/<split>/<class>/<class>_NNN.mp4``, ``root/regions.csv`` and a manifest.

    A clip depends on (version, seed, split, class, number, frames, size, others) only. Files are written atomically; an
    interrupted set is completed by the next call, and a complete set is not changed.

    Args:
        root: folder to make the set in; created when missing.
        clips_per_class: number of clips of each class in each split; 60 train, 10 val, 20 test by default.
        frames: F, at least 12 so that two cycles are visible.
        size: S, even and at least 16.
        others: number of other discs, 0 or more (default 3).
        seed: integer that all clips are drawn from.
        progress: whether to show a progress bar where there is a terminal.

    Returns:
        The root folder.

    Raises:
        ValueError: if a number is out of range, or root holds something else or a set with other settings.
    """
    root = Path(root)
    splits = clip_counts(clips_per_class, CLIPS_PER_CLASS)
    if frames < 12:
        raise ValueError(f"frames {frames}: at least 12, or two cycles cannot be seen")
    if size < 16 or size % 2:
        raise ValueError(f"size {size}: an even number of pixels, at least 16")
    if others < 0:
        raise ValueError(f"others {others}: a number of discs, 0 or more")

    settings = {
        "version": VERSION,
        "seed": seed,
        "frames": frames,
        "size": size,
        "others": others,
        "clips_per_class": splits,
    }
    claim(root, settings, {"what": "synthetic regions of taggnn", "classes": list(MOTIONS)})
    clips, made = planned(root, splits, MOTIONS, ".mp4"), False
    for clip in missing(clips, "synthetic clips", progress):
        write_video(clip.path, make_clip(clip.name, frames, size, clip.random(seed), others)[0])
        made = True
    if made or not (root / REGIONS).is_file():
        # The telling disc is the first that a clip draws: its boxes are known without the pictures.
        drawn = {
            clip.path.relative_to(root).as_posix(): telling_disc(clip.name, frames, clip.random(seed)) for clip in clips
        }
        write_boxes(root / REGIONS, {path: boxes_of(one, size) for path, one in drawn.items()})
    return root


SET = SyntheticSet(make_regions, tuple(MOTIONS), FLIP_PAIRS)


def parser() -> argparse.ArgumentParser:
    """The command line of this module as a program."""
    built = argparse.ArgumentParser(
        prog="python -m taggnn.data.synthetic_regions",
        description="Makes the synthetic video set whose telling region moves independently of the camera.",
    )
    built.add_argument("--root", required=True, help="folder to make it in")
    for split, count in CLIPS_PER_CLASS.items():
        built.add_argument(f"--{split}", type=int, default=count, help=f"{split} clips of each class (default {count})")
    built.add_argument("--frames", type=int, default=24, help="frames of a clip (default 24)")
    built.add_argument("--size", type=int, default=64, help="side of the picture in pixels (default 64)")
    built.add_argument("--others", type=int, default=3, help="other discs in a clip (default 3)")
    built.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    return built


def _main() -> None:
    given = parser().parse_args()
    counts = {split: getattr(given, split) for split in CLIPS_PER_CLASS}
    try:
        root = make_regions(given.root, counts, given.frames, given.size, given.others, given.seed)
    except (OSError, ValueError) as error:
        parser().error(str(error))
    print(f"{root}: {sum(counts.values()) * len(MOTIONS)} clips of {len(MOTIONS)} classes")


if __name__ == "__main__":
    _main()
