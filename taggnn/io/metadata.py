"""What ``taggnn.export`` writes into each of its files next to the weights: architecture, classes, input."""

from typing import Any

from typing_extensions import NotRequired

from taggnn.io import architecture
from taggnn.io.checkpoint_fields import LoadedFields
from taggnn.runtime import json_file, schema
from taggnn.runtime.schema import Count

# The name of the metadata in the files.
META = "taggnn.json"


class Metadata(LoadedFields):
    """The fields of the metadata, besides those of ``architecture.Described``."""

    found: dict[str, str]
    source: NotRequired[str]
    epoch: NotRequired[Count | None]
    training_counts: NotRequired[list[Count] | None]
    versions: NotRequired[dict[str, str]]
    sha256: NotRequired[str]


def read(content: bytes, source: str) -> dict[str, Any]:
    """Reads the metadata of an exported file: the architecture and the other fields of ``Loaded``.

    Args:
        content: JSON.
        source: the file, for messages.

    Raises:
        ValueError: not written by ``taggnn.export``, or a field that is missing, of another type or too large; names it.
    """
    try:
        meta = json_file.parse(content, source)
    except ValueError as error:
        raise foreign(source) from error
    if not {"architecture", "split_options", "found"} <= set(meta):
        raise foreign(source)
    schema.check(meta, Metadata, source)
    architecture.check(meta, source)
    return meta


def changed(source: str) -> ValueError:
    """The error for a file that is not as it was written."""
    return ValueError(f"{source}: damaged, or changed since it was exported")


def foreign(source: str, perhaps: str = "") -> ValueError:
    """The error for a file without this metadata; ``perhaps``: another reason, such as "cut off, or "."""
    return ValueError(f"{source}: {perhaps}not written by taggnn.export, so its classes and its input are not known")
