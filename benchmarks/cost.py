"""What a convolution must do, counted instead of measured: multiply-adds and bytes.

The graph's part is counted as the convolution is defined, edge by edge: an implementation may find a way to do less.

Axes: B clips, N nodes of one clip, E edges of one clip with the self-loops that the convolution adds, C channels, A attention
heads, D channels of a head, C = A*D.
"""

from collections.abc import Callable
from typing import Any

import torch
from sizes import Size
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from graphs import Topology
from taggnn.kernels import operators


def linears(conv: nn.Module) -> list[nn.Module]:
    """The linear layers of a convolution, PyG's own class among them."""
    from torch_geometric.nn import Linear

    return [part for part in conv.modules() if isinstance(part, nn.Linear | Linear)]


def projection_macs(conv: nn.Module, size: Size) -> int:
    """Multiply-adds of the convolution's own linear layers, each over every node once: ``B N sum(C C')``."""
    return size.clips * size.nodes * sum(part.weight.numel() for part in linears(conv))


def graph_macs(conv: nn.Module, topology: Topology, size: Size) -> int | None:
    """Multiply-adds of the propagation as it is defined; None for a convolution whose definition is not known here.

    Formula, of one clip: a weighted sum ``K E C`` (K steps); GAT ``E C + 2 N C``; GATv2 and Transformer ``2 E C``; a maximum 0.
    Softmax, activations and normalisation are no multiply-adds and not counted.
    """
    try:
        family = operators.read(conv).family
    except ValueError:
        return None
    edges = topology.num_edges(size.grid)
    edges += size.nodes if getattr(family, "self_loops", False) else 0
    one = {
        operators.Sum: lambda: family.steps * edges * size.channels,
        operators.Max: lambda: 0,
        operators.Additive: lambda: (edges + 2 * size.nodes) * size.channels,
        operators.Dynamic: lambda: 2 * edges * size.channels,
        operators.Dot: lambda: 2 * edges * size.channels,
    }
    return size.clips * one[type(family)]()


def floor_bytes(conv: nn.Module, size: Size, dtype: torch.dtype, backward: bool) -> int:
    """The fewest bytes that can move: input, output and weights once; with the backward pass, their gradients once too."""
    tokens = size.clips * size.nodes * size.channels
    once = 2 * tokens + sum(parameter.numel() for parameter in conv.parameters())
    return dtype.itemsize * once * (2 if backward else 1)


class _Counter(TorchDispatchMode):
    """Adds up what torch.utils.flop_counter knows of each operation; its own mode follows modules too, and fails in no_grad."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = operation(*args, **(kwargs or {}))
        formula = flop_registry.get(operation._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def counted_macs(call: Callable[[], object]) -> int:
    """Multiply-adds that torch.utils.flop_counter knows: matrix products alone, no scatter, no elementwise work, no Triton."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fused encoder layer counts as nothing.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Counter() as counter:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.flops // 2


def bandwidth(device: torch.device) -> float | None:
    """Bytes a second between a GPU and its memory by its data sheet: clock, two transfers a cycle, bus width."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    kilohertz, bits = getattr(properties, "memory_clock_rate", 0), getattr(properties, "memory_bus_width", 0)
    return 2e3 * kilohertz * bits / 8 or None
