"""The reference: PyG's own message passing over the explicit edge list.

Axes: B clips, N nodes of one clip, E edges of one clip, C channels, D numbers of an edge.
"""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphs import EDGE_ATTRIBUTES, Graph, Topology, graph


class EdgeList(nn.Module):
    """The reference kernel of any PyG convolution; it is given edge types where it takes them, and the edge attributes named.

    Args:
        conv: the convolution; its ``forward`` is inspected; not stored.
        topology: the rule that gives the edges.
        grid: sizes along the rule's axes, time first.
        attributes: names of ``graphs.EDGE_ATTRIBUTES`` that the convolution is given as ``edge_attr`` (default none).
        edge_dropout: probability that an edge is left out, drawn for each clip at each call in training (default 0).

    **Shapes:** ``kernel(conv, x)``: x (B, N, C) -> (B, N, C').

    Raises:
        ValueError: ``conv.forward`` cannot be called as ``(x, edge_index)``, with ``edge_type`` and ``edge_attr`` if it wants
            them; it takes no ``edge_attr`` and attributes are named; or ``conv`` keeps the edges of its first call; in
            ``forward``, x has another number of nodes.
    """

    impl = "pyg"
    edge_index: Tensor
    edge_type: Tensor | None
    edge_attr: Tensor | None

    def __init__(
        self,
        conv: nn.Module,
        topology: Topology,
        grid: Sequence[int],
        attributes: Sequence[str] = (),
        edge_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._typed = takes_types(conv, bool(attributes))
        self._attributes = tuple(attributes)
        self._edge_dropout = edge_dropout
        self._rule = topology, tuple(grid)
        one = graph(topology, grid)
        self.nodes = one.num_nodes
        # Not saved: they follow from topology and grid.
        for name, tensor in zip(("edge_index", "edge_type", "edge_attr"), self._tensors(one), strict=True):
            self.register_buffer(name, tensor, persistent=False)
        self._batch: tuple[int, Tensor, Tensor | None, Tensor | None] | None = None

    def _tensors(self, one: Graph) -> tuple[Tensor, Tensor | None, Tensor | None]:
        attributes = one.attributes(self._attributes) if self._attributes else None
        return one.edge_index, one.edge_type if self._typed else None, attributes

    def describe(self) -> str:
        """The implementation."""
        return self.impl

    def forward(self, conv: nn.Module, x: Tensor) -> Tensor:
        if x.shape[1] != self.nodes:
            raise ValueError(f"a kernel built for {self.nodes} nodes of a clip is given {x.shape[1]}")
        edge_index, edge_type, edge_attr = self._batched(x.shape[0])
        if self._edge_dropout and self.training:
            kept = torch.rand(edge_index.shape[1], device=x.device) >= self._edge_dropout
            edge_index = edge_index[:, kept]
            edge_type, edge_attr = (None if part is None else part[kept] for part in (edge_type, edge_attr))
        more = {"edge_type": edge_type} if self._typed else {}
        if edge_attr is not None:
            more["edge_attr"] = edge_attr.to(x.dtype)
        return conv(x.flatten(0, 1), edge_index, **more).unflatten(0, x.shape[:2])

    def _batched(self, clips: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The edges of ``clips`` disjoint copies; those of the last batch size are cached."""
        if torch.compiler.is_compiling():
            return self._repeated(clips)
        if self._batch is None or self._batch[0] != clips or self._batch[1].device != self.edge_index.device:
            # Made under inference mode, they could never again take part in training.
            with torch.inference_mode(False):
                self._batch = (clips, *self._repeated(clips))
        return self._batch[1:]

    def _repeated(self, clips: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        start = self.nodes * torch.arange(clips, device=self.edge_index.device)[:, None]
        edge_index = (self.edge_index[:, None] + start).flatten(1)
        edge_type = None if self.edge_type is None else self.edge_type.repeat(clips)
        return edge_index, edge_type, None if self.edge_attr is None else self.edge_attr.repeat(clips, 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        # From the rule again: to_empty(), for a module that was built on the meta device, leaves numbers of no meaning.
        if self.edge_index.device.type != "meta":
            self.edge_index, self.edge_type, self.edge_attr = self._tensors(graph(*self._rule, self.edge_index.device))
        self._batch = None
        return self

    def __getstate__(self) -> dict:
        # Copies and pickles make the batch again.
        return {**self.__dict__, "_batch": None}


def takes_types(conv: nn.Module, with_attributes: bool = False) -> bool:
    """Returns whether a convolution takes edge types.

    Args:
        conv: its ``forward`` is inspected.
        with_attributes: it will be given edge attributes.

    Raises:
        ValueError: see ``EdgeList``.
    """
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
    known = ("edge_type", *(("edge_attr",) if with_attributes else ()))
    missing = [name for name in needed[2:] if name not in known]
    given = f"{type(conv).__name__}.forward takes ({', '.join(parameters)})"
    if missing == ["edge_attr"]:
        raise ValueError(f"{given}; name the attributes of its edges: edge_attributes of {', '.join(EDGE_ATTRIBUTES)}")
    if len(needed) < 2 or missing:
        raise ValueError(
            f"{given}; a grid of tokens can give it x, edge_index, edge_type and edge_attr only: wrap it in a class of your own "
            "that needs no more"
        )
    if with_attributes and "edge_attr" not in parameters:
        raise ValueError(f"{given}: no edge_attr; leave edge_attributes out, or take a convolution that has it")
    return "edge_type" in parameters
