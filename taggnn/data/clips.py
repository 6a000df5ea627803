"""Clip rows and lists of clips."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from taggnn.data.image_folders import is_clip
from taggnn.data.problems import Problem, RowError, each_row
from taggnn.names import unknown

# How many names a message lists before it only counts them.
NAMED = 5
# A larger class number is from the wrong column, and a name for every class below it would fill the memory.
MAX_CLASSES = 100_000
_NOT_UTF8 = "; some names are not UTF-8 text: if the list has another encoding, save it as UTF-8"


@dataclass(frozen=True)
class Clip:
    """One labelled clip: a file, or a part of one.

    Args:
        path: the file.
        label: class number, from 0.
        name: its name in predictions and reports: unique in its list, relative to the root, with forward slashes.
        start: first second of the clip, of a skeleton sequence its first frame; None for the beginning of the file.
        stop: second at which the clip ends, of a skeleton sequence the first frame after it; None for the end of the file.
        origin: second of the original video at which this file was cut from it; ``start`` and ``stop`` are then seconds of
            the original. None: the file is the original.
        member: the name of the clip inside a file that holds many; None for a file of its own.
    """

    path: str
    label: int
    name: str
    start: float | None = None
    stop: float | None = None
    origin: float | None = None
    member: str | None = None


@dataclass(frozen=True)
class ClipList:
    """The clips of one split with their class names.

    Args:
        clips: the rows, in the order of their source.
        classes: class names in label order.
        source: the list file or folder of the rows, for messages.
        missing: names of the rows that were left out because their file does not exist.
        missing_labels: their labels, so that a class without any clip can be named.
        notes: sentences on what else was left out or taken, for the screen.
        class_groups: what groups of classes are ("event") -> the group of each class; empty unless the publisher names any.
        absent: the rows of ``missing``, where they were read from a list.
    """

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    source: str
    missing: tuple[str, ...] = ()
    missing_labels: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    class_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple["Row", ...] = ()

    def __post_init__(self) -> None:
        assert len(self.missing) == len(self.missing_labels), "each missing row has a label"

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    @property
    def counts(self) -> list[int]:
        """Number of clips of each class, in the order of ``classes``."""
        tally = Counter(clip.label for clip in self.clips)
        return [tally[label] for label in range(len(self.classes))]

    @property
    def listed(self) -> int:
        """Number of clips that the source lists, including the missing ones."""
        return len(self.clips) + len(self.missing)

    @property
    def listed_counts(self) -> list[int]:
        """Number of listed clips of each class, including the missing ones, in the order of ``classes``."""
        absent = Counter(self.missing_labels)
        return [here + absent[label] for label, here in enumerate(self.counts)]


@dataclass(frozen=True)
class Row:
    """One row of a list before its video is searched.

    Args:
        line: its line, from 1; 0 where its source has no lines.
        given: its clip as written in the list, for messages.
        label: class number.
        paths: where its file may be, in order of preference.
        start: first second, as ``Clip`` has it.
        stop: second at which the piece ends.
        origin: second of the original at which the file was cut from it.
        name: name of the clip; None: made from the path and the cut.
        member: name of the clip inside its file, as ``Clip`` has it.
        lacks: why no file can be used if ``paths`` is empty, as the end of a sentence; empty: the file does not exist.
    """

    line: int
    given: str
    label: int
    paths: tuple[Path, ...]
    start: float | None = None
    stop: float | None = None
    origin: float | None = None
    name: str | None = None
    member: str | None = None
    lacks: str = ""

    def names(self, root: Path) -> tuple[str, ...]:
        """What its clip may be called: its own name, or one for each of the paths where its file may be."""
        return (self.name,) if self.name else tuple(_name(path, root, self) for path in self.paths)


def existing_root(root: str | Path) -> Path:
    """The root as a path.

    Raises:
        FileNotFoundError: if it is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        if root.exists():
            raise FileNotFoundError(f"data root {root}: is a file, not a folder")
        there = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        near = get_close_matches(root.name, there, n=1)
        hint = f"; did you mean {str(root.with_name(near[0]))!r}?" if near else ""
        raise FileNotFoundError(f"data root {root}: no such folder{hint}")
    return root


