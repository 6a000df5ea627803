"""Text for a terminal: names of files, classes and clips come from strangers and may hold control sequences.

At a terminal, long lines are wrapped at its width, below the text and not below the label; a pipe or a file gets whole lines.
"""

import os
import re
import shutil
import sys
from typing import Any, TextIO

# Control characters but tab and line feed, line separators of Unicode, and bidirectional formatting characters.
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ENDS = re.compile(f"[\t\n]|{_RAW.pattern}")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def one_line(text: object) -> str:
    """A name or a sentence as one line without control characters; those it has are written as escapes, such as ``\\n``."""
    return _ENDS.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), str(text))


# The label of a line, such as "report    ", below which nothing is wrapped.
_LABEL = re.compile(r"\S+( \S+){0,2} {2,}|\S+ (?=\S)")
# Columns that a continued line begins with at most.
_INDENT = 24


def width() -> int | None:
    """Columns of the terminal; None for a pipe or a file, whose lines stay whole.

    The variable TAGGNN_COLUMNS states them anywhere. COLUMNS would not do: a parent process with GNU readline sets it.
    """
    stated = os.environ.get("TAGGNN_COLUMNS", "")
    if stated.isdigit():
        return max(20, int(stated))
    return max(20, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def wrapped(line: str, columns: int | None) -> list[str]:
    """A line in parts of so many columns, broken at spaces only, so that paths stay whole.

    Commands stay whole, too. Continued lines begin below the text of a labelled line ("test      top-1 ..."), or where the
    line itself begins.

    Args:
        line: without a line feed.
        columns: of the terminal; None for any number.
    """
    # A command is copied from the terminal, where a line feed would end it.
    if columns is None or len(line) <= columns or "python -m taggnn" in line:
        return [line]
    blank = len(line) - len(line.lstrip(" "))
    label = _LABEL.match(line) if not blank else None
    start = label.end() if label else blank
    indent = " " * min(start if label is None or start > 2 else 2, _INDENT, columns // 2)
    lines, now = [], line[:start]
    # A number and its per cent sign stay together.
    for number, part in enumerate(re.findall(r" +|[^ ]+(?: %[^ ]*)?", line[start:])):
        if number and len(now) + len(part) > columns and not part.isspace() and now.strip():
            lines.append(now.rstrip())
            now = indent
        now += part
    return [*lines, now.rstrip()]


class PrintableStream:
    """A text stream that writes control characters as escapes, valid in JSON too; tabs and line feeds stay.

    Args:
        stream: what is written to.
        progress: whether carriage returns stay, as progress bars need.
        columns: of the terminal, at which lines are wrapped; None (default) for whole lines.
    """

    def __init__(self, stream: TextIO, progress: bool = False, columns: int | None = None):
        self._stream, self._progress, self._columns = stream, progress, columns
        self._begun = False

    def write(self, text: str) -> int:
        def escaped(found: re.Match[str]) -> str:
            return "\r" if self._progress and found[0] == "\r" else f"\\u{ord(found[0]):04x}"

        shown = _RAW.sub(escaped, text)
        if self._columns is not None and "\r" not in shown:
            first, *others = shown.split("\n")
            # What comes after the beginning of a line is too late to wrap.
            parts = [first] if self._begun else wrapped(first, self._columns)
            for other in others:
                parts.append("\n".join(wrapped(other, self._columns)))
            head = "\n".join(parts[: len(parts) - len(others)])
            shown = "\n".join([head, *parts[len(parts) - len(others) :]])
            self._begun = bool(others[-1] if others else self._begun or first)
        self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
