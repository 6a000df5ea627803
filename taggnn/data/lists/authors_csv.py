"""Clips from the lists of the TAG-Head authors: CSV with the columns FileName, Class, TotalFrames, ClassEncoded.

The columns may be in any order, with others in between. TotalFrames is optional and not used, since the decoder counts
frames. Commas, semicolons or tabs separate them. A row's file is the first existing one of

    root/Class/FileName
    root/clips/Class/FileName
    root/FileName

Class names come from the list: name and ClassEncoded must correspond one to one, see label_map.py.
"""

from collections.abc import Sequence
from pathlib import Path

from taggnn.data.clips import Row, class_number
from taggnn.data.lists.label_map import LabelMap
from taggnn.data.lists.text import candidate_paths, table_of
from taggnn.data.problems import Problem, RowError, each_row

COLUMNS = ("FileName", "Class", "TotalFrames", "ClassEncoded")
NEEDED = ("FileName", "Class", "ClassEncoded")


def read(
    root: Path, source: Path, classes: Sequence[str] | None, problems: list[Problem] | None = None
) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows and the class names; see ``reading.read_clips`` for the arguments.

    Raises:
        ValueError: if a column is missing; of a row, unless problems are collected: a label is not a number from 0 or out of
            range, or Class and ClassEncoded contradict each other.
    """
    rows: list[Row] = []
    labels = LabelMap(classes, "ClassEncoded")
    table = table_of(source, NEEDED, skipinitialspace=True)
    found = list(table.fieldnames or [])
    absent = [name for name in NEEDED if name not in found]
    if not found:
        raise ValueError(f"{source}: the list is empty")
    if absent:
        raise ValueError(
            f"{source}, line 1: no column {', '.join(absent)}; expected {','.join(COLUMNS)} or path,class,label, "
            f"found {','.join(found)}. A list of 'path label' lines must not be named .csv"
        )
    for fields in table:
        line = table.line_num
        where = f"{source}, line {line}"
        file_name, name, code = ((fields[column] or "").strip() for column in NEEDED)
        given = f"{name}/{file_name}"
        with each_row(problems, source, line, given):
            if not file_name or not name:
                message = f"FileName and Class must not be empty; found {file_name!r} and {name!r}"
                raise RowError("malformed", where, message)
            number = class_number(code, f"{where}, ClassEncoded")
            labels.add(name, number, line, where)
            paths = [path for each in (given, f"clips/{given}", file_name) for path in candidate_paths(root, each)]
            rows.append(Row(line, given, number, tuple(paths)))
    return rows, labels.names()