def class_number(text: str, where: str) -> int:
    """Reads a class number.

    Raises:
        RowError: if it is not a whole number from 0.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) >= MAX_CLASSES:
        message = f"{text!r} is not a class number; possible are 0, 1, 2, ... below {MAX_CLASSES}"
        raise RowError("malformed", where, message)
    return int(text)


def unknown_class(source: str, found: str, classes: Sequence[str]) -> RowError:
    """The error for a class that the train list does not have."""
    hint = _NOT_UTF8 if not all(map(_is_utf8, (found, *classes))) else ""
    return RowError("mislabelled", source, f"{unknown('class', found, classes)} (the classes that train has){hint}")


def shown_name(path: Path, root: Path) -> str:
    """The path relative to the root, or unchanged for a file elsewhere; with forward slashes."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def locate(
    root: Path,
    source: Path | str,
    rows: Sequence[Row],
    classes: tuple[str, ...],
    missing: str,
    problems: list[Problem] | None,
    exists: Callable[[Path], bool] = is_clip,
) -> ClipList:
    """Finds each row's file and refuses repeated rows; one message names all missing files.

    Args:
        root: folder that names are relative to.
        source: source of the rows.
        rows: the rows.
        classes: class names in label order.
        missing: see ``lists.reading.read_clips``.
        problems: see ``lists.reading.read_clips``.
        exists: whether a path is a clip: a file, or a folder of images.

    Raises:
        FileNotFoundError: if a file is missing and that is an error, or all are.
        RowError: if a clip or a name is listed twice and problems are not collected.
    """
    clips: list[Clip] = []
    absent: list[Row] = []
    seen: dict[Any, Row] = {}
    names: dict[str, int] = {}
    for row in rows:
        path = next((path for path in row.paths if exists(path)), None)
        with each_row(problems, source, row.line, row.given):
            key = (path or row.paths[:1] or row.given, row.start, row.stop, row.member)
            before = seen.setdefault(key, row)
            if before is not row:
                message = f"{row.given} is listed before, on line {before.line}"
                where = f"{source}, line {row.line}"
                if before.label != row.label:
                    against = (before.name or _name(path, root, before)) if path else ""
                    raise RowError("mislabelled", where, f"{message}, as a clip of {classes[before.label]}", against)
                raise RowError("repeated", where, message)
            if path is None:
                absent.append(row)
                continue
            name = row.name or _name(path, root, row)
            if name in names:
                message = f"the name {name!r} is given before, on line {names[name]}"
                raise RowError("repeated", f"{source}, line {row.line}", message)
            names[name] = row.line
            clips.append(Clip(str(path), row.label, name, row.start, row.stop, row.origin, row.member))
    if problems is not None:
        problems += [Problem("missing", str(source), row.line, row.given, _lacks(row, root)) for row in absent]
    elif absent and missing == "error":
        shown = ", ".join(f"{row.given} (line {row.line})" for row in absent[:NAMED])
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        raise FileNotFoundError(
            f"{source}: {len(absent)} of {len(rows)} listed files do not exist: {shown}{more}. "
            f"The first {_lacks(absent[0], root)}. Check the root, or leave missing files out with --data.missing skip"
        )
    elif not clips:
        raise FileNotFoundError(f"{source}: none of the {len(rows)} listed files exists under {root}")
    return ClipList(
        tuple(clips),
        classes,
        str(source),
        tuple(row.given for row in absent),
        tuple(row.label for row in absent),
        absent=tuple(absent),
    )


def _lacks(row: Row, root: Path) -> str:
    tried = " or ".join(str(path) for path in row.paths)
    hint = "" if _is_utf8(row.given) else _NOT_UTF8
    return row.lacks or (f"was looked for at {tried}{hint}" if tried else f"is not below {root}")


def _is_utf8(text: str) -> bool:
    # Other bytes are read as surrogates.
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


def _name(path: Path, root: Path, row: Row) -> str:
    name = shown_name(path, root) + (f"/{row.member}" if row.member else "")
    if row.start is None and row.stop is None:
        return name
    return f"{name} [{row.start or 0.0!r}, {'end' if row.stop is None else repr(row.stop)})"
