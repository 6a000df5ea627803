"""Clips from class folders: ``root/<class>/<video>``.

Classes are the folders that hold at least one video, sorted by name. Only videos directly in a class folder count;
hidden files and folders, files with other extensions, and videos next to the class folders are ignored.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from taggnn.data.clips import Clip, ClipList, unknown_class
from taggnn.data.problems import Problem, each_row

VIDEO_ENDINGS = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)


def videos_in(folder: Path, deep: bool = False, endings: Collection[str] = VIDEO_ENDINGS) -> list[Path]:
    """The files with these extensions directly in a folder, or at any depth, sorted by name, without hidden ones."""
    return sorted(
        path
        for path in (folder.rglob("*") if deep else folder.iterdir())
        if path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def read(
    root: Path,
    classes: Sequence[str] | None,
    problems: list[Problem] | None = None,
    endings: Collection[str] = VIDEO_ENDINGS,
) -> ClipList:
    """Reads ``root/<class>/<video>``; see ``reading.read_clips`` for the arguments.

    Raises:
        ValueError: if there are no class folders with videos, or (unless problems are collected) one that ``classes`` lacks.
    """
    videos = {folder.name: found for folder in subfolders(root) if (found := videos_in(folder, endings=endings))}
    if not videos:
        raise ValueError(_no_classes(root, endings))
    names = tuple(videos) if classes is None else tuple(classes)
    label_of = {name: label for label, name in enumerate(names)}
    clips: list[Clip] = []
    for name, paths in videos.items():
        with each_row(problems, root / name, 0, name):
            if name not in label_of:
                raise unknown_class(f"{root / name}", name, names)
            clips += [Clip(str(path), label_of[name], f"{name}/{path.name}") for path in paths]
    return ClipList(tuple(clips), names, str(root))


def _no_classes(root: Path, endings: Collection[str]) -> str:
    """The error for a folder without class folders: what it has instead."""
    expected = f"{root}: expected class folders with videos, {root.name}/<class>/<video>"
    if direct := videos_in(root, endings=endings):
        return (
            f"{expected}; found {len(direct)} videos directly in it and no class folders: put each class into a folder"
        )
    inner = subfolders(root)
    deeper = [folder.name for folder in inner if any(videos_in(below, endings=endings) for below in subfolders(folder))]
    if deeper:
        return f"{expected}; the class folders seem to lie one level deeper, in {', '.join(deeper[:5])}"
    if inner:
        names = ", ".join(folder.name for folder in inner[:5])
        return f"{expected}; found the folders {names}, none with a video ({' '.join(sorted(endings))})"
    return f"{expected}; found no folders"
