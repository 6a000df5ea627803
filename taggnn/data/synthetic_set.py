"""A data set that the project makes itself, as a source offers it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
