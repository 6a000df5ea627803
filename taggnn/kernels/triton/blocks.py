"""How much of a frame one program holds. By reasoning alone: registers and shared memory of Hopper, read from compiled kernels.

Axes: P places of a frame, D channels of a head.
"""

from typing import Any, NamedTuple

import triton
from torch import Tensor


class Blocks(NamedTuple):
    """Sizes of a program's tiles, powers of two of at least 16, which is the least that a dot takes.

    Args:
        targets: nodes that hear.
        sources: nodes that are heard.
        channels: of a head's result; a larger head takes several programs.
        warps: of a program.
        stages: how many blocks are loaded ahead.
        bent: channels of a tile of targets, sources and channels, which GATv2 has.
    """

    targets: int
    sources: int
    channels: int
    warps: int
    stages: int
    bent: int | None = None

    def constants(self) -> dict[str, Any]:
        """Returns what a launch takes."""
        return {
            "BLOCK_I": self.targets,
            "BLOCK_J": self.sources,
            "BLOCK_D": self.channels,
            "num_warps": self.warps,
            "num_stages": self.stages,
            **({"BLOCK_C": self.bent} if self.bent else {}),
        }


def blocks(places: int, x: Tensor) -> Blocks:
    """Returns the tiles for frames of P places and values x (M, A, D)."""
    # Tensor cores take 16-bit values; wider ones are multiplied in registers, of which there are fewer than tiles could use.
    largest, channels = {2: (64, 128), 4: (32, 64), 8: (16, 32)}[x.element_size()]
    side = min(largest, max(16, triton.next_power_of_2(places)))
    return Blocks(side, side, min(channels, max(16, triton.next_power_of_2(x.shape[2]))), 4, 2)


def bending(places: int, x: Tensor) -> Blocks:
    """Returns the tiles of GATv2 for frames of P places and sources x (M, A, D)."""
    side = 16 if x.element_size() == 8 or places <= 16 else 32
    channels = min(64 if x.element_size() < 8 else 32, max(16, triton.next_power_of_2(x.shape[2])))
    return Blocks(side, side, channels, 4, 2, 16)
