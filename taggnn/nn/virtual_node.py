"""A node that is connected to all others.

Axes: B clips, N nodes of one clip, C channels.
"""

from torch import Tensor, nn


class VirtualNode(nn.Module):
    """Every node sends to one further node, which sends to all of them.

    Source: https://arxiv.org/abs/1704.01212, section 5.2 ("master node").
    Formula: ``U gelu(W mean_n x_n)``, the same for each node.

    Args:
        channels: C.

    **Shapes:** (B, N, C) -> (B, 1, C).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.mean(1, keepdim=True))
