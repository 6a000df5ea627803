"""What statistics look like, as SVG inside a page: differences with intervals, classes gained and lost, calibration.

Axes: K classes, N bins.
"""

import math
from collections.abc import Sequence

from taggnn.evaluation.calibration import Bin
from taggnn.reporting.bars import LEFT, NAMES_UP_TO, WIDTH, bar, name_below, name_room, svg
from taggnn.reporting.page import escape, number, percent

# Height of one row of whiskers, and where their axis begins.
_ROW, _NAMES = 34, 190
_HEIGHT, _COUNTS, _TOP = 260, 70, 14
STYLE = """
.bars .whisker { stroke: var(--right); stroke-width: 2; }
.bars .dot { fill: var(--right); }
.bars .zero { stroke: var(--muted); stroke-width: 1; }
.bars .even { stroke: var(--muted); stroke-width: 1.2; stroke-dasharray: 5 4; }
.bars .over { fill: var(--wrong); opacity: .5; }
.bars .under { fill: var(--third); opacity: .55; }
.swatch.over { background: var(--wrong); opacity: .5; }
.swatch.under { background: var(--third); opacity: .55; }
.bars .name { font-size: 13px; fill: var(--ink); }
"""


def whiskers(rows: Sequence[tuple[str, float, float, float]], alt: str) -> str:
    """Draws differences in points, each as a dot with its interval, above one axis with zero marked.

    Args:
        rows: (name, value, low, high) of each, as shares.
        alt: what the drawing shows.

    Returns:
        SVG; empty without rows.
    """
    if not rows:
        return ""
    ends = [100 * end for _, value, low, high in rows for end in (value, low, high)]
    step = _step(max(*ends, 0.0) - min(*ends, 0.0))
    first, last = math.floor(min(*ends, 0.0) / step), math.ceil(max(*ends, 0.0) / step)
    last = max(last, first + 1)

    def across(points: float) -> float:
        return _NAMES + 10 + (WIDTH - _NAMES - 40) * (points / step - first) / (last - first)

    base = _TOP + _ROW * len(rows)
    parts = []
    for tick in range(first, last + 1):
        x, kind = across(tick * step), "grid" if tick else "zero"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{base}"/>')
        shown = f"{tick * step:+.3g}" if tick else "0"
        parts.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{shown}</text>')
    parts.append(f'<text x="{WIDTH}" y="{base + 32}" text-anchor="end">points, of 100</text>')
    for place, (name, value, low, high) in enumerate(rows):
        y = _TOP + _ROW * (place + 0.5)
        left, right = across(100 * low), across(100 * high)
        said = f"{name}: {100 * value:+.2f} points, {100 * low:+.2f} to {100 * high:+.2f}"
        parts.append(
            f"<g><title>{escape(said)}</title>{bar(_NAMES, y + _ROW / 2, WIDTH - _NAMES, _ROW, 'touch')}"
            f'<text class="name" x="{_NAMES - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<line class="whisker" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            + "".join(
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5:.1f}" y2="{y + 5:.1f}"/>'
                for x in (left, right)
            )
            + f'<circle class="dot" cx="{across(100 * value):.1f}" cy="{y:.1f}" r="5"/></g>'
        )
    return svg(parts, base + 38, alt)


