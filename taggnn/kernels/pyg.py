"""The reference: PyG's own message passing over the explicit edge list.

Axes: B clips, N nodes of one clip, E edges of one clip, C channels.
"""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphs import Topology, graph


class EdgeList(nn.Module):
    """The reference kernel of any PyG convolution; one that takes edge types is given them.

    Args:
        conv: the convolution; its ``forward`` is inspected; not stored.
        topology: the rule that gives the edges.
        grid: sizes along the rule's axes, time first.

    **Shapes:** ``kernel(conv, x)``: x (B, N, C) -> (B, N, C').

    Raises:
        ValueError: ``conv.forward`` cannot be called as ``(x, edge_index)`` or ``(x, edge_index, edge_type=...)``, or ``conv``
            keeps the edges of its first call; in ``forward``, x has another number of nodes.
    """

    impl = "pyg"
    edge_index: Tensor
    edge_type: Tensor | None

    def __init__(self, conv: nn.Module, topology: Topology, grid: Sequence[int]) -> None:
        super().__init__()
        self._typed = _takes_types(conv)
        self._rule = topology, tuple(grid)
        one = graph(topology, grid)
        self.nodes = one.num_nodes
        # Not saved: they follow from topology and grid.
        self.register_buffer("edge_index", one.edge_index, persistent=False)
        self.register_buffer("edge_type", one.edge_type if self._typed else None, persistent=False)
        self._batch: tuple[int, Tensor, Tensor | None] | None = None

    def forward(self, conv: nn.Module, x: Tensor) -> Tensor:
        if x.shape[1] != self.nodes:
            raise ValueError(f"a kernel built for {self.nodes} nodes of a clip is given {x.shape[1]}")
        edge_index, edge_type = self._batched(x.shape[0])
        types = {"edge_type": edge_type} if self._typed else {}
        return conv(x.flatten(0, 1), edge_index, **types).unflatten(0, x.shape[:2])

    def _batched(self, clips: int) -> tuple[Tensor, Tensor | None]:
        """The edges of ``clips`` disjoint copies; those of the last batch size are cached."""
        if torch.compiler.is_compiling():
            return self._repeated(clips)
        if self._batch is None or self._batch[0] != clips or self._batch[1].device != self.edge_index.device:
            # Made under inference mode, they could never again take part in training.
            with torch.inference_mode(False):
                self._batch = (clips, *self._repeated(clips))
        return self._batch[1:]

    def _repeated(self, clips: int) -> tuple[Tensor, Tensor | None]:
        start = self.nodes * torch.arange(clips, device=self.edge_index.device)[:, None]
        edge_index = (self.edge_index[:, None] + start).flatten(1)
        return edge_index, None if self.edge_type is None else self.edge_type.repeat(clips)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        # From the rule again: to_empty(), for a module that was built on the meta device, leaves numbers of no meaning.
        if self.edge_index.device.type != "meta":
            one = graph(*self._rule, self.edge_index.device)
            self.edge_index, self.edge_type = one.edge_index, one.edge_type if self._typed else None
        self._batch = None
        return self

    def __getstate__(self) -> dict:
        # Copies and pickles make the batch again.
        return {**self.__dict__, "_batch": None}


def _takes_types(conv: nn.Module) -> bool:
    if getattr(conv, "cached", False):
        # It would silently use them for batches of another size and for another topology.
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
    return "edge_type" in parameters
