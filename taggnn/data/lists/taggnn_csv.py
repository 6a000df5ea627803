"""The list format of taggnn, with all properties of a clip: CSV with ``path,class,label[,start,stop,origin,name,member]``.

Used for cleaned lists (``write_clips``), which are read back to the same clips. Columns may be in any order, with others in
between. Paths are relative to the root, or absolute; class and label must correspond one to one, see label_map.py. ``start``
and ``stop`` are seconds of the file or, where ``origin`` is the second at which the file was cut from an original, of the
original; of skeleton sequences they are frames. Empty for none. ``member`` is the name of the clip inside a file that holds
many. Spaces around a path, a class and a name belong to them. Without a name a clip is named by its path and cut.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from taggnn.data.clips import ClipList, Row, class_number, shown_name
from taggnn.data.lists.label_map import LabelMap
from taggnn.data.lists.text import candidate_paths, table_of
from taggnn.data.problems import Problem, RowError, each_row
from taggnn.runtime.atomic import write_text

NEEDED = ("path", "class", "label")
SECONDS = ("start", "stop", "origin")
COLUMNS = (*NEEDED, *SECONDS, "name")
# Written only where a clip has one.
MEMBER = "member"


def is_taggnn_csv(source: Path) -> bool:
    """Whether a CSV file has this format, by its header."""
    return set(NEEDED) <= set(table_of(source, NEEDED).fieldnames or [])


def read(
    root: Path, source: Path, classes: Sequence[str] | None, problems: list[Problem] | None = None
) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows and the class names; see ``reading.read_clips`` for the arguments.

    Raises:
        ValueError: of a row, unless problems are collected: a path or class is empty, a label or a second is not a number,
            nothing lies between start and stop, or class and label contradict each other.
    """
    rows: list[Row] = []
    labels = LabelMap(classes, "label")
    table = table_of(source, NEEDED)
    for fields in table:
        line = table.line_num
        where = f"{source}, line {line}"
        # Names of files and folders may begin or end with a space.
        path, name, code = (fields[column] or "" for column in NEEDED)
        with each_row(problems, source, line, path):
            if not path or not name:
                raise RowError("malformed", where, f"path and class must not be empty; found {path!r} and {name!r}")
            number = class_number(code.strip(), f"{where}, label")
            labels.add(name, number, line, where)
            start, stop, origin = (_second(fields.get(column), f"{where}, {column}") for column in SECONDS)
            if start is not None and stop is not None and stop <= start:
                raise RowError("malformed", where, f"nothing lies between start {start:g} and stop {stop:g}")
            named, member = fields.get("name") or None, fields.get(MEMBER) or None
            rows.append(Row(line, path, number, candidate_paths(root, path), start, stop, origin, named, member))
    return rows, labels.names()


def write_clips(path: str | Path, clips: ClipList, root: str | Path) -> Path:
    """Writes a list that ``reading.read_clips`` reads back to the same clips.

    Args:
        path: the list to write; its name must end in .csv.
        clips: the rows.
        root: folder that paths inside it are written relative to.

    Returns:
        The path.

    Raises:
        ValueError: if the name does not end in .csv.
    """
    path, root = Path(path), Path(root)
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path}: the name of a list of this format must end in .csv")
    text = io.StringIO()
    table, quoted = (csv.writer(text, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    members = any(clip.member is not None for clip in clips)
    table.writerow((*COLUMNS, MEMBER) if members else COLUMNS)
    for clip in clips:
        # repr gives the shortest digits that read back to the same float.
        seconds = ["" if value is None else repr(value) for value in (clip.start, clip.stop, clip.origin)]
        shown = shown_name(Path(clip.path), root)
        row = [
            shown,
            clips.classes[clip.label],
            str(clip.label),
            *seconds,
            clip.name,
            *([clip.member or ""] if members else []),
        ]
        # A carriage return in a file name would end the row: not every version of csv quotes it.
        (quoted if "\r" in "".join(row) else table).writerow(row)
    write_text(path, text.getvalue())
    return path


def _second(text: str | None, where: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise RowError("malformed", where, f"{text.strip()!r} is not a number of seconds from 0")
    return value
