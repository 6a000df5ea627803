"""Tracklets: the same region of a clip in neighbouring frames.

Axes: T frames, R regions, N = T*R nodes, node n = t*R + region.
"""

from dataclasses import dataclass
from typing import ClassVar

from .clique_chain import Chain
from .topology import Axes


@dataclass(frozen=True)
class Tracklets(Chain):
    """R chains over time: each region is connected to itself up to ``reach`` frames before and after, edges of type 1.

    Source: the tracklets of ART, https://arxiv.org/abs/2511.21202; as edges of a graph [ours]. A ``Chain`` whose positions are
    regions, so that every implementation of a chain computes it. E = 2 * R * sum_{d=1..r} (T - d) with r = min(reach, T - 1).

    Args:
        reach: the largest distance in frames, at least 1 (default 1).

    Raises:
        ValueError: ``reach`` is not a positive integer; in the methods, a grid other than (T, R).
    """

    axes: ClassVar[Axes] = ("frames", "regions")
