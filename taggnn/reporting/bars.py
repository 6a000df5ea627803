"""Bars as SVG inside a page: sharp at any size, and in the colours of the page's own theme.

Axes: K classes.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from taggnn.evaluation.longtail import FEW_BELOW, MANY_ABOVE
from taggnn.reporting.page import escape, number

WIDTH, HEIGHT, LEFT, TOP = 980, 240, 46, 16
# Bars of a histogram, at most.
BINS = 40
# Names below the bars; a larger number of classes has no room for them.
NAMES_UP_TO = 40
# From this ratio of the largest to the smallest on a plain axis hides the small ones.
LOG_FROM = 20
# What a page with bars puts into a <style> of its own.
STYLE = """
.bars { display: block; width: 100%; min-width: 600px; height: auto; }
.bars text { font-size: 11px; fill: var(--muted); }
.bars .mark { fill: var(--ink); }
.bars .front { fill: var(--right); }
.bars .back { fill: var(--wrong); opacity: .6; }
.bars .none, .bars .lost { fill: var(--wrong); }
.bars .touch { fill: transparent; }
.bars g:hover .front { fill: var(--third); }
.bars .grid { stroke: var(--line); stroke-width: 1; }
.bars .cut { stroke: var(--wrong); stroke-width: 1; stroke-dasharray: 4 4; }
"""


def skyline(classes: Sequence[tuple[str, int, int]]) -> str:
    """Draws the clips of each class, largest first: what is listed, and what is kept of it in front.

    Args:
        classes: (name, kept, listed) of each class.

    Returns:
        SVG; each bar tells its class and figures to the pointer. Empty when no class has a listed clip.

    **Shapes:** K bars
    """
    ordered = sorted(classes, key=lambda row: (-row[1], -row[2], row[0]))
    most = max((listed for _, _, listed in ordered), default=0)
    if not most:
        return ""
    smallest = min((kept for _, kept, _ in ordered if kept), default=most)
    height = _log_height(most) if most >= LOG_FROM * smallest else _plain_height(most)
    step = (WIDTH - LEFT) / len(ordered)
    gap = min(6.0, 0.2 * step)
    named = len(ordered) <= NAMES_UP_TO
    room = name_room([name for name, _, _ in ordered]) if named else 22
    base = TOP + HEIGHT
    parts = [*_grid(height, _ticks(most, height(1) > HEIGHT / most + 1), base)]
    for threshold, text in (
        (MANY_ABOVE, f"more than {MANY_ABOVE}: many-shot"),
        (FEW_BELOW, f"fewer than {FEW_BELOW}: few-shot"),
    ):
        if smallest < threshold < most:
            y = base - height(threshold)
            parts.append(f'<line class="cut" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{WIDTH}" y="{y - 4:.1f}" text-anchor="end">{text}</text>')
    for place, (name, kept, listed) in enumerate(ordered):
        x, wide = LEFT + place * step + gap / 2, step - gap
        title = f"<title>{escape(name)}: {number(kept)} of {number(listed)} clips kept</title>"
        bars = bar(x, base, wide, height(listed), "back") + bar(x, base, wide, height(kept), "front")
        # A class without a clip has no bar to see.
        none = "" if kept else bar(x, base + 5, wide, 4, "none")
        parts.append(f"<g>{title}{bar(x, base, wide, HEIGHT, 'touch')}{bars}{none}</g>")
        if named:
            parts.append(name_below(name, x + wide / 2, base))
    if not named:
        text = f"{len(ordered)} classes, by their number of kept clips"
        parts.append(f'<text x="{LEFT}" y="{base + 17}">{text}</text>')
    return svg(parts, base + room, f"clips of each of {len(ordered)} classes")


def histogram(values: Sequence[float], unit: str, mark: float | None = None, marked: str = "") -> str:
    """Draws how often values occur, on an axis of equal steps, or of equal ratios where they reach far.

    Args:
        values: 0 or more each.
        unit: what they are, for the axis.
        mark: a value to point out.
        marked: what it is.

    Returns:
        SVG; empty without values.
    """
    if not values:
        return ""
    whole = all(float(value).is_integer() for value in values)
    edges = _edges(min(values), max(values), whole)
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[_bin(value, edges)] += 1
    most, base, step = max(counts), TOP + HEIGHT * 0.7, (WIDTH - LEFT) / len(counts)
    height = _plain_height(most, 0.7 * HEIGHT)
    parts = [*_grid(height, _ticks(most, False), base)]
    for place, (count, (begin, end)) in enumerate(zip(counts, pairwise(edges), strict=True)):
        title = f"<title>{_between(begin, end, whole)} {escape(unit)}: {number(count)}</title>"
        x = LEFT + place * step
        touch = bar(x, base, step, HEIGHT * 0.7, "touch")
        parts.append(f"<g>{title}{touch}{bar(x + 1, base, step - 2, height(count), 'front')}</g>")
    every = math.ceil(len(edges) / 10)
    for place in range(0, len(edges), every):
        x = LEFT + place * step
        anchor = "end" if place == len(edges) - 1 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{base + 15}" text-anchor="{anchor}">{_begin(edges[place], whole)}</text>')
    parts.append(f'<text x="{WIDTH}" y="{base + 32}" text-anchor="end">{escape(unit)}</text>')
    if mark is not None and edges[0] <= mark <= edges[-1]:
        at = _bin(mark, edges)
        place = at + (mark - edges[at]) / (edges[at + 1] - edges[at])
        x = LEFT + place * step
        anchor, shift = ("end", -5) if place > 0.7 * len(counts) else ("start", 5)
        parts.append(f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{base}"/>')
        parts.append(
            f'<text class="mark" x="{x + shift:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{escape(marked)}</text>'
        )
    return svg(parts, base + 38, f"how often each number of {unit} occurs")


def _edges(low: float, high: float, whole: bool) -> list[float]:
    """Where the bars of a histogram begin and end: whole numbers lie between two edges, never on one."""
    if whole or low == high:
        low, high = low - 0.5, high + 0.5
    if low > 0 and high >= LOG_FROM * low:
        edges = [low * (high / low) ** (n / BINS) for n in range(BINS + 1)]
        return sorted({round(edge + 0.5) - 0.5 for edge in edges}) if whole else edges
    step = max(1, math.ceil((high - low) / BINS)) if whole else (high - low) / BINS
    return [low + n * step for n in range(math.ceil((high - low) / step - 1e-9) + 1)]


def _begin(edge: float, whole: bool) -> str:
    return number(round(edge + 0.5)) if whole else f"{edge:.3g}"


def _between(begin: float, end: float, whole: bool) -> str:
    if not whole:
        return f"{begin:.4g} to {end:.4g}"
    first, last = round(begin + 0.5), round(end - 0.5)
    return number(first) if first == last else f"{number(first)} to {number(last)}"


def _bin(value: float, edges: Sequence[float]) -> int:
    return min(len(edges) - 2, max(0, bisect_right(edges, value) - 1))


def _plain_height(most: float, full: float = HEIGHT):
    return lambda value: full * value / most


def _log_height(most: float):
    # A class of one clip keeps a bar to see.
    return lambda value: HEIGHT * (math.log10(value) + 0.3) / (math.log10(most) + 0.3) if value else 0.0


def _ticks(most: int, ratio: bool) -> list[int]:
    """Figures at the axis: powers of ten, or a few round ones."""
    if ratio:
        return [10**power for power in range(int(math.log10(most)) + 1)]
    rough = most / 4
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = max(1, next(unit * power for unit in (1, 2, 5, 10) if unit * power >= rough))
    return list(range(0, most + 1, int(step)))


def _grid(height, ticks: Sequence[int], base: float):
    for tick in ticks:
        y = base - height(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'


def bar(x: float, base: float, wide: float, high: float, kind: str) -> str:
    """A rectangle that stands on ``base``; ``kind`` is its class in `STYLE`."""
    return f'<rect class="{kind}" x="{x:.1f}" y="{base - high:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'


def name_below(name: str, middle: float, base: float) -> str:
    """The name of a bar, slanting below it."""
    return (
        f'<text x="{middle:.1f}" y="{base + 14}" text-anchor="end" '
        f'transform="rotate(-40 {middle:.1f} {base + 14})">{escape(_short(name))}</text>'
    )


def name_room(names: Sequence[str]) -> float:
    """The height that slanting names take."""
    return min(150, 8 + 5.2 * max(len(_short(name)) for name in names))


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def svg(parts: Sequence[str], height: float, alt: str) -> str:
    """A drawing of parts, `WIDTH` wide, that scrolls where the screen is too narrow for it."""
    content = "\n".join(parts)
    return (
        f'<div class="scroll" tabindex="0"><svg class="bars" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(alt)}">\n{content}\n</svg></div>'
    )
