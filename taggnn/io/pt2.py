"""The weights and the metadata of a ``.pt2`` that ``taggnn.export`` wrote; its program is left alone.

``torch.export.load`` executes Python code made of names in the file, and programs may open files. taggnn therefore builds the
model anew from its architecture; the program is for PyTorch without taggnn.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taggnn.io import metadata
from taggnn.runtime import archive

# Numbers of data types in the files: ScalarType of PyTorch.
_DTYPES = {
    **{1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16},
    **{7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16},
}
_CONFIG = "data/weights/model_weights_config.json"
# The exported module holds the recogniser under this name.
PREFIX = "recogniser."


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the state dict of the recogniser, and the metadata.

    Args:
        path: the file.

    Raises:
        ValueError: damaged, not written by ``taggnn.export``, or with weights in another form; names the entry.
    """
    archive.check(path, str(path))
    with zipfile.ZipFile(path) as file:
        # Everything lies in one folder, whose name is free.
        entries = {name.partition("/")[2]: name for name in file.namelist()}
        if f"extra/{metadata.META}" not in entries or _CONFIG not in entries:
            raise metadata.foreign(str(path))
        meta = metadata.read(file.read(entries[f"extra/{metadata.META}"]), str(path))
        state: dict[str, Tensor] = {}
        try:
            described = json.loads(file.read(entries[_CONFIG]))["config"]
            for name, row in described.items():
                content = file.read(entries[f"data/weights/{row['path_name']}"])
                state[name.removeprefix(PREFIX)] = _tensor(content, row["tensor_meta"])
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path}: damaged: its weights are not as {_CONFIG} describes them ({error})") from error
    return state, meta


def _tensor(content: bytes, described: Mapping[str, Any]) -> Tensor:
    """A tensor of the bytes of its storage.

    Raises:
        ValueError: the bytes do not hold it.
    """
    dtype = _DTYPES[described["dtype"]]
    size: list[int]
    stride: list[int]
    size, stride = ([int(one["as_int"]) for one in described[key]] for key in ("sizes", "strides"))
    offset = int(described["storage_offset"]["as_int"])
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    held = len(content) // dtype.itemsize
    if min([offset, *size, *stride], default=0) < 0:
        raise ValueError(f"sizes {size} and strides {stride} from {offset}")
    count = torch.Size(size).numel()
    # Steps of 0 would make a large tensor of a few bytes.
    if count > held or (count and last >= held):
        raise ValueError(f"{len(content):,} bytes do not hold {size} of {dtype}")
    if not count:
        return torch.empty(size, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype).as_strided(size, stride, offset)
