"""2s-AGCN, one stream: a fixed graph, a learned one, and one from the similarity of the joints.

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


class AGCN(SkeletonNetwork):
    """Adaptive Graph Convolutional Network, a stream of 2s-AGCN.

    Source: https://arxiv.org/abs/1805.07694; names and shapes of the state dict are those of its code. The fixed graph is no
    part of it: it follows from the skeleton.

    Formula: ``y = sum_k d_k(x (A_k + PA_k + softmax_u(S_k)))`` with the similarities S_k of ``adaptive.similarities``.

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
            return Block(gcn, tcn, shortcut(channels, out, stride, first=first), names=("gcn1", "tcn1"))

        self.stack(widths_of(width, depths, 4, "agcn"), block)


class GraphConvolution(nn.Module):
    """Three graphs of each clip, BatchNorm and a shortcut.

    Args:
        channels, out: of input and output.
        graph: the fixed adjacency.

    **Shapes:** (B*M, C, T, V) -> (B*M, C', T, V), graph (3, V, V)
    """

    def __init__(self, channels: int, out: int, graph: Tensor) -> None:
        super().__init__()
        self.PA = nn.Parameter(torch.full_like(graph, 1e-6))
        self.register_buffer("A", graph.clone(), persistent=False)
        self.A: Tensor
        self.conv_a = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in graph)
        self.conv_b = nn.ModuleList(nn.Conv2d(channels, out // 4, 1) for _ in graph)
        self.conv_d = nn.ModuleList(nn.Conv2d(channels, out, 1) for _ in graph)
        if channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out))
        self.bn = nn.BatchNorm2d(out)
        initial.all_of(self)
        # At the start a block is its shortcut.
        initial.norm(self.bn, 1e-6)
        for conv in self.conv_d:
            initial.branch(cast(nn.Conv2d, conv), len(graph))

    def forward(self, x: Tensor) -> Tensor:
        graphs = self.A + self.PA + similarities(self.conv_a, self.conv_b, x).softmax(-2)
        y = self.bn(aggregated(self.conv_d, x, graphs))
        y += self.down(x) if hasattr(self, "down") else x
        return F.relu(y, inplace=True)
