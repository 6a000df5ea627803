"""The maps of one clip as a figure: frames across, a row for each method, and a bar for each frame.

Axes: T frames of the tokens, F frames of the input, H W the token grid of a frame, P positions, h w the picture.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from taggnn.evaluation.tracklets import token_frame
from taggnn.explanation.chain import temporal_chain
from taggnn.explanation.curves import Curves, area, verdict
from taggnn.explanation.explained import Explained
from taggnn.explanation.importance import Importance
from taggnn.reporting.figures import WIDTH
from taggnn.reporting.importance_overlay import AGAINST, FOR, overlaid, scaled
from taggnn.reporting.page import percent
from taggnn.reporting.theme import DPI, LIGHT, Theme, fitted, style
from taggnn.reporting.tracklet_overlay import EDGE, LIGHTENED, resized

# Frames in a row at most; inches: labels, the largest side of a frame, bars, gaps.
MOST_FRAMES = 8
LABELS, LARGEST, BARS, GAP, BETWEEN, TITLE, NUMBERS = 1.75, 1.0, 0.26, 0.05, 0.2, 0.5, 0.2


def maps_figure(clip: Explained, titled: bool = True, theme: Theme = LIGHT) -> Figure:
    """Draws the maps of a clip.

    Below frames of the clip every method has a row of the same frames in grey with its map in colour, a dot on the most important
    position of each frame, and a bar for the sum over each frame.

    Args:
        clip: with its maps.
        titled: whether its name and its class stand above.
        theme: colours.
    """
    return _Strip(clip, titled, theme).figure


def curves_figure(clip: Explained, theme: Theme = LIGHT) -> Figure | None:
    """Draws the deletion and the insertion curve of each method over the range of the random orders; None without curves."""
    if not clip.curves:
        return None
    rows = len(clip.curves)
    figure = Figure(figsize=(WIDTH, 1.25 * rows + 0.5), facecolor=theme.surface)
    FigureCanvasAgg(figure)
    for row, (method, found) in enumerate(clip.curves.items()):
        for column, kind in enumerate(("deletion", "insertion")):
            axes = figure.add_subplot(rows, 2, 2 * row + column + 1)
            _curve(axes, found, kind, method, theme)
            axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"] if row == rows - 1 else ["", "", ""])
    figure.subplots_adjust(
        left=0.07, right=0.99, top=1 - 0.25 / (1.25 * rows + 0.5), bottom=0.3 / (1.25 * rows + 0.5), hspace=0.45
    )
    return figure


def _curve(axes: Axes, found: Curves, kind: str, method: str, theme: Theme) -> None:
    curve, random = getattr(found, kind), getattr(found, f"random_{kind}")
    across = np.linspace(0, 1, len(curve))
    style(axes, theme)
    axes.fill_between(across, random.amin(0).numpy(), random.amax(0).numpy(), color=theme.line, lw=0)
    axes.plot(across, random.mean(0).numpy(), color=theme.muted, lw=1.0, ls="--")
    axes.plot(across, curve.numpy(), color=theme.right, lw=1.8)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_yticks([0, 1], ["0", "1"])
    text = f"{method}, {kind}: area {area(curve):.3f}, random {area(random).mean():.3f}"
    axes.set_title(text, fontsize=8.5, color=theme.ink, loc="left", pad=3)


class _Strip:
    """A figure whose parts are given in inches from its top left corner."""

    def __init__(self, clip: Explained, titled: bool, theme: Theme) -> None:
        self.clip, self.theme = clip, theme
        first = next(iter(clip.maps.values())).values
        self.tokens = len(first)
        self.count = self.tokens if clip.pictures is None else len(clip.pictures)
        self.columns = min(self.count, MOST_FRAMES)
        high, wide = (
            clip.pictures.shape[1:3] if clip.pictures is not None else first.shape[1:] if first.ndim == 3 else (1, 1)
        )
        self.pitch = (WIDTH - LABELS) / self.columns
        side = min(self.pitch - GAP, LARGEST * min(1.0, wide / high))
        self.cell = side * high / wide, side
        self.pitch = side + GAP
        top = (TITLE if titled else 0.0) + NUMBERS
        self.step = max(self.cell[0] + BARS + 0.06, 0.95) + BETWEEN
        shown = self.cell[0] + BETWEEN if clip.pictures is not None else 0.06
        self.height = top + shown + self.step * len(clip.maps)
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor=theme.surface)
        FigureCanvasAgg(self.figure)
        if titled:
            self.text(0, 0.02, fitted(clip.name, 110), theme.ink, 10, fontweight="bold")
            also = "" if clip.target == clip.predicted else f"; the most probable class is {fitted(clip.predicted, 40)}"
            self.text(0, 0.26, f"{fitted(clip.target, 52)} ({percent(clip.probability)}){also}", theme.muted, 8.5)
        self.numbers(top)
        for row, (method, importance) in enumerate(clip.maps.items()):
            y = top + shown + row * self.step
            self.label(y, method)
            self.map(y, importance)
            self.bars(y + self.cell[0] + 0.06, importance.of_frames)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        axes = self.figure.add_axes((x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height))
        axes.set_facecolor("none")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, x: float, y: float, text: str, ink: str, size: float, **more: Any) -> None:
        more = {"ha": "left", "va": "top", "parse_math": False, **more}
        self.figure.text(x / WIDTH, 1 - y / self.height, text, color=ink, fontsize=size, **more)

    @property
    def shown(self) -> list[int]:
        """The frames of the input in the columns: the middle ones of equal parts."""
        return [(2 * column + 1) * self.count // (2 * self.columns) for column in range(self.columns)]

    def numbers(self, top: float) -> None:
        pictures = self.clip.pictures
        for column, frame in enumerate(self.shown):
            x = LABELS + column * self.pitch + self.cell[1] / 2
            self.text(x, top - 0.03, str(frame + 1), self.theme.muted, 7.5, ha="center", va="bottom")
        of = f"frame, of {self.count}" if self.columns < self.count else "frame"
        self.text(LABELS - 0.08, top - 0.03, of, self.theme.muted, 7.5, ha="right", va="bottom")
        if pictures is not None:
            for column, picture in enumerate(resized(pictures[self.shown], *self.pixels).numpy()):
                self.axes(LABELS + column * self.pitch, top, self.cell[1], self.cell[0]).imshow(picture, aspect="auto")

    @property
    def pixels(self) -> tuple[int, int]:
        return max(1, round(self.cell[0] * DPI)), max(1, round(self.cell[1] * DPI))

    def label(self, y: float, method: str) -> None:
        theme, found = self.theme, self.clip.curves.get(method)
        self.text(0, y, method.replace("_", " "), theme.ink, 8.5, fontweight="bold")
        if found is None:
            return
        of_map = verdict([found])
        lines = [
            f"deletion {of_map.deletion.value:.2f} (random {of_map.deletion.random:.2f})",
            f"insertion {of_map.insertion.value:.2f} (random {of_map.insertion.random:.2f})",
        ]
        for number, line in enumerate(lines):
            self.text(0, y + 0.2 + 0.14 * number, line, theme.muted, 7)
        if not of_map.better:
            self.text(0, y + 0.5, "no better than random", theme.wrong, 7.5, fontweight="bold")

    def map(self, y: float, importance: Importance) -> None:
        drawn = overlaid(self.clip, importance, *self.pixels, LIGHTENED)
        if drawn is None:
            return self.heat(y, importance.values)
        chain = temporal_chain(importance.values)
        for column, frame in enumerate(self.shown):
            axes = self.axes(LABELS + column * self.pitch, y, self.cell[1], self.cell[0])
            axes.imshow(drawn[frame].numpy(), aspect="auto", extent=(0, 1, 1, 0), interpolation="none")
            link = chain[token_frame(frame, self.count, self.tokens)]
            if len(link.position) == 2 and importance.unit != "frame":
                rows, columns = importance.values.shape[1:]
                x, down = (link.position[1] + 0.5) / columns, (link.position[0] + 0.5) / rows
                axes.plot(x, down, "o", color="#14171b", ms=3.5, mec=EDGE, mew=1.0)
            axes.set(xlim=(0, 1), ylim=(1, 0))
        return None

    def heat(self, y: float, values: Tensor) -> None:
        """Frames x positions, where positions are neither rows and columns nor joints that are drawn."""
        axes = self.axes(LABELS, y, self.pitch * self.columns - GAP, self.cell[0])
        shades = LinearSegmentedColormap.from_list("importance", [AGAINST, self.theme.surface, FOR])
        flat = scaled(values).flatten(1).T.numpy()
        axes.imshow(flat, aspect="auto", cmap=shades, vmin=-1, vmax=1, interpolation="nearest")

    def bars(self, y: float, of_frames: Tensor) -> None:
        axes = self.axes(LABELS, y, self.pitch * self.columns - GAP, BARS)
        heights = scaled(of_frames).numpy()
        axes.bar(np.arange(len(heights)), heights, 0.75, color=[FOR if one > 0 else AGAINST for one in heights])
        axes.axhline(0, color=self.theme.muted, lw=0.6)
        axes.set(xlim=(-0.5, len(heights) - 0.5), ylim=(min(0.0, *heights) - 0.05, max(0.0, *heights) + 0.05))
        axes.text(
            -0.01,
            0.5,
            "sum of a frame",
            transform=axes.transAxes,
            ha="right",
            va="center",
            fontsize=6.5,
            color=self.theme.muted,
        )
