"""The page of a comparison: who has more right, by how much, on which classes and on which clips.

Axes: S clips, K classes.
"""

from collections.abc import Sequence

from taggnn.evaluation.comparison import Comparison, Model, Pair
from taggnn.evaluation.metrics import METRICS, shares_of_clips
from taggnn.reporting import bars, diagrams, page
from taggnn.reporting.report_statistics import between, differences_drawn, figure

# Rows of the table of changed clips; comparison.json has all of them.
ROWS = 500


def compare_page(found: Comparison) -> str:
    """Builds the whole document."""
    letters = [model.letter for model in found.models]
    clips = "1 clip" if found.clips == 1 else f"{page.number(found.clips)} clips"
    classes = "1 class" if found.classes == 1 else f"{page.number(found.classes)} classes"
    return page.page(
        f"{', '.join(letters[:-1])} and {letters[-1]} on the same clips",
        "taggnn comparison",
        f"{clips} of {classes}, answered by each of {len(found.models)} models.",
        [
            f"<style>{bars.STYLE}{diagrams.STYLE}</style>",
            _figures(found),
            *(_pair(found, pair) for pair in found.pairs),
        ],
    )


def _figures(found: Comparison) -> str:
    keys = [key for key in METRICS if any(model.scores.figures.get(key) is not None for model in found.models)]
    header = [("", ""), ("Model", "t"), *((METRICS[key].heading, "n") for key in keys)]
    rows = [
        ("", [page.cell(model.letter), _name(model), *(_cell(model, key) for key in keys)]) for model in found.models
    ]
    lead = (
        f"In small print: where each figure lies 95 times in 100 by the choice of clips (Wilson's interval for "
        f"{shares_of_clips()}, {page.number(found.resamples)} bootstrap resamples for the others)."
    )
    notes = "".join(f'<p class="note">{page.escape(note)}</p>' for note in found.notes)
    return page.section("Figures", page.table(header, rows), notes, lead=lead)


def _name(model: Model) -> str:
    title = f'{page.escape(model.title)}<br><span class="q">' if model.title else '<span class="q">'
    return f'<td class="t">{title}{page.escape(model.source)}</span></td>'


def _cell(model: Model, key: str) -> str:
    said = between(model.intervals.get(key), METRICS[key])
    small = f'<br><small class="q">{said}</small>' if said else ""
    return f'<td class="n">{figure(model.scores.figures.get(key), METRICS[key])}{small}</td>'


def _pair(found: Comparison, pair: Pair) -> str:
    test, one, two = pair.test, pair.first, pair.second
    tiles = [
        page.tile(page.points(pair.differences["top1"].value), "Top-1, points", _ends(pair, "top1")),
        page.tile(page.points(pair.differences["mca"].value), "Class mean, points", _ends(pair, "mca")),
        page.tile(page.number(test.only_second), f"Only {two} is right", "clip" if test.only_second == 1 else "clips"),
        page.tile(page.number(test.only_first), f"Only {one} is right", "clip" if test.only_first == 1 else "clips"),
        page.tile(
            page.p_value(test.p).removeprefix("p ").removeprefix("= ").replace(" ", ""),
            "McNemar's p",
            _holm(found, pair),
        ),
    ]
    rows = {key: (row.value, row.low, row.high) for key, row in pair.differences.items()}
    drawing, numbers = differences_drawn(rows, f"{two} less {one}, with intervals")
    less = " and ".join(f"the {row.title}" for row in METRICS.values() if row.compared and not row.larger_is_better)
    lead = page.escape(pair.verdict)
    return page.section(
        f"{two} against {one}",
        page.tiles(tiles),
        f"<h3>{two} less {one}</h3>",
        f"<figure>{drawing}<figcaption>Intervals are of the difference itself: both models answer to the same drawn clips. For "
        f"{page.escape(less)} less is better.</figcaption></figure>",
        numbers,
        _table_of_two(pair),
        _classes(pair),
        _changed(pair),
        lead=lead,
    )


def _ends(pair: Pair, key: str) -> str:
    row = pair.differences[key]
    return f"{page.points(row.low)} to {page.points(row.high)}" if row.low < row.high else ""


def _holm(found: Comparison, pair: Pair) -> str:
    if len(found.pairs) < 2:
        return "exact, two-sided"
    return f"{page.p_value(pair.p_holm)} after Holm, for {len(found.pairs)} comparisons"


def _table_of_two(pair: Pair) -> str:
    one, two, test = pair.first, pair.second, pair.test
    header = [("Clips", ""), (f"{two} right", "n"), (f"{two} wrong", "n")]
    rows = [
        ("", [page.cell(f"{one} right"), _count(pair.both_right), _count(test.only_first)]),
        ("", [page.cell(f"{one} wrong"), _count(test.only_second), _count(pair.both_wrong)]),
    ]
    return "<h3>Clip by clip</h3>" + page.table(header, rows)


def _count(clips: int) -> str:
    return page.cell(page.number(clips), "n")


def _classes(pair: Pair) -> str:
    drawn = [
        (row.name, row.gain, f"{row.first} of {row.clips} by {pair.first}, {row.second} by {pair.second}")
        for row in pair.classes
    ]
    drawing = diagrams.gains(drawn, "points of recall that each class gained or lost")
    if not drawing:
        return "<p>Every class has as many clips right.</p>"
    swatch = '<span class="swatch" style="background:var(--{})"></span>'
    more = [
        f"{swatch.format(kind)} {letter} has more right"
        for kind, letter in (("right", pair.second), ("wrong", pair.first))
    ]
    caption = f"<figcaption>Points of recall. {', '.join(more)}.</figcaption>"
    header = [
        ("Class", "t"),
        ("Clips", "n"),
        (f"{pair.first} right", "n"),
        (f"{pair.second} right", "n"),
        ("Points", "n"),
    ]
    rows = [
        (
            "",
            [
                page.cell(row.name, "t"),
                *(_count(clips) for clips in (row.clips, row.first, row.second)),
                page.cell(page.points(row.gain), "n"),
            ],
        )
        for row in pair.classes
    ]
    table = page.details(f"All {len(rows)} classes that occur", page.table(header, rows, tall=len(rows) > 25))
    return f"<h3>Classes</h3><figure>{drawing}{caption}</figure>{table}"


def _changed(pair: Pair) -> str:
    if not pair.changed:
        return "<p>Every clip is taken for the same class.</p>"
    order = {"lost": 0, "gained": 1, "other": 2}
    shown = sorted(pair.changed, key=lambda row: order[row.change])[:ROWS]
    meaning = {"lost": f"only {pair.first} right", "gained": f"only {pair.second} right", "other": "both wrong"}
    rows = [("", _clip(row.name, row.truth, row.first, row.second, meaning[row.change])) for row in shown]
    header = [("Clip", "t"), ("Truth", "t"), (f"{pair.first} says", "t"), (f"{pair.second} says", "t"), ("", "t")]
    more = f"; the first {ROWS} are shown, comparison.json has all" if len(pair.changed) > ROWS else ""
    clips = "1 clip that is" if len(pair.changed) == 1 else f"{page.number(len(pair.changed))} clips that are"
    title = f"{clips} taken for another class{more}"
    return page.details(title, page.table(header, rows, tall=len(rows) > 12))


def _clip(*texts: str) -> Sequence[str]:
    return [page.cell(text, "t") for text in texts]
