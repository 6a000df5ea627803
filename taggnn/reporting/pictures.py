"""The drawings of a report, as PNG bytes: training curves and the confusion matrix, in a light and a dark theme.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), told apart with every common colour blindness: blue is
right, vermilion is wrong. Nothing here keeps matplotlib state, and equal input gives equal bytes.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

# Twice the size at which a page shows them, so that they stay sharp on dense screens.
DPI = 200
NUMBERS_UP_TO, NAMES_UP_TO = 20, 40
# Names in one row of the legend of the parts of the loss.
PARTS_IN_A_ROW = 4
# Tried in this order after the default font; only those that are installed are used.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
)


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance; the page's style sheet uses the same."""

    surface: str
    ink: str
    muted: str
    line: str
    right: str
    wrong: str
    third: str


LIGHT = Theme("#ffffff", "#1c2128", "#5d6670", "#dfe3e8", "#0072b2", "#d55e00", "#009e73")
DARK = Theme("#171a1f", "#e8eaed", "#a3acb6", "#333a43", "#56b4e9", "#f08c3a", "#3ccfa2")

LOSSES = (("train/loss", "training"), ("val/loss", "validation"))
PARTS = "Parts of the loss"
ACCURACIES = (("train/top1", "training top-1"), ("val/top1", "validation top-1"), ("val/mca", "validation class mean"))


