"""Weights of their own for edges inside of a frame, from earlier frames and from later ones; or motion as the message."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taggnn.nn.graph_convs.relations import RELATIONS, means, positions_of


class RelationalConv(nn.Module):
    """The node and the mean of its neighbours of each relation, each with weights; a chain in both directions is directed.

    Source: R-GCN, https://arxiv.org/abs/1703.06103, equation 2, with the relations same frame, earlier and later. Differences
    of frames as in TDN, https://arxiv.org/abs/2012.10071, here as messages [ours]: a still position sends nothing, so that what
    is summed is motion.
    Formula: ``out_i = W x_i + b + sum_r W_r mean_{j in N_r(i)} m_ij`` with ``m_ij = x_j``; with differences, of edges between
    frames, ``m_ij = x_j - x_i``.

    Args:
        in_channels, out_channels: C, C'.
        grid: sizes of the token grid of one clip, time first.
        differences: messages between frames are differences (default no).

    **Shapes:** x (M, C), edge_index (2, E) -> (M, C').
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Sequence[int], differences: bool = False) -> None:
        super().__init__()
        self.differences = differences
        self.root = nn.Linear(in_channels, out_channels)
        self.relations = nn.Linear(len(RELATIONS) * in_channels, out_channels, bias=False)
        self.resize(grid)

    def resize(self, grid: Sequence[int]) -> None:
        """Takes another token grid."""
        self.grid = tuple(grid)

    def graph_macs(self, nodes: int, edges: int, channels: int) -> int:
        """Multiply-adds of the graph over one clip, without the linear layers: ``E C``."""
        return edges * channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        messages, present = means(x, edge_index, positions_of(self.grid))
        if self.differences:
            moved = torch.where(present[..., None], messages - x[:, None], 0)
            messages = torch.cat([messages[:, :1], moved[:, 1:]], 1)
        return self.root(x) + self.relations(messages.flatten(1))
