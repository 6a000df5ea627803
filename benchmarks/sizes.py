"""The sizes that are measured: four by name, any other as ``B4-T8-7x7-C512-A4``, or with joints as ``B16-T64-V25-C128-A4``.

Axes: B clips, T frames, H W token grid, V joints, N = T*H*W or T*V nodes of one clip, C channels, A attention heads.
"""

import re
from dataclasses import dataclass, replace
from math import prod

from taggnn.names import unknown

_FORM = re.compile(r"B(\d+)-T(\d+)-(?:(\d+)x(\d+)|V(\d+))-C(\d+)-A(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Size:
    """A batch of token grids, or of skeletons, and the heads of its convolution; ``str`` writes it as ``parse`` reads it.

    Args:
        clips: B.
        frames: T.
        positions: of a frame, (H, W) or (V,).
        channels: C.
        heads: A.
    """

    clips: int
    frames: int
    positions: tuple[int, ...]
    channels: int
    heads: int

    @property
    def grid(self) -> tuple[int, ...]:
        return self.frames, *self.positions

    @property
    def nodes(self) -> int:
        """N, of one clip."""
        return prod(self.grid)

    def __str__(self) -> str:
        frame = "x".join(map(str, self.positions)) if len(self.positions) > 1 else f"V{self.positions[0]}"
        return f"B{self.clips}-T{self.frames}-{frame}-C{self.channels}-A{self.heads}"


SIZES = {
    "G1": Size(4, 8, (7, 7), 512, 4),
    "G2": Size(2, 8, (14, 14), 256, 4),
    "G3": Size(1, 8, (28, 28), 128, 4),
    "S1": Size(16, 64, (25,), 128, 4),
}


def parse(text: str) -> Size:
    """Reads a size by name or by its form.

    Raises:
        ValueError: neither, or one of the numbers is 0.
    """
    if text.upper() in SIZES:
        return SIZES[text.upper()]
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("grid", text, [*SIZES, "a form such as B4-T8-7x7-C512-A4 or B16-T64-V25-C128-A4"])
    clips, frames, *positions, channels, heads = (int(number) for number in match.groups() if number is not None)
    size = Size(clips, frames, tuple(positions), channels, heads)
    if min(*size.grid, clips, channels, heads) < 1:
        raise ValueError(f"grid {text!r}: every number of it is 1 or more")
    return size


def name_of(size: Size) -> str:
    """The short name of a size where it has one, else its form."""
    return next((name for name, known in SIZES.items() if known == size), str(size))


def title_of(size: Size) -> str:
    """Short name and form, for a headline."""
    name = name_of(size)
    return name if name == str(size) else f"{name} = {size}"


def with_clips(size: Size, clips: int) -> Size:
    """The same size with another B."""
    return replace(size, clips=clips)