def curves(
    history: Sequence[Mapping[str, float]],
    best_epoch: int | None = None,
    theme: Theme = LIGHT,
    parts: Sequence[str] = (),
) -> bytes | None:
    """Draws loss and accuracy over the epochs, the best epoch marked; below them the parts of the loss, where there are any.

    Args:
        history: one row an epoch, with "epoch" and any of the keys of ``LOSSES`` and ``ACCURACIES``.
        best_epoch: the epoch to mark.
        theme: colours.
        parts: names of the parts of the loss, each a key ``train/<name>`` (default: none).

    Returns:
        A PNG, or ``None`` when the history holds none of the keys.
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
    colours = {"train/loss": theme.third, "train/top1": theme.third, "val/mca": theme.wrong}
    for place, (title, lines) in enumerate(panels, start=1):
        # A panel that is alone in its row has all of its width.
        alone = place == len(panels) and place % wide
        axes = figure.add_subplot(high, 1, high) if alone else figure.add_subplot(high, wide, place)
        _plain(axes, theme)
        if title == PARTS:
            _draw_parts(axes, lines, best_epoch, theme)
            continue
        for key, name, points in lines:
            epochs, values = zip(*points, strict=True)
            dashes = "--" if key == "val/mca" else "-"
            marker = "o" if len(points) < 3 else None
            axes.plot(
                epochs, values, dashes, color=colours.get(key, theme.right), label=name, lw=1.8, marker=marker, ms=4
            )
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=theme.ink, pad=24)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=8.5, labelcolor=theme.muted,
            handlelength=1.4, columnspacing=1.2, borderpad=0.2,
        )  # fmt: skip
        axes.set_xlabel("epoch", fontsize=9, color=theme.muted)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if title == "Accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            axes.set_ylim(-0.02, 1.02)
        if best_epoch is not None:
            _mark(axes, best_epoch, lines, theme)
    figure.subplots_adjust(
        left=0, right=1, bottom=0.1 / high, top=1 - 0.15 / high, wspace=0.2, hspace=0.4 + 0.07 * names
    )
    return _png(figure)


def confusion(matrix: Tensor, classes: Sequence[str], theme: Theme = LIGHT) -> bytes:
    """Draws a confusion matrix: blue where right, vermilion where wrong, deeper for a larger share of the row.

    Up to 20 classes the cells hold their counts, up to 40 the rows hold names; beyond, both axes are class numbers.
    Rows of classes that do not occur are hatched.

    Args:
        matrix: counts, rows = truth.
        classes: names in label order; long ones are shortened in the middle, and a class whose name has letters that
            no font at hand can draw is shown by number.
        theme: colours.

    Shapes:
        matrix (K, K)
    """
    counts = matrix.cpu().numpy()
    number = len(classes)
    support = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(support, 1)
    # The square root lifts single mistakes among a hundred clips above the background.
    weight = np.sqrt(share)[..., None]
    hues = np.where(np.eye(number, dtype=bool)[..., None], to_rgb(theme.right), to_rgb(theme.wrong))
    cells = np.asarray(to_rgb(theme.surface)) * (1 - weight) + hues * weight

    side = float(np.clip(0.6 * number, 2.0, 7.0))
    figure = _figure((side, side), theme)
    axes = figure.add_axes((0, 0, 1, 1))
    _plain(axes, theme)
    axes.grid(False)
    axes.imshow(cells, interpolation="nearest", aspect="equal")
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.line)
    axes.tick_params(length=0)
    if number <= NAMES_UP_TO:
        between = np.arange(1, number) - 0.5
        axes.hlines(between, -0.5, number - 0.5, color=theme.line, lw=0.6)
        axes.vlines(between, -0.5, number - 0.5, color=theme.line, lw=0.6)
    for row in np.flatnonzero(support == 0):
        axes.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor=theme.line, hatch="////", lw=0)
    if number <= NUMBERS_UP_TO:
        for row, column in np.argwhere(counts > 0):
            ink = "#ffffff" if _luminance(cells[row, column]) < 0.36 else "#14171b"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=9)
    _class_axes(axes, classes)
    axes.set_xlabel("taken for", fontsize=9.5, color=theme.muted, labelpad=8)
    axes.set_ylabel("truth", fontsize=9.5, color=theme.muted, labelpad=8)
    return _png(figure)


def shorten(name: str, width: int) -> str:
    """Cuts the middle out of a long name: class names of one family differ at the end as often as at the start."""
    name = " ".join(name.split())
    if len(name) <= width:
        return name
    tail = width // 2
    first, last = name[: width - tail - 1], name[-tail:]
    # Whole words where that costs little, so that no letter stands alone beside the dots.
    if " " in first[-8:]:
        first = first[: first.rindex(" ")]
    if " " in last[:8]:
        last = last[last.index(" ") :]
    return f"{first.strip()} … {last.strip()}" if " " in name else f"{first}…{last}"


def _class_axes(axes: Axes, classes: Sequence[str]) -> None:
    number = len(classes)
    if number > NAMES_UP_TO:
        step = 10 if number <= 120 else 25
        axes.set_xticks(range(0, number, step))
        axes.set_yticks(range(0, number, step))
        return
    names = [" ".join(name.split()) if drawable(name) else f"class {label}" for label, name in enumerate(classes)]
    places = range(number)
    longest = max(map(len, names))
    if longest <= 18 and number <= NUMBERS_UP_TO:
        turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if number > 3 or longest > 6 else {}
        axes.set_xticks(places, names, parse_math=False, **turn)
        axes.set_yticks(places, names, parse_math=False)
        return
    size, width, lines = (8.5, 34, 3 if number <= 12 else 2) if number <= NUMBERS_UP_TO else (6.5, 48, 1)
    rows = ["\n".join(_lines(name, width, lines)) + f"  {label}" for label, name in enumerate(names)]
    axes.set_xticks(places, [str(label) for label in places], fontsize=size)
    axes.set_yticks(places, rows, parse_math=False, fontsize=size, linespacing=1.05)


def _lines(name: str, width: int, most: int) -> list[str]:
    room = width * most
    while len(lines := textwrap.wrap(shorten(name, room), width)) > most:
        room -= 2
    return lines


def _draw_parts(axes: Axes, lines: list, best_epoch: int | None, theme: Theme) -> None:
    """One line a part, told apart by colour, then by dashes."""
    colours, dashes = (theme.right, theme.wrong, theme.third, theme.ink), ("-", "--", ":", "-.")
    for number, (_, name, points) in enumerate(lines):
        epochs, values = zip(*points, strict=True)
        axes.plot(
            epochs, values, dashes[number // len(colours) % len(dashes)], color=colours[number % len(colours)],
            label=_label(name), lw=1.8, marker="o" if len(points) < 3 else None, ms=4,
        )  # fmt: skip
    values = [value for _, _, points in lines for _, value in points]
    # Parts of very unlike size would lie on the axis.
    if min(values) > 0 and max(values) > 30 * min(values):
        axes.set_yscale("log")
        axes.tick_params(which="minor", length=0)
    pad = 10 + 14 * _rows_of_names(len(lines))
    axes.set_title(PARTS, loc="left", fontsize=10.5, fontweight="bold", color=theme.ink, pad=pad)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=PARTS_IN_A_ROW, frameon=False, fontsize=8.5,
        labelcolor=theme.muted, handlelength=1.8, columnspacing=1.2, borderpad=0.2,
    )  # fmt: skip
    axes.set_xlabel("epoch", fontsize=9, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if best_epoch is not None:
        axes.axvline(best_epoch, color=theme.muted, lw=0.9, ls=":", zorder=1)


def _rows_of_names(count: int) -> int:
    return -(-count // PARTS_IN_A_ROW)


def _label(name: str) -> str:
    # A legend would take dollars for formulas, and leave out what begins with a line.
    text = shorten(name, 28).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _mark(axes: Axes, epoch: int, lines: list, theme: Theme) -> None:
    axes.axvline(epoch, color=theme.muted, lw=0.9, ls=":", zorder=1)
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


def _points(history: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[key]) for row in history if np.isfinite(row.get(key, np.nan)) and "epoch" in row]


def _figure(size: tuple[float, float], theme: Theme) -> Figure:
    figure = Figure(figsize=size, dpi=DPI, facecolor=theme.surface)
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.surface)
    axes.set_axisbelow(True)
    axes.grid(color=theme.line, lw=0.7)
    axes.tick_params(colors=theme.muted, labelsize=8.5, length=0)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=theme.muted)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Only for the time of drawing, so that a program that also uses matplotlib keeps its own fonts.
    with matplotlib.rc_context({"font.family": list(families()), "hatch.linewidth": 0.6}):
        # The software's version in the file would make equal pictures differ between machines.
        figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    return buffer.getvalue()


@cache
def families() -> tuple[str, ...]:
    """Fonts to draw with: matplotlib's own, and those with Chinese, Japanese and Korean letters that are installed."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in CJK_FONTS if name in installed))


@cache
def _letters() -> frozenset[int]:
    found: set[int] = set()
    for family in families():
        font = font_manager.get_font(font_manager.findfont(family))
        found.update(font.get_charmap())
    return frozenset(found)


def drawable(name: str) -> bool:
    """Whether the fonts at hand have every letter of a name."""
    return all(ord(letter) in _letters() for letter in " ".join(name.split()))


def _luminance(colour: np.ndarray) -> float:
    # Relative luminance of sRGB, WCAG 2.
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
