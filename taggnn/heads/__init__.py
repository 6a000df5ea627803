"""Heads: ``tokens (B, *grid, C) -> Output``, by name, by dotted path, or of your own; ``taggnn.types.Head`` defines one."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from taggnn.heads import art, tag_art
from taggnn.heads.art import ArtHead
from taggnn.heads.pool import PoolHead
from taggnn.heads.tag import TagHead
from taggnn.heads.tag_art import TagArtHead
from taggnn.names import find, unknown


class Row(NamedTuple):
    """One head.

    Args:
        builder: ``(channels, grid, classes, **options) -> module``; its further parameters, with their types, defaults and
            docstring, become the options of the command line.
        summary: what it is, in one line.
        papers: addresses of its papers; none where there is none.
        stored: its options -> what a checkpoint holds of them, without files; None where they are the same.
    """

    builder: Callable[..., nn.Module]
    summary: str
    papers: tuple[str, ...] = ()
    stored: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


_TAG_HEAD = "https://arxiv.org/abs/2604.11498"
_ART = "https://arxiv.org/abs/2511.21202"

HEADS: dict[str, Row] = {
    "tag": Row(TagHead, "position, Transformer encoder, learned graph layer, attention read-out", (_TAG_HEAD,)),
    "tag_released": Row(TagHead.released, "the same as its authors released it: APPNP, mean read-out", (_TAG_HEAD,)),
    "tag_graph": Row(
        TagHead.graph_only, "the same without its encoder: position, two graph layers, attention read-out", (_TAG_HEAD,)
    ),
    "art": Row(ArtHead, "regions tracked through time by queries, with or without text", (_ART,), art.stored_options),
    "tag_art": Row(
        TagArtHead,
        "an experiment: ART on the tokens after TAG-Head's graph",
        (_TAG_HEAD, _ART),
        tag_art.stored_options,
    ),
    "pool": Row(PoolHead, "global average and linear, the baseline"),
}

__all__ = ["HEADS", "ArtHead", "PoolHead", "Row", "TagArtHead", "TagHead", "build", "filled_in", "stored"]


def build(
    head: str | Callable[..., nn.Module] | nn.Module, channels: int, grid: Sequence[int], classes: int, **options: Any
) -> nn.Module:
    """Builds a head.

    Args:
        head: a key of ``HEADS``; the dotted path of a class or function ("mine.heads.MyHead"); a class or any callable
            ``(channels, grid, classes, **options) -> module``; or a module, which is returned as it is.
        channels: C of the backbone's tokens.
        grid: sizes of the token grid of one clip, time first.
        classes: K.
        options: the head's own arguments.

    Raises:
        ValueError: an unknown head or option, options for a module that is built already, or something that builds no module.
    """
    builder = find("head", head, HEADS)
    builder = builder.builder if isinstance(builder, Row) else builder
    name = head if isinstance(head, str) else getattr(head, "__name__", type(head).__name__)
    if isinstance(builder, nn.Module):
        if options:
            raise ValueError(f"head {name} is built already: it takes no options; given {', '.join(options)}")
        return builder
    if not callable(builder):
        raise ValueError(f"head {name!r} is no class, callable or module but {builder!r}")
    taken, any_name = _options(builder, name)
    for option in options:
        if option not in taken and not any_name:
            raise unknown(f"option of head {name}", option, taken)
    built = builder(channels, grid, classes, **options)
    if not isinstance(built, nn.Module):
        raise ValueError(f"head {name} must give a torch.nn.Module; it gave {built!r}")
    return built


def stored(head: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a head as a checkpoint holds them, so that it can be built again without the files that they name.

    Args:
        head: a key of ``HEADS``, or the dotted path of a head of one's own, whose options are stored as they are.
        options: the head's own arguments.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    row = HEADS.get(head)
    return dict(options) if row is None or row.stored is None else row.stored(options)


def filled_in(builder: Callable[..., Any], name: str) -> list[str]:
    """The names of the first three parameters, which the model fills in: channels, grid and classes, whatever they are called.

    Raises:
        ValueError: the builder does not take three.
    """
    parameters = inspect.signature(builder).parameters.values()
    found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:3]
    if len(found) < 3 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(
            f"head {name} is called with (channels, grid, classes); it takes ({', '.join(p.name for p in parameters)})"
        )
    return found


def _options(builder: Callable[..., Any], name: str) -> tuple[list[str], bool]:
    """The options that a builder names, and whether it takes others too."""
    given = filled_in(builder, name)
    parameters = inspect.signature(builder).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [one for one in named if one not in given], any(p.kind is p.VAR_KEYWORD for p in parameters)
