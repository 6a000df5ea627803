"""Tensors in shards: safetensors files written atomically, and one readable index with their sizes and checksums."""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from taggnn.runtime import json_file
from taggnn.runtime.atomic import write_bytes, write_text

ENDING = ".safetensors"
# A single key: the order of several may differ between files, and equal content shall give equal bytes.
_METADATA = "taggnn"
_WIDTH = 120
# Key of an index: SHA-256 of the others.
_CHECKSUM = "checksum"


def resolve_folder(given: str | Path, key: str) -> Path:
    """A user's folder, which need not exist yet.

    Args:
        given: its path.
        key: the option, for messages.

    Raises:
        ValueError: the path is empty, which would mean the working directory.
        NotADirectoryError: it, or a parent, is a file.
    """
    if not str(given).strip():
        raise ValueError(f"{key}: an empty path; give the path of a folder")
    folder = Path(given)
    existing = _nearest(folder)
    if not existing.is_dir():
        what = "is a file, not a folder" if existing == folder else f"{existing} is a file, not a folder"
        raise NotADirectoryError(f"{key} {folder}: {what}")
    return folder


def check_writable(folder: Path, key: str) -> None:
    """Refuses a folder that cannot be written or made.

    Raises:
        PermissionError: it is not writable.
    """
    if not os.access(_nearest(folder), os.W_OK | os.X_OK):
        raise PermissionError(f"{key} {folder}: cannot be written; give another folder, or the right to write into it")


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def write_shard(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Writes tensors and metadata into one file, atomically; the same content gives the same bytes.

    Args:
        path: the file.
        tensors: by name; copied to the CPU.
        metadata: plain types, read back by ``read_metadata``.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_bytes(path, safetensors.torch.save(tensors, {_METADATA: json.dumps(metadata or {}, sort_keys=True)}))


def open_shard(path: Path) -> Any:
    """An open shard, of which only the header is read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or no safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"shard {path}: no such file")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"shard {path}: damaged, or no safetensors file ({error})") from None


def metadata_of(file: Any) -> dict[str, Any]:
    """The metadata of an open shard; empty where it has none of ours."""
    try:
        return json_file.parse((file.metadata() or {}).get(_METADATA, "{}").encode(), "metadata")
    except ValueError:
        return {}


def read_shard(path: Path) -> dict[str, Tensor]:
    """All tensors of a shard, by name; raises as ``open_shard`` does."""
    with open_shard(path) as file:
        return {key: file.get_tensor(key) for key in sorted(file.keys())}


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a shard; raises as ``open_shard`` does."""
    with open_shard(path) as file:
        return metadata_of(file)


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    total = sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.hexdigest()


def file_info(path: Path) -> dict[str, Any]:
    """The entry of a file in an index: {"bytes", "sha256"}."""
    return {"bytes": path.stat().st_size, "sha256": checksum(path)}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: of each name, dtype, shape and content, in the order of the names."""
    total = sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        total.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        # Through uint8: NumPy has no bfloat16.
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


class Shards:
    """The shards of a folder, open for reading row by row.

    Sizes are checked at once, the checksum of a shard on first use: that reads the whole file, as the first epoch would.

    Args:
        folder: the folder.
        table: file name -> {"bytes", "sha256"}, from the index.
        again: advice for a bad file, for messages.

    Raises:
        FileNotFoundError: a file of the table is missing.
        ValueError: a file is shorter or longer than it was written.
    """

    def __init__(self, folder: Path, table: Mapping[str, Mapping[str, Any]], again: str):
        self.folder, self.table, self.again = folder, dict(table), again
        self._files: dict[str, Any] = {}
        for name, row in self.table.items():
            path = folder / name
            if not path.is_file():
                raise FileNotFoundError(f"shard {path}: no such file; {again}")
            if path.stat().st_size != row["bytes"]:
                size = path.stat().st_size
                raise ValueError(f"shard {path}: {size:,} bytes, but {row['bytes']:,} were written; {again}")

    def __getstate__(self) -> dict[str, Any]:
        # Open files cannot be sent to loader workers.
        return self.__dict__ | {"_files": {}}

    def verify(self, name: str) -> None:
        """Compares a shard's content with its checksum.

        Raises:
            ValueError: they differ.
        """
        found = checksum(self.folder / name)
        if found != self.table[name]["sha256"]:
            raise ValueError(
                f"shard {self.folder / name}: damaged: its checksum begins with {found[:12]}, and "
                f"{self.table[name]['sha256'][:12]} was written; {self.again}"
            )

    def row(self, name: str, key: str, row: int) -> Tensor:
        """One row of a tensor, copied from the file.

        Args:
            name: the shard's file name.
            key: the tensor in it.
            row: index along its first axis.

        Raises:
            ValueError: the shard is damaged, or has no such row.
        """
        file = self._file(name)
        try:
            return file.get_slice(key)[row]
        except (SafetensorError, IndexError, OverflowError) as error:
            raise ValueError(
                f"shard {self.folder / name}: no row {row} of {key} in it ({error}); {self.again}"
            ) from error

    def _file(self, name: str) -> Any:
        if name not in self._files:
            self.verify(name)
            self._files[name] = open_shard(self.folder / name)
        return self._files[name]


def write_index(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an index as readable JSON, with its checksum: a value that fits on a line is on one."""
    write_text(path, _readable({**content, _CHECKSUM: _checksum(content)}, 0) + "\n")


def read_index(path: Path, kind: str) -> dict[str, Any]:
    """Reads an index.

    Args:
        path: the file.
        kind: required value of its key "kind".

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, differs from its checksum where it has one, or is of another kind.
    """
    if not path.is_file():
        what = f"no {path.name} in it" if path.parent.is_dir() else "no such folder"
        raise FileNotFoundError(f"{path.parent}: {what}; expected a folder of {kind}")
    content = json_file.read(path)
    if content.get("kind") != kind:
        raise ValueError(f"{path}: expected an index of {kind}, found {str(content.get('kind'))[:80]!r}")
    stored = content.pop(_CHECKSUM, None)
    if stored is not None and stored != _checksum(content):
        raise ValueError(f"{path}: damaged, or changed since it was written: it differs from its checksum")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _readable(value: Any, depth: int) -> str:
    line = json_file.text(value)
    if len(line) + depth <= _WIDTH or not isinstance(value, Mapping | Sequence) or isinstance(value, str):
        return line
    inner = " " * (depth + 2)
    if isinstance(value, Mapping):
        parts = [f"{json_file.text(key)}: {_readable(one, depth + 2)}" for key, one in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * depth + "}"
    parts = [_readable(one, depth + 2) for one in value]
    return "[\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * depth + "]"
