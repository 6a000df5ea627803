"""The temporal chain of a map: the most important position of every frame.

Axes: T frames, grid the token grid with time first, P positions of a frame.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor


class Link(NamedTuple):
    """The most important position of a frame.

    Args:
        frame: of the tokens, from 0.
        position: indices along the axes of a frame: (row, column) on video, (joint,) on skeletons.
        value: its importance.
        share: its share of what speaks for the class in the whole clip, 0 to 1.
    """

    frame: int
    position: tuple[int, ...]
    value: float
    share: float


def temporal_chain(values: Tensor) -> list[Link]:
    """Reads the chain of a map off; of equal values the first position counts.

    **Shapes:** (*grid) -> T links
    """
    flat, sizes = values.reshape(len(values), -1), values.shape[1:]
    best, whole = flat.argmax(1), flat.clamp(min=0).sum().item()
    links = []
    for frame, index in enumerate(best.tolist()):
        value = flat[frame, index].item()
        position = tuple(int(one) for one in torch.unravel_index(torch.tensor(index), sizes)) if prod(sizes) else ()
        links.append(Link(frame, position, value, max(value, 0.0) / whole if whole > 0 else 0.0))
    return links
