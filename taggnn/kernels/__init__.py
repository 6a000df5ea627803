"""How a convolution is computed on a graph: one file per implementation, none of which owns a weight.

A kernel is ``(conv, x) -> out``, made once for a topology and a grid: the PyG convolution owns the weights and defines the
result, the kernel decides the speed. Checkpoints do not depend on it, and kernels can be compared with the same weights.

To add an implementation: a file with ``propagation(family, topology, grid) -> nn.Module``, which computes a family of
``taggnn.kernels.operators`` or raises a ValueError with the reason, and its name in ``IMPLS``.
"""

import importlib
import logging
from collections.abc import Sequence
from math import prod

from torch import nn

from graphs import Topology
from taggnn.kernels import operators, pyg
from taggnn.kernels.kernel import Kernel
from taggnn.names import unknown

log = logging.getLogger(__name__)

# Imported at first use, because torch-scatter and Triton need not be there.
IMPLS: dict[str, str] = {
    "pyg": "PyG's message passing over the edge list, the reference; any convolution, any topology",
    "scatter": "torch-scatter segments over the edge list in CSR form; any topology",
    "dense": "masked N x N matrices; any topology",
    "structured": "closed forms and blocks of clique, chain and any fixed graph of a frame",
    "flex": "FlexAttention with a block mask; CUDA",
    "triton": "fused attention over frames and their neighbours; CUDA",
}
CUDA_ONLY = ("flex", "triton")


def find(
    conv: nn.Module,
    topology: Topology,
    grid: Sequence[int],
    impl: str = "auto",
    attributes: Sequence[str] = (),
    edge_dropout: float = 0.0,
) -> nn.Module:
    """Builds the kernel that computes a convolution on a topology and grid; called once, when a layer is built.

    Args:
        conv: the convolution that owns the weights; not stored.
        topology: the rule it will run on.
        grid: sizes of the token grid of one clip, time first: (T, H, W) on video; any rank that the topology takes.
        impl: a name of ``IMPLS``, or "auto" (default): "structured" where it supports the convolution, its options and the
            topology, else "pyg". "flex" and "triton" are taken by name only.
        attributes: names of ``graphs.EDGE_ATTRIBUTES`` that the convolution is given; "pyg" alone has them (default none).
        edge_dropout: probability that training leaves an edge out; "pyg" alone can (default 0).

    Returns:
        A module without parameters and without saved buffers, ``kernel(conv, x)`` with **Shapes** x (B, N, C) -> (B, N, C');
        ``kernel.impl`` is the implementation's name.

    Raises:
        ValueError: ``impl`` is unknown, or refuses this convolution, one of its options, or the topology; or the package it
            needs is not there.
    """
    grid = topology.checked(grid)
    if impl == "auto":
        try:
            return find(conv, topology, grid, "structured", attributes, edge_dropout)
        except ValueError as error:
            log.info("%s on %s is computed on its edge list (impl pyg): %s", type(conv).__name__, topology, error)
            return find(conv, topology, grid, "pyg", attributes, edge_dropout)
    if impl not in IMPLS:
        raise unknown("implementation", impl, ["auto", *IMPLS])
    if impl == "pyg":
        return pyg.EdgeList(conv, topology, grid, attributes, edge_dropout)
    if attributes:
        raise ValueError(f"impl {impl}: edge attributes ({', '.join(attributes)}) run on edge lists only (impl pyg)")
    if edge_dropout:
        raise ValueError(f"impl {impl}: an edge_dropout of {edge_dropout} runs on edge lists only (impl pyg)")
    try:
        operator = operators.read(conv)
        module = importlib.import_module(f"taggnn.kernels.{impl}")
        return Kernel(impl, operator, module.propagation(operator.family, topology, grid), prod(grid))
    except ValueError as error:
        raise ValueError(f"impl {impl}: {error}") from error
    except ImportError as error:
        package = {"scatter": "torch-scatter", "triton": "triton"}.get(impl, impl)
        raise ValueError(
            f"impl {impl} needs the package {package}, which cannot be imported ({error}); possible without it: auto, pyg, "
            "structured, dense"
        ) from error
