"""Three synthetic video sets whose class is a relation of two things, far apart in the picture, in time, or in both.

Axes: T frames, S the side of the square picture in pixels, D = 2 discs.

Every clip shows two grey discs, one near the left edge and one near the right one, on a textured background. Two colours of
red, green and blue appear on them, numbered in that order, a first one and a second one; both are uniform and independent:

    relation   left and right disc have their colours in all frames; the left one is the first
    order      one disc, either one, has the first colour for a moment early in the clip, and the second one late
    both       one disc, either one, has the first colour early, the other disc the second one late

The class is how the second colour follows the first: ``(second - first) mod 3``, "same", "next" or "previous".

What each needs: whichever one of the two colours is known, and wherever and whenever it was seen, the class is uniform, since
the other one is. Scores that are sums over things seen one at a time are right about 7 of the 9 pairs of colours at most (the
largest set of pairs for which a linear programme finds such scores), and those with the lowest cross-entropy are at chance,
however positions and frames are weighed: mean pooling and a linear read-out of ordered frames fail. A read-out by attention comes
near 7/9 = 0.778 without any edge, since its weights depend on all tokens; to be right more often, tokens must be mixed before
it: across the frame, along time, or both.

That holds for tokens that see one thing only. The tokens of the backbone ``small`` on 16 frames of 64 x 64 do: its receptive
field is 33 pixels and 7 frames (3 to each side), the discs are 38 pixels apart or more, the moments 7 frames or more. A backbone
that sees more, or a cut of the frames (``scale``), changes that.

A horizontal flip turns "next" into "previous" in ``relation``, and nothing in the others.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from taggnn.data.synthetic import COLOURS, write_video
from taggnn.data.synthetic_set import SyntheticSet, claim, clip_counts, missing, planned

# A version, name, seed and sizes determine a data set: increase this with any change of the drawing.
VERSION = 1
# class -> (second - first) mod 3
CLASSES = {"same": 0, "next": 1, "previous": 2}
RUNGS = ("relation", "order", "both")
CLIPS_PER_CLASS = {"train": 300, "val": 40, "test": 100}
FRAMES, SIZE = 16, 64

# In sides of the picture: centre of the left disc from the edge, its height, and the radius.
EDGE, HEIGHT, RADIUS = (0.105, 0.125), (0.2, 0.8), (0.06, 0.078)
GREY = 0.65
# In parts of the clip: how long a moment is, and where the early and the late one begin.
MOMENT, EARLY, LATE = 0.1875, (0.0, 0.125), (0.6875, 0.8125)


def colours(rung: str, first: int, second: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Which colour each disc has in each frame: 0 to 2, or -1 for grey.

    Args:
        rung: of ``RUNGS``.
        first, second: the two colours.
        frames: T.
        rng: draws the disc and the moments.

    **Shapes:** -> int (T, D)
    """
    shown = np.full((frames, 2), -1)
    if rung == "relation":
        shown[:] = first, second
        return shown
    side, length = int(rng.integers(2)), max(1, round(MOMENT * frames))
    for colour, between, disc in ((first, EARLY, side), (second, LATE, side if rung == "order" else 1 - side)):
        begin = int(rng.integers(round(between[0] * frames), round(between[1] * frames) + 1))
        shown[begin : begin + length, disc] = colour
    return shown


