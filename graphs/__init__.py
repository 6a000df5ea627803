"""Topologies as rules, their graphs as tensors, tokens as PyG batches, skeletons as data. Knows no models and no video."""

from .batch import Graph, graph, to_batch
from .bones import Bones, adjacency_subsets, distance_subsets
from .clique_chain import Chain, Clique
from .edge_attributes import EDGE_ATTRIBUTES, edge_attributes_width
from .only import Only, of_type
from .rewired import Rewired
from .skeleton import SKELETONS, Skeleton
from .spec import parse
from .topology import SPATIAL, TEMPORAL, NoEdges, Topology, Union
from .tracklet import Tracklets

__all__ = [
    "Topology",
    "Clique",
    "Chain",
    "Bones",
    "Tracklets",
    "Only",
    "Rewired",
    "of_type",
    "Union",
    "NoEdges",
    "parse",
    "SPATIAL",
    "TEMPORAL",
    "Graph",
    "graph",
    "to_batch",
    "EDGE_ATTRIBUTES",
    "edge_attributes_width",
    "Skeleton",
    "SKELETONS",
    "adjacency_subsets",
    "distance_subsets",
]
