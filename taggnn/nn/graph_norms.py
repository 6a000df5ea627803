"""Norms in front of a graph layer's convolution.

Axes: B clips, grid the token grid, N nodes of one clip, C channels.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from taggnn.names import unknown

NORMS = {
    "layer": "LayerNorm: over the channels of each node",
    "graph": "GraphNorm: each channel over the nodes of a clip, with a learned share of its mean taken off",
    "pair": "PairNorm: the mean node taken off, and one scale for a clip, so that nodes stay apart",
}


class ClipNorm(nn.Module):
    """A norm of PyG, over the nodes of each clip by itself. **Shapes:** (B, *grid, C) -> the same."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        nodes = prod(x.shape[1:-1])
        clip = torch.arange(x.shape[0], device=x.device)[:, None].expand(-1, nodes).flatten()
        return self.norm(flat, clip, x.shape[0]).view_as(x)


def norm(name: str | bool, channels: int) -> nn.Module:
    """Builds the norm of a graph layer.

    Source: GraphNorm, https://arxiv.org/abs/2009.03294, equation 3; PairNorm, https://arxiv.org/abs/1909.12223, equations 10
    and 11, scale 1; both by PyG.

    Args:
        name: of `NORMS`; True for "layer", False for none.
        channels: C.

    Raises:
        ValueError: an unknown name.
    """
    if name is False:
        return nn.Identity()
    if name is True or name == "layer":
        return nn.LayerNorm(channels)
    if name not in NORMS:
        raise unknown("norm of a graph layer", name, [*NORMS, True, False])
    from torch_geometric import nn as pyg

    built: Any = pyg.GraphNorm(channels) if name == "graph" else pyg.PairNorm()
    return ClipNorm(built)
