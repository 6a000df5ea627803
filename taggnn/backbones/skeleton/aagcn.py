"""AAGCN: learned graphs with a scaled similarity of the joints; then joints, frames and channels are weighted.

Axes: B clips, M persons, C channels, T frames, V joints.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs.bones import adjacency_subsets
from taggnn.backbones.skeleton import initial
from taggnn.backbones.skeleton.adaptive import aggregated, similarities
from taggnn.backbones.skeleton.inputs import body_of
from taggnn.backbones.skeleton.network import Block, SkeletonNetwork, widths_of
from taggnn.backbones.skeleton.temporal import TemporalConvolution, shortcut
from taggnn.types import InputSpec


class AAGCN(SkeletonNetwork):
    """Attention-enhanced Adaptive Graph Convolutional Network, a stream of MS-AAGCN.

    Source: https://arxiv.org/abs/1912.06971; names and shapes of the state dict are those of pyskl.

    Formula::

        y = relu(BN(sum_k d_k(x (A_k + alpha tanh(S_k)))) + shortcut(x))
        y = y (1 + sigmoid(conv_sa(mean_t y)));  y (1 + sigmoid(conv_ta(mean_v y)));  y (1 + sigmoid(fc2c relu fc1c mean_tv y))

    Args:
        spec: its input; ``options["skeleton"]`` names the joints.
        width: channels of the first stage, a multiple of 4; each further stage has twice as many (default 64).
        depths: blocks of each stage; a further stage begins with stride 2 in time (default 4, 3, 3).

    **Shapes:** (B, C, T, V, M) -> ``Features``: tokens (B, T', V, C')

    Raises:
        ValueError: an option out of range, or another kind of input.
    """

    def __init__(self, spec: InputSpec, width: int = 64, depths: Sequence[int] = (4, 3, 3)) -> None:
        body = body_of(spec)
        super().__init__(body, per_person=False)
        graph = adjacency_subsets(body.skeleton)

        def block(channels: int, out: int, stride: int, first: bool) -> Block:
            gcn, tcn = GraphConvolution(channels, out, graph), TemporalConvolution(out, out, 9, stride)
            return Block(gcn, tcn, shortcut(channels, out, stride, first=first))

        self.stack(widths_of(width, depths, 4, "aagcn"), block, "gcn")


class GraphConvolution(nn.Module):
    """Three graphs of each clip, BatchNorm, a shortcut, and three weightings.

    Args:
        channels, out: of input and output.
        graph: the adjacency at the start.

    **Shapes:** (B*M, C, T, V) -> (B*M, C', T, V), graph (3, V, V)
    """

    def __init__(self, channels: int, out: int, graph: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv_a = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in graph)
        self.conv_b = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in graph)
        self.conv_d = nn.ModuleList(nn.Conv2d(channels, out, 1) for _ in graph)
        # As many joints as there are, and an odd number.
        kernel = (graph.shape[-1] - 1) // 2 * 2 + 1
        self.conv_ta = nn.Conv1d(out, 1, 9, padding=4)
        self.conv_sa = nn.Conv1d(out, 1, kernel, padding=(kernel - 1) // 2)
        self.fc1c, self.fc2c = nn.Linear(out, out // 2), nn.Linear(out // 2, out)
        if channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out))
        self.bn = nn.BatchNorm2d(out)
        self._initialise()

    def _initialise(self) -> None:
        initial.all_of(self)
        # At the start a block is its shortcut, and all frames and channels have the same weight.
        initial.norm(self.bn, 1e-6)
        for conv in self.conv_d:
            initial.branch(cast(nn.Conv2d, conv), len(self.A))
        nn.init.xavier_normal_(self.conv_sa.weight)
        nn.init.kaiming_normal_(self.fc1c.weight)
        for zero in (self.conv_ta.weight, self.fc2c.weight, self.fc1c.bias, self.fc2c.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        graphs = self.A + similarities(self.conv_a, self.conv_b, x).tanh() * self.alpha
        y = self.bn(aggregated(self.conv_d, x, graphs))
        y += self.down(x) if hasattr(self, "down") else x
        y = F.relu(y, inplace=True)
        y = y * (1 + self.conv_sa(y.mean(2)).sigmoid().unsqueeze(2))
        y = y * (1 + self.conv_ta(y.mean(3)).sigmoid().unsqueeze(3))
        weight = self.fc2c(F.relu(self.fc1c(y.mean((2, 3))))).sigmoid()
        return y * (1 + weight[:, :, None, None])
