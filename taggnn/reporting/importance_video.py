"""The maps of one clip as an MP4: every frame as it is and with each map over it, and a legend.

Axes: T frames of the tokens, F frames of the input, h w the picture.
"""

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from taggnn.data.synthetic import write_video
from taggnn.evaluation.tracklets import token_frame
from taggnn.explanation.curves import verdict
from taggnn.explanation.explained import Explained
from taggnn.reporting.importance_overlay import AGAINST, FOR, overlaid, scaled
from taggnn.reporting.page import percent
from taggnn.reporting.theme import DARK, families, fitted
from taggnn.reporting.tracklet_overlay import resized, rgb

# Frames a second, as of tracklets; panels at most; pixels: the side of a panel, a gap, a line of text, a bar.
RATE, MOST, SIDE, GAP, LINE, BAR = 4, 4, 240, 6, 22, 8


def write_clip(path: Path, clip: Explained) -> Path | None:
    """Writes the video; of inputs without pictures, and of maps that cannot be drawn over them, there is none.

    Raises:
        OSError: it cannot be written.
    """
    drawn = frames(clip)
    if drawn is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, drawn, RATE)
    return path


def frames(clip: Explained) -> np.ndarray | None:
    """Draws the frames: the picture, and a panel for each of the first maps, with the importance of the frame below it.

    **Shapes:** -> uint8 (F, height, width, 3), even sides
    """
    if clip.pictures is None:
        return None
    count, high, wide = clip.pictures.shape[:3]
    height, width = SIDE, max(1, round(SIDE * wide / high))
    panels = [("the clip", resized(clip.pictures, height, width), None)]
    for method, importance in list(clip.maps.items())[: MOST - 1]:
        found = overlaid(clip, importance, height, width, 0.15)
        if found is not None:
            panels.append((method, found, scaled(importance.of_frames)))
    if len(panels) == 1:
        return None
    whole = len(panels) * (width + GAP) - GAP
    titles = _titles(clip, [name for name, _, _ in panels], width, whole)
    tall = len(titles) + height + GAP + BAR
    out = np.empty((count, tall + tall % 2, whole + whole % 2, 3), np.uint8)
    out[:] = rgb(DARK.surface).round().to(torch.uint8).numpy()
    out[:, : len(titles), :whole] = titles
    for number, (_, pictures, of_frames) in enumerate(panels):
        left, top = number * (width + GAP), len(titles)
        out[:, top : top + height, left : left + width] = pictures.numpy()
        if of_frames is None:
            continue
        for frame in range(count):
            share = of_frames[token_frame(frame, count, len(of_frames))].item()
            bar = out[frame, top + height + GAP :, left : left + width]
            bar[:BAR] = rgb(DARK.line).numpy()
            bar[:BAR, : round(abs(share) * width)] = rgb(FOR if share > 0 else AGAINST).numpy()
    return out


def _titles(clip: Explained, names: list[str], width: int, whole: int) -> np.ndarray:
    """The class, and a line for each panel; the same in every frame. **Shapes:** -> uint8 (height, width, 3)"""
    height = 3 * LINE + 4
    figure = Figure(figsize=(whole / 100, height / 100), dpi=100, facecolor=DARK.surface)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, whole), ylim=(height, 0))
    axes.axis("off")
    style: dict[str, Any] = {"va": "center", "fontsize": 7.5, "parse_math": False}
    with matplotlib.rc_context({"font.family": list(families())}), warnings.catch_warnings():
        # Of letters that no font on this machine has: boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph")
        heading = f"{fitted(clip.target, whole // 7 - 12)} ({percent(clip.probability)})"
        axes.text(4, LINE / 2 + 2, heading, color=DARK.ink, **style)
        for number, name in enumerate(names):
            x, found = number * (width + GAP) + 4, clip.curves.get(name)
            axes.text(x, 1.5 * LINE + 2, fitted(name.replace("_", " "), width // 7), color=DARK.ink, **style)
            if found is not None:
                better = verdict([found]).better
                text, ink = ("better than random", DARK.muted) if better else ("no better than random", DARK.wrong)
                axes.text(x, 2.5 * LINE + 2, text, color=ink, **style)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
