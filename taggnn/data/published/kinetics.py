"""Kinetics-400, -600, -700 and -700-2020.

Paper: https://arxiv.org/abs/1705.06950, 1808.01340, 1907.06987, 2010.10864. Files, anywhere below the folder of annotations
(by default the root), which do not state the version, so that the user gives it:

    train.csv, val.csv | validate.csv, test.csv    columns label,youtube_id,time_start,time_end,split (in whole seconds)
    kinetics_train.csv, kinetics-400_train.csv ..  other common names of the same

and the clips ``<youtube_id>_<start>_<end>`` with six digits each, as ``-3B32lodo2M_000059_000069.mp4``, at any depth below
the root and with any video ending, each shown whole. Classes are the labels sorted by name. The lists have been revised more
than once, so their lengths are not compared with published numbers. A test list without labels is left out with a note.
"""

import csv
from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, class_names, whole_clip

NEEDED = ("youtube_id", "time_start", "time_end")
WORDS = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: if the train or the val list is not there.
        ValueError: if a list lacks a column, or train or val has no labels.
    """
    title = f"kinetics {request.version}"
    entries: dict[str, list[tuple[int, dict[str, str]]]] = {}
    files, notes = {}, []
    for split in request.splits:
        wanted = _wanted(split, request.version)
        file = request.index.file(*wanted) if split == "test" else request.index.require(title, *wanted)
        if file is None:
            continue
        found = _entries(file)
        if found and "label" not in found[0][1]:
            if split != "test":
                raise ValueError(f"{file}, line 1: no column label")
            notes.append(f"{file} has no labels and is left out")
            continue
        files[split], entries[split] = file, found
    labels = {_text(fields, "label") for found in entries.values() for _, fields in found} - {""}
    names = class_names(request.classes, labels, title)
    label_of = {name: number for number, name in enumerate(names)}
    splits = {
        split: Listing(files[split], _rows(request, files[split], found, label_of)) for split, found in entries.items()
    }
    return Lists(names, splits, tuple(notes))


def _wanted(split: str, version: str) -> list[str]:
    begins = (f"kinetics-{version}_", f"kinetics_{version}_", f"kinetics{version}_", f"k{version}_", "", "kinetics_")
    # A name with another version is none of these, and is not used.
    return [f"{begin}{word}.csv" for begin in begins for word in WORDS[split]]


def _entries(file: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            table = csv.DictReader(text, skipinitialspace=True)
            absent = [column for column in NEEDED if column not in (table.fieldnames or [])]
            if absent:
                found = ",".join(table.fieldnames or ["nothing"])
                raise ValueError(f"{file}, line 1: no column {', '.join(absent)}; found {found}")
            return [(table.line_num, fields) for fields in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a CSV table ({error})") from None


def _rows(
    request: Request, file: Path, entries: list[tuple[int, dict[str, str]]], label_of: dict[str, int]
) -> list[Row]:
    rows = []
    for line, fields in entries:
        video, label = _text(fields, "youtube_id"), _text(fields, "label")
        where = f"{file}, line {line}"
        with each_row(request.problems, file, line, video):
            start, stop = (_seconds(_text(fields, column), f"{where}, {column}") for column in NEEDED[1:])
            if label not in label_of:
                raise RowError("mislabelled", where, f"{label!r} is no class of the model's")
            given = f"{video}_{start:06d}_{stop:06d}"
            rows.append(whole_clip(line, given, label_of[label], request.index.clip(given)))
    return rows


def _text(fields: dict[str, str], column: str) -> str:
    return (fields.get(column) or "").strip()


def _seconds(text: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (value >= 0 and value.is_integer()):
        raise RowError("malformed", where, f"{text!r} is not a number of whole seconds")
    return int(value)


KINETICS = Published(
    title="Kinetics",
    paper="https://arxiv.org/abs/1705.06950",
    versions=("400", "600", "700", "700-2020"),
    splits=("train", "val", "test"),
    read=read,
    classes={"400": 400, "600": 600, "700": 700, "700-2020": 700},
)
