"""JSON files: valid UTF-8 whatever the names in them, and one kind of error for all that is wrong in one."""

import json
import re
from pathlib import Path
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def text(value: Any, indent: int | None = None) -> str:
    """A value as JSON; surrogates, which stand for bytes of file names outside UTF-8, are escaped, and come back in ``read``."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False))


def parse(content: bytes, where: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        content: of the file.
        where: its path, for messages.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, or something other than an object; names the file.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must hold a JSON object, holds a {type(value).__name__}")
    return value


def read(path: Path) -> dict[str, Any]:
    """Reads what was written as ``text``; raises as ``parse`` does, and as opening a file."""
    return parse(path.read_bytes(), str(path))
