"""Skeletons drawn into their video, to look at.

Axes: M persons, V joints, H W the picture.
"""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from graphs.skeleton import find
from taggnn.data.video.container import import_av

# One for each person: blue, orange, green, red, purple.
COLOURS = ((64, 160, 255), (255, 150, 40), (60, 210, 120), (255, 80, 80), (190, 120, 255))


class Overlay:
    """An H.264 file of pictures with skeletons; a context manager.

    Args:
        path: where to write.
        rate: frames a second.
        skeleton: a name of ``graphs.skeleton.SKELETONS``.
    """

    def __init__(self, path: Path, rate: float, skeleton: str) -> None:
        self._path, self._rate = path, Fraction(rate).limit_denominator(1000)
        self._bones = find(skeleton).bones
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "Overlay":
        self._container = import_av().open("file:" + str(self._path), "w", format="mp4")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, picture: np.ndarray, joints: dict[int, Tensor]) -> None:
        """Draws one frame.

        Args:
            picture: the frame.
            joints: index of each person in it -> its joints in pixels.

        **Shapes:** picture uint8 (H, W, 3), joints (V, 2)
        """
        av = import_av()
        drawn = draw(picture, self._bones, joints)
        # The codec takes even sides only.
        drawn = np.pad(drawn, ((0, drawn.shape[0] % 2), (0, drawn.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.height, self._stream.width = drawn.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "23", "preset": "veryfast", "x264-params": "threads=1"}
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))


def draw(picture: np.ndarray, bones: tuple[tuple[int, int], ...], joints: dict[int, Tensor]) -> np.ndarray:
    """Bones as lines and joints as points, each person in its colour.

    **Shapes:** picture uint8 (H, W, 3), joints (V, 2) -> uint8 (H, W, 3)
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.ascontiguousarray(picture))
    brush = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 160))
    for person, given in joints.items():
        colour, points = COLOURS[person % len(COLOURS)], [tuple(point) for point in given.tolist()]
        for child, parent in bones:
            brush.line([points[child], points[parent]], fill=colour, width=width)
        for x, y in points:
            brush.ellipse([x - width, y - width, x + width, y + width], fill=(255, 255, 255), outline=colour)
    return np.asarray(image)
