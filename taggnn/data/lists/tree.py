"""The files below a folder: those that count by their endings, and what was left out of them, so that it can be named."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from taggnn.data.clips import NAMED
from taggnn.data.image_folders import LEAST_IMAGES, is_image
from taggnn.data.video.formats import takes_frame_folders


@dataclass
class Tree:
    """What lies below a folder.

    Args:
        folder: the folder.
        files: regular files with one of the endings, and folders of images that count as one, sorted; links to such files count.
        dangling: links with such an ending whose target does not exist, sorted.
        special: others with such an ending that are no regular files, such as pipes.
        hidden: number of files with such an ending in hidden folders or with hidden names.
        others: ending -> number of files with another ending.
        unreadable: folders without read permission.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)
    special: list[Path] = field(default_factory=list)
    hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)
    unreadable: list[Path] = field(default_factory=list)


def below(folder: Path, endings: Collection[str], deep: bool = True, images: bool = True) -> Tree:
    """Walks a folder; links to folders are followed, each folder once, and none to a folder above, so that a loop ends.

    Where videos are looked for, a folder below it that holds two images or more and no video is a clip, with all inside it.

    Args:
        folder: where to begin.
        endings: extensions in lower case, with the dot.
        deep: whether folders inside it are walked too.
        images: whether folders of images count where videos do.
    """
    found = Tree(folder)
    # Links last: a folder that is reached without one has that path.
    folders, links = [folder], list[Path]()
    seen = {(state.st_dev, state.st_ino) for state in map(os.stat, folder.resolve().parents)}
    while folders or links:
        here = folders.pop() if folders else links.pop()
        try:
            state = here.stat()
            entries = [] if (state.st_dev, state.st_ino) in seen else list(os.scandir(here))
        except OSError:
            found.unreadable.append(here)
            continue
        seen.add((state.st_dev, state.st_ino))
        if images and here != folder and takes_frame_folders(endings) and _holds_frames(entries, endings):
            found.files.append(here)
            continue
        for entry in entries:
            path, ending = here / entry.name, os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                found.hidden += ending in endings
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(path) if deep else None
            elif ending not in endings:
                found.others[ending] += 1
            elif entry.is_file():
                found.files.append(path)
            else:
                (found.special if path.exists() else found.dangling).append(path)
    found.files.sort()
    found.dangling.sort()
    return found


def _holds_frames(entries: Iterable[os.DirEntry], endings: Collection[str]) -> bool:
    """Whether the entries of a folder are the frames of a clip; a single image next to nothing may be anything."""
    names = [entry.name for entry in entries if not entry.name.startswith(".")]
    videos = any(os.path.splitext(name)[1].lower() in endings for name in names)
    return not videos and sum(map(is_image, names)) >= LEAST_IMAGES


def left_out(trees: Iterable[Tree], kind: str = "clip") -> list[str]:
    """Sentences on what was left out of some folders, each kind of it counted or named; dangling links too.

    Args:
        trees: the folders.
        kind: what the files are, for the sentences.
    """
    trees = list(trees)
    others: Counter[str] = sum((tree.others for tree in trees), Counter())
    hidden = sum(tree.hidden for tree in trees)
    sentences = []
    for what, paths in (
        ("links whose target does not exist", [path for tree in trees for path in tree.dangling]),
        ("no regular files", [path for tree in trees for path in tree.special]),
        ("folders that cannot be read", [path for tree in trees for path in tree.unreadable]),
    ):
        if paths:
            sentences.append(f"left out as {what}: {len(paths):,} ({some(map(str, paths))})")
    if hidden:
        sentences.append(f"left out as hidden (a name that begins with a dot): {hidden:,}")
    if others:
        kinds = some(f"{ending or 'no ending'} {number:,}" for ending, number in others.most_common())
        sentences.append(f"left out as no {kind} by their endings: {others.total():,} files ({kinds})")
    return sentences


def some(names: Iterable[str]) -> str:
    """The first names and the number of the others."""
    names = list(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
