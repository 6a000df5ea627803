"""The page of a comparison: which model has more clips right, by how much, on which classes and on which clips.

Axes: S clips, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from taggnn.evaluation.comparison import Comparison, Pair
from taggnn.evaluation.metrics import METRICS, shares_of_clips
from taggnn.reporting.figures import gains, whiskers
from taggnn.reporting.page import ROWS, count, ends, number, p_value, percent, points, render
from taggnn.reporting.theme import svg

# Changed clips, and bars for classes, at most; comparison.json has all of them.
CHANGED, BARS = 500, 400


def compare_page(found: Comparison) -> str:
    """Builds the whole document."""
    letters = [model.letter for model in found.models]
    clips = f"{count(found.clips, 'clip')} of {count(found.classes, 'class', 'classes')}"
    return render(
        "compare.html.j2",
        title=f"{', '.join(letters[:-1])} and {letters[-1]} on the same clips",
        eyebrow="taggnn comparison",
        subtitle=f"{clips}, predicted by each of {len(found.models)} models.",
        found=found,
        keys=[key for key in METRICS if any(model.scores.figures.get(key) is not None for model in found.models)],
        wilson=shares_of_clips(),
        lower=" and ".join(f"the {row.title}" for row in METRICS.values() if row.compared and not row.larger_is_better),
        pairs=[(pair, _pair(found, pair)) for pair in found.pairs],
        rows=CHANGED,
    )


def differences_of(rows: Mapping[str, Sequence[float]], alt: str) -> tuple[Markup, str]:
    """Differences of figures: a chart of those that are shares, and a text of the others.

    Args:
        rows: name of `taggnn.evaluation.metrics.METRICS` -> value, low, high.
        alt: what the chart shows.
    """
    shares = [(METRICS[key].title, row[0], row[1], row[2]) for key, row in rows.items() if METRICS[key].share]
    others = [
        f"{METRICS[key].heading}: {value:+.{METRICS[key].decimals}f} ({METRICS[key].between((low, high))})"
        for key, (value, low, high) in rows.items()
        if not METRICS[key].share
    ]
    return svg(whiskers(shares), alt), "; ".join(others)


def _pair(found: Comparison, pair: Pair) -> dict[str, Any]:
    test, one, two = pair.test, pair.first, pair.second
    rows = {key: (row.value, row.low, row.high) for key, row in pair.differences.items()}
    chart, others = differences_of(rows, f"{two} - {one}, with intervals")
    tiles = [
        (points(value), f"{METRICS[key].heading}, points", f"{points(low)} to {points(high)}" if low < high else "")
        for key, (value, low, high) in rows.items()
        if METRICS[key].headline
    ]
    for name, clips in ((two, test.only_second), (one, test.only_first)):
        tiles.append((number(clips), f"Only {name} is right", "clip" if clips == 1 else "clips"))
    family = len(found.pairs)
    holm = f"{p_value(pair.p_holm)} after Holm, for {family} comparisons" if family > 1 else "exact, two-sided"
    short = p_value(test.p).removeprefix("p ").removeprefix("= ").replace(" ", "")
    drawn = [
        (row.name, row.gain, f"{row.first} of {row.clips} by {one}, {row.second} by {two}")
        for row in ends(pair.classes, BARS)
    ]
    all_of = len(pair.classes)
    below = (
        "" if len(drawn) == all_of else f"{BARS} of {all_of} classes: those that gained most, and those that lost most"
    )
    order = {"lost": 0, "gained": 1, "other": 2}
    return {
        "tiles": [*tiles, (short, "McNemar's p", holm)],
        "chart": chart,
        "others": others,
        "gains": svg(gains(drawn, below), "points of recall that each class gained or lost"),
        "classes": ends(pair.classes, ROWS),
        "on_confused": _on_confused(pair),
        "changed": sorted(pair.changed, key=lambda row: order[row.change])[:CHANGED],
        "meaning": {"lost": f"only {one} right", "gained": f"only {two} right", "other": "both wrong"},
    }


def _on_confused(pair: Pair) -> str:
    found = pair.on_confused
    if found is None:
        return ""
    gain = found.difference
    between = f"{points(gain.low)} to {points(gain.high)}"
    return (
        f"On the {count(found.clips, 'clip')} of the {count(found.classes, 'class', 'classes')} of the first "
        f"{count(found.pairs, 'pair')} {pair.first} has "
        f"{percent(found.first)} right, {pair.second} {percent(found.second)}: {points(gain.value)} points "
        f"({between}; McNemar, {p_value(found.test.p)})."
    )
