"""A case: one convolution on one size, the ways to compute it, and what each of them is worth.

Axes: B clips, N nodes of one clip, E edges of one clip, C channels.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks import gate, memory, passes
from benchmarks.sizes import Size
from graphs import Topology
from taggnn import kernels
from taggnn.kernels import operators
from taggnn.nn import convs

PROJECTION = "projection"
# Tensors of E * C entries that PyG holds at once, forward and with backward: seen with `memory.peak`, rounded up.
_EDGE_TENSORS = {operators.Sum: (3, 3), operators.Max: (3, 4), operators.Additive: (3, 5)}
_MOST_EDGE_TENSORS = (5, 7)


@dataclass
class Case:
    """Weights and inputs, the same for all ways to compute.

    Args:
        name: of the convolution, as ``taggnn.nn.convs.build`` takes it.
        size: of the batch.
        topology: the edges.
        device, dtype: where and in what precision.
        seed: of weights and inputs.
        backward: compare and measure gradients too.

    Raises:
        ValueError: the convolution cannot be built at this size.
    """

    name: str
    size: Size
    topology: Topology
    device: torch.device
    dtype: torch.dtype
    seed: int = 0
    backward: bool = False
    conv: nn.Module = field(init=False)
    x: Tensor = field(init=False)
    upstream: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        conv = self.build(self.name, self.size)
        for parameter in conv.parameters():
            # Biases start at zero: a way to compute that forgets one would not be seen.
            if parameter.ndim == 1:
                nn.init.normal_(parameter)
        self.conv = conv.to(self.device, self.dtype).eval()
        shape = (self.size.clips, self.size.nodes, self.size.channels)
        self.x, self.upstream = (torch.randn(shape).to(self.device, self.dtype) for _ in range(2))

    @staticmethod
    def build(name: str, size: Size) -> nn.Module:
        """The convolution of a size, with its heads where it has any.

        Raises:
            ValueError: the convolution is unknown, or cannot be built at this size.
        """
        takes_heads = "heads" in getattr(convs.CONVS.get(name), "options", {})
        return convs.build(name, size.channels, None, size.grid, **({"heads": size.heads} if takes_heads else {}))

    def way(self, impl: str, compiled: bool = False) -> passes.Way:
        """``x -> out`` by an implementation.

        Raises:
            ValueError: it refuses the convolution, an option of it or the topology.
        """
        kernel = kernels.find(self.conv, self.topology, self.size.grid, impl).to(self.device)
        if compiled:
            kernel = torch.compile(kernel, dynamic=False)
        return lambda x: kernel(self.conv, x)

    def projection(self) -> passes.Way | None:
        """``x -> outs`` of the convolution's own layers alone, as if there were no graph; None where it has none."""
        layers = [child for child in self.conv.children() if any(True for _ in child.parameters())]
        return (lambda x: tuple(layer(x.flatten(0, 1)) for layer in layers)) if layers else None

    def call(self, way: passes.Way, backward: bool) -> Callable[[], object]:
        """What is measured of a way: a forward pass, or one with the gradients of the input and of all parameters."""
        return passes.both(way, self.x, list(self.conv.parameters())) if backward else passes.forward(way, self.x)

    def reference(self) -> tuple[dict[str, Tensor], int]:
        """PyG's answers and the number of clips they are of: in float64 where that fits, else in the case's own precision.

        Raises:
            RuntimeError: not even that fits.
        """
        room = memory.available(self.device)
        one = self.edge_bytes(torch.float64)
        finer = one <= room
        clips = max(1, min(self.size.clips, room // max(one, 1))) if finer else 1
        conv = copy.deepcopy(self.conv).double() if finer else self.conv
        x = self.x[:clips].to(torch.float64 if finer else self.dtype)
        kernel = kernels.find(conv, self.topology, self.size.grid, "pyg").to(self.device)
        upstream = self.upstream[:clips].to(x.dtype) if self.backward else None
        return gate.answers(lambda x: kernel(conv, x), x, dict(conv.named_parameters()), upstream), clips

    def answers(self, way: passes.Way, clips: int) -> dict[str, Tensor]:
        """A way's answers on the whole batch, of which the first clips are compared."""
        upstream = gate.first_clips(self.upstream, clips) if self.backward else None
        return gate.answers(way, self.x, dict(self.conv.named_parameters()), upstream)

    def edge_bytes(self, dtype: torch.dtype) -> int:
        """About what PyG's message passing takes for one clip."""
        try:
            tensors = _EDGE_TENSORS.get(type(operators.read(self.conv).family), _MOST_EDGE_TENSORS)
        except ValueError:
            tensors = _MOST_EDGE_TENSORS
        edges = self.topology.num_edges(self.size.grid) + self.size.nodes
        return tensors[self.backward] * edges * self.size.channels * dtype.itemsize
