"""ST-GCN: fixed graphs of three subsets, each edge weighted, and convolutions of nine frames.

Axes: B clips, M persons, C channels, T frames, V joints.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from graphs.bones import distance_subsets
from taggnn.backbones.skeleton.inputs import body_of
from taggnn.backbones.skeleton.network import Block, SkeletonNetwork, widths_of
from taggnn.backbones.skeleton.subsets import convolved
from taggnn.types import InputSpec


class STGCN(SkeletonNetwork):
    """Spatial Temporal Graph Convolutional Network.

    Source: https://arxiv.org/abs/1801.07455; names and shapes of the state dict are those of its code. Initial weights are
    PyTorch's, as there.

    Formula: ``y = sum_k (W_k x + b_k) (A_k * M_k)``, k over the subsets, M_k learned from ones.

    Args:
        spec: its input; ``options["skeleton"]`` names the joints.
        width: channels of the first stage; each further stage has twice as many (default 64).
        depths: blocks of each stage; a further stage begins with stride 2 in time (default 4, 3, 3).
        dropout: probability after the temporal convolution of every block but the first (default 0; published 0.5).
        mix_joints: false: no edge of the skeleton, so that every joint is a temporal network of its own and only a head can mix
            them (default true).

    **Shapes:** (B, C, T, V, M) -> ``Features``: tokens (B, T', V, C')

    Raises:
        ValueError: an option out of range, or another kind of input.
    """

    def __init__(
        self,
        spec: InputSpec,
        width: int = 64,
        depths: Sequence[int] = (4, 3, 3),
        dropout: float = 0.0,
        mix_joints: bool = True,
    ) -> None:
        body = body_of(spec)
        super().__init__(body, per_person=True)
        graph, channels = distance_subsets(body.skeleton), body.channels
        if not mix_joints:
            # The first subset is the joint itself.
            graph = torch.cat([torch.eye(body.joints)[None], torch.zeros_like(graph[1:])])
        self.register_buffer("A", graph)
        self.A: Tensor
        self.st_gcn_networks = nn.ModuleList()
        sizes = widths_of(width, depths, 1, "st_gcn")
        self.widths = [out for out, _ in sizes]
        for out, stride in sizes:
            first = not len(self.st_gcn_networks)
            self.st_gcn_networks.append(_block(channels, out, stride, first, 0.0 if first else dropout))
            channels = out
        self.edge_importance = nn.ParameterList(torch.ones_like(graph) for _ in self.st_gcn_networks)
        # The weights of all edges are one module, which can only be frozen as a whole.
        first_stage, *others = (f"st_gcn_networks.{number}" for number in range(len(self.st_gcn_networks)))
        self.cut = ((first_stage, "data_bn", "edge_importance"), *((name,) for name in others))

    def blocks(self) -> Iterator[tuple[Block, tuple[Tensor, ...]]]:
        for block, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            yield cast(Block, block), (self.A * importance,)


class GraphConvolution(nn.Module):
    """A 1x1 convolution for each subset, then its graph. **Shapes:** (B*M, C, T, V), graph (3, V, V) -> (B*M, C', T, V)"""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3 * out, 1)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        return convolved(self.conv, x, graph)


def _block(channels: int, out: int, stride: int, first: bool, dropout: float) -> Block:
    tcn = nn.Sequential(
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
        nn.Conv2d(out, out, (9, 1), (stride, 1), (4, 0)),
        nn.BatchNorm2d(out),
        nn.Dropout(dropout, inplace=True),
    )
    residual: nn.Module | None = None if first else nn.Identity()
    if not first and (channels != out or stride != 1):
        residual = nn.Sequential(nn.Conv2d(channels, out, 1, (stride, 1)), nn.BatchNorm2d(out))
    return Block(GraphConvolution(channels, out), tcn, residual)
