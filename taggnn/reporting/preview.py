"""A contact sheet of what a model is fed: training clips as training shows them, and as evaluation does.

Axes: T frames, h w the picture as the model is fed.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import InterpolationMode
from tqdm import tqdm

from taggnn.data.loader import ClipData
from taggnn.reporting.pictures import LIGHT, drawable, families, shorten
from taggnn.runtime.atomic import write_bytes
from taggnn.types import BadClip

MOST_COLUMNS = 16

# All below in pixels; matplotlib's point is DPI / 72 of them.
DPI = 100
EDGE, TEXT, CAPTION, BETWEEN_FRAMES, BETWEEN_STRIPS, BETWEEN_CLIPS, BESIDE = 28, 240, 92, 3, 5, 30, 36
LINE, WIDEST = 18, 2100


@dataclass(frozen=True)
class Shown:
    """One clip of the sheet.

    Args:
        name: of the clip.
        label: class name in the list.
        trained: what training shows; None for a clip that cannot be read.
        evaluated: what evaluation shows.
        flipped: whether training flipped it.
        becomes: class name that training gives it.
        reason: why it cannot be read.

    **Shapes:** trained, evaluated uint8 (T, h, w, 3)
    """

    name: str
    label: str
    trained: Tensor | None = None
    evaluated: Tensor | None = None
    flipped: bool = False
    becomes: str | None = None
    reason: str | None = None


def write_preview(path: Path, data: ClipData, number: int, notes: Sequence[str] = ()) -> Path:
    """Draws the first clips of the first epoch of training and writes the picture, over an older one.

    Args:
        path: the PNG.
        data: set up, with a training split.
        number: how many clips; all where there are fewer.
        notes: more lines for the head of the sheet.

    Raises:
        ValueError: as ``collect``.
    """
    shown = collect(data, number)
    return write_bytes(path, sheet(shown, "What the model is fed", [*_facts(data, shown), *notes]))


def collect(data: ClipData, number: int) -> list[Shown]:
    """The first clips of the first epoch, each with the very draws that training would use.

    Args:
        data: set up, with a training split.
        number: how many clips; all where there are fewer.

    Raises:
        ValueError: if there is no training split, or stored tokens stand in for the clips.
    """
    picture = data.capabilities.picture
    if picture is None:
        left_out = "data.tokens" if data.spec.kind == "tokens" else "--preview"
        raise ValueError(f"--preview: draws pictures, and {data.spec.kind} have none; leave {left_out} out")
    loader = data.train_dataloader()
    keys = list(islice(loader.order, number))
    shown = []
    for index, seed in tqdm(keys, desc="preview", unit="clip", disable=None):
        clip = data.train_clips[index]
        label = data.classes[clip.label]
        items = loader.dataset.views(index, [seed], evaluation=True)
        bad = next((item for item in items if isinstance(item, BadClip)), None)
        if bad is not None:
            shown.append(Shown(clip.name, label, reason=bad.reason))
            continue
        trained, evaluated = (picture(item.x) for item in items)
        shown.append(Shown(clip.name, label, trained, evaluated, items[0].flipped, data.classes[items[0].label]))
    return shown


def sheet(shown: Sequence[Shown], title: str, facts: Sequence[str]) -> bytes:
    """Draws the sheet: a row of frames for each clip, below it the same clip as evaluation sees it.

    Args:
        shown: the clips.
        title: first line.
        facts: further lines.

    Returns:
        A PNG, the same for the same input.
    """
    strips = [(clip, _strip(clip.trained, len(shown)), _strip(clip.evaluated, len(shown))) for clip in shown]
    high, wide = (
        max((strip.shape[a] for _, *pair in strips for strip in pair if strip is not None), default=0) for a in (0, 1)
    )
    # At least the lines of text beside it: name, label, and what a flip made of it, of two lines each.
    block = max(2 * high + BETWEEN_STRIPS, 6 * LINE)
    block_wide = TEXT + CAPTION + max(wide, 330)
    beside = max(1, min(math.ceil(len(shown) / 3), (WIDEST - 2 * EDGE + BESIDE) // (block_wide + BESIDE)))
    width = 2 * EDGE + beside * (block_wide + BESIDE) - BESIDE
    write = _Writer()
    head = [line for fact in facts for line in write.wrapped(fact, width - 2 * EDGE, 4, 9)]
    top = EDGE + 34 + LINE * len(head) + 22
    down = math.ceil(len(shown) / beside)
    height = top + down * (block + BETWEEN_CLIPS) - BETWEEN_CLIPS + EDGE

    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = np.round(255 * np.array(to_rgb(LIGHT.surface)))
    write.text(EDGE, EDGE, title, 14, LIGHT.ink, weight="bold")
    for number, line in enumerate(head):
        write.text(EDGE, EDGE + 34 + LINE * number, line, 9, LIGHT.muted)
    for number, (clip, trained, evaluated) in enumerate(strips):
        # Down first, then to the right: neighbours in the epoch stay neighbours.
        x = EDGE + (number // down) * (block_wide + BESIDE)
        y = top + (number % down) * (block + BETWEEN_CLIPS)
        rule = y - BETWEEN_CLIPS // 2
        canvas[rule : rule + 1, x : x + block_wide] = np.round(255 * np.array(to_rgb(LIGHT.line)))
        _beside(write, clip, x, y)
        left = x + TEXT + CAPTION
        if clip.reason is not None:
            for at, line in enumerate(
                write.wrapped(f"could not be read: {clip.reason}", block_wide - TEXT - CAPTION, 4, 9)
            ):
                write.text(left, y + LINE * at, line, 9, LIGHT.wrong)
            continue
        for strip, at, caption in ((trained, y, "training"), (evaluated, y + high + BETWEEN_STRIPS, "evaluation")):
            canvas[at : at + strip.shape[0], left : left + strip.shape[1]] = strip
            write.text(left - 12, at + high / 2, caption, 8, LIGHT.muted, ha="right", va="center_baseline")
    return write.png(canvas)


def _beside(write: "_Writer", clip: Shown, x: int, y: int) -> None:
    """Name, label, and what a flip made of it."""
    lines = [(line, LIGHT.ink, "normal") for line in write.wrapped(clip.name, TEXT, 2, 9)]
    lines += [(line, LIGHT.right, "bold") for line in write.wrapped(clip.label, TEXT, 2, 9, "bold")]
    if clip.flipped:
        followed = clip.becomes not in (None, clip.label)
        told = f"flipped: {clip.becomes}" if followed else "flipped"
        colour, weight = (LIGHT.wrong, "bold") if followed else (LIGHT.muted, "normal")
        lines += [(line, colour, weight) for line in write.wrapped(told, TEXT, 2, 9, weight)]
    for number, (line, colour, weight) in enumerate(lines):
        write.text(x, y + LINE * number, line, 9, colour, weight=weight)


def _strip(clip: Tensor | None, clips: int) -> np.ndarray | None:
    """The frames of a clip side by side, as large as the number of clips allows."""
    if clip is None:
        return None
    frames = clip[:: _step(len(clip))].permute(0, 3, 1, 2)
    h, w = frames.shape[-2:]
    side = 132 if clips <= 4 else 100 if clips <= 12 else 76
    room = WIDEST - 2 * EDGE - TEXT - CAPTION
    factor = min(side / math.sqrt(h * w), 2 * side / max(h, w), (room / len(frames) - BETWEEN_FRAMES) / w)
    if factor >= 2:
        # Few pixels are shown as what they are.
        frames = frames.repeat_interleave(int(factor), 2).repeat_interleave(int(factor), 3)
    else:
        size = [max(1, round(h * factor)), max(1, round(w * factor))]
        frames = functional.resize(frames, size, InterpolationMode.BICUBIC, antialias=True)
    count, _, h, w = frames.shape
    strip = torch.full((count, 3, h, w + BETWEEN_FRAMES), 255, dtype=torch.uint8)
    strip[..., :w] = frames
    return strip.permute(2, 0, 3, 1).reshape(h, -1, 3)[:, :-BETWEEN_FRAMES].numpy()


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _step(frames: int) -> int:
    return math.ceil(frames / MOST_COLUMNS)


def _facts(data: ClipData, shown: Sequence[Shown]) -> list[str]:
    """Where the clips come from and what is done to them, in sentences."""
    how = data.capabilities.describe()
    pictures = next((each.evaluated for each in shown if each.evaluated is not None), None)
    if pictures is not None:
        (frames, height, width, _), step = pictures.shape, _step(len(pictures))
        some = "" if step == 1 else f", of which every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } is drawn"
        how = [f"{_number(frames, 'frame')}{some}, {height} x {width} pixels", *how]
    facts = [
        f"{data.root}: the first {_number(len(shown), 'clip')} of the first epoch, of {len(data.train_clips)} training clips in "
        f"{len(data.classes)} classes; order and draws are those of training",
        *(["; ".join(how)] if how else []),
    ]
    if data.flip_pairs and data.capabilities.flip:
        facts.append("a flipped clip has the label that its class is mirrored to")
    if data.balance != "none":
        facts.append(f"classes balanced: {data.balance}")
    return facts


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """How wide a text is drawn, in pixels; ``size`` in points."""
    return sum(_advance(letter, size, weight) for letter in text)


@cache
def _advance(letter: str, size: float, weight: str) -> float:
    # Between two others, so that a space has a width too.
    font = FontProperties(family=list(families()), size=size, weight=weight)
    renderer = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()
    with_it, without = (renderer.get_text_width_height_descent(f"|{x}|", font, False)[0] for x in (letter, ""))
    return with_it - without


class _Writer:
    """Text on a picture, measured before it is placed."""

    def __init__(self) -> None:
        self.texts: list[tuple] = []

    def wrapped(self, text: str, room: float, lines: int, size: float, weight: str = "normal") -> list[str]:
        """Breaks a text into lines that fit, and cuts its middle out where they are too many."""
        whole = "".join(letter if drawable(letter) else "□" for letter in " ".join(text.split()))
        letters = len(whole)
        while len(found := self._broken(shorten(whole, letters), room, size, weight)) > lines:
            letters -= 1
        return found

    def _broken(self, text: str, room: float, size: float, weight: str) -> list[str]:
        found, line = [], ""
        for piece in _pieces(text):
            if line and width_of((line + piece).rstrip(), size, weight) > room:
                found.append(line.rstrip())
                line = ""
            line += piece
            # A piece that is too long for a line of its own is broken anywhere.
            while width_of(line.rstrip(), size, weight) > room and len(line) > 1:
                fits = next(
                    n for n in range(len(line) - 1, 0, -1) if n == 1 or width_of(line[:n], size, weight) <= room
                )
                found.append(line[:fits])
                line = line[fits:]
        return [*found, line.rstrip()] if line.rstrip() else found

    def text(self, x: float, y: float, text: str, size: float, colour: str, **style) -> None:
        self.texts.append((x, y, text, {"size": size, "color": colour, "va": "top", **style}))

    def png(self, canvas: np.ndarray) -> bytes:
        """Draws the texts over the canvas, one pixel for one."""
        height, width = canvas.shape[:2]
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=LIGHT.surface)
        FigureCanvasAgg(figure)
        figure.figimage(canvas, origin="upper")
        buffer = io.BytesIO()
        with matplotlib.rc_context({"font.family": list(families())}):
            for x, y, text, style in self.texts:
                figure.text(x / width, 1 - y / height, text, parse_math=False, **style)
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


def _pieces(text: str) -> list[str]:
    """A text cut behind spaces, slashes and underscores."""
    pieces = [""]
    for letter in text:
        pieces[-1] += letter
        if letter in " /_":
            pieces.append("")
    return [piece for piece in pieces if piece]
