"""Diving48, the corrected labels of version 2; those of version 1 are wrong and are not read.

Paper: https://doi.org/10.1007/978-3-030-01231-1_32 (RESOUND). Files, anywhere below the folder of annotations (by default
the root):

    Diving48_V2_train.json, Diving48_V2_test.json   rows {"vid_name": .., "label": 0, "start_frame": 0, "end_frame": 48}
    Diving48_vocab.json                             rows ["Back", "15som", "05Twis", "FREE"]; without it classes are numbers

and the clips ``<vid_name>.mp4`` (published as ``rgb/``) at any depth below the root, each shown whole. 15,027 / 1,970 clips.
"""

from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes, whole_clip
from taggnn.data.published.text import json_in

CLASSES = 48


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: if a list does not exist.
        ValueError: if a file has an unexpected format.
    """
    notes: list[str] = []
    files = {split: request.index.require("diving48 V2", f"Diving48_V2_{split}.json") for split in request.splits}
    names = vocabulary(request, notes)
    splits = {split: Listing(file, _rows(request, file)) for split, file in files.items()}
    return Lists(matched_classes(request.classes, names, "diving48 V2"), splits, tuple(notes))


def vocabulary(request: Request, notes: list[str]) -> list[str]:
    """The class names, or numbers with a note.

    Raises:
        ValueError: the file of the names has an unexpected format.
    """
    file = request.index.file("Diving48_vocab.json")
    if file is None:
        notes.append(
            f"no Diving48_vocab.json below {request.index.annotations}: the classes are named by their numbers"
        )
        return [str(number) for number in range(CLASSES)]
    names = names_in(file)
    if len(names) != CLASSES or len(set(names)) != CLASSES:
        raise ValueError(f"{file}: {len(set(names))} different classes; diving48 has {CLASSES}")
    return names


def names_in(file: Path) -> list[str]:
    """The class names of Diving48_vocab.json.

    Raises:
        ValueError: it is no list of lists of words.
    """
    names = []
    for line, words in enumerate(json_in(file, list), start=1):
        if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
            raise ValueError(f'{file}, row {line}: expected words such as ["Back", "15som"], found {words!r}')
        names.append(" ".join(words))
    return names


def _rows(request: Request, file: Path) -> list[Row]:
    rows = []
    for line, entry in enumerate(json_in(file, list), start=1):
        given = str(entry.get("vid_name")) if isinstance(entry, dict) else str(entry)
        with each_row(request.problems, file, line, given):
            label = entry.get("label") if isinstance(entry, dict) else None
            if type(label) is not int or not 0 <= label < CLASSES or not isinstance(entry.get("vid_name"), str):
                message = f"expected a vid_name and a label from 0 to {CLASSES - 1}, found {entry!r}"
                raise RowError("malformed", f"{file}, row {line}", message)
            rows.append(whole_clip(line, given, label, request.index.clip(given)))
    return rows


DIVING48 = Published(
    title="Diving48",
    paper="https://doi.org/10.1007/978-3-030-01231-1_32",
    versions=("V2",),
    splits=("train", "test"),
    read=read,
    counts={"V2": {"train": 15_027, "test": 1_970}},
    classes={"V2": CLASSES},
)
