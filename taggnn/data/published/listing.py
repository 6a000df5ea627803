"""What the reader of a published data set hands back, and what is known about the set without reading it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import Problem
from taggnn.data.published.file_index import FileIndex


@dataclass(frozen=True)
class Listing:
    """The rows of one split, found or not.

    Args:
        source: the list file, or the rule that stands for it.
        rows: every row that could be read; ``places`` holds the one file to use, or nothing.
    """

    source: Path | str
    rows: list[Row]


@dataclass(frozen=True)
class Lists:
    """Everything that the publisher's files say.

    Args:
        classes: class names in label order.
        splits: "train", "val", "test" -> their rows; one that was asked for and need not be there may be absent.
        notes: sentences for the screen.
    """

    classes: tuple[str, ...]
    splits: dict[str, Listing]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a reader is asked for.

    Args:
        index: the files that lie there.
        version: one of ``Published.versions``.
        splits: the splits to read.
        classes: class names in label order that labels are read against; None: those of the publisher.
        problems: takes what is wrong with single rows; None: a reader raises.
    """

    index: FileIndex
    version: str
    splits: tuple[str, ...]
    classes: tuple[str, ...] | None
    problems: list[Problem] | None


@dataclass(frozen=True)
class Published:
    """A data set by the files that its publisher ships.

    Args:
        title: what it is called.
        paper: link to it.
        versions: its versions (or numbered splits), the default first.
        splits: the splits that it has.
        read: turns the files into rows.
        counts: version -> split -> rows as published; a version or a split may be absent.
        classes: version -> number of classes as published.
    """

    title: str
    paper: str
    versions: tuple[str, ...]
    splits: tuple[str, ...]
    read: Callable[[Request], Lists]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)


def matched_classes(classes: Sequence[str] | None, published: Sequence[str], source: object) -> tuple[str, ...]:
    """The publisher's class names, held against those a model was trained with; a name wins over a bare number.

    Raises:
        ValueError: if they are not as many, or one differs.
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
    """Class names of a set whose labels are its names, sorted: those that were found, or those a model was trained with.

    Raises:
        ValueError: if the model knows numbers only, and they are not as many as the names.
    """
    if classes is None:
        return tuple(sorted(found))
    if all(name == str(number) for number, name in enumerate(classes)):
        return matched_classes(classes, sorted(found), source)
    return tuple(classes)
