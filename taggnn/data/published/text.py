"""Reads text and JSON files of publishers, with errors that name the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taggnn.data.lists.text import lines_of, text_of


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The stripped lines that are not empty, with their numbers from 1.

    Raises:
        ValueError: if the file is no text.
    """
    for number, line in enumerate(lines_of(text_of(file)), start=1):
        if line.strip():
            yield number, line.strip()


def json_in(file: Path, expected: type) -> Any:
    """The content of a JSON file of type ``dict`` or ``list``.

    Raises:
        ValueError: if it has another type.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{file}: not a JSON file ({error})") from None
    if not isinstance(content, expected):
        raise ValueError(f"{file}: expected a JSON {expected.__name__}, found a {type(content).__name__}")
    return content
