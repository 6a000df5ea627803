"""Clips from the lists of the TAG-Head authors: CSV with the columns FileName, Class, TotalFrames, ClassEncoded.

The columns may stand in any order and beside others. TotalFrames is not used, since the decoder counts for itself, and
may be left out. A row's file is the first that exists of

    root/Class/FileName
    root/clips/Class/FileName
    root/FileName

Class names come from the list itself: name and ClassEncoded must pair off one to one. A number that no row uses is
named by itself ("138"), so that labels keep their meaning. Read against classes of which one is still named by its
number, as a published checkpoint has all of them, a list gives that class its name.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from taggnn.data.clips import Row, class_number, lacking

COLUMNS = ("FileName", "Class", "TotalFrames", "ClassEncoded")
NEEDED = ("FileName", "Class", "ClassEncoded")


def read(root: Path, source: Path, classes: Sequence[str] | None) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows and the class names; see ``clips.read_clips`` for the arguments.

    Raises:
        ValueError: if a column is missing, a label is not a number from 0 or out of range, or Class and ClassEncoded
            contradict each other.
    """
    rows: list[Row] = []
    # number -> (name, line), and back: each pairing is held against the line that stated it first.
    name_of: dict[int, tuple[str, int]] = {}
    number_of: dict[str, tuple[int, int]] = {}
    if classes is not None:
        number_of = {name: (number, 0) for number, name in enumerate(classes)}

    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    with source.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        found = [name.strip() for name in table.fieldnames or []]
        absent = [name for name in NEEDED if name not in found]
        if not found:
            raise ValueError(f"{source}: the list is empty")
        if absent:
            raise ValueError(
                f"{source}, line 1: no column {', '.join(absent)}; expected {','.join(COLUMNS)}, "
                f"found {','.join(found)}. A list of 'path label' lines must not be named .csv"
            )
        table.fieldnames = found
        for fields in table:
            where = f"{source}, line {table.line_num}"
            file_name, name, code = ((fields[column] or "").strip() for column in NEEDED)
            if not file_name or not name:
                raise ValueError(f"{where}: FileName and Class must not be empty; found {file_name!r} and {name!r}")
            number = class_number(code, f"{where}, ClassEncoded")
            if classes is not None and number >= len(classes):
                raise ValueError(
                    f"{where}: ClassEncoded {number} is out of range; the classes are 0 to {len(classes) - 1}"
                )
            if classes is not None and name not in number_of and classes[number] != str(number):
                raise lacking(where, name, classes)
            agreed, line = number_of.setdefault(name, (number, table.line_num))
            stated, other_line = name_of.setdefault(number, (name, table.line_num))
            if agreed != number:
                before = f"line {line}" if line else "the train list"
                raise ValueError(f"{where}: class {name!r} has ClassEncoded {number} here and {agreed} in {before}")
            if stated != name:
                raise ValueError(f"{where}: ClassEncoded {number} is {name!r} here and {stated!r} in line {other_line}")
            places = (root / name / file_name, root / "clips" / name / file_name, root / file_name)
            rows.append(Row(table.line_num, f"{name}/{file_name}", number, places))

    known = [str(n) for n in range(max(name_of, default=-1) + 1)] if classes is None else classes
    return rows, tuple(name_of[n][0] if n in name_of else name for n, name in enumerate(known))
