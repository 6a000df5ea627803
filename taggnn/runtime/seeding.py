"""One seed for all random generators."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and PyTorch: modules of users may draw from any of them."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 the global generator is what such a module would draw from
    torch.manual_seed(seed)
