"""The sizes that are measured: three by name, any other as ``B4-T8-7x7-C512-A4``.

Axes: B clips, T frames, H W token grid, N = T*H*W nodes of one clip, C channels, A attention heads.
"""

import re
from dataclasses import dataclass, replace

from taggnn.names import unknown

_FORM = re.compile(r"B(\d+)-T(\d+)-(\d+)x(\d+)-C(\d+)-A(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Size:
    """A batch of token grids and the heads of its convolution; ``str`` writes it as ``parse`` reads it."""

    clips: int
    frames: int
    height: int
    width: int
    channels: int
    heads: int

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.frames, self.height, self.width

    @property
    def nodes(self) -> int:
        """N, of one clip."""
        return self.frames * self.height * self.width

    def __str__(self) -> str:
        return f"B{self.clips}-T{self.frames}-{self.height}x{self.width}-C{self.channels}-A{self.heads}"


SIZES = {
    "G1": Size(4, 8, 7, 7, 512, 4),
    "G2": Size(2, 8, 14, 14, 256, 4),
    "G3": Size(1, 8, 28, 28, 128, 4),
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
        raise unknown("grid", text, [*SIZES, "a form such as B4-T8-7x7-C512-A4"])
    numbers = [int(number) for number in match.groups()]
    if min(numbers) < 1:
        raise ValueError(f"grid {text!r}: every number of it is 1 or more")
    return Size(*numbers)


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
