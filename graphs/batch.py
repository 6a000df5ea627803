"""From a rule to tensors: the graph of one clip, computed at first use and cached, and the PyG Batch of many clips.

Axes: B clips, grid the token grid with time first (T H W on video), N nodes of one clip, E edges of one clip, C channels.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from .edge_attributes import edge_attributes
from .topology import Topology, listed

if TYPE_CHECKING:
    from torch_geometric.data import Batch

Tensors = TypeVar("Tensors", bound=tuple[Tensor, ...])

# Sizes of the caches; training and evaluation have two batch sizes each, the full and the last one.
_CACHED_BATCHES = 4
_CACHED_GRAPHS = 32


def graph(topology: Topology, grid: Sequence[int], device: torch.device | str = "cpu") -> "Graph":
    """Returns the graph of a topology on a grid, the same cached object each time.

    Args:
        topology: the rule.
        grid: sizes along the rule's axes, time first: (T, H, W) on video.
        device: where its tensors live; ``"cuda"`` is the current CUDA device.

    Raises:
        ValueError: ``grid`` does not fit the rule.
    """
    return _graph(topology, topology.checked(grid), _with_index(torch.device(device)))


class Graph:
    """The graph of one clip as tensors, each made at its first use; ``graph`` returns a cached one.

    The tensors are shared: read them, do not write to them. Copies and pickles carry the rule, not the
    tensors, so a module may hold a graph and stay cheap to copy, save and send to a worker.

    Args:
        topology: the rule.
        grid: sizes along the rule's axes.
        device: where the tensors live.
    """

    def __init__(self, topology: Topology, grid: tuple[int, ...], device: torch.device) -> None:
        self.topology = topology
        self.grid = grid
        self.device = device
        self.num_nodes = prod(grid)
        self.num_edges = topology.num_edges(grid)
        self._views: dict[str, tuple[Tensor, ...]] = {}
        self._batches: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def edge_index(self) -> Tensor:
        """Source (row 0) and target (row 1) of each edge, sorted by target, then source: (2, E) long."""
        return self._edges()[0]

    @property
    def edge_type(self) -> Tensor:
        """Type of each edge, 0 inside a frame and 1 between frames: (E,) long."""
        return self._edges()[1]

    @property
    def mask(self) -> Tensor:
        """Adjacency: whether an edge leads from the column to the row, self-loops left out: (N, N) bool."""
        return self._view("mask", self._mask)[0]

    @property
    def degree(self) -> Tensor:
        """Number of edges into each node, self-loops left out: (N,) long."""
        return self._view("degree", lambda: (self.topology.degree(self.grid, self.device),))[0]

    @property
    def pos(self) -> Tensor:
        """Integer coordinates of each node along the axes of the grid, (t, h, w) on video: (N, rank) long."""
        return self._view("pos", self._pos)[0]

    def attributes(self, names: Sequence[str]) -> Tensor:
        """Attributes of the edges, see ``EDGE_ATTRIBUTES``, next to each other as PyG takes them: (E, D) float32.

        Raises:
            ValueError: no name, an unknown name, or one twice.
        """
        return self._view(f"attributes {tuple(names)}", lambda: (edge_attributes(self, names),))[0]

    def batched(self, clips: int) -> tuple[Tensor, Tensor]:
        """Returns the edges of ``clips`` copies of the graph side by side, as PyG batches them.

        **Shapes:** ``edge_index`` (2, B*E) long, ``edge_type`` (B*E,) long.

        Raises:
            ValueError: ``clips`` is less than 1.
        """
        if clips < 1:
            raise ValueError(f"a batch holds at least one clip, given {clips}")
        # Taken out and put back as the newest; a thread that misses it meanwhile only makes it again.
        batch = self._batches.pop(clips, None) or _made(lambda: self._batched(clips))
        if _is_plain(batch):
            self._batches[clips] = batch
            for oldest in list(self._batches)[:-_CACHED_BATCHES]:
                self._batches.pop(oldest, None)
        return batch

    def _view(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if name in self._views:
            return self._views[name]
        tensors = _made(make)
        if _is_plain(tensors):
            self._views[name] = tensors
        return tensors

    def _edges(self) -> tuple[Tensor, ...]:
        return self._view("edges", lambda: self.topology.edges(self.grid, self.device))

    def _mask(self) -> tuple[Tensor]:
        # Who uses the mask has no use for the edge list: it is not cached here.
        source, target = (self._views.get("edges") or self.topology.edges(self.grid, self.device))[0]
        mask = torch.zeros(self.num_nodes, self.num_nodes, dtype=torch.bool, device=self.device)
        mask[target, source] = True
        return (mask,)

    def _pos(self) -> tuple[Tensor]:
        axes = [torch.arange(size, device=self.device) for size in self.grid]
        return (torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2),)

    def _batched(self, clips: int) -> tuple[Tensor, Tensor]:
        edge_index, edge_type = self._edges()
        first = self.num_nodes * torch.arange(clips, device=self.device)
        return (edge_index[:, None] + first[:, None]).flatten(1), edge_type.repeat(clips)

    def __reduce__(self) -> tuple:
        return graph, (self.topology, self.grid, self.device)

    def __repr__(self) -> str:
        return (
            f"Graph({self.topology}, grid={self.grid}, nodes={self.num_nodes}, edges={self.num_edges}, "
            f"device={str(self.device)!r})"
        )


def to_batch(tokens: Tensor, topology: Topology, attributes: Sequence[str] = ()) -> "Batch":
    """Turns backbone tokens into one PyG Batch, equal to ``Batch.from_data_list`` of one Data a clip, without a loop.

    Its edges are the cached ones, shared between calls: write to a clone. ``pos`` holds (t, h, w), or as many coordinates as
    the grid has axes, as floating point, because PyG's transforms and point convolutions compute with it; tokens of half
    precision get float32, where every coordinate is exact.

    Args:
        tokens: features of the token grid, in any memory layout; gradients flow back to them.
        topology: the rule that gives the edges.
        attributes: names of ``EDGE_ATTRIBUTES`` for ``edge_attr``, in the precision of the tokens (default: no ``edge_attr``).

    **Shapes:** tokens (B, *grid, C) -> ``x`` (B*N, C), ``edge_index`` (2, B*E), ``edge_type`` (B*E,), ``pos`` (B*N, rank),
    ``batch`` (B*N,), ``ptr`` (B + 1,), ``edge_attr`` (B*E, D).

    Raises:
        ValueError: tokens have another number of axes, or one of them is empty; or an unknown attribute.
    """
    # Imported here because rules, views and pictures do without it, and it takes seconds.
    from torch_geometric.data import Batch

    least = len(topology.axes) + 2 - (... in topology.axes)
    if tokens.dim() < least or (... not in topology.axes and tokens.dim() > least):
        expected = f"clips, {listed(topology.axes)}, channels"
        raise ValueError(f"tokens have axes ({expected}), given a tensor of shape {tuple(tokens.shape)}")
    clips, *grid, channels = tokens.shape
    one = graph(topology, grid, tokens.device)
    edge_index, edge_type = one.batched(clips)
    clip = torch.arange(clips, device=tokens.device)
    batch = Batch(
        x=tokens.reshape(clips * one.num_nodes, channels),
        edge_index=edge_index,
        pos=one.pos.to(torch.promote_types(tokens.dtype, torch.float32)).repeat(clips, 1),
        edge_type=edge_type,
        batch=clip.repeat_interleave(one.num_nodes),
        ptr=one.num_nodes * torch.arange(clips + 1, device=tokens.device),
    )
    # What from_data_list notes down so that batch[i] and to_data_list can cut the clips apart again.
    nodes = one.num_nodes * torch.arange(clips + 1, device="cpu")
    edges = one.num_edges * torch.arange(clips + 1, device="cpu")
    same = torch.zeros(clips, dtype=torch.long, device="cpu")
    batch._num_graphs = clips
    batch._slice_dict = {"x": nodes, "edge_index": edges, "pos": nodes, "edge_type": edges}
    batch._inc_dict = {"x": same, "edge_index": nodes[:-1], "pos": same, "edge_type": same}
    if attributes:
        batch.edge_attr = one.attributes(attributes).to(tokens.dtype).repeat(clips, 1)
        batch._slice_dict["edge_attr"], batch._inc_dict["edge_attr"] = edges, same
    return batch


@lru_cache(maxsize=_CACHED_GRAPHS)
def _graph(topology: Topology, grid: tuple[int, ...], device: torch.device) -> Graph:
    return Graph(topology, grid, device)


def _with_index(device: torch.device) -> torch.device:
    # Tensors name their device in full, so the key has to as well.
    if device.type in ("cpu", "meta"):
        return torch.device(device.type)
    if device.index is not None:
        return device
    current = torch.cuda.current_device() if device.type == "cuda" and torch.cuda.is_available() else 0
    return torch.device(device.type, current)


def _made(make: Callable[[], Tensors]) -> Tensors:
    # Made under inference mode, a kept tensor could never again take part in training.
    with torch.inference_mode(False):
        return make()


def _is_plain(tensors: tuple[Tensor, ...]) -> bool:
    # While torch.compile or torch.export trace, tensors are stand-ins that must not outlive the trace.
    return all(type(tensor) is Tensor for tensor in tensors)
