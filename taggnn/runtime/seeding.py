"""One seed for all random generators."""

import os
import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and PyTorch: modules of users may draw from any of them."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 the global generator is what such a module would draw from
    torch.manual_seed(seed)


def set_deterministic(wanted: bool) -> None:
    """Makes PyTorch refuse operations whose result differs from run to run, before the first product of matrices on a GPU.

    Source: https://docs.nvidia.com/cuda/cublas/#results-reproducibility: cuBLAS is deterministic with a fixed workspace only.
    """
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