def draw(shown: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the frames of a clip; the positions of its discs, the texture and the noise come from ``rng``.

    **Shapes:** shown int (T, D) -> uint8 (T, S, S, 3)
    """
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    ground = np.full((size, size), rng.uniform(0.35, 0.55), dtype=np.float32)
    for _ in range(5):
        across, down = rng.uniform(-4, 4, size=2)
        ground += 0.05 * np.sin(2 * np.pi * ((across * column + down * row) / size + rng.uniform()), dtype=np.float32)
    picture = np.repeat((ground[..., None] * rng.uniform(0.9, 1.1, size=3).astype(np.float32))[None], len(shown), 0)
    palette = np.concatenate([COLOURS, np.full((1, 3), GREY, dtype=np.float32)])
    for disc in range(2):
        edge, below, radius = (rng.uniform(*between) * size for between in (EDGE, HEIGHT, RADIUS))
        inside = np.clip(radius - np.hypot(column - (size - edge if disc else edge), row - below) + 0.5, 0, 1)
        inside = inside[None, ..., None].astype(np.float32)
        picture = inside * palette[shown[:, disc]][:, None, None] + (1 - inside) * picture
    picture += 0.02 * rng.standard_normal(picture.shape, dtype=np.float32)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def make_clip(rung: str, name: str, frames: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a random clip of a class.

    **Shapes:** -> uint8 (T, S, S, 3)
    """
    first = int(rng.integers(3))
    return draw(colours(rung, first, (first + CLASSES[name]) % 3, frames, rng), size, rng)


def make_relations(
    root: str | Path,
    clips_per_class: dict[str, int] | None = None,
    frames: int = FRAMES,
    size: int = SIZE,
    seed: int = 0,
    progress: bool = True,
    rung: str = "relation",
) -> Path:
    """Makes one of the sets once: ``root/<split>/<class>/<class>_NNN.mp4`` and a manifest, ``root/synthetic.json``.

    A clip depends on (version, rung, seed, split, class, number, frames, size) only. An interrupted set is completed by the next
    call, and a complete set is not changed.

    Args:
        root: folder to make the set in; created when missing.
        clips_per_class: number of clips of each class in each split; 300 train, 40 val, 100 test by default.
        frames: frames of a clip, at least 16, so that the moments are apart (default 16).
        size: side of the square picture in pixels, even and at least 32 (default 64).
        seed: integer that all clips are drawn from (default 0).
        progress: whether to show a progress bar where there is a terminal.
        rung: "relation" (default), "order" or "both".

    Returns:
        The root folder.

    Raises:
        ValueError: a number is out of range, an unknown rung, or root holds something else or a set with other settings.
    """
    root = Path(root)
    splits = clip_counts(clips_per_class, CLIPS_PER_CLASS)
    if rung not in RUNGS:
        raise ValueError(f"set {rung!r}: possible are {', '.join(RUNGS)}")
    if frames < 16:
        raise ValueError(f"frames {frames}: at least 16, or the two moments are not apart")
    if size < 32 or size % 2:
        raise ValueError(f"size {size}: an even number of pixels, at least 32")
    settings = {
        "version": VERSION,
        "rung": rung,
        "seed": seed,
        "frames": frames,
        "size": size,
        "clips_per_class": splits,
    }
    claim(root, settings, {"what": f"synthetic set {rung} of taggnn", "classes": list(CLASSES)})
    for clip in missing(planned(root, splits, CLASSES, ".mp4"), "synthetic clips", progress):
        write_video(clip.path, make_clip(rung, clip.name, frames, size, clip.random(seed)))
    return root


def _set(rung: str, flip_pairs: Mapping[str, str]) -> SyntheticSet:
    make: Callable[..., Path] = partial(make_relations, rung=rung)
    return SyntheticSet(make, tuple(CLASSES), flip_pairs)


SETS = {"relation": _set("relation", {"next": "previous"}), "order": _set("order", {}), "both": _set("both", {})}


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m taggnn.data.synthetic_relations", description="Makes one of the synthetic sets of relations."
    )
    parser.add_argument("rung", choices=RUNGS, help="which one")
    parser.add_argument("--root", required=True, help="folder to make it in")
    for split, count in CLIPS_PER_CLASS.items():
        parser.add_argument(
            f"--{split}", type=int, default=count, help=f"{split} clips of each class (default {count})"
        )
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"frames of a clip (default {FRAMES})")
    parser.add_argument("--size", type=int, default=SIZE, help=f"side of the picture in pixels (default {SIZE})")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    given = parser.parse_args()
    counts = {split: getattr(given, split) for split in CLIPS_PER_CLASS}
    try:
        root = make_relations(given.root, counts, given.frames, given.size, given.seed, rung=given.rung)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{root}: {sum(counts.values()) * len(CLASSES)} clips of {len(CLASSES)} classes")


if __name__ == "__main__":
    _main()
