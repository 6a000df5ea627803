"""A 1x1 convolution for each subset of a graph, and the sum over subsets of what comes along their edges.

Axes: N clips and persons, C channels, T frames, V joints.
"""

from torch import Tensor, nn


def convolved(conv: nn.Conv2d, x: Tensor, graph: Tensor) -> Tensor:
    """``y = sum_k (W_k x + b_k) A_k``.

    Args:
        conv: a 1x1 convolution to K*C' channels, subset after subset.
        x: of the joints.
        graph: A.

    **Shapes:** (N, C, T, V), graph (K, V, V) -> (N, C', T, V)
    """
    return along(conv(x).unflatten(1, (len(graph), -1)), graph)


def along(values: Tensor, graph: Tensor) -> Tensor:
    """``y = sum_k x_k A_k`` as one matrix product over subsets and joints. **Shapes:** (N, K, C, T, V) -> (N, C, T, V)"""
    clips, _, channels, frames, _ = values.shape
    rows = values.permute(0, 2, 3, 1, 4).reshape(clips * channels * frames, -1)
    return (rows @ graph.flatten(0, 1)).view(clips, channels, frames, -1)
