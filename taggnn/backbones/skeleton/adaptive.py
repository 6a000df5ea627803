"""The similarity of joints, from which adaptive graph convolutions make a graph for each clip.

Axes: N clips and persons, C channels, T frames, V joints, K subsets, c inner channels.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def similarities(queries: Iterable[nn.Module], keys: Iterable[nn.Module], x: Tensor) -> Tensor:
    """``S_k[u, v] = sum_(c,t) (a_k x)[c,t,u] (b_k x)[c,t,v] / (c T)``, all subsets in one convolution and one product.

    Args:
        queries, keys: the 1x1 convolutions a_k and b_k.
        x: of the joints.

    **Shapes:** (N, C, T, V) -> (N, K, V, V)
    """
    first, second = list(queries), list(keys)
    both = [*first, *second]
    weight = torch.cat([_tensor(conv.weight) for conv in both])
    bias = torch.cat([_tensor(conv.bias) for conv in both])
    inner = torch.conv2d(x, weight, bias).unflatten(1, (2, len(first), -1)).flatten(3, 4)
    return inner[:, 0].mT @ (inner[:, 1] / inner.shape[3])


def aggregated(convs: Iterable[nn.Module], x: Tensor, graphs: Tensor) -> Tensor:
    """``y = sum_k d_k(x A_k)``, one product with the graphs and one convolution.

    Args:
        convs: the 1x1 convolutions d_k.
        x: of the joints.
        graphs: A of every clip.

    **Shapes:** (N, C, T, V), graphs (N, K, V, V) -> (N, C', T, V)
    """
    clips, channels, frames, joints = x.shape
    # x A_k for all k: (N, C*T, V) times (N, V, K*V).
    side = graphs.permute(0, 2, 1, 3).flatten(2)
    moved = torch.bmm(x.reshape(clips, -1, joints), side).view(clips, channels, frames, -1, joints)
    moved = moved.permute(0, 3, 1, 2, 4).flatten(1, 2)
    parts = list(convs)
    weight = torch.cat([_tensor(conv.weight) for conv in parts], 1)
    bias = torch.stack([_tensor(conv.bias) for conv in parts]).sum(0)
    return torch.conv2d(moved, weight, bias)


def _tensor(value: Tensor | nn.Module) -> Tensor:
    assert isinstance(value, Tensor)
    return value