def gains(rows: Sequence[tuple[str, float, str]], alt: str) -> str:
    """Draws how much each class gained (up, blue) or lost (down, vermilion), in the order given.

    Args:
        rows: (name, gain as a share, what the pointer is told behind the name) of each class.
        alt: what the drawing shows.

    Returns:
        SVG; empty where no class gained or lost.

    **Shapes:** K bars
    """
    most = max((abs(gain) for _, gain, _ in rows), default=0.0)
    if not most:
        return ""
    up, down = max(0.0, *(gain for _, gain, _ in rows)), max(0.0, *(-gain for _, gain, _ in rows))
    scale, wide = _HEIGHT / (up + down), (WIDTH - LEFT) / len(rows)
    zero, gap = _TOP + up * scale, min(6.0, 0.2 * wide)
    step = _step(100 * (up + down)) / 100
    parts = []
    for tick in range(math.ceil(-down / step), math.floor(up / step) + 1):
        y, kind = zero - tick * step * scale, "grid" if tick else "zero"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        shown = f"{100 * tick * step:+.3g}" if tick else "0"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    for place, (name, gain, said) in enumerate(rows):
        x, high = LEFT + place * wide + gap / 2, abs(gain) * scale
        kind, base = ("front", zero) if gain > 0 else ("lost", zero + high)
        touch = bar(x, _TOP + _HEIGHT, wide - gap, _HEIGHT, "touch")
        parts.append(
            f"<g><title>{escape(name)}: {escape(said)}</title>{touch}{bar(x, base, wide - gap, high, kind)}</g>"
        )
        if len(rows) <= NAMES_UP_TO:
            parts.append(name_below(name, x + (wide - gap) / 2, _TOP + _HEIGHT))
    if len(rows) <= NAMES_UP_TO:
        return svg(parts, _TOP + _HEIGHT + name_room([name for name, _, _ in rows]), alt)
    text = f"{len(rows)} classes, those that gained most first"
    parts.append(f'<text x="{LEFT}" y="{_TOP + _HEIGHT + 20}">{text}</text>')
    return svg(parts, _TOP + _HEIGHT + 28, alt)


def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Draws accuracy against confidence: bars on the dashed line are as right as they are sure; below, how many clips.

    Where a bin is surer than right, "over" fills the gap up to its mean confidence; where it is more right than sure,
    "under" is the top of its accuracy.

    Args:
        bins: of `taggnn.evaluation.calibration.reliability`.

    Returns:
        SVG; empty without clips.

    **Shapes:** N bars
    """
    most = max((one.clips for one in bins), default=0)
    if not most:
        return ""
    wide = (WIDTH - LEFT) / len(bins)
    base, below = _TOP + _HEIGHT, _TOP + _HEIGHT + 40 + _COUNTS
    parts = []
    for tick in range(0, 101, 20):
        y = base - _HEIGHT * tick / 100
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick} %</text>')
        x = LEFT + (WIDTH - LEFT) * tick / 100
        anchor = "start" if tick == 0 else "end" if tick == 100 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{base + 15}" text-anchor="{anchor}">{tick} %</text>')
    for place, one in enumerate(bins):
        x = LEFT + place * wide
        if not one.clips:
            continue
        said = (
            f"confidence {percent(one.low, 0)} to {percent(one.high, 0)}: {number(one.clips)} clips, "
            f"mean confidence {percent(one.confidence)}, right {percent(one.accuracy)}"
        )
        low, high = sorted((one.accuracy, one.confidence))
        kind = "over" if one.confidence > one.accuracy else "under"
        parts.append(
            f"<g><title>{escape(said)}</title>{bar(x, below, wide, below - _TOP, 'touch')}"
            + bar(x + 1, base, wide - 2, _HEIGHT * low, "front")
            + bar(x + 1, base - _HEIGHT * low, wide - 2, _HEIGHT * (high - low), kind)
            + bar(x + 1, below, wide - 2, max(1.0, _COUNTS * one.clips / most), "front")
            + "</g>"
        )
        if len(bins) <= NAMES_UP_TO:
            y = below - max(1.0, _COUNTS * one.clips / most) - 3
            parts.append(f'<text x="{x + wide / 2:.1f}" y="{y:.1f}" text-anchor="middle">{number(one.clips)}</text>')
    parts.append(f'<line class="even" x1="{LEFT}" x2="{WIDTH}" y1="{base}" y2="{_TOP}"/>')
    parts.append(f'<text x="{LEFT - 8}" y="{below - 4}" text-anchor="end">clips</text>')
    parts.append(f'<text x="{WIDTH}" y="{below + 16}" text-anchor="end">confidence: probability of the answer</text>')
    return svg(parts, below + 24, "accuracy of the clips against the confidence of the answers")


def _step(span: float) -> float:
    """Distance of the ticks of an axis that spans so much."""
    if not span:
        return 1.0
    rough = span / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(unit * power for unit in (1, 2, 5, 10) if unit * power >= rough * 0.999)
