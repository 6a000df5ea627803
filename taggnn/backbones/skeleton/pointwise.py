"""1x1 convolutions as one matrix product: several layers together, and without the copies of ``conv2d`` on a CPU.

Axes: N batch, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def pointwise(conv: nn.Conv2d, x: Tensor, stride: int = 1) -> Tensor:
    """What a 1x1 convolution computes; ``stride`` is along the last axis. **Shapes:** (N, C, V, T) -> (N, C', V, T')"""
    x = x if stride == 1 else x[..., ::stride]
    return product(conv.weight.flatten(1), conv.bias, x)


def together(convs: Sequence[nn.Conv2d], x: Tensor) -> Tensor:
    """Several 1x1 convolutions of the same input, concatenated on channels."""
    weight = torch.cat([conv.weight.flatten(1) for conv in convs])
    return product(weight, torch.cat([conv.bias for conv in convs if conv.bias is not None]), x)


def product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """``W x + b`` over channels. **Shapes:** weight (C', C), bias (C',), x (N, C, *) -> (N, C', *)"""
    # shape[0], not len(): an exported program takes any number of clips.
    flat = x.flatten(2)
    weight = weight.expand(flat.shape[0], -1, -1)
    if bias is None:
        return torch.bmm(weight, flat).unflatten(2, x.shape[2:])
    bias = bias[:, None].expand(flat.shape[0], -1, flat.shape[2])
    return torch.baddbmm(bias, weight, flat).unflatten(2, x.shape[2:])
