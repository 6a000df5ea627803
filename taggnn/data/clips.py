"""Clip rows and lists of clips."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from taggnn.data.problems import Problem, RowError, each_row
from taggnn.names import unknown

# How many offenders an error message names before it only counts them.
NAMED = 5
# A larger class number is a slip of the column, and naming every class below it would fill the memory.
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Clip:
    """One labelled piece of a video file.

    Args:
        path: the video file.
        label: class number, from 0.
        name: what users see in predictions and reports: unique in its list, relative to the root, with forward slashes.
        start: first second of the piece; None for the file's beginning.
        stop: second at which the piece ends; None for the file's end.
        origin: second of the original video at which this file was cut out of it; ``start`` and ``stop`` then count in the
            original's seconds. None: the file is the original.
    """

    path: str
    label: int
    name: str
    start: float | None = None
    stop: float | None = None
    origin: float | None = None


@dataclass(frozen=True)
class ClipList:
    """The clips of one split with the names of their classes.

    Args:
        clips: the rows, in the order of their source.
        classes: class names; the position is the label.
        source: the list file or folder that the rows come from, for messages.
        missing: names of the rows that were left out because their file does not exist.
        missing_labels: their labels, so that a class whose every clip is missing can be named.
    """

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    source: str
    missing: tuple[str, ...] = ()
    missing_labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.missing) == len(self.missing_labels), "each missing row has a label"

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]

    @property
    def counts(self) -> list[int]:
        """Number of clips of each class, in the order of ``classes``."""
        tally = Counter(clip.label for clip in self.clips)
        return [tally[label] for label in range(len(self.classes))]

    @property
    def listed(self) -> int:
        """Number of clips that the source lists, the missing ones with them."""
        return len(self.clips) + len(self.missing)

    @property
    def listed_counts(self) -> list[int]:
        """Number of listed clips of each class, the missing ones with them, in the order of ``classes``."""
        absent = Counter(self.missing_labels)
        return [here + absent[label] for label, here in enumerate(self.counts)]


@dataclass(frozen=True)
class Row:
    """One row of a list before its video is looked for.

    Args:
        line: where it stands, from 1; 0 where its source has no lines.
        given: what it says, as messages name it.
        label: class number.
        places: where its file may be, the best first.
        start: first second, as ``Clip`` has it.
        stop: second at which the piece ends.
        origin: second of the original at which the file was cut out of it.
        name: name of the clip; None makes it from the path and the cut.
        lacks: why no file can be used where ``places`` is empty, as the end of a sentence; empty: the file is not there.
    """

    line: int
    given: str
    label: int
    places: tuple[Path, ...]
    start: float | None = None
    stop: float | None = None
    origin: float | None = None
    name: str | None = None
    lacks: str = ""


def existing_root(root: str | Path) -> Path:
    """The root as a path.

    Raises:
        FileNotFoundError: if it is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise FileNotFoundError(f"data root {root}: {what}")
    return root


def class_number(text: str, where: str) -> int:
    """Reads a class number.

    Raises:
        RowError: if it is not a whole number from 0.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) >= MOST_CLASSES:
        said = f"{text!r} is not a class number; possible are 0, 1, 2, ... below {MOST_CLASSES}"
        raise RowError("malformed", where, said)
    return int(text)


def lacking(source: str, found: str, classes: Sequence[str]) -> RowError:
    """Builds the error for a class that the train list does not have."""
    return RowError("mislabelled", source, f"{unknown('class', found, classes)} (the classes that train has)")


def shown_name(path: Path, root: Path) -> str:
    """The path relative to the root, or as it is where the file lies elsewhere; with forward slashes."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def locate(
    root: Path,
    source: Path | str,
    rows: Sequence[Row],
    classes: tuple[str, ...],
    missing: str,
    problems: list[Problem] | None,
    there: Callable[[Path], bool] = Path.is_file,
) -> ClipList:
    """Finds each row's file, refusing what is listed twice; all missing files are gathered into one message.

    Args:
        root: folder that names are relative to.
        source: what the rows come from.
        rows: the rows.
        classes: class names in label order.
        missing: see ``lists.reading.read_clips``.
        problems: see ``lists.reading.read_clips``.
        there: whether a place holds a file.

    Raises:
        FileNotFoundError: if a file is missing and that is an error, or all are.
        RowError: if a clip or a name is listed twice and problems are not collected.
    """
    clips, absent, seen, names = [], [], {}, {}
    for row in rows:
        path = next((place for place in row.places if there(place)), None)
        with each_row(problems, source, row.line, row.given):
            key = (path or row.places[:1] or row.given, row.start, row.stop)
            before = seen.setdefault(key, row)
            if before is not row:
                said = f"{row.given} is listed before, on line {before.line}"
                where = f"{source}, line {row.line}"
                if before.label != row.label:
                    against = (before.name or _name(path, root, before)) if path else ""
                    raise RowError("mislabelled", where, f"{said}, as a clip of {classes[before.label]}", against)
                raise RowError("repeated", where, said)
            if path is None:
                absent.append(row)
                continue
            name = row.name or _name(path, root, row)
            if name in names:
                said = f"the name {name!r} is given before, on line {names[name]}"
                raise RowError("repeated", f"{source}, line {row.line}", said)
            names[name] = row.line
            clips.append(Clip(str(path), row.label, name, row.start, row.stop, row.origin))
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
    )


def _lacks(row: Row, root: Path) -> str:
    tried = " or ".join(str(place) for place in row.places)
    return row.lacks or (f"was looked for at {tried}" if tried else f"is not below {root}")


def _name(path: Path, root: Path, row: Row) -> str:
    name = shown_name(path, root)
    if row.start is None and row.stop is None:
        return name
    return f"{name} [{row.start or 0.0!r}, {'end' if row.stop is None else repr(row.stop)})"
