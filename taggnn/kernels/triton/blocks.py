"""How much of a frame one program holds.

Nothing here was timed. The sizes follow from compiled kernels alone: for Hopper (sm_90) none spills more than a few registers to
memory, which the tests look at.

Axes: P positions of a frame, A attention heads, D channels of a head, M rows.
"""

from typing import Any, NamedTuple

import triton
from torch import Tensor


class Blocks(NamedTuple):
    """Sizes of a program's tiles: powers of two of at least 16, the least that a dot takes.

    Args:
        own: positions of the program: the targets, or in the backward pass of sources the sources.
        others: positions of the other side in one tile.
        channels: of a head's result; a larger head takes several programs.
        warps: of a program.
        few: channels of GATv2's tile of targets by sources by channels.
    """

    own: int
    others: int
    channels: int
    warps: int
    few: int | None = None

    def constants(self, sources: bool = False) -> dict[str, Any]:
        """Returns what a launch takes, the program's own positions being targets (default) or sources."""
        i, j = (self.others, self.own) if sources else (self.own, self.others)
        found = {
            "BLOCK_I": i,
            "BLOCK_J": j,
            "BLOCK_D": self.channels,
            "num_warps": self.warps,
            "num_stages": 2,
        }
        return found if self.few is None else {**found, "BLOCK_C": self.few}


def blocks(positions: int, x: Tensor) -> Blocks:
    """Returns the tiles of GAT and TransformerConv for frames of P positions and values x (M, A, D)."""
    # Tensor cores take 16 bits from shared memory; float32 without TF32 is multiplied in registers.
    side, most = {2: (64, 128), 4: (32, 64), 8: (16, 32)}[x.element_size()]
    side, channels = min(side, _fitting(positions)), min(most, _fitting(x.shape[2]))
    return Blocks(side, side, channels, 8 if side * channels >= 4096 else 4)


def gatv2_blocks(positions: int, x: Tensor) -> Blocks:
    """Returns the tiles of GATv2 for frames of P positions and sources x (M, A, D)."""
    own, most = (16, 32) if x.element_size() == 8 else (32, 64)
    own, channels = min(own, _fitting(positions)), min(most, _fitting(x.shape[2]))
    return Blocks(own, 16, channels, 8 if channels >= 64 else 4, 16)


def _fitting(size: int) -> int:
    return max(16, triton.next_power_of_2(size))
