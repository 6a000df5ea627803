"""The reference: PyG's own message passing over the explicit edge list.

Axes: B clips, N nodes of one clip, E edges of one clip, C channels.
"""

import inspect

from torch import Tensor, nn

from graphs import Graph, Topology


def kernel(conv: nn.Module, topology: Topology):
    """Returns the reference kernel of any PyG convolution; one that tells edge types apart is given them.

    Raises:
        ValueError: ``conv.forward`` cannot be called as ``(x, edge_index)`` or ``(x, edge_index, edge_type=...)``, or ``conv``
            keeps the edges of its first call.
    """
    if getattr(conv, "cached", False):
        # It would go on with them for batches of another size and for another topology, and say nothing.
        raise ValueError(
            f"{type(conv).__name__}(cached=True) keeps the edges of its first call, but they change with the batch: leave "
            "cached out"
        )
    parameters = inspect.signature(conv.forward).parameters
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    missing = [name for name in needed[2:] if name != "edge_type"]
    if len(needed) < 2 or missing:
        raise ValueError(
            f"{type(conv).__name__}.forward takes ({', '.join(parameters)}); a grid of tokens can give it x, edge_index "
            "and edge_type only: wrap it in a class of your own that needs no more"
        )
    return _typed if "edge_type" in parameters else _plain


def _plain(conv: nn.Module, x: Tensor, graph: Graph) -> Tensor:
    edge_index, _ = graph.batched(x.shape[0])
    return conv(x.flatten(0, 1), edge_index).unflatten(0, x.shape[:2])


def _typed(conv: nn.Module, x: Tensor, graph: Graph) -> Tensor:
    edge_index, edge_type = graph.batched(x.shape[0])
    return conv(x.flatten(0, 1), edge_index, edge_type=edge_type).unflatten(0, x.shape[:2])
