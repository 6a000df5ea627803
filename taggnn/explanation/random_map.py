"""A map that knows nothing of the clip, to compare others with."""

import torch
from torch import Tensor

from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.options import Options


def random_map(given: HeadInput, target: int, options: Options) -> Tensor:
    """Uniform numbers from 0 to 1, the same for the same seed and grid. **Shapes:** -> (*grid)"""
    return torch.rand(given.grid, generator=torch.Generator().manual_seed(options.seed))
