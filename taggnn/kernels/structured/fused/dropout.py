"""The weights that the loops' dropout keeps, written out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taggnn.kernels.structured.fused import library


def keep(nodes: Sequence[int], columns: int, dropout: float, seed: Tensor | None) -> Tensor | None:
    """Which weights are kept: ``columns`` for each node of each head; None without dropout. **Shapes:** -> (*nodes, columns)"""
    if seed is None:
        return None
    loops = library.load()
    assert loops is not None
    kept = torch.empty(*nodes, columns, dtype=torch.bool, device="cpu")
    loops.call("keep", kept, kept[..., 0].numel(), columns, float(dropout), int(seed))
    return kept
