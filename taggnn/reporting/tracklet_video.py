"""The tracklets of one clip as an MP4: every frame with the attention and the paths of all regions, and a legend.

Axes: T frames of the tokens, F frames of the input, R regions, h w the picture.
"""

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

from taggnn.data.synthetic import write_video
from taggnn.evaluation.tracklets import Tracklets, paths, strength, token_frame
from taggnn.reporting.page import percent
from taggnn.reporting.theme import DARK, families, fitted
from taggnn.reporting.tracklet_figure import MOST_REGIONS
from taggnn.reporting.tracklet_overlay import EDGE, colour, covered, grey, resized, rgb

# Frames a second: sampled frames are some apart, and a viewer needs time for each.
RATE = 4
# Pixels: the shorter side of a picture at least, the width at least and the longest side; a line of the legend; a weight.
SHORT, WIDE, LONG, LINE, BAR = 288, 352, 1280, 24, 72
# Drawn in twice the size, so that lines are smooth.
_FINER = 2


def write_clip(path: Path, tracklets: Tracklets) -> Path | None:
    """Writes the video; of inputs without pictures there is none.

    Args:
        path: the MP4.
        tracklets: of the clip; regions whose positions do not cover the picture are not drawn into it.

    Returns:
        The path; None where nothing was written.

    Raises:
        OSError: it cannot be written.
    """
    if tracklets.pictures is None or not tracklets.spatial:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames(tracklets), RATE)
    return path


def frames(tracklets: Tracklets) -> np.ndarray:
    """Draws the frames of the video.

    **Shapes:** -> uint8 (F, height, width, 3), even sides
    """
    pictures = tracklets.pictures
    assert pictures is not None
    count, high, wide = pictures.shape[:3]
    factor = min(max(1.0, SHORT / min(high, wide)), LONG / max(high, wide))
    height, width = max(1, round(high * factor)), max(1, round(wide * factor))
    maps, tracks = strength(tracklets.regions), paths(tracklets.regions).numpy()
    regions = range(min(maps.shape[1], MOST_REGIONS))
    across = max(width, WIDE)
    across += across % 2
    legend = _legend(tracklets, across, len(regions))
    tall = height + len(legend)
    out = np.empty((count, tall + tall % 2, across, 3), np.uint8)
    out[:] = rgb(DARK.surface).round().to(torch.uint8).numpy()
    left = (across - width) // 2
    for frame in range(count):
        token = token_frame(frame, count, len(maps))
        below = grey(resized(pictures[frame], height, width), 0.15)
        drawn = _with_paths(covered(below, maps[token], regions), tracks[: token + 1], regions)
        out[frame, :height, left : left + width] = drawn
        out[frame, height:tall] = legend
        if tracklets.weights is not None:
            _fill_bars(out[frame, height:tall], tracklets.weights, token, len(regions))
    return out


def _with_paths(picture: np.ndarray, tracks: np.ndarray, regions: range) -> np.ndarray:
    """**Shapes:** (h, w, 3), (t, R, 2) -> (h, w, 3)"""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture).resize((_FINER * width, _FINER * height), Image.Resampling.BICUBIC)
    pen, size = ImageDraw.Draw(image), _FINER * max(3, round(min(height, width) / 60))
    for region in regions:
        points = [(_FINER * width * x, _FINER * height * y) for x, y in tracks[:, region].tolist()]
        for ink, thick in ((EDGE, size), (colour(region), size // 2)):
            pen.line(points, fill=ink, width=thick, joint="curve")
        x, y = points[-1]
        for ink, radius in ((EDGE, 1.5 * size), (colour(region), 1.1 * size)):
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=ink)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def _legend(tracklets: Tracklets, width: int, regions: int) -> np.ndarray:
    """A line for the classes and one for each region; the same in every frame. **Shapes:** -> uint8 (height, width, 3)"""
    height = LINE * (1 + regions) + 6
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=DARK.surface)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    letters = width // 7
    sure = percent(tracklets.probability)
    if tracklets.right:
        heading, ink = f"{fitted(tracklets.truth, letters - 18)}, right ({sure})", DARK.right
    else:
        one, other = (fitted(name, (letters - 16) // 2) for name in (tracklets.truth, tracklets.predicted))
        heading, ink = f"{one}, taken for {other} ({sure})", DARK.wrong
    style: dict[str, Any] = {"va": "center", "fontsize": 7.5, "parse_math": False}
    with matplotlib.rc_context({"font.family": list(families())}), warnings.catch_warnings():
        # Of letters that no font on this machine has: boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph")
        axes.text(8, LINE / 2 + 3, heading, color=ink, **style)
        for region in range(regions):
            y = LINE * (region + 1.5) + 3
            axes.add_patch(Rectangle((8, y - 6), 12, 12, color=colour(region)))
            text = tracklets.texts[region] if tracklets.texts else f"region {region + 1}"
            axes.text(28, y, fitted(text, letters - 18), color=DARK.ink, **style)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _fill_bars(legend: np.ndarray, weights: torch.Tensor, token: int, regions: int) -> None:
    """The weights of a frame, of the largest in the clip, at the right end of the legend."""
    highest, right = max(weights.max().item(), 1e-9), legend.shape[1] - 8
    for region in range(regions):
        top = LINE * (region + 1) + 3 + LINE // 2 - 4
        share = min(max(weights[token, region].item() / highest, 0.0), 1.0)
        legend[top : top + 8, right - BAR : right] = rgb(DARK.line).numpy()
        legend[top : top + 8, right - BAR : right - BAR + round(share * BAR)] = rgb(colour(region)).numpy()
