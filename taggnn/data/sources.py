"""The table of sources, which make samples of list rows, by name or by dotted path."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import signature
from typing import Any, NamedTuple

from taggnn.data.skeleton.source import SkeletonSource
from taggnn.data.tokens import TokenSource
from taggnn.data.video.source import VideoSource
from taggnn.names import find
from taggnn.types import InputSpec, Source


class Row(NamedTuple):
    """A source of the table.

    Args:
        source: the class; its arguments are the options of the command line.
        summary: what it reads, in one line.
    """

    source: type
    summary: str


SOURCES: dict[str, Row] = {
    "video": Row(VideoSource, "video files: frames chosen, decoded, cropped and normalised"),
    "skeleton": Row(SkeletonSource, "skeleton files: persons chosen, coordinates normalised, frames sampled"),
    "tokens": Row(TokenSource, "tokens of a frozen backbone, stored by taggnn.extract"),
}


def build(source: str | type | Source, options: Mapping[str, Any] | None = None) -> Source:
    """Makes a source.

    Args:
        source: a name of ``SOURCES``, the dotted path of a class or function, that itself, or a source.
        options: its arguments by name; none for a source.

    Raises:
        ValueError: an unknown name, options that do not fit, or a result that is no source. An error of the source itself
            begins with the key of the command line, such as ``video.size``.
    """
    found = find("source", source, SOURCES)
    kind = found.source if isinstance(found, Row) else found
    name = source if isinstance(source, str) else getattr(kind, "__name__", type(kind).__name__)
    if not isinstance(kind, type) and hasattr(kind, "spec"):
        if options:
            raise ValueError(f"source {name}: is an object already and takes no options; got {', '.join(options)}")
        return kind
    if not callable(kind):
        raise ValueError(f"source {name}: expected a class or a function that makes a source, got {kind!r}")
    try:
        signature(kind).bind(**(options or {}))
    except TypeError as error:
        raise ValueError(f"source {name}: {error}; its arguments are {signature(kind)}") from None
    with _keys_of(name, kind) if isinstance(found, Row) else nullcontext():
        made = kind(**(options or {}))
    if not callable(made) or not isinstance(getattr(made, "spec", None), InputSpec):
        raise ValueError(f"source {name}: has no spec of type taggnn.types.InputSpec, which describes its samples")
    return made


def of(spec: InputSpec) -> Source:
    """The source of a model's input, for evaluation.

    Args:
        spec: input of the model; its ``kind`` is a name of ``SOURCES`` or a dotted path.

    Raises:
        ValueError: an unknown kind, or a source that cannot be made from a spec.
    """
    found = find("source", spec.kind, SOURCES)
    kind = found.source if isinstance(found, Row) else found
    if not hasattr(kind, "from_spec"):
        raise ValueError(
            f"source {spec.kind}: has no from_spec(spec), so it cannot be made from the model's input spec; make the source "
            "yourself"
        )
    return kind.from_spec(spec)


@contextmanager
def _keys_of(name: str, kind: type) -> Iterator[None]:
    """Errors that begin with an argument's name begin with its key of the command line instead."""
    try:
        yield
    except ValueError as error:
        first = next(iter(str(error).split()), "").rstrip(":,")
        if first not in signature(kind).parameters:
            raise
        raise ValueError(f"{name}.{error}") from None
