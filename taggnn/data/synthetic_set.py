"""A data set that the project makes itself, as a source offers it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from tqdm import tqdm

from taggnn.runtime.atomic import write_text

MANIFEST = "synthetic.json"


@dataclass(frozen=True)
class SyntheticSet:
    """The set of a source.

    Args:
        make: ``make(root, seed=0)`` makes it once in a folder with class folders for each split.
        classes: class names.
        flip_pairs: classes that a flip turns into one another.
    """

    make: Callable[..., Path]
    classes: tuple[str, ...]
    flip_pairs: Mapping[str, str]


def clip_counts(given: Mapping[str, int] | None, usual: Mapping[str, int]) -> dict[str, int]:
    """The number of clips of each class in each split: those given, else the usual ones.

    Raises:
        ValueError: no split, or a number below 1.
    """
    splits = dict(usual if given is None else given)
    if not splits or any(not isinstance(count, int) or count < 1 for count in splits.values()):
        raise ValueError(f"clips_per_class {splits!r}: give a number of clips, 1 or more, for at least one split")
    return splits


def claim(root: Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes the manifest before the first clip, so that an interrupted set is distinguished from another folder.

    Args:
        root: folder of the set.
        settings: what the set is made with; ``clips_per_class`` names its splits.
        about: further content of the manifest.

    Raises:
        ValueError: the folder has a set with other settings, or something else.
    """
    manifest = root / MANIFEST
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{manifest}: broken, not what this program wrote ({error}); delete the folder's set and make it anew"
            ) from error
        if found != settings:
            raise ValueError(
                f"{manifest}: this folder has a synthetic set made with {found}, but {dict(settings)} are given. "
                "Choose another folder, give the same settings, or delete it first"
            )
        return
    taken = [split for split in settings["clips_per_class"] if (root / split).exists()]
    if taken:
        raise ValueError(f"{root}: has a folder {taken[0]!r} that is not of a synthetic set; choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    write_text(manifest, json.dumps({**about, "settings": dict(settings)}, indent=2) + "\n")


class Planned(NamedTuple):
    """A clip of a set: its split, class and number in them, and its file."""

    split: str
    name: str
    number: int
    path: Path

    def random(self, seed: int) -> np.random.Generator:
        """The draws of this clip, which depend on nothing else of the set."""
        return np.random.default_rng([seed, crc32(self.split.encode()), crc32(self.name.encode()), self.number])


def planned(root: Path, splits: Mapping[str, int], classes: Iterable[str], ending: str) -> list[Planned]:
    """All clips of a set: ``root/<split>/<class>/<class>_NNN<ending>``."""
    return [
        Planned(split, name, number, root / split / name / f"{name}_{number:03d}{ending}")
        for split, count in splits.items()
        for name in classes
        for number in range(count)
    ]


def missing(clips: Iterable[Planned], what: str, progress: bool) -> Iterator[Planned]:
    """Those that are not there yet, their folders made, with a progress bar where there is a terminal.

    Args:
        clips: of ``planned``.
        what: name of the bar.
        progress: whether to show it.
    """
    rows = [clip for clip in clips if not clip.path.is_file()]
    # Without a row no bar.
    for clip in tqdm(rows, desc=what, unit="clip", disable=None if progress and rows else True):
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        yield clip
