"""Reads list files of any usual encoding, delimiter and line end, and finds the files that their rows mean."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Tried in this order on the header of a table; spreadsheets with a decimal comma write the second.
DELIMITERS = (",", ";", "\t")


def text_of(source: Path) -> str:
    """The text of a list: UTF-8, with or without a byte order mark, or UTF-16 with one.

    Bytes that are no UTF-8 are kept as surrogates, since a file name may have them (``os.fsencode`` gives them back).

    Raises:
        ValueError: the file is binary, or UTF-16 without a byte order mark.
    """
    data = source.read_bytes()
    if data.startswith(_UTF16):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ValueError(f"{source}: not a text file: it begins as UTF-16 ({error}); save it as UTF-8") from None
    if b"\0" in data:
        raise ValueError(f"{source}: not a text file in UTF-8 (it has zero bytes, as UTF-16 has); save it as UTF-8")
    return data.decode("utf-8-sig", "surrogateescape")


def lines_of(text: str) -> list[str]:
    """The lines of a text; only line feeds and carriage returns end one, since file names have the other separators."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def table_of(source: Path, needed: Sequence[str], skipinitialspace: bool = False) -> "csv.DictReader[str]":
    """A CSV table; its delimiter is the one that gives the needed columns, else a comma.

    Args:
        source: the file.
        needed: names of columns.
        skipinitialspace: whether spaces after a delimiter are left out.

    Raises:
        ValueError: as ``text_of``.
    """
    text = text_of(source)
    header = lines_of(text)[0]
    delimiter = next((one for one in DELIMITERS if set(needed) <= set(_cells(header, one))), ",")
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=skipinitialspace)
    table.fieldnames = _cells(header, delimiter) if header.strip() else []
    next(table.reader, None)
    return table


def candidate_paths(root: Path, given: str) -> tuple[Path, ...]:
    """Where a listed file may be: as written, and with the backslashes of Windows as slashes."""
    return (root / given, root / given.replace("\\", "/")) if "\\" in given else (root / given,)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
