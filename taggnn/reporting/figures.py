"""The figures of all pages, drawn by matplotlib: training curves, matrices of classes, bars, intervals, calibration.

Each function gives a `Figure`, or None where there is nothing to draw; `taggnn.reporting.theme` turns it into SVG or PNG.
Bar charts have a bar at 0, 1, 2, ... and a tooltip over the whole height of each.

Axes: K classes.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from taggnn.evaluation.calibration import Bin
from taggnn.evaluation.longtail import FEW_BELOW, MANY_ABOVE
from taggnn.evaluation.rejection import RiskCoverage
from taggnn.reporting.page import GROUPS, number, percent
from taggnn.reporting.theme import LIGHT, TIP, Theme, drawable, shorten, style

NUMBERS_UP_TO, NAMES_UP_TO = 20, 40
# Cells of a confusion matrix in each direction, as many as there are points to draw them.
CELLS = 1000
# Names in one row of the legend of the parts of the loss.
PARTS_IN_A_ROW = 4
# Inches: the width of a page's content, and the height of the bars.
WIDTH, HEIGHT = 9.4, 2.4
# Bars of a histogram, at most.
BINS = 40
# Names below an axis.
TURNED: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
# From this ratio of the largest to the smallest on, a linear axis hides the small ones.
LOG_FROM = 20

LOSSES = (("train/loss", "training"), ("val/loss", "validation"))
PARTS = "Parts of the loss"
ACCURACIES = (
    ("train/top1", "training top-1"),
    ("val/top1", "validation top-1"),
    ("val/mca", "mean class accuracy"),
)


def curves(
    history: Sequence[Mapping[str, float]],
    best_epoch: int | None = None,
    theme: Theme = LIGHT,
    parts: Sequence[str] = (),
) -> Figure | None:
    """Draws loss and accuracy over the epochs, the best epoch marked; below them the parts of the loss, where there are any.

    Args:
        history: one row an epoch, with "epoch" and any of the keys of ``LOSSES`` and ``ACCURACIES``.
        best_epoch: the epoch to mark.
        theme: colours.
        parts: names of the parts of the loss, each a key ``train/<name>`` (default: none).

    Returns:
        ``None`` when the history holds none of the keys.
    """
    panels = []
    kinds = [("Loss", LOSSES), ("Accuracy", ACCURACIES), (PARTS, [(f"train/{name}", name) for name in parts])]
    for title, keys in kinds:
        lines = [(key, name, _points(history, key)) for key, name in keys]
        if lines := [line for line in lines if line[2]]:
            panels.append((title, lines))
    if not panels:
        return None
    wide, high = min(2, len(panels)), (len(panels) + 1) // 2
    names = _rows_of_names(len(panels[-1][1])) if panels[-1][0] == PARTS else 0
    figure = _figure((4.7 * wide, 3.1 + (3.6 + 0.25 * names) * (high - 1)), theme)
    for index, (title, lines) in enumerate(panels, start=1):
        # A panel that is alone in its row has all of its width.
        alone = index == len(panels) and index % wide
        axes = figure.add_subplot(high, 1, high) if alone else figure.add_subplot(high, wide, index)
        style(axes, theme)
        _lines(axes, title, lines, theme)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=theme.muted, lw=0.9, ls=":", zorder=1)
            if title != PARTS:
                _mark(axes, best_epoch, lines, theme)
    figure.subplots_adjust(
        left=0, right=1, bottom=0.1 / high, top=1 - 0.15 / high, wspace=0.2, hspace=0.4 + 0.07 * names
    )
    return figure


def _lines(axes: Axes, title: str, lines: list, theme: Theme) -> None:
    """The lines of one panel; parts of the loss differ by colour, then by dashes."""
    parts = title == PARTS
    cycle = (theme.right, theme.wrong, theme.third, theme.ink)
    colours = {"train/loss": theme.third, "train/top1": theme.third, "val/mca": theme.wrong}
    for index, (key, name, points) in enumerate(lines):
        colour = cycle[index % 4] if parts else colours.get(key, theme.right)
        dashes = ("-", "--", ":", "-.")[index // 4 % 4] if parts else "--" if key == "val/mca" else "-"
        # A legend would take dollars for formulas, and leave out what begins with an underscore.
        label = shorten(name, 28).replace("$", r"\$")
        label = f" {label}" if label.startswith("_") else label
        marker = "o" if len(points) < 3 else None
        axes.plot(*zip(*points, strict=True), dashes, color=colour, label=label, lw=1.8, marker=marker, ms=4)
    values = [value for _, _, points in lines for _, value in points]
    # Parts of very different size would lie on the axis.
    if parts and min(values) > 0 and max(values) > 30 * min(values):
        axes.set_yscale("log")
        axes.tick_params(which="minor", length=0)
    if title == "Accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_ylim(-0.02, 1.02)
    pad = 10 + 14 * _rows_of_names(len(lines)) if parts else 24
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=theme.ink, pad=pad)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01 if parts else -0.02, 1.0), ncols=PARTS_IN_A_ROW if parts else 3,
        frameon=False, fontsize=8.5, labelcolor=theme.muted, handlelength=1.8 if parts else 1.4, columnspacing=1.2,
        borderpad=0.2,
    )  # fmt: skip
    axes.set_xlabel("epoch", fontsize=9, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def confusion(
    matrix: Tensor,
    classes: Sequence[str],
    theme: Theme = LIGHT,
    support: Tensor | None = None,
    labels: Sequence[int] | None = None,
) -> Figure:
    """Draws a confusion matrix: blue where right, vermilion where wrong, deeper for a larger share of the row.

    Up to 20 classes the cells hold their counts, up to 40 the rows hold names; beyond, both axes are class numbers. Beyond
    ``CELLS`` a cell is a block of classes: off the diagonal the largest share of its mistakes, on it the mean of its classes.
    Rows of classes that do not occur are hatched.

    Args:
        matrix: counts, rows = truth.
        classes: names in label order; long ones are shortened in the middle, and a class whose name has letters that
            no installed font can draw is shown by number.
        theme: colours.
        support: clips of each row, where the matrix is a part of a larger one; None (default) for the sums of the rows.
        labels: the number of each class, where they are some of more; None (default) for 0 to K - 1.

    Shapes:
        matrix (K, K), support (K,)
    """
    counts = matrix.cpu().numpy()
    number = len(classes)
    clips = counts.sum(axis=1) if support is None else support.cpu().numpy()
    step = block_of(number)
    # The square root lifts single mistakes among a hundred clips above the background.
    weight = np.sqrt(_shares(counts, clips, step))[..., None]
    hues = np.where(np.eye(len(weight), dtype=bool)[..., None], to_rgb(theme.right), to_rgb(theme.wrong))
    cells = np.asarray(to_rgb(theme.surface)) * (1 - weight) + hues * weight

    figure, axes = _square(cells, number, step, theme)
    if number <= NAMES_UP_TO:
        between = np.arange(1, number) - 0.5
        axes.hlines(between, -0.5, number - 0.5, color=theme.line, lw=0.6)
        axes.vlines(between, -0.5, number - 0.5, color=theme.line, lw=0.6)
    for begin, stop in _absent(clips, step):
        axes.axhspan(begin - 0.5, stop - 0.5, facecolor="none", edgecolor=theme.line, hatch="////", lw=0)
    if number <= NUMBERS_UP_TO:
        for row, column in np.argwhere(counts > 0):
            ink = "#ffffff" if _luminance(cells[row, column]) < 0.36 else "#14171b"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=9)
    _class_axes(axes, classes, labels)
    axes.set_xlabel("taken for", fontsize=9.5, color=theme.muted, labelpad=8)
    axes.set_ylabel("truth", fontsize=9.5, color=theme.muted, labelpad=8)
    return figure


def similarity_matrix(matrix: Tensor, classes: Sequence[str], close: float, theme: Theme = LIGHT) -> Figure:
    """Draws how alike classes are: blue up to ``close``, deeper for a higher cosine, vermilion above; the diagonal is grey.

    Names and numbers as in ``confusion``. Beyond ``CELLS`` a cell is the most alike pair of a block of classes.

    Args:
        matrix: cosines.
        classes: names in label order.
        close: pairs with a higher cosine are vermilion.
        theme: colours.

    Shapes:
        matrix (K, K)
    """
    number, step = len(classes), block_of(len(classes))
    cosines = matrix.cpu().numpy().copy()
    np.fill_diagonal(cosines, np.nan)
    starts = np.arange(0, number, step)
    cosines = np.fmax.reduceat(np.fmax.reduceat(cosines, starts, 0), starts, 1)
    low = min(float(np.nanmin(cosines)), close) if number > 1 else 0.0
    # The least alike pair stays a little off the background, so that the matrix has an end.
    weight = (0.06 + 0.84 * np.clip((cosines - low) / max(close - low, 1e-6), 0, 1))[..., None]
    hues = np.where((cosines > close)[..., None], to_rgb(theme.wrong), to_rgb(theme.right))
    cells = np.asarray(to_rgb(theme.surface)) * (1 - weight) + hues * weight
    cells[np.isnan(cosines)] = to_rgb(theme.line)
    figure, axes = _square(cells, number, step, theme)
    if number <= NUMBERS_UP_TO:
        for row, column in np.argwhere(~np.isnan(cosines)):
            ink = "#ffffff" if _luminance(cells[row, column]) < 0.36 else "#14171b"
            text = f"{cosines[row, column]:.2f}".replace("0.", ".")
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5)
    _class_axes(axes, classes)
    return figure


def block_of(classes: int) -> int:
    """How many classes a cell of a matrix holds in each direction."""
    return -(-classes // CELLS)


def _square(cells: np.ndarray, number: int, step: int, theme: Theme) -> tuple[Figure, Axes]:
    """A figure with the coloured cells of a matrix of classes."""
    side = float(np.clip(0.6 * number, 2.0, 7.0))
    figure = _figure((side, side), theme)
    axes = figure.add_axes((0, 0, 1, 1))
    style(axes, theme)
    axes.grid(False)
    end = step * len(cells) - 0.5
    axes.imshow(cells, interpolation="nearest", aspect="equal", extent=(-0.5, end, end, -0.5))
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.line)
    axes.tick_params(length=0)
    return figure, axes


def _shares(counts: np.ndarray, support: np.ndarray, step: int) -> np.ndarray:
    """The share of its row that each cell has, or of a block of cells see ``confusion``."""
    blocks = -(-len(counts) // step)
    shares = np.zeros((blocks, blocks))
    rows, columns = np.nonzero(counts)
    off = rows != columns
    rows, columns = rows[off], columns[off]
    np.maximum.at(shares, (rows // step, columns // step), counts[rows, columns] / support[rows])
    occur = np.flatnonzero(support)
    sums, members = (np.zeros(blocks) for _ in range(2))
    np.add.at(sums, occur // step, counts[occur, occur] / support[occur])
    np.add.at(members, occur // step, 1)
    shares[np.diag_indices(blocks)] = sums / np.maximum(members, 1)
    return shares


def _absent(support: np.ndarray, step: int) -> list[tuple[int, int]]:
    """Ranges of rows without a clip, in whole cells; neighbours are one range."""
    ends = range(0, len(support), step)
    empty = [first for first in ends if not support[first : first + step].any()]
    ranges: list[tuple[int, int]] = []
    for first in empty:
        begin = ranges.pop()[0] if ranges and ranges[-1][1] == first else first
        ranges.append((begin, first + step))
    return ranges


def _class_axes(axes: Axes, classes: Sequence[str], labels: Sequence[int] | None = None) -> None:
    number = len(classes)
    shown = range(number) if labels is None else labels
    if number > NAMES_UP_TO:
        step = next((step for step in (10, 25, 50, 100, 250, 500) if number <= 12 * step), 10 ** len(str(number // 12)))
        axes.set_xticks(range(0, number, step))
        axes.set_yticks(range(0, number, step))
        return
    names = [
        " ".join(name.split()) if drawable(name) else f"class {label}"
        for label, name in zip(shown, classes, strict=True)
    ]
    longest = max(map(len, names))
    if longest <= 18 and number <= NUMBERS_UP_TO:
        turn = TURNED if number > 3 or longest > 6 else {}
        axes.set_xticks(range(number), names, parse_math=False, **turn)
        axes.set_yticks(range(number), names, parse_math=False)
        return
    size, width, lines = (8.5, 34, 3 if number <= 12 else 2) if number <= NUMBERS_UP_TO else (6.5, 48, 1)
    rows = ["\n".join(_wrapped(name, width, lines)) + f"  {label}" for label, name in zip(shown, names, strict=True)]
    axes.set_xticks(range(number), [str(label) for label in shown], fontsize=size)
    axes.set_yticks(range(number), rows, parse_math=False, fontsize=size, linespacing=1.05)


def _wrapped(name: str, width: int, most: int) -> list[str]:
    room = width * most
    while len(lines := textwrap.wrap(shorten(name, room), width)) > most:
        room -= 2
    return lines


def _rows_of_names(count: int) -> int:
    return -(-count // PARTS_IN_A_ROW)


def _mark(axes: Axes, epoch: int, lines: list, theme: Theme) -> None:
    key, _, points = next((line for line in reversed(lines) if line[0] in ("val/top1", "val/loss")), lines[-1])
    value = dict(points).get(epoch)
    if value is None:
        return
    text = (
        f"epoch {epoch}: {value:.1%}".replace("%", " %") if key != "val/loss" and "loss" not in key else f"{value:.3g}"
    )
    axes.plot([epoch], [value], "o", color=theme.ink, ms=5, zorder=5)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    # At the end of the marking line that the curve leaves free, on the side with more room.
    on_right, high = epoch > (left + right) / 2, value > (bottom + top) / 2
    axes.annotate(
        text,
        (epoch, 0.05 if high else 0.95),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if on_right else 5, 0),
        textcoords="offset points",
        ha="right" if on_right else "left",
        va="bottom" if high else "top",
        fontsize=8.5,
        color=theme.ink,
        bbox={"boxstyle": "round,pad=0.15", "fc": theme.surface, "ec": "none", "alpha": 0.85},
    )


def skyline(classes: Sequence[tuple[str, int, int]]) -> Figure | None:
    """Draws the clips of each class, largest first: what is kept, in front of what is listed.

    Args:
        classes: (name, kept, listed) of each class.

    **Shapes:** K bars
    """
    ordered = sorted(classes, key=lambda row: (-row[1], -row[2], row[0]))
    kept, listed = [row[1] for row in ordered], [row[2] for row in ordered]
    most = max(listed, default=0)
    if not most:
        return None
    smallest = min(filter(None, kept), default=most)
    tips = [f"{name}: {number(some)} of {number(all_)} clips kept" for name, some, all_ in ordered]
    below = f"{len(ordered)} classes, by their number of kept clips"
    figure, axes = _bars([row[0] for row in ordered], tips, below)
    # On a logarithmic axis a class of one clip still has a bar to see.
    base = 0.5 if most >= LOG_FROM * smallest else 0.0
    if base:
        axes.set_yscale("log")
        axes.tick_params(which="minor", length=0)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(base, most)
    axes.yaxis.set_major_formatter(lambda value, _: number(round(value)))
    for values, colour, alpha in ((listed, LIGHT.wrong, 0.6), (kept, LIGHT.right, 1.0)):
        heights = [max(0.0, value - base) for value in values]
        axes.bar(range(len(values)), heights, _width(len(values)), base, color=colour, alpha=alpha)
    # A class without a clip has no bar to see: a mark below the axis.
    none = [index for index, value in enumerate(kept) if not value]
    marks = axes.bar(none, [-0.02] * len(none), _width(len(kept)), color=LIGHT.wrong, clip_on=False)
    for mark in marks:
        mark.set_transform(axes.get_xaxis_transform())
    for threshold, text in (
        (MANY_ABOVE, f"more than {MANY_ABOVE}: {GROUPS['many']}"),
        (FEW_BELOW, f"fewer than {FEW_BELOW}: {GROUPS['few']}"),
    ):
        if smallest < threshold < most:
            axes.axhline(threshold, color=LIGHT.wrong, lw=0.8, ls="--")
            _note(axes, text, (1, threshold), ("axes fraction", "data"), (0, 3), ha="right")
    return figure


def histogram(values: Sequence[float], unit: str, mark: float | None = None, marked: str = "") -> Figure | None:
    """Draws how often values occur, on an axis of equal steps, or of equal ratios where they reach far.

    Args:
        values: 0 or more each.
        unit: what they are, for the axis.
        mark: a value to point out.
        marked: what it is.
    """
    if not values:
        return None
    whole = all(float(value).is_integer() for value in values)
    edges = _edges(min(values), max(values), whole)
    counts = np.bincount(_bin(values, edges), minlength=len(edges) - 1)
    tips = [
        f"{_between(*ends, whole)} {unit}: {number(int(count))}"
        for ends, count in zip(pairwise(edges), counts, strict=True)
    ]
    figure, axes = _bars([""] * len(counts), tips, "", 0.7 * HEIGHT)
    axes.bar(range(len(counts)), counts, _width(len(counts)), color=LIGHT.right)
    axes.set_ylim(0, counts.max())
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    shown = range(0, len(edges), math.ceil(len(edges) / 10))
    labels = [number(round(edges[n] + 0.5)) if whole else f"{edges[n]:.3g}" for n in shown]
    axes.set_xticks([n - 0.5 for n in shown], labels)
    axes.set_xlabel(unit, loc="right", fontsize=8, color=LIGHT.muted)
    if mark is not None and edges[0] <= mark <= edges[-1]:
        at = int(_bin([mark], edges)[0])
        x = at - 0.5 + (mark - edges[at]) / (edges[at + 1] - edges[at])
        right = x > 0.7 * len(counts)
        axes.axvline(x, color=LIGHT.wrong, lw=0.8, ls="--")
        where = {"ha": "right" if right else "left", "color": LIGHT.ink}
        _note(axes, marked, (x, 1), ("data", "axes fraction"), (-4 if right else 4, 4), **where)
    return figure


def _edges(low: float, high: float, whole: bool) -> list[float]:
    """Where the bars of a histogram begin and end: whole numbers lie between two edges, never on one."""
    if whole or low == high:
        low, high = low - 0.5, high + 0.5
    if low > 0 and high >= LOG_FROM * low:
        edges = [low * (high / low) ** (n / BINS) for n in range(BINS + 1)]
        return sorted({round(edge + 0.5) - 0.5 for edge in edges}) if whole else edges
    step = max(1, math.ceil((high - low) / BINS)) if whole else (high - low) / BINS
    return [low + n * step for n in range(math.ceil((high - low) / step - 1e-9) + 1)]


def _between(begin: float, end: float, whole: bool) -> str:
    if not whole:
        return f"{begin:.4g} to {end:.4g}"
    first, last = round(begin + 0.5), round(end - 0.5)
    return number(first) if first == last else f"{number(first)} to {number(last)}"


def _bin(values: Sequence[float], edges: Sequence[float]) -> np.ndarray:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def whiskers(rows: Sequence[tuple[str, float, float, float]]) -> Figure | None:
    """Draws differences in points, each as a dot with its interval, above one axis with zero marked.

    Args:
        rows: (name, value, low, high) of each, as shares.
    """
    if not rows:
        return None
    figure = _figure((WIDTH, 0.55 + 0.34 * len(rows)), LIGHT)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    style(axes, LIGHT)
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=LIGHT.muted, lw=0.9)
    for index, (name, *shares) in enumerate(rows):
        value, low, high = (100 * share for share in shares)
        axes.plot([low, high], [index, index], "-|", color=LIGHT.right, lw=1.6, ms=8, mew=1.6)
        axes.plot([value], [index], "o", color=LIGHT.right, ms=7)
        tip = f"{TIP}{name}: {value:+.2f} points, {low:+.2f} to {high:+.2f}"
        axes.axhspan(index - 0.5, index + 0.5, fc="none", lw=0, gid=tip, zorder=5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=9.5, color=LIGHT.ink, parse_math=False)
    signed(axes.xaxis)
    axes.set_xlabel("percentage points", loc="right", fontsize=8, color=LIGHT.muted)
    return figure


def gains(rows: Sequence[tuple[str, float, str]], below: str = "") -> Figure | None:
    """Draws how much each class gained (up, blue) or lost (down, vermilion), in the order given.

    Args:
        rows: (name, gain as a share, the tooltip after the name) of each class.
        below: what the bars are, where there are too many for their names; empty for all classes.

    Returns:
        None where no class gained or lost.

    **Shapes:** K bars
    """
    if not any(gain for _, gain, _ in rows):
        return None
    below = below or f"{len(rows)} classes, those that gained most first"
    figure, axes = _bars([row[0] for row in rows], [f"{name}: {tip}" for name, _, tip in rows], below)
    values = [100 * gain for _, gain, _ in rows]
    colours = [LIGHT.right if value > 0 else LIGHT.wrong for value in values]
    axes.bar(range(len(rows)), values, _width(len(rows)), color=colours)
    axes.axhline(0, color=LIGHT.muted, lw=0.9)
    axes.set_ylim(min(*values, 0), max(*values, 0))
    axes.spines["bottom"].set_visible(False)
    signed(axes.yaxis)
    return figure


def reliability_diagram(bins: Sequence[Bin]) -> Figure | None:
    """Draws accuracy against confidence: bars on the dashed line are well calibrated; below, the number of clips.

    Where a bin is over-confident, vermilion fills the gap up to its mean confidence; where it is under-confident, the top of
    its accuracy is green.

    Args:
        bins: of `taggnn.evaluation.calibration.reliability`.

    **Shapes:** N bars
    """
    filled = [
        (index, one.clips, one.confidence, one.accuracy)
        for index, one in enumerate(bins)
        if one.confidence is not None and one.accuracy is not None
    ]
    if not filled:
        return None
    tips = [""] * len(bins)
    for index, clips, confidence, accuracy in filled:
        tips[index] = (
            f"confidence {percent(bins[index].low, 0)} to {percent(bins[index].high, 0)}: {number(clips)} clips, "
            f"mean confidence {percent(confidence)}, accuracy {percent(accuracy)}"
        )
    figure = _figure((WIDTH, 3.9), LIGHT)
    figure.set_layout_engine("constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(26, 8))
    for axes in (upper, lower):
        _columns(axes, tips)
    positions, width = [row[0] for row in filled], _width(len(bins))
    low = [min(confidence, accuracy) for _, _, confidence, accuracy in filled]
    gap = [abs(confidence - accuracy) for _, _, confidence, accuracy in filled]
    colours = [LIGHT.wrong if confidence > accuracy else LIGHT.third for _, _, confidence, accuracy in filled]
    upper.bar(positions, low, width, color=LIGHT.right)
    upper.bar(positions, gap, width, low, color=colours, alpha=0.5)
    upper.plot([-0.5, len(bins) - 0.5], [0, 1], color=LIGHT.muted, lw=1.0, ls="--")
    upper.set_ylim(0, 1)
    upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    counts = [row[1] for row in filled]
    drawn = lower.bar(positions, counts, width, color=LIGHT.right)
    if len(bins) <= NAMES_UP_TO:
        lower.bar_label(drawn, [number(clips) for clips in counts], padding=2, fontsize=8, color=LIGHT.muted)
    lower.set_ylim(0, 1.25 * max(counts))
    lower.set_yticks([])
    lower.set_ylabel("clips", fontsize=8, color=LIGHT.muted)
    lower.set_xticks([len(bins) * share / 5 - 0.5 for share in range(6)], [f"{20 * share} %" for share in range(6)])
    lower.set_xlabel("confidence: probability of the predicted class", loc="right", fontsize=8, color=LIGHT.muted)
    return figure


def risk_coverage_figure(curve: RiskCoverage, coverage: float | None = None, risk: float | None = None) -> Figure:
    """Draws the share of wrong answers against the share of clips that are answered.

    Args:
        curve: of the clips.
        coverage: of a threshold to mark; None (default) for no mark.
        risk: at that threshold.
    """
    figure = _figure((WIDTH, HEIGHT), LIGHT)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    style(axes, LIGHT)
    x, y = curve.coverage.tolist(), curve.risk.tolist()
    # A page needs no more points than it has pixels.
    step = max(1, len(x) // 1000)
    x, y = [*x[:-1:step], x[-1]], [*y[:-1:step], y[-1]]
    axes.plot(x, y, color=LIGHT.right, lw=1.8, marker="o" if len(x) < 3 else None, ms=4)
    if coverage is not None and risk is not None:
        axes.plot([coverage], [risk], "o", color=LIGHT.wrong, ms=7, zorder=3)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, max(0.01, 1.1 * max(y)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("coverage: clips that are answered", loc="right", fontsize=8, color=LIGHT.muted)
    axes.set_ylabel("risk: wrong answers", fontsize=8, color=LIGHT.muted)
    return figure


def _bars(names: Sequence[str], tips: Sequence[str], below: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure for one bar per name, with the names below it as far as there is room, else a line of text."""
    named = below and len(names) <= NAMES_UP_TO
    short = [shorten(name, 24) for name in names]
    room = min(1.5, 0.1 + 0.052 * max(map(len, short))) if named else 0.35
    figure = _figure((WIDTH, height + room), LIGHT)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    _columns(axes, tips)
    if named:
        axes.set_xticks(range(len(names)), short, parse_math=False, **TURNED)
    else:
        axes.set_xticks([])
        axes.set_xlabel(below, loc="left", fontsize=8, color=LIGHT.muted)
    return figure, axes


