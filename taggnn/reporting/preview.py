"""A contact sheet of what a model is fed: training clips as training shows them, and as evaluation does.

Axes: T frames, h w the picture as the model is fed.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

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
from taggnn.reporting.page import count
from taggnn.reporting.theme import LIGHT, drawable, families, shorten
from taggnn.runtime.atomic import write_bytes
from taggnn.types import BadClip

MOST_COLUMNS = 16

# All below in pixels; matplotlib's point is DPI / 72 of them.
DPI = 100
EDGE, TEXT, CAPTION, BETWEEN_FRAMES, BETWEEN_STRIPS, BETWEEN_CLIPS, BETWEEN_COLUMNS = 28, 240, 92, 3, 5, 30, 36
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
        ValueError: as `collect`.
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
    keys = list(islice(data.train_dataloader().order, number))
    assert data.train_clips is not None
    dataset = data.samples("train", train=True)
    shown = []
    for index, seed in tqdm(keys, desc="preview", unit="clip", disable=None):
        clip = data.train_clips[index]
        label = data.classes[clip.label]
        items = dataset.views(index, [seed], evaluation=True)
        reasons = [item.reason for item in items if isinstance(item, BadClip)]
        if reasons:
            shown.append(Shown(clip.name, label, reason=reasons[0]))
            continue
        trained, evaluated = (item for item in items if not isinstance(item, BadClip))
        becomes = data.classes[trained.label]
        shown.append(Shown(clip.name, label, picture(trained.x), picture(evaluated.x), trained.flipped, becomes))
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
    strips = [[_strip(clip.trained, len(shown)), _strip(clip.evaluated, len(shown))] for clip in shown]
    sizes = [strip.shape for pair in strips for strip in pair if strip is not None]
    high, wide = (max((size[axis] for size in sizes), default=0) for axis in (0, 1))
    # At least the lines of text next to it: name, label, and a flip, of two lines each.
    block = max(2 * high + BETWEEN_STRIPS, 6 * LINE)
    column = TEXT + CAPTION + max(wide, 330)
    columns = max(1, min(math.ceil(len(shown) / 3), (WIDEST - 2 * EDGE) // (column + BETWEEN_COLUMNS)))
    width = 2 * EDGE + columns * (column + BETWEEN_COLUMNS) - BETWEEN_COLUMNS
    head = [line for fact in facts for line in wrapped(fact, width - 2 * EDGE, 4)]
    top = EDGE + 34 + LINE * len(head) + 22
    rows = math.ceil(len(shown) / columns)
    height = top + rows * (block + BETWEEN_CLIPS) - BETWEEN_CLIPS + EDGE

    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = np.round(255 * np.array(to_rgb(LIGHT.surface)))
    texts = [_Text(EDGE, EDGE, title, LIGHT.ink, 14, "bold")]
    texts += [_Text(EDGE, EDGE + 34 + LINE * index, line, LIGHT.muted) for index, line in enumerate(head)]
    for index, (clip, pair) in enumerate(zip(shown, strips, strict=True)):
        # Down first, then to the right: neighbours in the epoch stay neighbours.
        x = EDGE + (index // rows) * (column + BETWEEN_COLUMNS)
        y = top + (index % rows) * (block + BETWEEN_CLIPS)
        canvas[y - BETWEEN_CLIPS // 2, x : x + column] = np.round(255 * np.array(to_rgb(LIGHT.line)))
        texts += _lines(x, y, TEXT, _about(clip))
        left = x + TEXT + CAPTION
        if clip.reason is not None:
            texts += _lines(
                left, y, column - TEXT - CAPTION, [(f"could not be read: {clip.reason}", LIGHT.wrong, "normal", 4)]
            )
        for strip, at, caption in zip(pair, (y, y + high + BETWEEN_STRIPS), ("training", "evaluation"), strict=True):
            if strip is not None:
                canvas[at : at + strip.shape[0], left : left + strip.shape[1]] = strip
                texts.append(
                    _Text(left - 12, at + high / 2, caption, LIGHT.muted, 8, "normal", "right", "center_baseline")
                )
    return _png(canvas, texts)


def _about(clip: Shown) -> list[tuple[str, str, str, int]]:
    """Name, label, and what a flip made of it: (text, colour, weight, lines at most) of each."""
    about = [(clip.name, LIGHT.ink, "normal", 2), (clip.label, LIGHT.right, "bold", 2)]
    if clip.flipped and clip.becomes not in (None, clip.label):
        about.append((f"flipped: {clip.becomes}", LIGHT.wrong, "bold", 2))
    elif clip.flipped:
        about.append(("flipped", LIGHT.muted, "normal", 2))
    return about


def _strip(clip: Tensor | None, clips: int) -> np.ndarray | None:
    """The frames of a clip in a row, as large as the number of clips allows."""
    if clip is None:
        return None
    frames = clip[:: _step(len(clip))].permute(0, 3, 1, 2)
    h, w = frames.shape[-2:]
    side = 132 if clips <= 4 else 100 if clips <= 12 else 76
    room = WIDEST - 2 * EDGE - TEXT - CAPTION
    factor = min(side / math.sqrt(h * w), 2 * side / max(h, w), (room / len(frames) - BETWEEN_FRAMES) / w)
    if factor >= 2:
        # A few pixels are shown as squares.
        frames = frames.repeat_interleave(int(factor), 2).repeat_interleave(int(factor), 3)
    else:
        size = [max(1, round(h * factor)), max(1, round(w * factor))]
        frames = functional.resize(frames, size, InterpolationMode.BICUBIC, antialias=True)
    # White between the frames.
    frames = functional.pad(frames, [0, 0, BETWEEN_FRAMES, 0], fill=255)
    return torch.cat(list(frames), dim=-1)[..., :-BETWEEN_FRAMES].permute(1, 2, 0).numpy()


def _step(frames: int) -> int:
    return math.ceil(frames / MOST_COLUMNS)


def _facts(data: ClipData, shown: Sequence[Shown]) -> list[str]:
    """Where the clips come from and what is done to them, in sentences."""
    how = data.capabilities.describe()
    assert data.train_clips is not None
    pictures = next((each.evaluated for each in shown if each.evaluated is not None), None)
    if pictures is not None:
        (frames, height, width, _), step = pictures.shape, _step(len(pictures))
        some = "" if step == 1 else f", of which every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } is drawn"
        how = [f"{count(frames, 'frame')}{some}, {height} x {width} pixels", *how]
    facts = [
        f"{data.root}: the first {count(len(shown), 'clip')} of the first epoch, of {len(data.train_clips)} training clips in "
        f"{len(data.classes)} classes; order and draws are those of training",
        *(["; ".join(how)] if how else []),
    ]
    if data.flip_pairs and data.capabilities.flip:
        facts.append("a flipped clip has the label of the other class of its pair")
    if data.balance != "none":
        facts.append(f"classes balanced: {data.balance}")
    return facts


@dataclass(frozen=True)
class _Text:
    """A line of text on the canvas."""

    x: float
    y: float
    text: str
    colour: str
    size: float = 9
    weight: str = "normal"
    ha: str = "left"
    va: str = "top"


def _lines(x: float, y: float, room: float, texts: Sequence[tuple[str, str, str, int]]) -> list[_Text]:
    """(text, colour, weight, lines at most) of each, below one another."""
    lines = [(line, c, weight) for text, c, weight, most in texts for line in wrapped(text, room, most, 9, weight)]
    return [_Text(x, y + LINE * index, line, c, weight=weight) for index, (line, c, weight) in enumerate(lines)]


def wrapped(text: str, room: float, most: int, size: float = 9, weight: str = "normal") -> list[str]:
    """Breaks a text into lines that fit, and cuts its middle out where they are too many.

    Args:
        text: of any length.
        room: pixels of a line.
        most: lines at most.
        size: in points (default 9).
        weight: of the font.
    """
    whole = "".join(letter if drawable(letter) else "□" for letter in " ".join(text.split()))
    letters = len(whole)
    while len(lines := _broken(shorten(whole, letters), room, size, weight)) > most:
        letters -= 1
    return lines


def _broken(text: str, room: float, size: float, weight: str) -> list[str]:
    lines = [""]
    for piece in re.split("(?<=[ /_])", text):
        # A piece that is too long for a line is broken anywhere.
        for part in [piece] if _width(piece, size, weight) <= room else piece:
            if lines[-1] and _width((lines[-1] + part).rstrip(), size, weight) > room:
                lines.append("")
            lines[-1] += part
    return [line.rstrip() for line in lines if line.strip()]


def _width(text: str, size: float, weight: str) -> float:
    return sum(_advance(letter, size, weight) for letter in text)


@cache
def _advance(letter: str, size: float, weight: str) -> float:
    # Between two others, so that a space has a width too.
    font = FontProperties(family=list(families()), size=size, weight=weight)
    renderer = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()
    with_it, without = (renderer.get_text_width_height_descent(f"|{x}|", font, False)[0] for x in (letter, ""))
    return with_it - without


def _png(canvas: np.ndarray, texts: Sequence[_Text]) -> bytes:
    """Draws the texts over the canvas, one pixel for one."""
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=LIGHT.surface)
    FigureCanvasAgg(figure)
    figure.figimage(canvas, origin="upper")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"font.family": list(families())}):
        for one in texts:
            style: dict[str, Any] = {
                "size": one.size,
                "color": one.colour,
                "weight": one.weight,
                "ha": one.ha,
                "va": one.va,
            }
            figure.text(one.x / width, 1 - one.y / height, one.text, style, parse_math=False)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
