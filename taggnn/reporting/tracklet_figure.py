"""The tracklets of one clip as a figure: frames across, a row for each region with its attention, path and weights.

Axes: T frames of the tokens, F frames of the input, R regions, H W the token grid of a frame, P positions, h w the picture.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Stroke
from torch import Tensor

from taggnn.evaluation.tracklets import Tracklets, paths, peak_ratio, strength
from taggnn.reporting.figures import WIDTH
from taggnn.reporting.page import percent
from taggnn.reporting.theme import DPI, LIGHT, Theme, fitted, shorten, widened
from taggnn.reporting.tracklet_overlay import COLOURS, EDGE, colour, covered, empty, grey, resized

# Frames in a row, and regions, at most; the colours do not suffice for more.
MOST_FRAMES, MOST_REGIONS = 8, len(COLOURS)
# Inches: the labels, the names of positions, the largest side of a frame; weights; gaps; a row of a map of positions.
LABELS, NAMES, LARGEST, BARS, GAP, BETWEEN, LINE = 1.75, 1.05, 1.3, 0.3, 0.05, 0.16, 0.115
# Largest number of positions whose names are written.
NAMES_UP_TO = 30


def strip(tracklets: Tracklets, titled: bool = True, theme: Theme = LIGHT) -> Figure:
    """Draws the tracklets of a clip.

    The first row has frames of the clip. Below it every region has a row of the same frames in grey, with its attention in
    colour (see `taggnn.evaluation.tracklets.strength`), its path up to each frame, and a bar for the weight of each frame, the
    dashed line being uniform weights. Where positions are no grid of rows and columns, a map of frames x positions takes the
    frames' room.

    Args:
        tracklets: of the clip.
        titled: whether its name, its class and the prediction stand above.
        theme: colours.
    """
    layout = _Layout(tracklets, titled)
    figure = Figure(figsize=(WIDTH, layout.height), facecolor=theme.surface)
    FigureCanvasAgg(figure)
    page = _Page(figure, layout, theme)
    if titled:
        _title(page, tracklets)
    _frames_row(page, tracklets)
    maps, ratios = strength(tracklets.regions), peak_ratio(tracklets.regions).tolist()
    tracks = paths(tracklets.regions).numpy()
    for region in range(layout.regions):
        text = tracklets.texts[region] if tracklets.texts else ""
        _label(page, region, text, ratios[region])
        if tracklets.spatial:
            _maps_row(page, tracklets, maps, tracks, region)
        else:
            _positions(page, tracklets, maps[:, region], tracks[:, region, 0], region)
        if tracklets.weights is not None:
            _bars(page, tracklets.weights, region)
    if layout.left_out:
        page.text(0, layout.height - 0.12, f"and {layout.left_out} more regions", theme.muted, 8)
    return figure


class _Layout:
    """Where everything is, in inches from the top left corner."""

    def __init__(self, tracklets: Tracklets, titled: bool) -> None:
        regions, pictures = tracklets.regions, tracklets.pictures
        self.frames = len(regions)
        self.regions = min(regions.shape[1], MOST_REGIONS)
        self.left_out = regions.shape[1] - self.regions
        self.named = 0 < len(tracklets.positions) == regions[0, 0].numel() <= NAMES_UP_TO and not tracklets.spatial
        self.left = LABELS + (NAMES if self.named else 0.0)
        self.columns = min(self.frames, MOST_FRAMES)
        high, wide = pictures.shape[1:3] if pictures is not None else regions.shape[2:] if tracklets.spatial else (1, 1)
        self.pitch = min((WIDTH - self.left) / self.columns, (LARGEST * min(1.0, wide / high)) + GAP)
        if not tracklets.spatial:
            # A map fills the width.
            self.pitch = (WIDTH - self.left) / self.columns
        self.cell = (self.pitch - GAP) * high / wide, self.pitch - GAP
        if self.cell[0] > LARGEST:
            self.cell = LARGEST, LARGEST * wide / high
        self.width = self.pitch * self.columns
        self.top = (0.5 if titled else 0.0) + 0.2
        self.shown = self.cell[0] + BETWEEN if pictures is not None else 0.06
        self.row = self.cell[0] if tracklets.spatial else min(max(regions.shape[2] * LINE, 0.5), 3.2)
        self.below = BARS + 0.06 if tracklets.weights is not None else 0.0
        # A label has seven lines.
        self.step = max(self.row + self.below, 0.95) + BETWEEN
        self.height = self.top + self.shown + self.regions * self.step + (0.2 if self.left_out else 0.0)

    def y(self, region: int) -> float:
        """The top of a region's row."""
        return self.top + self.shown + region * self.step

    def column(self, index: int) -> int:
        """The frame of the tokens in a column: the middle one of as many equal parts."""
        return (2 * index + 1) * self.frames // (2 * self.columns)


