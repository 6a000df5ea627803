"""Edges between the nodes whose features are nearest, drawn anew at each call, next to those of the topology."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from taggnn.nn.graph_convs.relations import means, positions_of


class KnnConv(nn.Module):
    """EdgeConv over the k nearest nodes of the clip in feature space, and the mean over the neighbours of the topology.

    Source: dynamic graph CNN, https://arxiv.org/abs/1801.07829, equation 8, with one linear layer, so that the maximum is over
    nodes and not over edges. Which nodes are nearest has no gradient.
    Formula: ``out_i = W x_i + b + relu(U x_i + max_{j in kNN(i)} V x_j) + sum_r W_r mean_{j in N_r(i)} x_j``.

    Args:
        in_channels, out_channels: C, C'.
        grid: sizes of the token grid of one clip, time first.
        k: number of nearest nodes, without the node itself (default 8); where a clip has fewer, all of them; 0 for none.

    **Shapes:** x (M, C), whole clips one after the other, edge_index (2, E) -> (M, C').

    Raises:
        ValueError: a negative k; in ``forward``, no whole clips.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Sequence[int], k: int = 8) -> None:
        super().__init__()
        if not isinstance(k, int) or isinstance(k, bool) or k < 0:
            raise ValueError(f"k is a number of nodes, 0 or more, given {k!r}")
        self.k = k
        self.root = nn.Linear(in_channels, out_channels)
        self.own, self.other = (nn.Linear(in_channels, out_channels, bias=own) for own in (True, False))
        self.relations = nn.Linear(3 * in_channels, out_channels, bias=False)
        self.resize(grid)

    def resize(self, grid: Sequence[int]) -> None:
        """Takes another token grid."""
        self.grid = tuple(grid)

    def graph_macs(self, nodes: int, edges: int, channels: int) -> int:
        """Multiply-adds of the graph over one clip, without the linear layers: ``E C`` and the distances, ``N^2 C``."""
        return (edges + nodes * nodes) * channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.root(x) + self.relations(means(x, edge_index, positions_of(self.grid))[0].flatten(1))
        nodes = prod(self.grid)
        if x.shape[0] % nodes:
            raise ValueError(f"{x.shape[0]} nodes are no whole clips of {nodes}")
        k = min(self.k, nodes - 1)
        if not k:
            return out
        near = nearest(x.view(x.shape[0] // nodes, nodes, x.shape[1]), k)
        found = self.other(x).view(x.shape[0] // nodes, nodes, out.shape[1])
        start = torch.arange(found.shape[0], device=x.device)[:, None, None] * nodes
        largest = found.flatten(0, 1)[(near + start).flatten(0, 1)].amax(1)
        return out + (self.own(x) + largest).relu()


@torch.no_grad()
def nearest(x: Tensor, k: int) -> Tensor:
    """The k nodes nearest to each node of its clip, itself left out. **Shapes:** (B, N, C) -> long (B, N, k)"""
    x = x.detach().float()
    product = x @ x.mT
    square = product.diagonal(dim1=1, dim2=2)
    distance = square[:, :, None] + square[:, None] - 2 * product
    itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return distance.masked_fill(itself, torch.inf).topk(k, largest=False).indices
