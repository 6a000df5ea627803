"""Multiply-adds: matrix products as PyTorch counts them, the graph as its convolution is defined, edge by edge.

An implementation may find a way to do less.

Axes: C channels, N nodes of one clip, E edges of one clip with the self-loops that the convolution adds.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from graphs import Topology
from taggnn.kernels import operators


def linears(conv: nn.Module) -> list[Any]:
    """The linear layers of a convolution, PyG's own class among them."""
    from torch_geometric.nn import Linear

    return [part for part in conv.modules() if isinstance(part, nn.Linear | Linear)]


def projection_macs(conv: nn.Module, nodes: int) -> int:
    """Multiply-adds of the convolution's own linear layers, each over every node once: ``N sum(C C')``."""
    return nodes * sum(part.weight.numel() for part in linears(conv))


def graph_macs(conv: nn.Module, topology: Topology, grid: Sequence[int], channels: int) -> int | None:
    """Multiply-adds of the propagation over one clip as it is defined; None for a convolution that is not known here.

    Formula: a weighted sum ``K E C`` (K steps); GAT ``E C + 2 N C``; GATv2 and Transformer ``2 E C``; a maximum 0. Softmax,
    activations and normalisation are no multiply-adds and not counted. A convolution with a method ``graph_macs(nodes, edges,
    channels)`` states its own.
    """
    nodes = prod(grid)
    own: Callable[..., int] | None = getattr(conv, "graph_macs", None)
    if own is not None:
        return own(nodes, topology.num_edges(grid), channels)
    try:
        family = operators.read(conv).family
    except ValueError:
        return None
    edges = topology.num_edges(grid) + (nodes if getattr(family, "self_loops", False) else 0)
    if isinstance(family, operators.Max):
        return 0
    if isinstance(family, operators.Sum):
        return family.steps * edges * channels
    if isinstance(family, operators.Additive):
        return (edges + 2 * nodes) * channels
    return 2 * edges * channels


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    """Operations, two for each multiply-add, of the scores ``q k`` and of the sum ``p v``.

    **Shapes:** query (B, A, N, D), key (B, A, M, D), value (B, A, M, C).
    """
    return 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    """Operations of five products: the scores once more, their gradient, and those of query, key and value.

    **Shapes:** as ``_attention``; grad (B, A, N, C).
    """
    return 2 * query.shape[:-1].numel() * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


# PyTorch's attention on a CPU, of which torch.utils.flop_counter knows nothing before torch 2.15.
_ATTENTION_ON_CPU: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class _Counter(TorchDispatchMode):
    """Adds up what torch.utils.flop_counter knows of each operation; its own mode follows modules too, and fails in no_grad."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        packet = operation._overloadpacket
        # PyTorch's own formula first: where there is one, ours is not added to it.
        formula: Any = flop_registry.get(packet) or _ATTENTION_ON_CPU.get(packet)
        if formula is None:
            # In inference_mode a linear layer arrives whole; elsewhere autograd has taken it apart before.
            with self:
                parts = operation.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        out = operation(*args, **(kwargs or {}))
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def counted_macs(call: Callable[[], object]) -> int:
    """Multiply-adds of matrix products and attention, also in ``backward``; no scatter, no elementwise work, no Triton.

    As torch.utils.flop_counter knows them; the same on the meta device, in no_grad and in inference_mode. The backward pass of a
    fused attention computes the scores again: five products, where the unfused one of the meta device needs four.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fused encoder layer counts as nothing.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Counter() as counter:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.flops // 2
