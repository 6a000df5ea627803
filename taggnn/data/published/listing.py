"""The interface of the readers of published data sets, and the properties of a data set that are known in advance."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import Problem
from taggnn.data.published.file_index import FileIndex
from taggnn.data.video.formats import VIDEO_ENDINGS


@dataclass(frozen=True)
class Listing:
    """The rows of one split, found or not.

    Args:
        source: the list file, or the name of the rule in its place.
        rows: every readable row; ``paths`` has the file to use, or nothing.
    """

    source: Path | str
    rows: list[Row]


def whole_clip(line: int, name: str, label: int, path: Path | None) -> Row:
    """The row of a clip that is a file of its own; ``path`` is None where the file does not exist."""
    return Row(line, name, label, () if path is None else (path,), name=name)


@dataclass(frozen=True)
class Lists:
    """The content of the publisher's files.

    Args:
        classes: class names in label order.
        splits: "train", "val", "test" -> their rows; an optional one may be absent.
        notes: sentences for the screen.
        class_groups: what groups of classes are ("event") -> the group of each class in label order.
    """

    classes: tuple[str, ...]
    splits: dict[str, Listing]
    notes: tuple[str, ...] = ()
    class_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """The arguments of a reader.

    Args:
        index: the existing files.
        version: one of ``Published.versions``.
        splits: the splits to read.
        classes: class names in label order; None: those of the publisher.
        problems: collects problems of single rows; None: the first raises.
    """

    index: FileIndex
    version: str
    splits: tuple[str, ...]
    classes: tuple[str, ...] | None
    problems: list[Problem] | None


@dataclass(frozen=True)
class Published:
    """A published data set.

    Args:
        title: its name.
        paper: link to the paper.
        versions: its versions (or numbered splits), the default first.
        splits: its splits.
        read: reads the rows from the files.
        counts: version -> split -> published number of rows; a version or a split may be absent.
        classes: version -> published number of classes.
        endings: extensions of its clips, in lower case with the dot.
        cut: a row of a clip that is not there -> where in which original it is, column -> value; None: rows are whole files.
    """

    title: str
    paper: str
    versions: tuple[str, ...]
    splits: tuple[str, ...]
    read: Callable[[Request], Lists]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    endings: Collection[str] = VIDEO_ENDINGS
    cut: Callable[[Row], dict[str, object]] | None = None


def matched_classes(classes: Sequence[str] | None, published: Sequence[str], source: object) -> tuple[str, ...]:
    """The publisher's class names, checked against those of a model; a name replaces a number.

    Raises:
        ValueError: if their numbers, or two names, differ.
    """
    if classes is None:
        return tuple(published)
    if len(classes) != len(published):
        raise ValueError(f"{source}: {len(published)} classes, and the model (or data.classes) has {len(classes)}")
    names = []
    for number, (ours, theirs) in enumerate(zip(classes, published, strict=True)):
        if ours != theirs and str(number) not in (ours, theirs):
            raise ValueError(f"{source}: class {number} is {theirs!r}, and the model (or data.classes) has {ours!r}")
        names.append(ours if theirs == str(number) else theirs)
    return tuple(names)


def class_names(classes: Sequence[str] | None, found: Collection[str], source: object) -> tuple[str, ...]:
    """Class names of a data set without class numbers: those found, sorted, or those of a model.

    Raises:
        ValueError: if the model has only numbers, and not as many as there are names.
    """
    if classes is None:
        return tuple(sorted(found))
    if all(name == str(number) for number, name in enumerate(classes)):
        return matched_classes(classes, sorted(found), source)
    return tuple(classes)
