"""Windows of a long video: its frames on a grid of time, and overlapping clips of them as the model samples clips.

Axes: n frames of a window on the grid, T frames that the model sees, H W the picture.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from taggnn.data.frame_sampling import FrameChoice

# Frames of a window: more is no clip but a mistake in its seconds or its rate.
MAX_FRAMES = 100_000


@dataclass(frozen=True)
class Plan:
    """How a video is cut into windows.

    Frame g of the grid shows what the video shows at ``g / rate`` seconds, whatever its own rate.

    Args:
        rate: frames a second of the grid.
        length: n, frames of a window.
        stride: frames from the beginning of a window to that of the next one, 1 to ``length``, so that every frame is in one.

    Raises:
        ValueError: a number out of range.
    """

    rate: float
    length: int
    stride: int

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate {self.rate}: must be above 0 frames a second")
        if not 1 <= self.length <= MAX_FRAMES:
            raise ValueError(f"window of {self.length:,} frames: possible are 1 to {MAX_FRAMES:,}")
        if not 1 <= self.stride <= self.length:
            raise ValueError(
                f"stride of {self.stride} frames: possible are 1 to the {self.length} of a window, or frames between two windows "
                "would have no answer"
            )

    @property
    def step(self) -> float:
        """Seconds from a window to the next one."""
        return self.stride / self.rate

    @property
    def seconds(self) -> float:
        """Seconds of a window."""
        return self.length / self.rate


@dataclass(frozen=True)
class Window:
    """A clip of a long video.

    Args:
        start: its first frame on the grid.
        stop: the frame after its last one.
        numbers: of each sampled picture, its number in the video; equal numbers are the same picture.
        pictures: the sampled pictures.

    **Shapes:** numbers (T,), pictures T of uint8 (H, W, 3)
    """

    start: int
    stop: int
    numbers: tuple[int, ...]
    pictures: tuple[np.ndarray, ...]


class Windows:
    """Makes windows of frames that come one after the other; the pictures of one window are in memory.

    Window j has the frames ``j stride .. j stride + length - 1`` of the grid. Where the last of them ends before the video
    does, one
    more ends with the video, so that every frame is in a full window. A video shorter than a window is one clip of all its
    frames, from which the sampler chooses as from any short clip.

    Args:
        plan: the grid and the windows.
        sampler: n -> indices (T,) of the frames of a window that the model sees.
        tolerance: seconds by which a frame may be late on the grid and still counts as on time: the tick of the file's clock.
    """

    def __init__(self, plan: Plan, sampler: FrameChoice, tolerance: float = 1e-6) -> None:
        self.plan, self.sampler = plan, sampler
        # A tick as long as a frame would make every frame early.
        self.tolerance = min(max(tolerance, 1e-6), 0.5 / plan.rate)
        self._grid: deque[tuple[int, np.ndarray]] = deque(maxlen=plan.length)
        self._next = self._emitted = 0
        self._shown: tuple[int, np.ndarray] | None = None
        self._count = 0
        self._offsets: dict[int, tuple[int, ...]] = {}

    @property
    def frames(self) -> int:
        """Frames of the grid so far."""
        return self._next

    def add(self, time: float, picture: np.ndarray) -> Iterator[Window]:
        """Adds a frame of the video, and yields the windows that are complete.

        Args:
            time: seconds from the first frame, not before that of the frame before.
            picture: the frame.

        **Shapes:** picture uint8 (H, W, 3)
        """
        shown, self._shown = self._shown, (self._count, picture)
        self._count += 1
        while shown is not None and self._next / self.plan.rate < time - self.tolerance:
            yield from self._append(shown)
        # Known at once, so that a live answer does not wait for the frame after.
        if self._next / self.plan.rate <= time + self.tolerance:
            yield from self._append(self._shown)

    def end(self, seconds: float) -> Iterator[Window]:
        """Ends the video, and yields the windows behind those of ``add``.

        Args:
            seconds: its length: the last frame is shown until then.
        """
        while self._shown is not None and self._next / self.plan.rate < seconds - self.tolerance:
            yield from self._append(self._shown)
        last_stop = (self._emitted - 1) * self.plan.stride + self.plan.length if self._emitted else 0
        if self._next > last_stop:
            yield self._window(self._next - len(self._grid))

    def _append(self, shown: tuple[int, np.ndarray]) -> Iterator[Window]:
        self._grid.append(shown)
        self._next += 1
        start = self._emitted * self.plan.stride
        if self._next == start + self.plan.length:
            self._emitted += 1
            yield self._window(start)

    def _window(self, start: int) -> Window:
        """The window of the last frames of the grid."""
        length = self._next - start
        if length not in self._offsets:
            self._offsets[length] = tuple(int(index) for index in self.sampler(length))
        chosen = [self._grid[index] for index in self._offsets[length]]
        return Window(start, self._next, tuple(n for n, _ in chosen), tuple(picture for _, picture in chosen))
