"""A learned adjacency on top of the fixed one."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class AdaptiveConv(nn.Module):
    """GCN whose normalised adjacency gets a learned matrix added, one weight for every pair of nodes, zero at the start.

    Source: 2s-AGCN, https://arxiv.org/abs/1805.07694, equation 3 (its matrices A and B), here over all nodes of a clip.
    Formula: ``out = W (D^-1/2 (A + I) D^-1/2 + B) x + b``.

    Args:
        in_channels, out_channels: C, C'.
        grid: sizes of the token grid of one clip, time first; B has a weight for each pair of its N nodes.

    **Shapes:** x (M, C), whole clips one after the other, edge_index (2, E) -> (M, C').

    Raises:
        ValueError: in ``forward``, no whole clips; in ``resize``, another number of nodes.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Sequence[int]) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.adjacency = nn.Parameter(torch.zeros(prod(grid), prod(grid)))
        self.linear = nn.Linear(in_channels, out_channels)

    def resize(self, grid: Sequence[int]) -> None:
        """Takes another token grid of as many nodes."""
        if prod(grid) != len(self.adjacency):
            raise ValueError(f"a learned adjacency of {len(self.adjacency)} nodes does not fit the grid {tuple(grid)}")
        self.grid = tuple(grid)

    def graph_macs(self, nodes: int, edges: int, channels: int) -> int:
        """Multiply-adds of the graph over one clip, without the linear layers: ``E C`` and the learned matrix, ``N^2 C``."""
        return (edges + nodes * nodes) * channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        if x.shape[0] % len(self.adjacency):
            raise ValueError(f"{x.shape[0]} nodes are no whole clips of {len(self.adjacency)}")
        source, target = edge_index
        degree = x.new_ones(x.shape[0]).index_add(0, target, torch.ones_like(target, dtype=x.dtype))
        scale = degree.rsqrt()[:, None]
        fixed = scale * (scale * x).index_add(0, target, (scale * x)[source])
        nodes = len(self.adjacency)
        learned = self.adjacency @ x.view(x.shape[0] // nodes, nodes, x.shape[1])
        return self.linear(fixed + learned.flatten(0, 1))