class _Page:
    """A figure whose axes and texts are given in inches from its top left corner."""

    def __init__(self, figure: Figure, layout: _Layout, theme: Theme) -> None:
        self.figure, self.layout, self.theme = figure, layout, theme

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        whole = self.layout.height
        axes = self.figure.add_axes((x / WIDTH, 1 - (y + height) / whole, width / WIDTH, height / whole))
        axes.set_facecolor("none")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, x: float, y: float, text: str, ink: str, size: float, **style: Any) -> None:
        style = {"ha": "left", "va": "top", "parse_math": False, **style}
        self.figure.text(x / WIDTH, 1 - y / self.layout.height, text, color=ink, fontsize=size, **style)

    def row(self, y: float, pictures: Sequence[np.ndarray]) -> tuple[Axes, float]:
        """A row of frames, each 1 wide and 1 high in data coordinates, y downwards, and what is free left of each."""
        layout = self.layout
        high, wide = layout.cell
        axes, free = self.axes(layout.left, y, layout.width, high), (1 - wide / layout.pitch) / 2
        for column, picture in enumerate(pictures):
            extent = (column + free, column + 1 - free, 1, 0)
            axes.imshow(picture, extent=extent, aspect="auto", interpolation="none")
        axes.set_xlim(0, layout.columns)
        axes.set_ylim(1, 0)
        return axes, free


def _title(page: _Page, tracklets: Tracklets) -> None:
    theme = page.theme
    page.text(0, 0.02, fitted(tracklets.name, 110), theme.ink, 10, fontweight="bold")
    truth, predicted = fitted(tracklets.truth, 52), fitted(tracklets.predicted, 52)
    sure = percent(tracklets.probability)
    if tracklets.right:
        page.text(0, 0.26, f"{truth}, predicted right ({sure})", theme.right, 8.5)
    else:
        page.text(0, 0.26, f"{truth}, predicted as {predicted} ({sure})", theme.wrong, 8.5)


def _pixels(layout: _Layout) -> tuple[int, int]:
    return max(1, round(layout.cell[0] * DPI)), max(1, round(layout.cell[1] * DPI))


def _frames_row(page: _Page, tracklets: Tracklets) -> None:
    """Frames of the clip with their numbers from 1: of a frame of the tokens the middle one that it covers."""
    layout, pictures = page.layout, tracklets.pictures
    count = layout.frames if pictures is None else len(pictures)
    numbers = [_frame(layout.column(column), layout.frames, count) for column in range(layout.columns)]
    if not tracklets.spatial:
        # Above a map, which has every frame of the tokens, each is where it is in time.
        numbers = [_frame(column, layout.columns, count) for column in range(layout.columns)]
    for column, number in enumerate(numbers):
        middle = layout.left + (column + 0.5) * layout.pitch
        page.text(middle, layout.top - 0.03, str(number + 1), page.theme.muted, 7.5, ha="center", va="bottom")
    if pictures is not None:
        page.row(layout.top, list(resized(pictures[numbers], *_pixels(layout)).numpy()))
    of = f"frame, of {count}" if layout.columns < count else "frame"
    page.text(layout.left - 0.08, layout.top - 0.03, of, page.theme.muted, 7.5, ha="right", va="bottom")


