"""A depth-wise temporal convolution along the chain, from the past and from the future with weights of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taggnn.nn.graph_convs.relations import positions_of, steps


class TemporalConv(nn.Module):
    """Two depth-wise convolutions along the edges between frames, a causal and an anti-causal one, mixed by one linear layer.

    Source: depth-wise temporal convolutions of separable 3D networks, https://arxiv.org/abs/1904.02811; a causal and an
    anti-causal one side by side [ours].
    Formula: ``c_i = sum_{d=0..r} u_d x_(t-d)``, ``a_i = sum_{d=0..r} v_d x_(t+d)``, channel by channel, over the neighbours that
    the graph has (zero beyond the ends); ``out_i = W [c_i, a_i, w mean_{same frame}(x)] + b``.

    Args:
        in_channels, out_channels: C, C'.
        grid: sizes of the token grid of one clip, time first.
        reach: r, the longest distance in frames with a weight of its own (default 1); longer edges share its weight.

    **Shapes:** x (M, C), edge_index (2, E) -> (M, C').

    Raises:
        ValueError: a reach below 1.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Sequence[int], reach: int = 1) -> None:
        super().__init__()
        if not isinstance(reach, int) or isinstance(reach, bool) or reach < 1:
            raise ValueError(f"reach is a number of frames, 1 or more, given {reach!r}")
        self.reach = reach
        self.taps = nn.Parameter(torch.randn(2, reach + 1, in_channels) / (reach + 1) ** 0.5)
        self.same = nn.Parameter(torch.ones(in_channels))
        self.mix = nn.Linear(3 * in_channels, out_channels)
        self.resize(grid)

    def resize(self, grid: Sequence[int]) -> None:
        """Takes another token grid."""
        self.grid = tuple(grid)

    def graph_macs(self, nodes: int, edges: int, channels: int) -> int:
        """Multiply-adds of the graph over one clip, without the linear layers: ``E C`` and the taps, ``(2 r + 3) N C``."""
        return (edges + (2 * self.reach + 3) * nodes) * channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        reach = self.reach
        step, width = steps(edge_index, positions_of(self.grid)), 2 * reach + 1
        # One sum for each distance, so that a tap is applied once for a node and not once for an edge.
        slot = target * width + step.clamp(-reach, reach) + reach
        sums = (
            x.new_zeros(x.shape[0] * width, x.shape[1])
            .index_add(0, slot, x[source])
            .view(x.shape[0], width, x.shape[1])
        )
        degree = x.new_zeros(x.shape[0]).index_add(0, target, (step == 0).to(x.dtype))
        causal, anti_causal = self.taps
        past = causal[0] * x + (causal[1:] * sums[:, :reach].flip(1)).sum(1)
        future = anti_causal[0] * x + (anti_causal[1:] * sums[:, reach + 1 :]).sum(1)
        same = self.same * sums[:, reach] / degree.clamp(min=1)[:, None]
        return self.mix(torch.cat([past, future, same], 1))
