"""Plugs: modules that are put into every block of a skeleton network, by name, by dotted path, or of your own.

A plug is a module ``(channels, **options)`` whose ``forward`` returns (N, C, T, V) for (N, C, T, V), and with it the losses of
training where it has any: ``(output, {name: scalar})``. Its ``loss_weights``, name -> weight, are the defaults of
``optim.losses``.

Axes: N clips and persons, C channels, T frames, V joints.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from taggnn.backbones.plugs.sf import SFHead
from taggnn.names import find, unknown


class Row(NamedTuple):
    """One plug.

    Args:
        builder: ``(channels, **options) -> module``.
        summary: what it is, in one line.
        paper: address of the paper.
    """

    builder: Callable[..., nn.Module]
    summary: str
    paper: str


PLUGS: dict[str, Row] = {
    "sf": Row(
        SFHead,
        "SF-Head: temporal and spatial gates, aggregated across dimensions",
        "https://arxiv.org/abs/2412.14833",
    ),
}

__all__ = ["PLUGS", "Row", "SFHead", "build"]


def build(plug: str | Callable[..., nn.Module], channels: int, **options: Any) -> nn.Module:
    """Builds a plug.

    Args:
        plug: a key of ``PLUGS``, a dotted path, or a class or function.
        channels: C.
        options: the plug's own arguments.

    Raises:
        ValueError: an unknown plug or option, or channels that it cannot take.
    """
    builder = find("plug", plug, PLUGS)
    builder = builder.builder if isinstance(builder, Row) else builder
    name = plug if isinstance(plug, str) else getattr(plug, "__name__", type(plug).__name__)
    if not callable(builder):
        raise ValueError(f"plug {name!r} is no class or callable but {builder!r}")
    parameters = inspect.signature(builder).parameters
    possible = [key for key, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)][1:]
    for option in options:
        if option not in possible and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            raise unknown(f"option of plug {name}", option, possible)
    built = builder(channels, **options)
    if not isinstance(built, nn.Module):
        raise ValueError(f"plug {name} must give a torch.nn.Module; it gave {built!r}")
    return built
