"""Clips of pyskl's pickles (https://github.com/kennymckormick/pyskl): one file holds a data set with its splits.

The files are opened without running them, see ``data/skeleton/formats/pickled.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from taggnn.data.clips import NAMED, Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.file_index import FileIndex
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes
from taggnn.data.skeleton.formats.pyskl import ENDINGS, annotations


def find_pickle(index: FileIndex, *names: str) -> Path | None:
    """The file with the first of these names that exists; else the only pickle below the root."""
    found = index.ending_in(*ENDINGS)
    named = [path for name in names for path in found if path.name == name]
    return named[0] if named else found[0] if len(found) == 1 else None


def listings(
    request: Request,
    file: Path,
    keys: Mapping[str, Sequence[str]],
    classes: int,
    own_label: Callable[[str], int | None] = lambda name: None,
) -> dict[str, Listing]:
    """The rows of the splits of a pickle.

    Args:
        request: of the reader.
        file: the pickle.
        keys: split -> its possible names in the file.
        classes: K; a label from 0 to K - 1.
        own_label: the label that the name of a clip states; None where it states none.

    Raises:
        ValueError: no such pickle, or it has no such split; names the file and the key.
    """
    try:
        content = annotations(str(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    found = {}
    for split in request.splits:
        key = next((key for key in keys[split] if key in content.splits), None)
        if key is None:
            has = ", ".join(map(repr, list(content.splits)[:NAMED])) or "none"
            raise ValueError(f"{file}, split: no {' or '.join(map(repr, keys[split]))} in it; it has {has}")
        rows = []
        for line, name in enumerate(content.splits[key], start=1):
            with each_row(request.problems, file, line, name):
                where = f"{file}, {key}, row {line}"
                row = content.clips.get(name, "has no annotation in the file")
                if isinstance(row, str):
                    label = own_label(name)
                    if label is None:
                        raise RowError("malformed", where, f"{name}: {row}")
                    rows.append(Row(line, name, label, (), name=name, member=name, lacks=row))
                    continue
                if not 0 <= row.label < classes:
                    raise RowError(
                        "malformed", where, f"{name} has the label {row.label}; possible are 0 to {classes - 1}"
                    )
                if own_label(name) not in (None, row.label):
                    message = f"{name} has the label {row.label} here and {own_label(name)} by its name"
                    raise RowError("mislabelled", where, message)
                rows.append(Row(line, name, row.label, (file,), name=name, member=name))
        found[split] = Listing(f"{file}, {key}", rows)
    return found


def published(
    name: str,
    title: str,
    paper: str,
    file_name: str,
    keys: Mapping[str, Sequence[str]],
    classes: int,
    names: Callable[[Request, list[str]], Sequence[str]],
    groups: Callable[[Request], dict[str, tuple[str, ...]]] | None = None,
) -> Published:
    """A data set that is one of pyskl's files and nothing else.

    Args:
        name: of the data set, for messages.
        title: see ``Published``.
        paper: see ``Published``.
        file_name: name of the file as published.
        keys: as for ``listings``.
        classes: K.
        names: the class names, adding to the notes.
        groups: the groups of the classes, see ``Lists.class_groups`` (default: none).
    """

    def read(request: Request) -> Lists:
        file = find_pickle(request.index, file_name)
        if file is None:
            raise FileNotFoundError(f"{name}: no {file_name} below {request.index.root}; {request.index.describe()}")
        notes: list[str] = []
        class_names = matched_classes(request.classes, names(request, notes), name)
        found = listings(request, file, keys, classes)
        return Lists(class_names, found, tuple(notes), groups(request) if groups else {})

    return Published(
        title=title,
        paper=paper,
        versions=("hrnet",),
        splits=tuple(keys),
        read=read,
        classes={"hrnet": classes},
        endings=ENDINGS,
    )
