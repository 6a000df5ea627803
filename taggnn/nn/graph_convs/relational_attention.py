"""Attention with weights of its own for edges inside of a frame, from earlier frames and from later ones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.utils import softmax

from taggnn.nn.graph_convs.relations import RELATIONS, positions_of, relation_of


class RelationalAttentionConv(nn.Module):
    """GATv2 within each relation: neighbours compete with those of their own relation only.

    Source: R-GAT, https://arxiv.org/abs/1904.05811 (within-relation attention), with the score of GATv2,
    https://arxiv.org/abs/2105.14491, equation 7; the relations are same frame, earlier and later.
    Formula: ``out_i = W x_i + b + sum_r sum_{j in N_r(i)} softmax_{N_r(i)}(a_r . LeakyReLU(L_r x_j + R_r x_i)) L_r x_j``.

    Args:
        in_channels: C.
        out_channels: D of each head.
        grid: sizes of the token grid of one clip, time first.
        heads: A (default 4), which are concatenated.
        negative_slope: of the LeakyReLU (default 0.2).
        dropout: probability that a weight is dropped in training (default 0).

    **Shapes:** x (M, C), edge_index (2, E) -> (M, A*D).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Sequence[int],
        heads: int = 4,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads, self.out_channels, self.negative_slope, self.dropout = heads, out_channels, negative_slope, dropout
        width = heads * out_channels
        self.left, self.right = (nn.Linear(in_channels, len(RELATIONS) * width, bias=False) for _ in range(2))
        self.att = nn.Parameter(torch.empty(len(RELATIONS), heads, out_channels))
        self.root = nn.Linear(in_channels, width)
        nn.init.xavier_uniform_(self.att)
        self.resize(grid)

    def resize(self, grid: Sequence[int]) -> None:
        """Takes another token grid."""
        self.grid = tuple(grid)

    def graph_macs(self, nodes: int, edges: int, channels: int) -> int:
        """Multiply-adds of the graph over one clip, without the linear layers: ``2 E C``."""
        return 2 * edges * channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        relation, count = relation_of(edge_index, positions_of(self.grid)), len(RELATIONS)
        left, right = (
            part(x).view(x.shape[0] * count, self.heads, self.out_channels) for part in (self.left, self.right)
        )
        slot, values = target * count + relation, left[source * count + relation]
        score = (F.leaky_relu(values + right[slot], self.negative_slope) * self.att[relation]).sum(-1)
        weights = softmax(score, slot, num_nodes=x.shape[0] * count)
        weights = F.dropout(weights, self.dropout, self.training)
        out = values.new_zeros(x.shape[0], *values.shape[1:]).index_add(0, target, values * weights[..., None])
        return out.flatten(1) + self.root(x)
