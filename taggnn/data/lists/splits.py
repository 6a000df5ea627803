"""Which clips are for training, for choosing and for reporting, from lists, folders or one unsplit folder."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from taggnn.data.clips import NAMED, ClipList, existing_root
from taggnn.data.lists.folders import subfolders
from taggnn.data.lists.leakage import leaked_clips
from taggnn.data.lists.reading import read_clips
from taggnn.data.lists.tree import some
from taggnn.data.problems import Problem
from taggnn.data.published import PUBLISHED, read_published
from taggnn.names import unknown

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """The three clip lists, and the choices made for the user.

    Args:
        train: clips to train on; None where only an evaluation split was given.
        val: clips to choose the best epoch on.
        test: clips to report on.
        classes: class names in label order, the same for all three.
        notes: sentences for the screen, one for each choice that the user did not make.
    """

    train: ClipList | None
    val: ClipList | None
    test: ClipList | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_splits(
    root: str | Path,
    lists: dict[str, str | None],
    folders: dict[str, str],
    classes: Sequence[str] | None = None,
    missing: str | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    only: str | None = None,
    problems: list[Problem] | None = None,
    dataset: str | None = None,
    version: str | None = None,
    annotations: str | None = None,
    endings: Collection[str] | None = None,
) -> Splits:
    """Reads the splits of a data set.

    With ``dataset`` the splits are the published ones (published/). Else each comes from its list or, without one, from its
    folder ``root/<folder>`` with class folders. Absent splits:

    - no list and no folder at all: ``root`` itself has the class folders and is split into train, val and test;
    - no val: a part of train is held out;
    - no test: val is used as test too (as in the published lists of FineGym);
    - no train but a val or test: only evaluation is possible, and ``classes`` must be given.

    Holding out is by class and by clip; it depends on the seed and the clips' names alone, so it is equal on every machine.

    Args:
        root: folder of the videos.
        lists: list file of "train", "val" and "test", or None; a path that does not exist is tried inside the root.
        folders: folder name of "train", "val" and "test" inside the root; "." is the root itself.
        classes: class names in label order; None: those of train.
        missing: what to do with clips whose file does not exist: "error", or "skip" to leave them out and name them. None:
            "skip" for a published data set, of which parts are usual, "error" for own lists.
        val_fraction: part of the clips to hold out as val where there is none, between 0 and 1.
        test_fraction: part to hold out as test when an unsplit root is split; 0 for none.
        seed: seed of the held-out clips.
        only: the only split to read, with those that it depends on; None: all.
        problems: collects problems of single rows, which are then left out, and clips in two splits; None: the first raises,
            and clips in two splits are a note.
        dataset: name of a published data set, see ``published.PUBLISHED``; None: own lists or folders.
        version: its version; None: the default one.
        annotations: folder of its lists; None: below the root.
        endings: extensions of the files in class folders that count as clips, in lower case; None: those of videos.

    Raises:
        FileNotFoundError: if the root, a list or a listed file does not exist.
        ValueError: if the data set is unknown, or given together with lists; if a list is wrong, val or test has a class unknown
            to train, or there are too few clips to hold any out. A known class without a training clip is a note.
    """
    root = existing_root(root)
    if not 0 < val_fraction < 1 or not 0 <= test_fraction < 1 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction}, test_fraction {test_fraction}: expected parts between 0 and 1 that leave some clips"
        )
    missing = missing or ("error" if dataset is None else "skip")
    found: dict[str, ClipList] = {}
    notes: list[str] = []
    if dataset is not None:
        options = {"version": version, "annotations": annotations, "classes": classes, "missing": missing}
        given, found, notes = _published(root, dataset, lists, only, problems=problems, **options)
        classes = next(iter(found.values())).classes
    elif version is not None or annotations is not None:
        key, value = ("version", version) if version is not None else ("annotations", annotations)
        raise ValueError(
            f"data.{key} {value} is for a published data set: give data.dataset ({', '.join(PUBLISHED)}), or --data.{key} null"
        )
    else:
        sources = {split: _source(root, lists.get(split), folders[split]) for split in SPLITS}
        given = [split for split in SPLITS if sources[split] is not None]
        if given and classes is None and "train" not in given:
            raise ValueError(f"{root}: no train list and no folder {folders['train']!r}, so the classes are not known")
        # Train first: the other two use its classes.
        for split in given if only is None else _needed(only, given, classes is None):
            source = sources[split]
            assert source is not None
            found[split] = _read(root, source, folders[split], classes, missing, problems, endings)
            notes += found[split].notes
            # A list of val may have the name of a class that train has the number of.
            classes = found[split].classes
        notes.append(_unused_note(root, folders, [source for source in sources.values() if source is not None]))
    if not given:
        whole = read_clips(root, classes=classes, problems=problems, endings=endings)
        found["train"], classes = whole, whole.classes
        notes += whole.notes
        _check_several(classes, whole)
        if test_fraction:
            found["train"], found["test"] = hold_out(whole, test_fraction, seed)
            notes.append(_held_out_note("test", whole, found["test"], test_fraction, seed))
        # Of the rest, so that val_fraction too is a part of the whole.
        rest = found["train"]
        found["train"], found["val"] = hold_out(rest, val_fraction / (1 - test_fraction), seed)
        notes.append(_held_out_note("val", whole, found["val"], val_fraction, seed))
    if "val" not in given and "train" in found and given:
        whole = found["train"]
        found["train"], found["val"] = hold_out(whole, val_fraction, seed)
        notes.append(_held_out_note("val", whole, found["val"], val_fraction, seed))
    class_names = tuple(classes or ())
    if only is None and "train" in found:
        _check_several(class_names, found["train"])
    notes.append(_case_note(class_names))
    found = {split: replace(clips, classes=class_names) for split, clips in found.items()}
    if "train" in found:
        notes += [_untrained_note(split, found[split], found["train"]) for split in ("val", "test") if split in found]
    notes.append(_leakage_note(found, problems))
    if "test" not in given and "test" not in found and "val" in found:
        found["test"] = found["val"]
        notes.append("no test split was given: the val clips are reported as test too")
    return Splits(found.get("train"), found.get("val"), found.get("test"), class_names, tuple(filter(None, notes)))


def _check_several(classes: Sequence[str], train: ClipList) -> None:
    """Refuses a single class, of which every model would be right about every clip.

    Raises:
        ValueError: there is only one; the message names the folders that may be the classes.
    """
    used = [name for name, count in zip(classes, train.listed_counts, strict=True) if count]
    if len(used) != 1:
        return
    folder = Path(train.source) / used[0]
    if not folder.is_dir():
        raise ValueError(f"{train.source}: every clip has the same class, {used[0]!r}; training needs two or more")
    inner = [path.name for path in subfolders(folder)]
    level = f"those in {folder}, such as {some(inner)}" if inner else "those of another level"
    raise ValueError(
        f"{train.source}: only one class folder with videos, {used[0]!r}, and training needs two or more. If the class "
        f"folders are {level}, give the folder that holds them as data.root (or as data.train_folder)"
    )


def _case_note(classes: Sequence[str]) -> str:
    """A sentence on classes whose names differ only in upper and lower case; empty if there are none."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    groups = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    return f"classes that differ only in case: {some(groups)}: a typing error? They are kept apart" if groups else ""


