"""Clips from plain text lists, one ``path label`` a line.

The label is the last field, after a space, a tab, a comma or a semicolon, so paths may hold spaces. It is a class number
from 0; where class names are known (from the train list, or given) a class name is accepted too, also one with spaces. A
field of digits is always a number. Paths are relative to the root, or absolute. Empty lines are skipped, and lines that begin
with # unless they name an existing file, as some of HMDB51's do. Where no names are known the classes are named by their
numbers.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from taggnn.data.clips import Row, class_number, unknown_class
from taggnn.data.image_folders import is_clip
from taggnn.data.lists.text import candidate_paths, lines_of, text_of
from taggnn.data.problems import Problem, RowError, each_row

# Blanks are spaces and tabs alone: file names have the other ones.
BLANKS = " \t"
# No path is longer.
LONGEST = 4096
LINE = re.compile(r"(?P<path>.*?[^ \t])(?:[ \t]*[,;][ \t]*|[ \t]+)(?P<label>[^ \t,;]+)$", re.DOTALL)


def read(
    root: Path, source: Path, classes: Sequence[str] | None, problems: list[Problem] | None = None
) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows and the class names; see ``reading.read_clips`` for the arguments.

    Raises:
        ValueError: unless problems are collected, if a line has no label, or a label is not a number, negative, out of
            range or an unknown name.
    """
    rows: list[Row] = []
    for line, text in enumerate(lines_of(text_of(source)), start=1):
        text = text.strip(BLANKS)
        if not text or (text.startswith("#") and not _names_a_file(text, root)):
            continue
        where = f"{source}, line {line}"
        with each_row(problems, source, line, text):
            path, label = _split(text, classes, where)
            rows.append(Row(line, path, label, candidate_paths(root, path)))
    if classes is not None:
        return rows, tuple(classes)
    return rows, tuple(str(number) for number in range(max((row.label for row in rows), default=-1) + 1))


def _names_a_file(text: str, root: Path) -> bool:
    """Whether a part of the line, up to a position where a label may begin, is the path of a file."""
    ends = [found.start() for found in re.finditer(rf"[{BLANKS},;]", text[:LONGEST])]
    return any(is_clip(path) for end in ends for path in candidate_paths(root, text[:end]))


def _split(text: str, classes: Sequence[str] | None, where: str) -> tuple[str, int]:
    """Splits a line into path and class number."""
    match = LINE.match(text)
    if match is None:
        raise RowError("malformed", where, f"{text!r} is not 'path label'")
    path, given = match["path"], match["label"]
    # Names may not look like numbers, so that -1 and 2.5 are errors and never names.
    if re.fullmatch(r"[+-]?[\d.]+", given):
        number = class_number(given, f"{where}, label")
        if classes is not None and number >= len(classes):
            message = f"label {number} is out of range; the classes are 0 to {len(classes) - 1}"
            raise RowError("malformed", where, message)
        return path, number
    if classes is None:
        message = f"label {given!r} is not a number; names need data.classes"
        raise RowError("malformed", where, message)
    # Longest first: of the names "jump" and "long jump" the second is meant.
    for name in sorted(classes, key=len, reverse=True):
        head = text[: -len(name)]
        if text.endswith(name) and head.strip(f"{BLANKS},;") and head[-1] in f"{BLANKS},;":
            return head.rstrip(f"{BLANKS},;"), list(classes).index(name)
    raise unknown_class(where, given, classes)
