"""What a convolution must do, counted instead of measured: multiply-adds and bytes.

The graph's part is counted as the convolution is defined, edge by edge: an implementation may find a way to do less.

Axes: B clips, N nodes of one clip, E edges of one clip with the self-loops that the convolution adds, C channels, A attention
heads, D channels of a head, C = A*D.
"""

import torch
from torch import nn

from benchmarks.sizes import Size
from graphs import Topology
from taggnn.nn import macs
from taggnn.nn.macs import counted_macs, linears

__all__ = ["bandwidth", "counted_macs", "floor_bytes", "graph_macs", "linears", "projection_macs"]


def projection_macs(conv: nn.Module, size: Size) -> int:
    """Multiply-adds of the convolution's own linear layers over a batch."""
    return size.clips * macs.projection_macs(conv, size.nodes)


def graph_macs(conv: nn.Module, topology: Topology, size: Size) -> int | None:
    """Multiply-adds of the propagation over a batch as it is defined; None for a convolution that is not known."""
    one = macs.graph_macs(conv, topology, size.grid, size.channels)
    return None if one is None else size.clips * one


def floor_bytes(conv: nn.Module, size: Size, dtype: torch.dtype, backward: bool) -> int:
    """The fewest bytes that can move: input, output and weights once; with the backward pass, their gradients once too."""
    tokens = size.clips * size.nodes * size.channels
    once = 2 * tokens + sum(parameter.numel() for parameter in conv.parameters())
    return dtype.itemsize * once * (2 if backward else 1)


def bandwidth(device: torch.device) -> float | None:
    """Bytes a second between a GPU and its memory by its data sheet: clock, two transfers a cycle, bus width."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    kilohertz, bits = getattr(properties, "memory_clock_rate", 0), getattr(properties, "memory_bus_width", 0)
    return 2e3 * kilohertz * bits / 8 or None
