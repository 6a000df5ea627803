"""The parts of a token head: position table, Transformer encoder, graph layer, read-outs.

Axes: B clips, grid the token grid with time first (T H W on video, T V on skeletons), N nodes of one clip, C channels,
A attention heads.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs import NoEdges, Topology, edge_attributes_width
from taggnn import kernels
from taggnn.names import find, unknown
from taggnn.nn import convs, graph_norms
from taggnn.nn.attention_readout import AttentionReadout, FrameReadout
from taggnn.nn.encoder_layer import EncoderLayer
from taggnn.nn.graph_batch import Edges
from taggnn.nn.virtual_node import VirtualNode

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU, "none": nn.Identity}


class PositionTable(nn.Module):
    """Adds a learnable vector to every token of the grid.

    Source: TAG-Head, https://arxiv.org/abs/2604.11498. Formula: ``x[b, t, h, w] + E[t, h, w]``, or ``+ E_t[t] + E_h[h] +
    E_w[w]`` where factorised [ours]; on grids of another rank with as many indices as they have axes.

    Args:
        channels: C.
        grid: sizes of the token grid, time first; any number of axes.
        factorised: one table per axis instead of one for all positions together (default: one joint table, as released).
        std: standard deviation of the normal start (default 0.02; the released one is 1).

    **Shapes:** (B, *grid, C) -> the same.

    Raises:
        ValueError: in ``forward``, tokens of another grid than the table's.
    """

    def __init__(self, channels: int, grid: Sequence[int], factorised: bool = False, std: float = 0.02) -> None:
        super().__init__()
        shapes = [_along(axis, grid) for axis in range(len(grid))] if factorised else [tuple(grid)]
        self.tables = nn.ParameterList(nn.Parameter(torch.randn(*shape, channels) * std) for shape in shapes)

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(torch.broadcast_shapes(*(table.shape[:-1] for table in self.tables)))

    def forward(self, tokens: Tensor) -> Tensor:
        if tuple(tokens.shape[1:-1]) != self.grid:
            raise ValueError(
                f"tokens of grid {tuple(tokens.shape[1:-1])} given to a head built for {self.grid} (time first): feed clips of "
                "the size it was built for, or call resize() on the head first"
            )
        for table in self.tables:
            tokens = tokens + table
        return tokens

    @torch.no_grad()
    def resize(self, grid: Sequence[int]) -> None:
        """Stretches the table to another grid of the same rank by linear interpolation along every axis [ours].

        Raises:
            ValueError: the grid has another number of axes.
        """
        grid = tuple(grid)
        if len(grid) != len(self.grid):
            raise ValueError(
                f"a position table of grid {self.grid} cannot be stretched to {grid}: another number of axes"
            )
        for i, table in enumerate(self.tables):
            size = grid if len(self.tables) == 1 else _along(i, grid)
            if size != tuple(table.shape[:-1]):
                self.tables[i] = nn.Parameter(_stretched(table, size))


def _along(axis: int, grid: Sequence[int]) -> tuple[int, ...]:
    return tuple(size if number == axis else 1 for number, size in enumerate(grid))


def _stretched(table: Tensor, size: tuple[int, ...]) -> Tensor:
    """**Shapes:** (*old, C) -> (*size, C)"""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(len(size))
    if mode is not None:
        table = F.interpolate(table.movedim(-1, 0)[None], size=size, mode=mode, align_corners=False)
        return table[0].movedim(0, -1).contiguous()
    # Linear in every axis: one after another is the same.
    for axis, length in enumerate(size):
        if table.shape[axis] != length:
            rows = table.movedim(axis, -1)
            flat = F.interpolate(rows.reshape(1, -1, rows.shape[-1]), size=length, mode="linear", align_corners=False)
            table = flat.reshape(*rows.shape[:-1], length).movedim(-1, axis)
    return table.contiguous()


def encoder(
    channels: int,
    layers: int,
    heads: int = 8,
    ffn: int | None = None,
    dropout: float = 0.1,
    norm_first: bool = True,
    activation: Literal["relu", "gelu"] = "gelu",
) -> nn.Module:
    """Builds a Transformer encoder over the tokens of a clip.

    Source: TAG-Head, https://arxiv.org/abs/2604.11498, section "encoder" (post-norm, ReLU, no final norm);
    pre-norm with GELU and a final norm is the modern form. Its layers are ``encoder_layer.EncoderLayer``.

    Args:
        channels: C, a multiple of ``heads``.
        layers: how many; 0 gives the identity.
        heads: A (default 8).
        ffn: channels of the feed-forward part (default 2*C).
        dropout: probability, everywhere in the layer (default 0.1).
        norm_first: LayerNorm before attention and feed-forward, with a last one after all layers (default), or after them.
        activation: of the feed-forward part.

    **Shapes:** (B, N, C) -> the same.

    Raises:
        ValueError: ``channels`` is no multiple of ``heads``, or the activation is unknown.
    """
    if activation not in ("relu", "gelu"):
        raise unknown("activation of the encoder", activation, ["relu", "gelu"])
    if layers == 0:
        return nn.Identity()
    if channels % heads:
        raise ValueError(
            f"an encoder of {channels} channels cannot have {heads} attention heads; they must divide the channels"
        )
    layer = EncoderLayer(
        channels, heads, ffn or 2 * channels, dropout, activation, batch_first=True, norm_first=norm_first
    )
    last = nn.LayerNorm(channels) if norm_first else None
    return nn.TransformerEncoder(layer, layers, norm=last, enable_nested_tensor=False)


class GraphLayer(nn.Module):
    """One step of propagation along the graph: norm, convolution, activation, residual.

    Formula: ``x + dropout(act(conv(norm(x), edges)))``, each part but the convolution optional.

    Args:
        channels: C.
        topology: the rule that gives the edges.
        grid: sizes of the token grid of one clip, time first; as many axes as the topology takes.
        conv: a name of ``convs.CONVS``, a dotted path, a class, function or module, see ``convs.build`` (default
            "gat").
        conv_options: further arguments of the convolution, by name.
        impl: how it is computed, a name of ``taggnn.kernels.IMPLS``; never changes the result (default "auto").
        norm: what comes first: LayerNorm (True, default), nothing (False), or a name of ``graph_norms.NORMS``.
        activation: "relu", "gelu" (default), "elu" or "none".
        residual: add the input (default).
        dropout: probability (default 0).
        edge_attributes: names of ``graphs.EDGE_ATTRIBUTES`` that the convolution is given as ``edge_attr``, and their number as
            ``edge_dim`` if it takes that (default none).
        edge_dropout: probability that an edge is left out, drawn anew at each call in training (default 0): DropEdge,
            https://arxiv.org/abs/1907.10903, without renormalisation of what is left; it runs on edge lists only.
        virtual_node: add the message of a node that is connected to all others, see ``virtual_node.VirtualNode`` (default no);
            without edges (topology "none" in ``forward``) it is left out too.

    **Shapes:** (B, *grid, C) -> the same.

    Raises:
        ValueError: unknown convolution, option, activation or implementation, a convolution that does not give C channels, or
            an implementation that refuses it, or a topology that refuses the grid; in ``forward``, tokens of another grid.
    """

    def __init__(
        self,
        channels: int,
        topology: Topology,
        grid: Sequence[int],
        conv: str | Callable[..., Any] = "gat",
        conv_options: dict[str, Any] | None = None,
        impl: str = "auto",
        norm: bool | str = True,
        activation: str = "gelu",
        residual: bool = True,
        dropout: float = 0.0,
        edge_attributes: Sequence[str] = (),
        edge_dropout: float = 0.0,
        virtual_node: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        self.topology = topology
        if not 0 <= edge_dropout < 1:
            raise ValueError(f"edge_dropout {edge_dropout}: a probability from 0 to below 1")
        self.norm = graph_norms.norm(norm, channels)
        self.edge_attributes = tuple(edge_attributes)
        width = edge_attributes_width(len(grid), self.edge_attributes) if self.edge_attributes else None
        self.conv = convs.build(conv, channels, width, grid, **(conv_options or {}))
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.residual = residual
        self.impl = impl
        self.edge_dropout = edge_dropout
        self.virtual_node = VirtualNode(channels) if virtual_node else None
        self._try(convs.name_of(conv), channels, topology.checked(grid))
        self.resize(grid)

    def forward(self, x: Tensor, topology: Topology | None = None) -> Tensor:
        """Propagates once; ``topology`` replaces the layer's own, for a diagnosis; its kernel is built in the call."""
        grid = tuple(x.shape[1:-1])
        if grid != self.grid:
            raise ValueError(
                f"tokens of grid {grid} given to a graph layer built for {self.grid} (time first): call resize() first"
            )
        kernel = self.kernel
        if topology is not None and topology != self.topology:
            kernel = kernels.find(self.conv, topology, grid, attributes=self.edge_attributes).to(x.device)
        nodes = self.norm(x).flatten(1, -2)
        out = kernel(self.conv, nodes)
        if self.virtual_node is not None and not isinstance(topology, NoEdges):
            out = out + self.virtual_node(nodes)
        return self._add(x, out.unflatten(1, grid))

    def on_edges(self, x: Tensor, edges: Edges) -> Tensor:
        """Propagates along given edges instead of the topology's, by PyG's message passing.

        **Shapes:** x (B, *grid, C) -> the same.

        Raises:
            ValueError: the edges lack what the convolution takes.
        """
        nodes = self.norm(x).flatten(1, -2)
        flat = self.conv(nodes.flatten(0, 1), **edges.given_to(self.conv, bool(self.edge_attributes)))
        out = flat.unflatten(0, nodes.shape[:2])
        if self.virtual_node is not None:
            out = out + self.virtual_node(nodes)
        return self._add(x, out.view_as(x))

    def _add(self, x: Tensor, out: Tensor) -> Tensor:
        out = self.dropout(self.activation(out))
        return x + out if self.residual else out

    def resize(self, grid: Sequence[int]) -> None:
        """Draws the graph on another token grid."""
        resize: Callable[..., None] | None = getattr(self.conv, "resize", None)
        if resize is not None:
            resize(grid)
        kernel = kernels.find(self.conv, self.topology, grid, self.impl, self.edge_attributes, self.edge_dropout)
        # APPNP without a norm has no parameter: then the old kernel is on the layer's device.
        device = next((tensor.device for tensor in (*self.parameters(), *self.buffers())), None)
        self.grid = tuple(grid)
        self.kernel = kernel if device is None else kernel.to(device)

    def _try(self, name: str, channels: int, grid: tuple[int, ...]) -> None:
        # A convolution from outside may want other inputs or give other sizes: refused now, not after the data was read.
        if not hasattr(self.conv, "grid"):
            grid = _trial_grid(self.topology, grid)
        kernel = kernels.find(self.conv, self.topology, grid, attributes=self.edge_attributes)
        training = self.conv.training
        x = torch.zeros(1, prod(grid), channels)
        try:
            with torch.no_grad():
                out = kernel.to(x.device)(self.conv.eval(), x)
        except Exception as error:
            raise ValueError(
                f"convolution {name} does not run on (x, edge_index): {type(error).__name__}: {error}"
            ) from error
        finally:
            self.conv.train(training)
        if out.shape != x.shape:
            raise ValueError(f"convolution {name} must give {channels} channels per node; it gave {out.shape[-1]}")


