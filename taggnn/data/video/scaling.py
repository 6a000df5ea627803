"""From decoded frames to upright RGB pictures of a given short side.

Axes: H W the picture.
"""

from typing import Any

import numpy as np

from taggnn.data.video.container import import_av

# Of av.video.reformatter.ColorRange, which older versions do not use for frames.
_FULL_RANGE = 2


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """The size of a picture scaled to a given shorter side.

    Args:
        width: pixels.
        height: pixels.
        short_side: pixels of the shorter side afterwards; None leaves the size as it is.

    Returns:
        (width, height), the longer side rounded to the nearest even number of pixels, as players and transcoders require,
        and at least the shorter one; an odd side takes three times as long to convert.

    Raises:
        ValueError: ``short_side`` below 1.
    """
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side must be 1 or more, not {short_side}")
    short = min(width, height)
    if short_side is None or short_side == short:
        return width, height
    # Twice the nearest whole number to half of the longer side.
    long = max(short_side, (max(width, height) * short_side + short) // (2 * short) * 2)
    return (short_side if width == short else long), (short_side if height == short else long)


# Whoever changes the pixels that come out of here raises FORMAT_VERSION in frame_cache.py, or stale clips stay in use.
class Scaler:
    """Converts decoded frames to upright RGB arrays, all with the size and rotation of the first.

    The most common pixel format is scaled first and converted to RGB afterwards, in two calls of swscale: half the time, and
    closer to floating-point arithmetic (0.6 to 1.3 levels of 255 off, against 2). For an odd width or the full range of
    levels one call is more exact, and used.

    Args:
        short_side: pixels of the shorter side of the upright picture; None keeps the size.

    **Shapes:** a frame -> uint8 (H, W, 3)
    """

    def __init__(self, short_side: int | None):
        av = import_av()
        # One object for each step and all frames: a new one would build its filter tables again.
        self.reformat = av.video.reformatter.VideoReformatter().reformat
        self.resize = av.video.reformatter.VideoReformatter().reformat
        # Since version 17 PyAV scales with as many threads as there are cores by default.
        self.options = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
        self.short_side = short_side
        self.size: tuple[int, int] | None = None
        self.turn: tuple[bool, bool, bool] | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        if self.turn is None:
            # Once only: PyAV's side data and frame reference each other, and are freed by the garbage collector alone.
            self.turn = _orientation(frame)
        swap, flip_x, flip_y = self.turn
        if self.size is None:
            stored = (frame.width, frame.height)
            self.size = scaled_size(*(stored[::-1] if swap else stored), self.short_side)
        width, height = self.size[::-1] if swap else self.size
        common = frame.format.name == "yuv420p" and frame.color_range != _FULL_RANGE and width % 2 == 0
        if common and (width, height) != (frame.width, frame.height):
            frame = self.resize(frame, width=width, height=height, format="yuv422p", **self.options)
        picture = self.reformat(frame, width=width, height=height, format="rgb24", **self.options).to_ndarray()
        if swap:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """How to make a frame upright: swap x and y, then flip x, then flip y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    # x' = a x + c y, y' = b x + d y with y pointing down (ISO/IEC 14496-12, 8.3.2), taken to the nearest quarter turn.
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(a) >= abs(b):
        return False, a < 0, d < 0
    return True, c < 0, b < 0
