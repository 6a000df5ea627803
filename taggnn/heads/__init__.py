"""Heads: ``tokens (B, T, H, W, C) -> (logits (B, K), extras)``."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from taggnn.heads.pool import PoolHead
from taggnn.heads.tag import TagHead
from taggnn.names import unknown

# name -> builder(channels, grid, classes, **options)
HEADS: dict[str, Callable[..., nn.Module]] = {
    "tag": TagHead,
    "tag_released": TagHead.released,
    "pool": PoolHead,
}

__all__ = ["HEADS", "PoolHead", "TagHead", "build"]


def build(name: str, channels: int, grid: Sequence[int], classes: int, **options: Any) -> nn.Module:
    """Builds a head by name.

    Args:
        name: a key of ``HEADS``.
        channels: C of the backbone's tokens.
        grid: (T, H, W) tokens of one clip.
        classes: K.
        options: the head's own arguments.

    Raises:
        ValueError: an unknown head or option.
    """
    if name not in HEADS:
        raise unknown("head", name, HEADS)
    taken = [p.name for p in inspect.signature(HEADS[name]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in taken:
            raise unknown(f"option of head {name}", option, taken)
    return HEADS[name](channels, grid, classes, **options)