def _columns(axes: Axes, tips: Sequence[str]) -> None:
    style(axes, LIGHT)
    axes.grid(visible=False, axis="x")
    axes.tick_params(labelsize=8)
    axes.margins(0)
    axes.set_xlim(-0.5, len(tips) - 0.5)
    for index, tip in enumerate(tips):
        if tip:
            axes.axvspan(index - 0.5, index + 0.5, fc="none", lw=0, gid=TIP + tip, zorder=5)


def _width(bars: int) -> float:
    """The width of a bar: a gap of a fifth, and of six pixels at most."""
    return 1 - min(0.2, bars / 155)


def signed(axis: Axis) -> None:
    """Ticks of an axis of differences, with their signs."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda value, _: f"{value:+.3g}" if abs(value) > 1e-9 else "0")


def _note(axes: Axes, text: str, at: tuple, coords: tuple, offset: tuple, **style: Any) -> None:
    style = {"fontsize": 8, "color": LIGHT.muted, "parse_math": False, **style}
    axes.annotate(text, at, xycoords=coords, xytext=offset, textcoords="offset points", annotation_clip=False, **style)


def _points(history: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[key]) for row in history if np.isfinite(row.get(key, np.nan)) and "epoch" in row]


def _figure(size: tuple[float, float], theme: Theme) -> Figure:
    figure = Figure(figsize=size, facecolor=theme.surface)
    FigureCanvasAgg(figure)
    return figure


def _luminance(colour: np.ndarray) -> float:
    # Relative luminance of sRGB, WCAG 2.
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
