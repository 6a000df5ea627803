"""CTR-GCN: a graph for every channel, refined from one that all channels share.

Axes: B clips, M persons, C channels, T frames, V joints, r channels of the relations.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs.bones import adjacency_subsets
from taggnn.backbones.skeleton import initial
from taggnn.backbones.skeleton.inputs import body_of
from taggnn.backbones.skeleton.network import Block, SkeletonNetwork, widths_of
from taggnn.backbones.skeleton.norms import normalised
from taggnn.backbones.skeleton.pointwise import pointwise, product, together
from taggnn.types import InputSpec


class CTRGCN(SkeletonNetwork):
    """Channel-wise Topology Refinement Graph Convolutional Network.

    Source: https://arxiv.org/abs/2107.12213; names and shapes of the state dict are those of its code. Faster [ours]: the
    relations are computed from the mean over frames, which commutes with their convolutions, and the three graphs are applied
    in one matrix product for each channel.

    Formula, for each of three subsets k and each channel c, then summed over k::

        R_kc = PA_k + alpha * conv4(tanh(mean_t conv1(x)_u - mean_t conv2(x)_v))_c
        y_c  = sum_v R_kc[u, v] conv3(x)_c[v]

    Args:
        spec: its input; ``options["skeleton"]`` names the joints.
        width: channels of the first stage, a multiple of 4; each further stage has twice as many (default 64).
        depths: blocks of each stage; a further stage begins with stride 2 in time (default 4, 3, 3).

    **Shapes:** (B, C, T, V, M) -> ``Features``: tokens (B, T', V, C')

    Raises:
        ValueError: an option out of range, or another kind of input.
    """

    frames_last = True

    def __init__(self, spec: InputSpec, width: int = 64, depths: Sequence[int] = (4, 3, 3)) -> None:
        body = body_of(spec)
        super().__init__(body, per_person=False)
        graph = adjacency_subsets(body.skeleton)
        self.stack(
            widths_of(width, depths, 4, "ctr_gcn"),
            lambda channels, out, stride, first: _block(channels, out, stride, graph, first),
        )


def _block(channels: int, out: int, stride: int, graph: Tensor, first: bool) -> Block:
    gcn, tcn = GraphConvolution(channels, out, graph), MultiScale(out, stride)
    residual: nn.Module | None = None if first else nn.Identity()
    if not first and (channels != out or stride != 1):
        residual = Shortcut(channels, out, stride)
    return Block(gcn, tcn, residual, names=("gcn1", "tcn1"))


class _Relations(nn.Module):
    """The weights of one subset."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        # Published for 3 channels and for 64 and more; in between a minimum of 8 [ours].
        relations = max(8, channels // 8)
        self.conv1 = nn.Conv2d(channels, relations, 1)
        self.conv2 = nn.Conv2d(channels, relations, 1)
        self.conv3 = nn.Conv2d(channels, out, 1)
        self.conv4 = nn.Conv2d(relations, out, 1)


class GraphConvolution(nn.Module):
    """The three graphs of every channel, BatchNorm and a shortcut.

    Args:
        channels, out: of input and output.
        graph: the adjacency at the start.

    **Shapes:** (B*M, C, V, T) -> (B*M, C', V, T), graph (3, V, V)
    """

    def __init__(self, channels: int, out: int, graph: Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Relations(channels, out) for _ in graph)
        if channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out))
        self.PA = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.bn = nn.BatchNorm2d(out)
        initial.all_of(self)
        # At the start a block is its shortcut.
        initial.norm(self.bn, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        subsets = [cast(_Relations, subset) for subset in self.convs]
        graphs = self._graphs(x, subsets)
        # Channel by channel, the subsets next to each other: (B*M, C', 3, V, T).
        weight = torch.stack([subset.conv3.weight.flatten(1) for subset in subsets], 1).flatten(0, 1)
        bias = torch.stack([cast(Tensor, subset.conv3.bias) for subset in subsets], 1).flatten()
        values = product(weight, bias, x).unflatten(1, (-1, len(subsets))).flatten(2, 3)
        y = self.bn(torch.bmm(graphs.flatten(0, 1), values.flatten(0, 1)).view(*graphs.shape[:3], -1))
        y += self._shortcut(x)
        return F.relu(y, inplace=True)

    def _graphs(self, x: Tensor, subsets: Sequence[_Relations]) -> Tensor:
        """**Shapes:** -> (B*M, C', V, 3*V)"""
        mean = x.mean(-1)
        first = together([subset.conv1 for subset in subsets], mean).unflatten(1, (len(subsets), -1))
        second = together([subset.conv2 for subset in subsets], mean).unflatten(1, (len(subsets), -1))
        relations = (first.unsqueeze(-1) - second.unsqueeze(-2)).tanh()
        # The shared graph and the bias are two more channels of the product.
        shape = (x.shape[0], len(subsets), 1, *self.PA.shape[1:])
        shared = self.PA[:, None].expand(shape)
        relations = torch.cat([relations, shared, relations.new_ones(()).expand(shape)], 2)
        graphs = [
            product(self._refinement(subset), None, relations[:, number]) for number, subset in enumerate(subsets)
        ]
        return torch.cat(graphs, -1)

    def _refinement(self, subset: _Relations) -> Tensor:
        weight = subset.conv4.weight.flatten(1) * self.alpha
        bias = cast(Tensor, subset.conv4.bias)[:, None]
        return torch.cat([weight, torch.ones_like(bias), bias * self.alpha], 1)

    def _shortcut(self, x: Tensor) -> Tensor:
        if not hasattr(self, "down"):
            return x
        conv, norm = self.down
        return norm(pointwise(cast(nn.Conv2d, conv), x))


class Shortcut(nn.Module):
    """A 1x1 convolution and BatchNorm; the stride is along time. **Shapes:** (B*M, C, V, T) -> (B*M, C', V, T')"""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, out, 1, (stride, 1))
        self.bn = nn.BatchNorm2d(out)
        initial.all_of(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(pointwise(self.conv, x, self.stride))


class _Dilated(nn.Module):
    """The weights of a temporal convolution of 5 frames and BatchNorm."""

    def __init__(self, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.conv = nn.Conv2d(channels, channels, (5, 1), (stride, 1), (2 * dilation, 0), (dilation, 1))
        self.bn = nn.BatchNorm2d(channels)

    def convolved(self, x: Tensor) -> Tensor:
        """Without BatchNorm. **Shapes:** (B*M, C, V, T) -> (B*M, C, V, T')"""
        stride, padding, dilation = (1, self.stride), (0, 2 * self.dilation), (1, self.dilation)
        return F.conv2d(x, self.conv.weight.mT, self.conv.bias, stride, padding, dilation)


class MultiScale(nn.Module):
    """Four temporal branches of a quarter of the channels each: dilations 1 and 2, a maximum of 3 frames, a frame alone.

    Source: https://arxiv.org/abs/2107.12213, section 3.4, after MS-G3D, https://arxiv.org/abs/2003.14111.

    **Shapes:** (B*M, C, V, T) -> (B*M, C, V, T')
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        part, self.stride = channels // 4, stride
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, part, 1),
                nn.BatchNorm2d(part),
                nn.ReLU(inplace=True),
                _Dilated(part, stride, dilation),
            )
            for dilation in (1, 2)
        )
        self.branches.append(
            nn.Sequential(
                nn.Conv2d(channels, part, 1),
                nn.BatchNorm2d(part),
                nn.ReLU(inplace=True),
                # Over the last axis, which is time here.
                nn.MaxPool2d((1, 3), (1, stride), (0, 1)),
                nn.BatchNorm2d(part),
            )
        )
        self.branches.append(nn.Sequential(nn.Conv2d(channels, part, 1, (stride, 1)), nn.BatchNorm2d(part)))
        initial.all_of(self)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        # Both layers of 1x1 convolutions and of BatchNorm are computed for all branches together.
        *deep, alone = (list(cast(nn.Sequential, branch)) for branch in self.branches)
        entered = together([cast(nn.Conv2d, branch[0]) for branch in deep], x)
        parts = F.relu(normalised([branch[1] for branch in deep], entered), inplace=True).chunk(3, 1)
        one, two, pool = (branch[3] for branch in deep)
        dilated = [cast(_Dilated, layer) for layer in (one, two)]
        outputs = [layer.convolved(part) for layer, part in zip(dilated, parts[:2], strict=True)]
        outputs += [pool(parts[2]), pointwise(cast(nn.Conv2d, alone[0]), x, self.stride)]
        return normalised([*(layer.bn for layer in dilated), deep[2][4], alone[1]], torch.cat(outputs, 1))
