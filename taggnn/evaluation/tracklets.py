"""The tracklets of a clip: the attention of each region over the positions of every frame, its path, its weights, its text.

A head has them where its ``Output.extras`` hold ``regions``. A run keeps those of a few clips in ``RUN/tracklets``, a
safetensors file each, from which the report draws them.

Axes: T frames of the tokens, F frames of the input, R regions, H W the token grid of a frame, P positions of a frame,
h w the picture.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import NotRequired, TypedDict

from taggnn.runtime import json_file, schema
from taggnn.runtime.atomic import replacing

FOLDER, ENDING = "tracklets", ".safetensors"
# The key of the text in a file.
_METADATA = "tracklets"


class _Facts(TypedDict):
    """The text of a file."""

    name: str
    truth: str
    predicted: str
    probability: float
    texts: NotRequired[list[str]]
    positions: NotRequired[list[str]]


@dataclass(frozen=True)
class Tracklets:
    """The tracklets of one clip.

    Args:
        name: of the clip.
        truth: its class.
        predicted: the class that the model gave it.
        probability: of that class.
        regions: attention over the positions of each frame, which sums to 1 over them.
        weights: how much each frame counts for each region; None: not known.
        texts: the text that each region answers to; empty: there is none.
        pictures: the clip for people; None: the input has no pictures.
        positions: names of the positions of a frame, such as joints; empty: they have none.

    **Shapes:** regions float32 (T, R, H, W), or (T, R, P) where positions do not cover the picture in rows and columns;
    weights float32 (T, R); pictures uint8 (F, h, w, 3)

    Raises:
        ValueError: shapes or lengths that do not fit, or attention that is not finite.
    """

    name: str
    truth: str
    predicted: str
    probability: float
    regions: Tensor
    weights: Tensor | None = None
    texts: Sequence[str] = ()
    pictures: Tensor | None = None
    positions: Sequence[str] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.regions.shape)
        if len(shape) not in (3, 4) or 0 in shape:
            raise ValueError(
                f"regions {shape}: must be (frames, regions, positions) or (frames, regions, height, width)"
            )
        if not _finite(self.regions):
            raise ValueError(f"regions {self.regions.dtype}: must be finite numbers of float32")
        weights, pictures, count = self.weights, self.pictures, len(self.texts)
        if weights is not None and (tuple(weights.shape) != shape[:2] or not _finite(weights)):
            raise ValueError(
                f"weights {weights.dtype} {tuple(weights.shape)}: must be finite numbers of float32, of {shape[0]} frames and "
                f"{shape[1]} regions"
            )
        if pictures is not None and (pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3):
            raise ValueError(
                f"pictures {pictures.dtype} {tuple(pictures.shape)}: must be uint8 (frames, height, width, 3)"
            )
        if pictures is not None and 0 in pictures.shape:
            raise ValueError(f"pictures {tuple(pictures.shape)}: there are none")
        if count not in (0, shape[1]):
            raise ValueError(f"texts: {count} of {shape[1]} regions")

    @property
    def right(self) -> bool:
        """Whether the model gave the clip its class."""
        return self.truth == self.predicted

    @property
    def spatial(self) -> bool:
        """Whether the positions of a frame are rows and columns of it."""
        return self.regions.ndim == 4

    def write(self, path: str | os.PathLike) -> Path:
        """Writes the file, all or nothing.

        Raises:
            OSError: as `taggnn.runtime.atomic.replacing`.
        """
        tensors = {"regions": self.regions, "weights": self.weights, "pictures": self.pictures}
        facts = {key: getattr(self, key) for key in ("name", "truth", "predicted", "probability")}
        present = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
        facts |= {"texts": list(self.texts), "positions": list(self.positions)}
        with replacing(path) as temporary:
            # Not save_file, which closes the file to all but its owner. Surrogates in names are escaped.
            temporary.write_bytes(safetensors.torch.save(present, {_METADATA: json.dumps(facts)}))
        return Path(path)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Tracklets":
        """Reads what ``write`` wrote.

        Raises:
            ValueError: another kind of file, or one that is damaged; names it.
        """
        try:
            with safe_open(path, "pt") as file:
                text = (file.metadata() or {}).get(_METADATA)
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: no readable file of tracklets: {error}") from error
        if text is None or "regions" not in tensors:
            raise ValueError(f"{path}: holds no tracklets")
        facts: dict[str, Any] = json_file.parse(text.encode(), str(path))
        schema.check(facts, _Facts, str(path))
        given: dict[str, Any] = {key: value for key, value in facts.items() if key in cls.__dataclass_fields__}
        given |= {key: tensors.get(key) for key in ("regions", "weights", "pictures")}
        try:
            return cls(**given)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _finite(values: Tensor) -> bool:
    # PyTorch has no isfinite for types of 8 bits.
    return values.dtype in (torch.float32, torch.float64) and bool(values.isfinite().all())


def paths(regions: Tensor) -> Tensor:
    """Where each region is in each frame: the peak of its attention, the first of equal ones.

    On a grid of rows and columns it is the centre of mass of the peak and its eight neighbours, so that a path does not jump
    from cell to cell. Source: ours. Formula: ``sum_q a_q (q + 1/2) / sum_q a_q`` over those cells, divided by the grid's sizes.

    Args:
        regions: attention, 0 or more.

    **Shapes:** (T, R, H, W) -> (T, R, 2), x to the right and y downwards, from 0 to 1; (T, R, P) -> (T, R, 1), from 0 to 1
    """
    regions = regions.double().clamp(min=0)
    peak = regions.flatten(2).argmax(-1)
    if regions.ndim == 3:
        return ((peak.double() + 0.5) / regions.shape[2]).unsqueeze(-1)
    height, width = regions.shape[2:]
    rows, columns = torch.arange(height, dtype=torch.double), torch.arange(width, dtype=torch.double)
    near_row = (rows - (peak // width).unsqueeze(-1)).abs() <= 1
    near_column = (columns - (peak % width).unsqueeze(-1)).abs() <= 1
    cells = regions * near_row.unsqueeze(-1) * near_column.unsqueeze(-2)
    # Where there is no attention at all, every cell counts alike.
    cells = torch.where(
        cells.sum((-2, -1), keepdim=True) > 0, cells, (near_row.unsqueeze(-1) & near_column.unsqueeze(-2))
    )
    cells = cells / cells.sum((-2, -1), keepdim=True)
    x, y = (cells.sum(-2) * (columns + 0.5)).sum(-1) / width, (cells.sum(-1) * (rows + 0.5)).sum(-1) / height
    return torch.stack([x, y], -1)


def strength(regions: Tensor) -> Tensor:
    """How strongly a region's attention is drawn: 0 at uniform attention or below, 1 at its peak in the clip.

    Source: ours; unlike a division by the peak it shows nothing where attention is spread evenly.
    Formula: ``max(0, a - u) / (max a - u)`` with ``u = 1 / P``; 0 where the peak is not above 1.001 u.

    **Shapes:** (T, R, *) -> the same
    """
    flat = regions.double().clamp(min=0).flatten(2)
    even = 1 / flat.shape[2]
    above = flat - even
    peak = above.amax((0, 2), keepdim=True)
    return torch.where(peak > 1e-3 * even, above.clamp(min=0) / peak, torch.zeros(())).view(regions.shape).float()


def peak_ratio(regions: Tensor) -> Tensor:
    """The largest attention of each region in the clip, as a multiple of uniform attention.

    **Shapes:** (T, R, *) -> (R,)
    """
    flat = regions.flatten(2)
    return flat.amax((0, 2)) * flat.shape[2]


def token_frame(frame: int, frames: int, tokens: int) -> int:
    """The frame of the tokens that covers a frame of the input.

    Args:
        frame: index of the frame of the input.
        frames: F.
        tokens: T.
    """
    return (2 * frame + 1) * tokens // (2 * frames)


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps of a token grid in the size of a picture, bilinear between the centres of the cells.

    **Shapes:** (T, R, H, W) -> (T, R, height, width)
    """
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