def _frame(token: int, tokens: int, frames: int) -> int:
    """The middle frame of the input that a frame of the tokens covers."""
    return min(frames - 1, (2 * token + 1) * frames // (2 * tokens))


def _label(page: _Page, region: int, text: str, ratio: float) -> None:
    y, theme = page.layout.y(region), page.theme
    mark = page.axes(0.01, y + 0.005, 0.11, 0.11)
    mark.add_patch(Rectangle((0, 0), 1, 1, color=colour(region), transform=mark.transAxes))
    page.text(0.17, y - 0.01, f"region {region + 1}", theme.ink, 8.5, fontweight="bold")
    lines = textwrap.wrap(widened(fitted(text, 100)), 27)[:4]
    for number, line in enumerate(lines):
        page.text(0, y + 0.19 + 0.14 * number, line.replace("\0", ""), theme.ink, 7.5)
    after = y + 0.21 + 0.14 * len(lines)
    page.text(0, after, f"peak {ratio:.2g} × uniform", theme.muted, 7)


def _maps_row(page: _Page, tracklets: Tracklets, maps: Tensor, tracks: np.ndarray, region: int) -> None:
    layout, pictures = page.layout, tracklets.pictures
    drawn, size, tokens = [], _pixels(layout), [layout.column(column) for column in range(layout.columns)]
    for token in tokens:
        below = empty(*size)
        if pictures is not None:
            below = grey(resized(pictures[_frame(token, layout.frames, len(pictures))], *size))
        drawn.append(covered(below, maps[token], [region]))
    axes, free = page.row(layout.y(region), drawn)
    for column, token in enumerate(tokens):
        track = tracks[: token + 1, region] * (1 - 2 * free, 1) + (column + free, 0)
        _trail(axes, track, colour(region))


def _trail(axes: Axes, track: np.ndarray, ink: str) -> None:
    """The path up to a frame, and a dot where it is now."""
    white = [Stroke(linewidth=2.6, foreground=EDGE), Stroke(linewidth=1.1)]
    axes.plot(track[:, 0], track[:, 1], color="#14171b", lw=1.1, path_effects=white)
    axes.plot(track[-1:, 0], track[-1:, 1], "o", color=ink, ms=5.5, mec=EDGE, mew=1.1)


def _positions(page: _Page, tracklets: Tracklets, maps: Tensor, track: np.ndarray, region: int) -> None:
    """Attention as a map of frames x positions, with the line of its peaks."""
    layout, theme = page.layout, page.theme
    axes = page.axes(layout.left, layout.y(region), layout.width - GAP, layout.row)
    fade = LinearSegmentedColormap.from_list("region", [theme.line, colour(region)])
    frames, positions = maps.shape
    axes.imshow(
        (255 * torch.from_numpy(fade(maps.T.numpy()))).round().to(torch.uint8)[..., :3].numpy(),
        extent=(-0.5, frames - 0.5, positions - 0.5, -0.5), aspect="auto", interpolation="nearest",
    )  # fmt: skip
    white = [Stroke(linewidth=2.4, foreground=EDGE), Stroke(linewidth=1.0)]
    style: dict[str, Any] = {"marker": "o", "ms": 2.5, "color": "#14171b", "lw": 1.0, "path_effects": white}
    axes.plot(np.arange(frames), track * positions - 0.5, **style)
    axes.set_xlim(-0.5, frames - 0.5)
    axes.set_ylim(positions - 0.5, -0.5)
    axes.tick_params(length=0, pad=2, labelsize=5.5, colors=theme.muted)
    if layout.named:
        axes.set_yticks(range(positions), [shorten(name, 20) for name in tracklets.positions], parse_math=False)
    else:
        axes.text(-0.01, 1, "0", transform=axes.transAxes, ha="right", va="top", fontsize=6, color=theme.muted)
        last: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "right",
            "va": "bottom",
            "fontsize": 6,
            "color": theme.muted,
        }
        axes.text(-0.01, 0, str(positions - 1), **last)


def _bars(page: _Page, weights: Tensor, region: int) -> None:
    """The weight of every frame, on one scale for all regions."""
    layout, theme = page.layout, page.theme
    shares = weights[:, region].clamp(min=0).tolist()
    highest, even = max(weights.max().item(), 1e-9), 1 / layout.frames
    axes = page.axes(layout.left, layout.y(region) + layout.row + 0.06, layout.width, BARS)
    axes.bar(range(layout.frames), shares, 0.7, color=colour(region), edgecolor=theme.muted, linewidth=0.4)
    axes.axhline(even, color=theme.muted, lw=0.8, ls="--")
    axes.axhline(0, color=theme.muted, lw=0.8)
    axes.set_xlim(-0.5, layout.frames - 0.5)
    axes.set_ylim(0, 1.05 * max(highest, even))
    style: dict[str, Any] = {"fontsize": 6.5, "color": theme.muted, "transform": axes.transAxes, "ha": "right"}
    axes.text(-0.012, 0.95, percent(highest, 0), va="center", **style)
    axes.text(-0.012, 0.0, "weight  0", va="center", **style)


def caption(shown: Sequence[Tracklets]) -> str:
    """What the figures show, in sentences, for the page."""
    ways = ["Colour: the attention of a region, from uniform attention (none) to its peak in the clip."]
    if any(each.spatial for each in shown):
        ways.append("Line: where its peak has been, up to the dot.")
    if not all(each.spatial for each in shown):
        ways.append("In a map of frames and positions the line joins the peaks of the frames.")
    if any(each.weights is not None for each in shown):
        ways.append("Bars: the weight of each frame in the region's tracklet; dashed: uniform.")
    return " ".join(ways)
