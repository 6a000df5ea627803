"""Topologies as rules, their graphs as tensors, tokens as PyG batches. Knows no models and no video."""

from .batch import Graph, graph, to_batch
from .clique_chain import Chain, Clique
from .spec import parse
from .topology import SPATIAL, TEMPORAL, NoEdges, Topology, Union

__all__ = [
    "Topology",
    "Clique",
    "Chain",
    "Union",
    "NoEdges",
    "parse",
    "SPATIAL",
    "TEMPORAL",
    "Graph",
    "graph",
    "to_batch",
]
