"""Clips from class folders: ``root/<class>/<video>``, or ``root/<class>/<folder of images>``.

Classes are the folders that hold at least one video, sorted by name. Videos in folders inside a class folder count too, as in
UCF11's ``root/<class>/<group>/<video>``; links to files and folders are followed. Hidden files and folders, files with other
extensions, links without a target and videos next to the class folders are left out, and counted or named in the notes.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from taggnn.data.clips import Clip, ClipList, unknown_class
from taggnn.data.lists.tree import Tree, below, left_out, some
from taggnn.data.problems import Problem, each_row
from taggnn.data.video.formats import VIDEO_ENDINGS


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

    A link without a target is a missing clip.

    Raises:
        ValueError: if there are no class folders with videos, or (unless problems are collected) one that ``classes`` lacks.
    """
    direct = below(root, endings, deep=False)
    trees = {folder.name: below(folder, endings) for folder in subfolders(root)}
    videos = {name: tree for name, tree in trees.items() if tree.files or tree.dangling}
    if not any(tree.files for tree in trees.values()) or _one_level_deeper(videos.values()):
        raise ValueError(_no_classes(root, direct, list(trees.values()), endings))
    names = tuple(videos) if classes is None else tuple(classes)
    label_of = {name: label for label, name in enumerate(names)}
    clips: list[Clip] = []
    missing: list[str] = []
    labels: list[int] = []
    for name, tree in videos.items():
        with each_row(problems, root / name, 0, name):
            if name not in label_of:
                raise unknown_class(f"{root / name}", name, names)
            clips += [Clip(str(path), label_of[name], path.relative_to(root).as_posix()) for path in tree.files]
            absent = [path.relative_to(root).as_posix() for path in tree.dangling]
            missing += absent
            labels += [label_of[name]] * len(absent)
            if problems is not None:
                text = "is a link whose target does not exist"
                problems += [Problem("missing", str(root / name), 0, each, text) for each in absent]
    notes = tuple(f"{root}: {note}" for note in _notes(root, direct, trees, videos))
    return ClipList(tuple(clips), names, str(root), tuple(missing), tuple(labels), notes)


def _notes(root: Path, direct: Tree, trees: dict[str, Tree], videos: dict[str, Tree]) -> list[str]:
    notes = []
    deeper = [path for tree in videos.values() for path in tree.files if path.parent != tree.folder]
    if deeper:
        notes.append(
            f"clips in folders inside their class folders: {len(deeper):,} (such as {deeper[0].relative_to(root)}); they count "
            f"as clips of the {len(videos)} classes"
        )
    if direct.files:
        notes.append(
            f"left out next to the class folders: {len(direct.files):,} ({some(path.name for path in direct.files)})"
        )
    images = [path for tree in videos.values() for path in tree.files if path.is_dir()]
    if images:
        notes.append(
            f"clips that are folders of images: {len(images):,} (such as {images[0].relative_to(root)}), frames by number"
        )
    if len(trees) > len(videos):
        notes.append(f"no classes, because they hold no clip: {some(name for name in trees if name not in videos)}")
    # Dangling links are missing clips, which are named as such; other files next to the class folders are lists.
    for tree in (direct, *trees.values()):
        tree.dangling = []
    direct.others.clear()
    return notes + left_out([direct, *trees.values()])


def _one_level_deeper(trees: Collection[Tree]) -> bool:
    """Whether the folders hold the same class folders, such as train and val, instead of videos."""
    if any(path.parent == tree.folder for tree in trees for path in tree.files):
        return False
    # Class folders have the same name in each; groups of one class, as in UCF11, have their own.
    inner = [{path.relative_to(tree.folder).parts[0] for path in tree.files} for tree in trees]
    return len(trees) > 1 and max(Counter(name for names in inner for name in names).values()) > 1


def _no_classes(root: Path, direct: Tree, trees: Sequence[Tree], endings: Collection[str]) -> str:
    """The error for a folder without class folders: what it has instead."""
    expected = f"{root}: expected class folders with videos, {root.name}/<class>/<video>"
    filled = [tree.folder.name for tree in trees if tree.files]
    if filled:
        return (
            f"{expected}; the class folders seem to lie one level deeper, in {some(filled)}. Give one of them as the root, or "
            "name the folders of the splits (data.train_folder, data.val_folder), or give lists"
        )
    if direct.files:
        return (
            f"{expected}; found {len(direct.files)} videos directly in it and no class folders: put each class into a folder, or "
            "give the folder above as the root if this is one class"
        )
    if trees:
        names = some(tree.folder.name for tree in trees)
        skipped = "".join(f"; {note}" for note in left_out(trees))
        return f"{expected}; found the folders {names}, none with a video ({' '.join(sorted(endings))}){skipped}"
    return f"{expected}; found no folders"
