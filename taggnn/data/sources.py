"""The table of sources: what makes samples of list rows, by name or by dotted path."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import signature
from typing import Any, NamedTuple

from taggnn.data.tokens import TokenSource
from taggnn.data.video.source import VideoSource
from taggnn.names import find
from taggnn.types import InputSpec, Source


class Row(NamedTuple):
    """A source of the table.

    Args:
        source: the class; the options of the command line are its arguments.
        summary: what it reads, in one line.
    """

    source: type
    summary: str


SOURCES: dict[str, Row] = {
    "video": Row(VideoSource, "video files: frames chosen, decoded, cropped and normalised"),
    "tokens": Row(TokenSource, "tokens of a frozen backbone, stored by taggnn.extract"),
}


def build(source: str | type | Source, options: Mapping[str, Any] | None = None) -> Source:
    """Makes a source.

    Args:
        source: a name of ``SOURCES``, a dotted path to a class or function, that itself, or a source that is made already.
        options: arguments of it by name; none for one that is made already.

    Raises:
        ValueError: an unknown name, options that do not fit, or a result that is no source. What the source itself refuses
            begins with the key of the command line, such as ``video.size``.
    """
    found = find("source", source, SOURCES)
    kind = found.source if isinstance(found, Row) else found
    name = source if isinstance(source, str) else getattr(kind, "__name__", type(kind).__name__)
    if not isinstance(kind, type) and hasattr(kind, "spec"):
        if options:
            raise ValueError(f"source {name}: is made already and takes no options; got {', '.join(options)}")
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
        raise ValueError(f"source {name}: has no spec of the type taggnn.types.InputSpec, which says what it gives")
    return made


def of(spec: InputSpec) -> Source:
    """The source of a model's input, as evaluation sees clips.

    Args:
        spec: what the model is fed; its ``kind`` is a name of ``SOURCES`` or a dotted path.

    Raises:
        ValueError: an unknown kind, or one that cannot be made from what a model says of its input.
    """
    found = find("source", spec.kind, SOURCES)
    kind = found.source if isinstance(found, Row) else found
    if not hasattr(kind, "from_spec"):
        raise ValueError(
            f"source {spec.kind}: has no from_spec(spec), so it cannot be made from what the model says of its input; make "
            "the source yourself"
        )
    return kind.from_spec(spec)


@contextmanager
def _keys_of(name: str, kind: type) -> Iterator[None]:
    """Refusals that begin with an argument's name begin with the key of the command line for it instead."""
    try:
        yield
    except ValueError as error:
        first = next(iter(str(error).split()), "").rstrip(":,")
        if first not in signature(kind).parameters:
            raise
        raise ValueError(f"{name}.{error}") from None
