"""Text for a terminal: names of files, classes and clips come from strangers and may hold control sequences."""

import re
from typing import Any, TextIO

# Control characters but tab and line feed, line separators of Unicode, and bidirectional formatting characters.
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ENDS = re.compile(f"[\t\n]|{_RAW.pattern}")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def one_line(text: object) -> str:
    """A name or a sentence as one line without control characters; those it has are written as escapes, such as ``\\n``."""
    return _ENDS.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), str(text))


class PrintableStream:
    """A text stream that writes control characters as escapes, valid in JSON too; tabs and line feeds stay.

    Args:
        stream: what is written to.
        progress: whether carriage returns stay, as progress bars need.
    """

    def __init__(self, stream: TextIO, progress: bool = False):
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> int:
        def escaped(found: re.Match[str]) -> str:
            return "\r" if self._progress and found[0] == "\r" else f"\\u{ord(found[0]):04x}"

        self._stream.write(_RAW.sub(escaped, text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
