"""Parameters of backbones and heads, and their multiply-adds for one clip, counted on the meta device.

Axes: C channels, T frames, H W token grid or, for clips, pixels; K classes.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from taggnn import backbones, heads
from taggnn.nn.layers import GraphLayer
from taggnn.nn.macs import counted_macs, graph_macs, projection_macs

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Count:
    """Size of a module and its cost for one clip.

    Attributes:
        parameters: how many numbers it learns.
        macs: multiply-adds.
        channels, grid: of the tokens, out of a backbone or into a head; the grid may have any number of axes.
        clip: (T, H, W) in frames and pixels, (T, V, M) of skeletons; None for a head.
    """

    parameters: int
    macs: int
    channels: int
    grid: tuple[int, ...]
    clip: tuple[int, ...] | None = None


def of_backbone(name: str, clip: Grid | None = None, **options: Any) -> Count:
    """Counts a backbone of ``taggnn.backbones.find`` on PyTorch's meta device, without classifier.

    Args:
        name: of the backbone.
        clip: (T, H, W) of video; None for the one of its weights.
        options: of ``taggnn.backbones.build``.

    Raises:
        ValueError: as ``build``.
        ImportError: a Hugging Face model, and transformers is not installed.
    """
    spec = backbones.find(name, options.get("config")).spec
    if clip is not None:
        spec = spec.resized(**dict(zip(spec.axes[1:], clip, strict=True)))
    with torch.device("meta"):
        module = backbones.build(name, spec=spec, **options).eval()
    frames, found = spec.resized(channel=backbones.clip_channels(module, spec.shape[0])).example(device="meta"), []
    with torch.no_grad():
        macs = counted_macs(lambda: found.append(module(frames)))
    features = backbones.features_of(found[0])
    return Count(_parameters(module), macs, features.tokens.shape[-1], features.grid, clip or spec.shape[1:])


def of_head(name: str, channels: int, grid: Sequence[int], classes: int, **options: Any) -> Count:
    """Counts a head of ``taggnn.heads.HEADS`` on PyTorch's meta device.

    Formula: the matrix products outside of the graph layers, plus for each graph layer ``projection_macs + graph_macs``.

    Args:
        name: of the head.
        channels: C of the tokens.
        grid: sizes of the token grid, time first.
        classes: K.
        options: of the head.

    Raises:
        ValueError: as ``taggnn.heads.build``, a convolution whose multiply-adds are not known, or a head that does not run on
            the meta device.
    """
    grid = tuple(grid)
    with torch.device("meta"):
        head, tokens = heads.build(name, channels, grid, classes, **options).eval(), torch.zeros(1, *grid, channels)
    macs = 0
    # Counted from their definition, and left out of what the counter sees.
    for layer in (part for part in head.modules() if isinstance(part, GraphLayer)):
        width = next((part.normalized_shape[0] for part in [layer.norm] if isinstance(part, nn.LayerNorm)), None)
        # Which may be another than that of the tokens, as of ART's regions.
        graph = graph_macs(layer.conv, layer.topology, layer.grid, width or _width(head, channels))
        if graph is None or layer.edge_attributes:
            what = " with edge attributes" if layer.edge_attributes else ""
            raise ValueError(f"head {name}: the multiply-adds of {type(layer.conv).__name__}{what} are not known")
        macs += projection_macs(layer.conv, prod(layer.grid)) + graph
    bare = deepcopy(head)
    for part in list(bare.modules()):
        for key, child in part.named_children():
            if isinstance(child, GraphLayer):
                setattr(part, key, _Nothing())
    try:
        with torch.no_grad():
            macs += counted_macs(lambda: bare(tokens))
    except RuntimeError as error:
        raise ValueError(f"head {name}: cannot be counted, it does not run on the meta device: {error}") from error
    return Count(_parameters(head), macs, channels, grid)


class _Nothing(nn.Module):
    """A graph layer that passes its tokens on."""

    def forward(self, x: Tensor, topology: object = None) -> Tensor:
        return x


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _width(head: nn.Module, channels: int) -> int:
    """Channels inside a head: those of its position table, where it has one."""
    tables: Any = getattr(getattr(head, "position", None), "tables", None)
    return tables[0].shape[-1] if tables is not None else channels