def _trial_grid(topology: Topology, grid: tuple[int, ...]) -> tuple[int, ...]:
    """A grid of four nodes where the topology has a graph on one, else the given: a rule may want its own number of joints."""
    small = (2, *[1] * (len(grid) - 2), 2)[: len(grid)]
    if prod(grid) <= prod(small):
        return grid
    try:
        fits = not topology.num_edges(small) or int(topology.edges(small)[0].max()) < prod(small)
    except Exception:
        # Any error of a rule of one's own on a grid that the user did not give.
        return grid
    return small if fits else grid


class MeanReadout(nn.Module):
    """Mean over all nodes. **Shapes:** (B, N, C) -> (B, C), weights None."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x.mean(1), None


class MaxReadout(nn.Module):
    """Maximum over all nodes, channel by channel. **Shapes:** (B, N, C) -> (B, C), weights None."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x.amax(1), None


READOUTS: dict[str, Callable[[int], nn.Module]] = {
    "mean": MeanReadout,
    "max": MaxReadout,
    "attention": AttentionReadout,
    "frames": FrameReadout,
    "gru": partial(FrameReadout, recurrent=True),
}


def readout(name: str | Callable[..., Any], channels: int) -> nn.Module:
    """Builds a read-out ``x (B, N, C) -> (pooled (B, C), weights (B, N) or None)``.

    One whose class says ``by_frame = True`` is given x (B, T, P, C) instead.

    Args:
        name: of ``READOUTS``; the dotted path of a class or function; the class or function ``(channels) -> module``
            itself; or a module.
        channels: C.

    Raises:
        ValueError: the name is unknown, or no module comes out.
    """
    builder = find("read-out", name, READOUTS)
    built = builder
    if not isinstance(builder, nn.Module):
        if not callable(builder):
            raise ValueError(f"read-out {name!r} is no class, function or module but {builder!r}")
        built = builder(channels)
    if not isinstance(built, nn.Module):
        raise ValueError(f"read-out {name!r} must give a torch.nn.Module; it gave {built!r}")
    return built
