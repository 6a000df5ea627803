"""A small synthetic fine-grained video data set: eight motions that no single frame distinguishes.

Axes: T frames, S the side of the square picture in pixels.

Every clip shows one half-coloured disc on a textured background. Four cyclic attributes, phases in [0, 1), describe it:

    x       horizontal position, wrapping around the right and left edges
    y       vertical position, wrapping around the bottom and top edges
    angle   direction of the coloured half, in turns
    colour  a cycle of three symbols: red, green, blue

A class changes exactly one attribute in one direction, and the other three are constant:

    phase(t) = start + direction * speed * t / (T - 1)

Why no single frame determines the class, even if its index t is known: all four starts are drawn uniformly on the cycle,
independently of each other, of the speed and of the class. A uniform phase on a cycle stays uniform under any shift, so at
every t the four phases are independent and uniform, with the same distribution for all eight classes. Texture, disc size and
pixel noise have one distribution for all classes. Every frame is intra-coded at a constant quantiser, so that a decoded frame
depends on that frame alone. The two classes of a pair are time reversals of each other. A horizontal flip turns left into
right and clockwise into counter-clockwise, and does not change the distribution of anything else: train with ``flip=0``, or
with ``FLIP_PAIRS``.

Speeds lie between 0.75 and 1.25 cycles a clip: with 8 of 24 frames sampled a step is at most 0.22 cycles, so the
direction is never ambiguous (half a cycle would be, a third for the three colours), and every colour clip shows at
least two changes.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from taggnn.data.synthetic_set import SyntheticSet, claim, clip_counts, missing, planned

# A version, seed and size determine the data set: increase this with any change of the drawing.
VERSION = 1
ATTRIBUTES = ("x", "y", "angle", "colour")
# class -> (changing attribute, direction). The picture's y points down: a growing angle turns clockwise on screen.
MOTIONS = {
    "left": ("x", -1),
    "right": ("x", 1),
    "up": ("y", -1),
    "down": ("y", 1),
    "clockwise": ("angle", 1),
    "counter_clockwise": ("angle", -1),
    "red_green_blue": ("colour", 1),
    "red_blue_green": ("colour", -1),
}
# Classes that a horizontal flip turns into one another.
FLIP_PAIRS = {"left": "right", "clockwise": "counter_clockwise"}
CLIPS_PER_CLASS = {"train": 60, "val": 10, "test": 20}

SPEED = (0.75, 1.25)
FRAMES_PER_SECOND = 12
COLOURS = np.array([[0.95, 0.15, 0.15], [0.15, 0.85, 0.20], [0.20, 0.35, 1.00]], dtype=np.float32)


def states(motion: str, start: np.ndarray, speed: float, frames: int) -> np.ndarray:
    """The four phases of every frame of a clip.

    Args:
        motion: class name, a key of ``MOTIONS``.
        start: (4,) phases of the first frame in [0, 1), in the order of ``ATTRIBUTES``.
        speed: cycles of the changing attribute from the first frame to the last.
        frames: number of frames T.

    **Shapes:** start (4,) -> (T, 4) in [0, 1)
    """
    attribute, direction = MOTIONS[motion]
    phases = np.tile(np.asarray(start, dtype=np.float64), (frames, 1))
    phases[:, ATTRIBUTES.index(attribute)] += direction * speed * np.arange(frames) / (frames - 1)
    return phases % 1.0


def draw(phases: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the frames of one clip from their phases; texture, disc size and noise come from ``rng``.

    Args:
        phases: (T, 4) as ``states`` gives them.
        size: side of the square picture, pixels.
        rng: the clip's own random generator.

    **Shapes:** phases (T, 4) -> uint8 (T, S, S, 3)
    """
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5

    # A few plane waves of low frequency: a static texture that differs between clips.
    ground = np.full((size, size), rng.uniform(0.35, 0.55), dtype=np.float32)
    for _ in range(5):
        across, down = rng.uniform(-4, 4, size=2)
        ground += 0.05 * np.sin(2 * np.pi * ((across * column + down * row) / size + rng.uniform()), dtype=np.float32)
    ground = ground[..., None] * rng.uniform(0.9, 1.1, size=3).astype(np.float32)

    radius = rng.uniform(0.20, 0.27) * size
    x, y, angle, colour = (phase.astype(np.float32)[:, None, None] for phase in phases.T)
    # Distances on the torus: a disc that leaves on one side enters on the other.
    right = (column - x * size + size / 2) % size - size / 2
    below = (row - y * size + size / 2) % size - size / 2
    inside = np.clip(radius - np.hypot(right, below) + 0.5, 0, 1)[..., None]
    ahead = right * np.cos(2 * np.pi * angle) + below * np.sin(2 * np.pi * angle)
    bright = np.clip(ahead + 0.5, 0, 1)[..., None]
    symbol = np.minimum((3 * colour[:, 0, 0]).astype(int), 2)
    disc = bright * COLOURS[symbol][:, None, None, :] + (1 - bright) * 0.05

    picture = inside * disc + (1 - inside) * ground
    picture += 0.02 * rng.standard_normal(picture.shape, dtype=np.float32)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def make_clip(motion: str, frames: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a random clip of a class.

    **Shapes:** -> uint8 (T, S, S, 3)
    """
    return draw(states(motion, rng.uniform(size=4), rng.uniform(*SPEED), frames), size, rng)


def write_video(path: Path, pictures: np.ndarray, rate: int = FRAMES_PER_SECOND) -> None:
    """Writes intra-coded frames as H.264 in an MP4 file, atomically.

    Args:
        path: the file.
        pictures: the frames.
        rate: frames a second (default 12).

    **Shapes:** pictures uint8 (T, H, W, 3), H and W even
    """
    import av

    # In the same folder, so that the rename cannot cross file systems; hidden, so that no reader takes it for a clip.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(part), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.height, stream.width = pictures.shape[1:3]
            stream.pix_fmt = "yuv420p"
            stream.options = {"qp": "23", "preset": "veryfast", "x264-params": "keyint=1:threads=1"}
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def make_synthetic(
    root: str | Path,
    clips_per_class: dict[str, int] | None = None,
    frames: int = 24,
    size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Makes the synthetic set once: ``root/<split>/<class>/<class>_NNN.mp4`` and a manifest, ``root/synthetic.json``.

    A clip depends on (version, seed, split, class, number, frames, size) only. Files are written atomically; an interrupted
    set is completed by the next call, and a complete set is not changed.

    Args:
        root: folder to make the set in; created when missing.
        clips_per_class: number of clips of each class in each split; 60 train, 10 val, 20 test by default.
        frames: frames of a clip, at least 8 so that the direction of motion is visible.
        size: side of the square picture in pixels, even and at least 16.
        seed: integer that all clips are drawn from.
        progress: whether to show a progress bar where there is a terminal.

    Returns:
        The root folder.

    Raises:
        ValueError: if a number is out of range, or root holds something else or a set with other settings.
    """
    root = Path(root)
    splits = clip_counts(clips_per_class, CLIPS_PER_CLASS)
    if frames < 8:
        raise ValueError(f"frames {frames}: at least 8, or the direction of motion cannot be seen")
    if size < 16 or size % 2:
        raise ValueError(f"size {size}: an even number of pixels, at least 16")

    settings = {"version": VERSION, "seed": seed, "frames": frames, "size": size, "clips_per_class": splits}
    claim(root, settings, {"what": "synthetic motions of taggnn", "classes": list(MOTIONS)})
    for clip in missing(planned(root, splits, MOTIONS, ".mp4"), "synthetic clips", progress):
        write_video(clip.path, make_clip(clip.name, frames, size, clip.random(seed)))
    return root


SET = SyntheticSet(make_synthetic, tuple(MOTIONS), FLIP_PAIRS)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m taggnn.data.synthetic", description="Makes the synthetic video set."
    )
    parser.add_argument("--root", required=True, help="folder to make it in")
    for split, count in CLIPS_PER_CLASS.items():
        parser.add_argument(
            f"--{split}", type=int, default=count, help=f"{split} clips of each class (default {count})"
        )
    parser.add_argument("--frames", type=int, default=24, help="frames of a clip (default 24)")
    parser.add_argument("--size", type=int, default=64, help="side of the picture in pixels (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    given = parser.parse_args()
    counts = {split: getattr(given, split) for split in CLIPS_PER_CLASS}
    try:
        root = make_synthetic(given.root, counts, given.frames, given.size, given.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{root}: {sum(counts.values()) * len(MOTIONS)} clips of {len(MOTIONS)} classes")


if __name__ == "__main__":
    _main()