def _unused_note(root: Path, folders: dict[str, str], sources: Sequence[Path]) -> str:
    """A sentence on the folders next to those of the splits; empty if there are none, or no split is a folder."""
    used = {source.resolve() for source in sources if source.is_dir()}
    if not used or root.resolve() in used:
        return ""
    spare = [path.name for path in subfolders(root) if path.resolve() not in used and path.name not in folders.values()]
    return f"{root}: folders that are no split and are not used: {some(spare)}" if spare else ""


def hold_out(clips: ClipList, fraction: float, seed: int) -> tuple[ClipList, ClipList]:
    """Splits a list into the rest and the held-out clips, class by class.

    Of n listed clips of a class, including missing ones, ``round(fraction * n)`` are held out; of the existing ones at least
    one if there are two, and never all.

    Raises:
        ValueError: if no class has two clips.
    """
    here = len(clips)
    rows = [(clip.label, clip.name) for clip in clips] + list(zip(clips.missing_labels, clips.missing, strict=True))
    of_class: dict[int, list[int]] = {}
    for number, (label, _) in enumerate(rows):
        of_class.setdefault(label, []).append(number)
    held: set[int] = set()
    for members in of_class.values():
        # By a hash of the name: adding or removing a clip does not change the order of the others.
        members.sort(key=lambda number: sha256(f"{seed}/{rows[number][1]}".encode("utf-8", "surrogateescape")).digest())
        first = members[: round(fraction * len(members))]
        there = [number for number in members if number < here]
        held.update(number for number in first if number >= here)
        held.update(there[: max(0, min(max(1, sum(number < here for number in first)), len(there) - 1))])
    if not any(number < here for number in held):
        raise ValueError(f"{clips.source}: too few clips to hold some out: every class has one; give another list")
    return _part(clips, held, False), _part(clips, held, True)


