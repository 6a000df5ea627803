"""What a network takes of a clip, where it is not the clip: frames as images, or a list of pathways.

Axes: B clips, T frames, H W pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Images(nn.Module):
    """The frames of all clips as images, those of a clip next to each other. **Shapes:** (B, 3, T, H, W) -> (B*T, 3, H, W)"""

    def forward(self, clip: Tensor) -> Tensor:
        return clip.transpose(1, 2).flatten(0, 1)


class Pathways(nn.Module):
    """A clip at several frame rates.

    Source: the choice of frames of https://github.com/facebookresearch/SlowFast

    Formula: frame ``floor(i (T - 1) / (n - 1))`` for i = 0 .. n - 1

    Args:
        frames: n of each pathway.
        length: T of the clips; others may come.

    **Shapes:** (B, 3, T, H, W) -> [(B, 3, n, H, W)]
    """

    def __init__(self, frames: Sequence[int], length: int) -> None:
        super().__init__()
        self.frames = tuple(frames)
        self._spread_over(length)

    def forward(self, clip: Tensor) -> list[Tensor]:
        # Computed before, as a program cannot be traced through numbers read from tensors.
        if clip.shape[2] != self.length:
            self._spread_over(clip.shape[2])
        return [clip if len(index) == self.length else clip[:, :, index] for index in self.index]

    def _spread_over(self, length: int) -> None:
        self.length = length
        self.index = [torch.linspace(0, length - 1, n).long().tolist() for n in self.frames]


def checked_pathways(pathways: object, frames: int) -> tuple[int, ...]:
    """Checks the frames of each pathway.

    Args:
        pathways: what the user gave.
        frames: T of the clip.

    Raises:
        ValueError: not positive integers up to T.
    """
    values = tuple(pathways) if isinstance(pathways, list | tuple) else ()
    if not values or any(isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= frames for n in values):
        raise ValueError(
            f"pathways must be the frames of each pathway, 1 to the {frames} of the clip, such as (8, 32); got {pathways!r}"
        )
    return values
