"""TAG-Head: Transformer encoder and space-time graph over the tokens of a clip.

Axes: B clips, grid the token grid with time first (T H W on video, T V on skeletons), N nodes of one clip, C channels, K classes,
A attention heads.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from torch import Tensor, nn

from graphs import Topology, parse
from taggnn.names import unknown
from taggnn.nn.graph_batch import take_apart
from taggnn.nn.layers import GraphLayer, PositionTable, encoder
from taggnn.nn.layers import readout as build_readout
from taggnn.types import Output

if TYPE_CHECKING:
    from torch_geometric.data import Data


class TagHead(nn.Module):
    """Tokens -> position -> Transformer encoder -> graph layers -> read-out -> logits.

    Source: TAG-Head, https://arxiv.org/abs/2604.11498. The released head is ``TagHead.released``; the defaults here are ours:
    there the mean over all nodes nearly cancels a linear propagation, so that the graph hardly moves the logits. A learned
    convolution with a non-linearity and a residual, read out by attention, gives the graph something to do.

    Formula::

        X0     = project(tokens) + E
        X      = Encoder(X0)
        X      = X + act(conv(LayerNorm(X), edges))        for each graph layer
        logits = W dropout(LayerNorm(readout_n(X))) + b

    With ``graph_first`` the graph layers come before the encoder [ours].

    Args:
        channels: C of the backbone's tokens.
        grid: sizes of the token grid of one clip, time first; as many axes as the topology takes, any number for the built-in.
        classes: K.
        dim: channels inside the head; where it differs from ``channels`` a linear layer and LayerNorm lead there [ours]. None
            (default): ``channels``, but 512 at most.
        position: "joint", one table for all positions (as released, default), or "factorised", one table an axis.
        position_std: standard deviation of its normal start (default 0.02; released 1).
        encoder_layers: Transformer layers (default 2); 0 leaves the encoder out.
        encoder_heads: A of the encoder (default 8).
        ffn: channels of the encoder's feed-forward part; None (default): 2*dim.
        norm_first: pre-norm (default) or post-norm (released).
        encoder_activation: "gelu" (default) or "relu" (released).
        dropout: probability inside the encoder (default 0.1; released 0.5).
        conv: graph convolution: a name of ``convs.CONVS``, the dotted path of a class or, in Python, the class itself; see
            ``convs.build`` (default "gat").
        conv_options: further arguments of the convolution, by name.
        graph_layers: how many (default 1); 0 leaves the graph out.
        graph_first: the graph layers before the encoder (default after it, as released): neighbours are then mixed while tokens
            are still local.
        graph_norm: what comes before each convolution: true, LayerNorm (default), "graph", GraphNorm, or "pair", PairNorm, see
            ``graph_norms.NORMS``; false for nothing.
        graph_activation: after each convolution: "gelu" (default), "relu", "elu", "none".
        graph_residual: add a graph layer's input to its output (default).
        graph_dropout: dropout probability after each graph layer's activation (default 0).
        topology: the edges: "clique+chain" (default), "clique", "chain", "none"; the dotted path of a rule of your own, such
            as "mine.rules.Bones(joints=17)", or a sum; in Python also a rule or its class, see ``graphs.Topology``.
        reach: how many frames the chain reaches in each direction (default 1).
        impl: how the convolution is computed; never changes the result (default "auto").
        edge_attributes: what a convolution that takes ``edge_attr`` is given of each edge: any of "type", "offset", "direction",
            "distance", see ``graphs.EDGE_ATTRIBUTES``; it then runs on the edge list (default none).
        edge_dropout: probability that training leaves an edge out, drawn at each step; it then runs on the edge list (default 0).
        graph_virtual_node: each graph layer has a further node that is connected to all others (default no).
        readout: "attention" (default), "mean", "max", "frames", attention over the positions of each frame and then over the
            frames, or "gru", the same with a recurrent network over the frames; or the dotted path of a class
            ``(channels) -> module``; in Python also the class itself.
        classifier_dropout: probability before the last linear layer (default 0).

    **Shapes:** tokens (B, *grid, C), or a PyG ``Batch`` of clips with x (B*N, C) whose own edges are then used, by PyG's
    message passing -> ``Output``: logits (B, K) and extras ``encoded``, after the encoder, ``propagated``, after the graph, and
    ``nodes``, what is read out, each (B, *grid, dim), ``pooled`` (B, dim), and ``weights`` (B, *grid) where the read-out has
    weights; no losses.

    Raises:
        ValueError: an unknown name or option, or sizes that do not divide; in ``forward``, tokens of another grid, or a batch
            whose edges lack what the convolution takes.
    """

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Output]

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        classes: int,
        *,
        dim: int | None = None,
        position: Literal["joint", "factorised"] = "joint",
        position_std: float = 0.02,
        encoder_layers: int = 2,
        encoder_heads: int = 8,
        ffn: int | None = None,
        norm_first: bool = True,
        encoder_activation: Literal["relu", "gelu"] = "gelu",
        dropout: float = 0.1,
        conv: str | Callable[..., Any] = "gat",
        conv_options: dict[str, Any] | None = None,
        graph_layers: int = 1,
        graph_first: bool = False,
        graph_norm: bool | Literal["layer", "graph", "pair"] = True,
        graph_activation: str = "gelu",
        graph_residual: bool = True,
        graph_dropout: float = 0.0,
        topology: str | Topology | type[Topology] = "clique+chain",
        reach: int = 1,
        impl: str = "auto",
        edge_attributes: list[str] | None = None,
        edge_dropout: float = 0.0,
        graph_virtual_node: bool = False,
        readout: str | Callable[..., Any] = "attention",
        classifier_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if position not in ("joint", "factorised"):
            raise unknown("position table", position, ["joint", "factorised"])
        dim = min(channels, 512) if dim is None else dim
        self.grid = tuple(grid)
        self.topology = _rule(topology, reach)
        project = [nn.Linear(channels, dim), nn.LayerNorm(dim)] if dim != channels else []
        self.project = nn.Sequential(*project)
        self.position = PositionTable(dim, grid, factorised=position == "factorised", std=position_std)
        self.encoder = encoder(dim, encoder_layers, encoder_heads, ffn, dropout, norm_first, encoder_activation)
        self.graph_first = graph_first
        self.propagation = nn.ModuleList(
            GraphLayer(
                dim,
                self.topology,
                self.grid,
                conv,
                conv_options,
                impl,
                norm=graph_norm,
                activation=graph_activation,
                residual=graph_residual,
                dropout=graph_dropout,
                edge_attributes=edge_attributes or (),
                edge_dropout=edge_dropout,
                virtual_node=graph_virtual_node,
            )
            for _ in range(graph_layers)
        )
        self.readout = build_readout(readout, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(classifier_dropout)
        self.classifier = nn.Linear(dim, classes)

    @classmethod
    def released(
        cls, channels: int, grid: Sequence[int], classes: int, *, ffn: int = 1024, impl: str = "auto"
    ) -> "TagHead":
        """Builds the head exactly as its authors released it.

        Source: TAG-Head, https://arxiv.org/abs/2604.11498, released code: a joint table from N(0, 1), two post-norm ReLU
        layers with dropout 0.5, APPNP with K = 2 and alpha = 0.1 on clique + chain, mean, LayerNorm, Linear.

        Args:
            channels: C of the backbone's tokens; where it is not 512, a linear layer and LayerNorm lead there [ours].
            grid: sizes of the token grid of one clip, time first.
            classes: K.
            ffn: channels of the feed-forward part: 512 (HAA500), 1024 (Gym99, default), 2048 (Gym288).
            impl: how the propagation is computed; never changes the result (default "auto").
        """
        return cls(
            channels,
            grid,
            classes,
            dim=512,
            position_std=1.0,
            ffn=ffn,
            norm_first=False,
            encoder_activation="relu",
            dropout=0.5,
            conv="appnp",
            graph_norm=False,
            graph_activation="none",
            graph_residual=False,
            impl=impl,
            readout="mean",
        )

    @classmethod
    def graph_only(
        cls,
        channels: int,
        grid: Sequence[int],
        classes: int,
        *,
        dim: int | None = None,
        conv: str | Callable[..., Any] = "gatv2",
        conv_options: dict[str, Any] | None = None,
        graph_layers: int = 2,
        graph_dropout: float = 0.0,
        topology: str | Topology | type[Topology] = "clique+chain",
        reach: int = 1,
        impl: str = "auto",
        edge_dropout: float = 0.0,
        readout: str | Callable[..., Any] = "attention",
        classifier_dropout: float = 0.0,
    ) -> "TagHead":
        """Builds the head without a Transformer encoder: position, graph layers and read-out alone [ours].

        The encoder is nearly all of the head's cost; what is left mixes tokens by the graph only. Every argument is as for
        ``TagHead``, with another default where one is stated.

        Args:
            channels: C of the backbone's tokens.
            grid: sizes of the token grid of one clip, time first.
            classes: K.
            dim: channels inside the head.
            conv: graph convolution (default "gatv2").
            conv_options: its further arguments, by name.
            graph_layers: how many (default 2).
            graph_dropout: dropout probability after each graph layer's activation.
            topology: the edges.
            reach: how many frames the chain reaches in each direction.
            impl: how the convolution is computed; never changes the result.
            edge_dropout: probability that training leaves an edge out.
            readout: the read-out.
            classifier_dropout: probability before the last linear layer.
        """
        return cls(
            channels,
            grid,
            classes,
            dim=dim,
            encoder_layers=0,
            conv=conv,
            conv_options=conv_options,
            graph_layers=graph_layers,
            graph_dropout=graph_dropout,
            topology=topology,
            reach=reach,
            impl=impl,
            edge_dropout=edge_dropout,
            readout=readout,
            classifier_dropout=classifier_dropout,
        )

    def forward(
        self, tokens: "Tensor | Data", targets: Tensor | None = None, topology: Topology | None = None
    ) -> Output:
        """Classifies the tokens; ``topology`` replaces the head's own, for a diagnosis; a batch has its own edges."""
        edges = None
        if not isinstance(tokens, Tensor):
            tokens, edges = take_apart(tokens, self.grid)
        x = self.position(self.project(tokens))
        if self.graph_first:
            propagated = self._propagated(x, topology, edges)
            x = encoded = self._encoded(propagated)
        else:
            encoded = self._encoded(x)
            x = propagated = self._propagated(encoded, topology, edges)
        by_frame = getattr(self.readout, "by_frame", False)
        nodes = x.flatten(1, -2)
        pooled, weights = self.readout(nodes.unflatten(1, (self.grid[0], -1)) if by_frame else nodes)
        extras = {"encoded": encoded, "propagated": propagated, "nodes": x, "pooled": pooled}
        if weights is not None:
            extras["weights"] = weights.unflatten(1, self.grid)
        return Output(self.classifier(self.dropout(self.norm(pooled))), extras)

    def _encoded(self, x: Tensor) -> Tensor:
        """**Shapes:** (B, *grid, dim) -> (B, *grid, dim)"""
        return self.encoder(x.flatten(1, -2)).unflatten(1, self.grid)

    def _propagated(self, x: Tensor, topology: Topology | None, edges: "Data | None") -> Tensor:
        """**Shapes:** (B, *grid, dim) -> (B, *grid, dim)"""
        for layer in self.propagation:
            x = layer(x, topology) if edges is None else cast(GraphLayer, layer).on_edges(x, edges)
        return x

    def resize(self, grid: Sequence[int]) -> None:
        """Adapts the head to another token grid: the position table is interpolated, the graph is built again."""
        self.position.resize(grid)
        self.grid = tuple(grid)
        for layer in self.propagation:
            assert isinstance(layer, GraphLayer)
            layer.resize(grid)


def _rule(given: str | Topology | type[Topology], reach: int) -> Topology:
    if isinstance(given, type) and issubclass(given, Topology):
        rule = given
        try:
            return rule()
        except TypeError as error:
            raise ValueError(f"topology {rule.__name__}: {error}; give an instance instead of the class") from error
    return given if isinstance(given, Topology) else parse(given, reach=reach)
