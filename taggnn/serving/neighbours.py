"""The training clips that are to the model most like a clip: cosine similarity of the vectors before the classifier.

The vectors of all training clips are an index, ``neighbours.safetensors`` in the run folder, that belongs to one file of weights.

Axes: N clips of the index, D channels.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor

from taggnn.data.clips import Clip
from taggnn.runtime import atomic, json_file, schema

FILE = "neighbours.safetensors"
FORMAT = "1"
# name, path, label, start, stop, origin, member: the fields of a clip.
_ROW = tuple[str, str, int, float | None, float | None, float | None, str | None]


@dataclass(frozen=True)
class Neighbour:
    """A training clip and how alike it is.

    Args:
        clip: the clip.
        similarity: cosine, -1 to 1.
    """

    clip: Clip
    similarity: float


@dataclass(frozen=True)
class Index:
    """The vectors of training clips.

    Args:
        vectors: of length 1.
        clips: of each, N of them.
        model: digest of the file of weights.

    **Shapes:** vectors float32 (N, D)
    """

    vectors: Tensor
    clips: Sequence[Clip]
    model: str

    def nearest(self, vector: Tensor, count: int) -> list[Neighbour]:
        """The most similar clips, the most similar first. **Shapes:** vector (D,), of length 1"""
        best = (self.vectors @ vector).topk(min(count, len(self.clips)))
        return [
            Neighbour(self.clips[index], similarity)
            for similarity, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def write(self, path: Path) -> Path:
        """Writes the file atomically; raises as ``atomic.replacing``."""
        rows = [
            (clip.name, clip.path, clip.label, clip.start, clip.stop, clip.origin, clip.member) for clip in self.clips
        ]
        text = json_file.text({"rows": rows}).encode()
        tensors = {"vectors": self.vectors.contiguous(), "clips": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
        return atomic.write_bytes(path, as_bytes(tensors, {"format": FORMAT, "model": self.model}))

    @classmethod
    def read(cls, path: Path, model: str) -> "Index | None":
        """Reads what ``write`` wrote; None where there is no file, or one of other weights.

        Args:
            path: the file.
            model: digest of the weights.

        Raises:
            ValueError: another kind of file, or a damaged one; names it.
        """
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if (about.get("format"), about.get("model")) != (FORMAT, model):
                    return None
                vectors, text = file.get_tensor("vectors"), file.get_tensor("clips")
        except SafetensorError as error:
            raise ValueError(f"{path}: not an index of neighbours, or damaged ({error}); remove it") from error
        if text.dtype != torch.uint8 or vectors.dtype != torch.float32 or vectors.ndim != 2:
            raise ValueError(f"{path}: not an index of neighbours; remove it")
        found = json_file.parse(bytes(text.numpy()), f"{path}, clips")
        schema.check(found, dict[str, list[_ROW]], f"{path}, clips")
        clips = [Clip(row[1], row[2], row[0], *row[3:]) for row in found.get("rows", [])]
        if len(clips) != len(vectors):
            raise ValueError(f"{path}: {len(vectors)} vectors of {len(clips)} clips; remove it")
        return cls(vectors, clips, model)


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    # Python 3.10.
    found = hashlib.sha256()
    while block := file.read(2**20):
        found.update(block)
    return found.hexdigest()


def as_plain(clip: Clip) -> dict[str, Any]:
    """A clip for a request to a process."""
    return json.loads(json.dumps(vars(clip)))