def _part(clips: ClipList, held: set[int], wanted: bool) -> ClipList:
    """The rows that are held out, or the others; missing rows are numbered after the clips."""
    absent = [number for number in range(len(clips.missing)) if (len(clips) + number in held) == wanted]
    return replace(
        clips,
        clips=tuple(clip for number, clip in enumerate(clips) if (number in held) == wanted),
        missing=tuple(clips.missing[number] for number in absent),
        missing_labels=tuple(clips.missing_labels[number] for number in absent),
    )


def _needed(only: str, given: Sequence[str], classes_unknown: bool) -> list[str]:
    """The given splits that one split is read from: itself or its substitute; none where the root is split."""
    if not given:
        return []
    substitutes = {"train": ("train",), "val": ("val", "train"), "test": ("test", "val", "train")}[only]
    needed = [next((split for split in substitutes if split in given), given[0])]
    return ["train", *needed] if classes_unknown and needed != ["train"] else needed


def _untrained_note(split: str, clips: ClipList, train: ClipList) -> str:
    """The classes of a split without a training clip; empty if there are none."""
    names = [
        name for name, here, there in zip(clips.classes, clips.counts, train.counts, strict=True) if here and not there
    ]
    if not names:
        return ""
    what = "a class" if len(names) == 1 else f"{len(names)} classes"
    return f"{split} ({clips.source}) has clips of {what} without a training clip in {train.source}: {some(names)}"


def _source(root: Path, list_file: str | None, folder: str) -> Path | None:
    """The list or folder of a split; None if it has none."""
    if list_file is not None:
        given, inside = Path(list_file), root / list_file
        if not given.exists() and not inside.exists() and inside != given:
            raise FileNotFoundError(f"{list_file}: no such list file, neither as it is nor in the root as {inside}")
        return inside if inside.is_file() and not given.is_file() else given
    path = root / folder
    # A class may be called "train": only a folder of folders is a split.
    return path if path.is_dir() and subfolders(path) else None


def _published(
    root: Path, dataset: str, lists: dict[str, str | None], only: str | None, **options: Any
) -> tuple[list[str], dict[str, ClipList], list[str]]:
    """The splits of a published data set, the clip lists of the needed ones, and notes."""
    own = next((f"{split}_list" for split in SPLITS if lists.get(split) is not None), None)
    if own is not None:
        raise ValueError(
            f"data.dataset {dataset} and data.{own} both say which clips to use; for your own lists give "
            "--data.dataset null --data.version null"
        )
    if dataset not in PUBLISHED:
        raise unknown("data set", dataset, PUBLISHED, "data.dataset")
    given = [split for split in SPLITS if split in PUBLISHED[dataset].splits]
    while True:
        needed = given if only is None else _needed(only, given, classes_unknown=False)
        found, notes = read_published(dataset, root, splits=needed, **options)
        # An optional split that does not exist is replaced by its substitute.
        absent = set(needed) - set(found)
        given = [split for split in given if split not in absent]
        if found or not absent:
            return given, found, list(notes)


def _leakage_note(found: dict[str, ClipList], problems: list[Problem] | None) -> str:
    """Collects the clips in two splits as problems, or returns a note about them; empty if there are none."""
    pairs = leaked_clips(found)
    if problems is not None:
        problems += [
            Problem(
                "two splits", found[split].source, 0, clip.name, f"{other} has the same part of the file as {its.name}"
            )
            for split, clip, other, its in pairs
        ]
        return ""
    if not pairs:
        return ""
    shown = ", ".join(f"{clip.name} ({other} and {split})" for split, clip, other, _ in pairs[:NAMED])
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    what = "clip is" if len(pairs) == 1 else "clips are"
    return f"{len(pairs)} {what} in two splits, so scores are too good: {shown}{more}"


def _read(
    root: Path,
    source: Path,
    folder: str,
    classes: Sequence[str] | None,
    missing: str,
    problems: list[Problem] | None,
    endings: Collection[str] | None,
) -> ClipList:
    if source != root / folder or not source.is_dir():
        return read_clips(root, source, classes, missing, problems, endings)
    found = read_clips(source, None, classes, problems=problems, endings=endings)
    prefix = "" if folder == "." else f"{folder}/"
    return replace(
        found,
        clips=tuple(replace(clip, name=prefix + clip.name) for clip in found),
        missing=tuple(prefix + name for name in found.missing),
    )


def _held_out_note(split: str, whole: ClipList, held: ClipList, fraction: float, seed: int) -> str:
    return (
        f"no {split} split was given: {len(held)} of the {len(whole)} clips of {whole.source} are held out as {split} "
        f"(about {fraction:.0%} of each class, seed {seed})"
    )
