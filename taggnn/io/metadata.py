"""What ``taggnn.export`` writes into each of its files next to the weights: architecture, classes, input."""

import json
from typing import Any

# The name of the metadata in the files.
META = "taggnn.json"


def read(content: bytes, source: str) -> dict[str, Any]:
    """Reads the metadata of an exported file: the architecture and the other fields of ``Loaded``.

    Args:
        content: JSON.
        source: the file, for messages.

    Raises:
        ValueError: not written by ``taggnn.export``.
    """
    try:
        # A class name may have bytes that are no UTF-8.
        meta = json.loads(content.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise foreign(source) from error
    needed = {"architecture", "split_options", "found"}
    if not isinstance(meta, dict) or not needed <= set(meta) or not isinstance(meta["architecture"], dict):
        raise foreign(source)
    if not {"backbone", "head", "input", "classes"} <= set(meta["architecture"]):
        raise foreign(source)
    return meta


def changed(source: str) -> ValueError:
    """The error for a file that is not as it was written."""
    return ValueError(f"{source}: damaged, or changed since it was exported")


def foreign(source: str, perhaps: str = "") -> ValueError:
    """The error for a file without this metadata; ``perhaps``: another reason, such as "cut off, or "."""
    return ValueError(f"{source}: {perhaps}not written by taggnn.export, so its classes and its input are not known")
