"""ST-GCN++: learned graphs, shortcuts, and temporal convolutions of six branches.

Axes: B clips, M persons, C channels, T frames, V joints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs.bones import adjacency_subsets
from taggnn.backbones.skeleton.inputs import body_of
from taggnn.backbones.skeleton.network import Block, SkeletonNetwork, widths_of
from taggnn.backbones.skeleton.subsets import convolved
from taggnn.backbones.skeleton.temporal import TemporalConvolution, shortcut
from taggnn.types import InputSpec


class STGCNPlusPlus(SkeletonNetwork):
    """ST-GCN++, a stronger ST-GCN of less than half the size.

    Source: https://arxiv.org/abs/2205.09443; names and shapes of the state dict are those of its code (pyskl). Depths of
    (5, 1) are its light network of gestures.

    Formula: ``y = relu(BN(sum_k (W_k x + b_k) A_k) + shortcut(x))`` with learned A_k.

    Args:
        spec: its input; ``options["skeleton"]`` names the joints.
        width: channels of the first stage, 6 or more; each further stage has twice as many (default 64).
        depths: blocks of each stage; a further stage begins with stride 2 in time (default 4, 3, 3).

    **Shapes:** (B, C, T, V, M) -> ``Features``: tokens (B, T', V, C')

    Raises:
        ValueError: an option out of range, or another kind of input.
    """

    def __init__(self, spec: InputSpec, width: int = 64, depths: Sequence[int] = (4, 3, 3)) -> None:
        body = body_of(spec)
        super().__init__(body, per_person=True)
        graph = adjacency_subsets(body.skeleton)
        if width < 6:
            raise ValueError(f"st_gcn++: width={width} must be 6 or more, a channel for each branch")

        def block(channels: int, out: int, stride: int, first: bool) -> Block:
            gcn, tcn = GraphConvolution(channels, out, graph), MultiBranch(out, stride)
            return Block(gcn, tcn, shortcut(channels, out, stride, first=first))

        self.stack(widths_of(width, depths, 1, "st_gcn++"), block, "gcn")


class GraphConvolution(nn.Module):
    """Learned graphs, BatchNorm and a shortcut; initial weights are PyTorch's, as published.

    Args:
        channels, out: of input and output.
        graph: the adjacency at the start.

    **Shapes:** (B*M, C, T, V) -> (B*M, C', T, V), graph (3, V, V)
    """

    def __init__(self, channels: int, out: int, graph: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(graph.clone())
        self.conv = nn.Conv2d(channels, len(graph) * out, 1)
        self.bn = nn.BatchNorm2d(out)
        if channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(convolved(self.conv, x, self.A))
        y += self.down(x) if hasattr(self, "down") else x
        return F.relu(y, inplace=True)


class MultiBranch(nn.Module):
    """Six branches: dilations 1 to 4, a maximum of 3 frames, a frame alone; the first one takes the channels left over.

    **Shapes:** (B*M, C, T, V) -> (B*M, C, T', V)
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        part = channels // 6
        widths = [channels - 5 * part, part, part, part, part]
        lasts: list[nn.Module] = [
            TemporalConvolution(width, width, 3, stride, dilation, norm=False)
            for dilation, width in enumerate(widths[:4], 1)
        ]
        lasts.append(nn.MaxPool2d((3, 1), (stride, 1), (1, 0)))
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), last)
            for width, last in zip(widths, lasts, strict=True)
        )
        self.branches.append(nn.Conv2d(channels, part, 1, (stride, 1)))
        self.transform = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.transform(torch.cat([branch(x) for branch in self.branches], 1)))
