"""A long video with its answers drawn below it, as an MP4 written frame by frame: memory does not grow with its length.

Axes: H W the picture.
"""

import warnings
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from taggnn.data.video.streaming import Frame
from taggnn.evaluation.segments import Segment
from taggnn.evaluation.timeline import Timeline
from taggnn.io.loaded import NONE
from taggnn.reporting.page import percent
from taggnn.reporting.theme import DARK, families, fitted
from taggnn.reporting.timeline_page import clock
from taggnn.runtime.atomic import replacing

# Pixels: the shorter side at least, the longer side at most, the band below the picture, its margin, and its strip.
SHORT, LONG, BAND, EDGE, STRIP = 240, 1280, 64, 8, 10
# Ticks of a second.
CLOCK = 90_000


def write_annotated(path: Path, frames: Iterable[Frame], rate: float, found: Timeline, classes: Sequence[str]) -> None:
    """Writes the video, atomically; every frame keeps its time, so that a variable rate stays one.

    Below the picture: time, the class of the segment with its mean probability, and all segments on a strip of the whole video.

    Args:
        path: the MP4.
        frames: of the same video, from its beginning.
        rate: frames a second that the file states.
        found: the complete timeline.
        classes: names in label order.

    Raises:
        OSError: it cannot be written.
    """
    import av

    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, CLOCK)
        stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.options = {"crf": "23", "preset": "veryfast"}
        band: _Band | None = None
        for frame in frames:
            picture = _sized(frame.picture)
            if band is None:
                stream.height, stream.width = picture.shape[0] + BAND, picture.shape[1]
                band = _Band(found, classes, picture.shape[1])
            whole = np.concatenate([picture, band.at(frame.time)])
            drawn = av.VideoFrame.from_ndarray(whole, format="rgb24")
            drawn.pts, drawn.time_base = round(frame.time * CLOCK), Fraction(1, CLOCK)
            container.mux(stream.encode(drawn))
        container.mux(stream.encode())


def _sized(picture: np.ndarray) -> np.ndarray:
    """A picture large enough to read a line below it, with even sides. **Shapes:** (H, W, 3) -> (h, w, 3)"""
    height, width = picture.shape[:2]
    factor = min(max(1.0, SHORT / min(height, width)), LONG / max(height, width))
    high, wide = (max(2, round(side * factor / 2) * 2) for side in (height, width))
    if (high, wide) == (height, width):
        return np.ascontiguousarray(picture)
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((wide, high), Image.Resampling.BILINEAR))


class _Band:
    """The band below the picture; only the line of text and the position on the strip change from frame to frame."""

    def __init__(self, found: Timeline, classes: Sequence[str], width: int) -> None:
        self.found, self.classes, self.width = found, classes, width
        self.font = _font(15)
        self.blank = Image.new("RGB", (width, BAND), DARK.surface)
        pen, top = ImageDraw.Draw(self.blank), BAND - EDGE - STRIP
        pen.rectangle([EDGE, top, width - EDGE - 1, top + STRIP - 1], fill=DARK.line)
        for one in found.segments:
            pen.rectangle(
                [self._x(one.start), top, max(self._x(one.start), self._x(one.end) - 1), top + STRIP - 1],
                fill=DARK.right,
            )
        self._next = 0
        self._text: tuple[str, str] | None = None
        self._image = self.blank

    def at(self, time: float) -> np.ndarray:
        """**Shapes:** -> uint8 (BAND, W, 3)"""
        segment = self._segment(time)
        name = NONE if segment is None else f"{self.classes[segment.label]}  {percent(segment.score, 0)}"
        text = (clock(time).partition(".")[0], fitted(name, max(8, (self.width - 110) // 9)))
        if text != self._text:
            self._text, self._image = text, self.blank.copy()
            pen = ImageDraw.Draw(self._image)
            pen.text((EDGE, EDGE), text[0], fill=DARK.muted, font=self.font)
            pen.text((EDGE + 84, EDGE), text[1], fill=DARK.muted if segment is None else DARK.ink, font=self.font)
        drawn = np.array(self._image)
        drawn[BAND - EDGE - STRIP - 4 : BAND - EDGE + 4, self._x(time) : self._x(time) + 2] = _rgb(DARK.wrong)
        return drawn

    def _x(self, time: float) -> int:
        share = min(1.0, time / self.found.seconds) if self.found.seconds else 0.0
        return EDGE + round(share * (self.width - 2 * EDGE - 2))

    def _segment(self, time: float) -> Segment | None:
        """The segment of a time; times never go backwards."""
        segments = self.found.segments
        while self._next < len(segments) and segments[self._next].end <= time:
            self._next += 1
        one = segments[self._next] if self._next < len(segments) else None
        return one if one is not None and one.start <= time else None


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's font; of its letters that no font has, boxes are drawn."""
    from matplotlib import font_manager

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ImageFont.truetype(font_manager.findfont(families()[-1]), size)
