"""The edges of every graph layer of a head replaced by others; the weights of its convolutions stay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from graphs import SPATIAL, TEMPORAL, NoEdges, Rewired, Topology, of_type
from taggnn import kernels
from taggnn.evaluation.ablation.altered import Altered, NotApplicable
from taggnn.nn.layers import GraphLayer


def none(model: nn.Module, draw: int) -> Altered:
    """No edge in any layer."""
    return _replaced(model, lambda rule: NoEdges(), empty=True)


def spatial(model: nn.Module, draw: int) -> Altered:
    """The edges inside of frames alone."""
    return _replaced(model, lambda rule: of_type(rule, SPATIAL))


def temporal(model: nn.Module, draw: int) -> Altered:
    """The edges between frames alone."""
    return _replaced(model, lambda rule: of_type(rule, TEMPORAL))


def rewired(model: nn.Module, draw: int) -> Altered:
    """Random edges, as many of each type at every node, see `graphs.Rewired`; ``kept`` is the share that is as before."""
    layers = layers_of(model)
    graphs = {(layer.topology, layer.grid) for layer in layers}
    sizes = [rule.num_edges(grid) for rule, grid in graphs]
    if not sum(sizes):
        raise NotApplicable("its graph layers have no edges")
    stays = [Rewired(rule, draw).kept(grid) * size for (rule, grid), size in zip(graphs, sizes, strict=True)]
    kept = sum(stays) / sum(sizes)
    if kept == 1:
        raise NotApplicable("no other graph has these degrees: all nodes are neighbours")
    altered = _replaced(model, lambda rule: Rewired(rule, draw))
    return altered._replace(facts={**altered.facts, "kept": kept})


def layers_of(model: nn.Module) -> list[GraphLayer]:
    """The graph layers of a model's head.

    Raises:
        NotApplicable: it has none, or no edges.
    """
    head = getattr(model, "head", None)
    if head is None:
        raise NotApplicable("an exported program cannot leave out a part; model.safetensors can")
    layers = [part for part in head.modules() if isinstance(part, GraphLayer)]
    if not layers:
        raise NotApplicable("its head has no graph layer")
    if all(not layer.topology.num_edges(layer.grid) for layer in layers):
        raise NotApplicable("its graph layers have no edges")
    return layers


def _replaced(model: nn.Module, other: Callable[[Topology], Topology], empty: bool = False) -> Altered:
    layers = layers_of(model)
    # Built once for all batches.
    found = []
    for layer in layers:
        rule = other(layer.topology)
        if not isinstance(rule, NoEdges) and not rule.num_edges(layer.grid):
            rule = NoEdges()
        device = next((tensor.device for tensor in (*layer.parameters(), *layer.buffers())), "cpu")
        # No other implementation gains on an irregular graph, and looking for one lists its edges.
        impl = "pyg" if isinstance(rule, Rewired) else "auto"
        found.append((rule, kernels.find(layer.conv, rule, layer.grid, impl).to(device)))
    before = [layer.topology.num_edges(layer.grid) for layer in layers]
    after = [rule.num_edges(layer.grid) for layer, (rule, _) in zip(layers, found, strict=True)]
    if before == after and not any(isinstance(rule, Rewired) for rule, _ in found):
        raise NotApplicable("it has no other edges: the same as trained")
    if not sum(after) and not empty:
        raise NotApplicable("it has no such edges: the same as without any")

    @contextmanager
    def head() -> Iterator[None]:
        own = [(layer.topology, layer.kernel) for layer in layers]
        try:
            for layer, (rule, kernel) in zip(layers, found, strict=True):
                layer.topology, layer.kernel = rule, kernel
            yield
        finally:
            for layer, (rule, kernel) in zip(layers, own, strict=True):
                layer.topology, layer.kernel = rule, kernel

    return Altered(head=head, facts={"edges": sum(after), "edges_trained": sum(before)})
