"""An ablation for people: lines of the terminal, tables as CSV, and a page with a picture.

Axes: K classes.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence

from taggnn.evaluation.ablation import INTERVENTIONS
from taggnn.evaluation.ablation.effects import MEANING, Ablation, Effect
from taggnn.evaluation.metrics import METRICS
from taggnn.reporting.figures import whiskers
from taggnn.reporting.page import ROWS, count, number, percent, points, render
from taggnn.reporting.theme import svg
from taggnn.runtime import spreadsheet

# Classes that the terminal and the first table name for each intervention.
SHOWN = 3
COLUMNS = (
    *("intervention", "title", "draws", "top1", "lowest", "highest", "difference", "low", "high", "only_intact"),
    *("only_altered", "shift", "relative", "changed", "edges", "edges_trained", "kept", "not_applicable"),
)
CLASS_COLUMNS = ("intervention", "class", "clips", "intact", "altered", "drop")


def lines(found: Ablation) -> Iterator[str]:
    """The ablation as lines for the screen."""
    of = f"{found.clips:,} clip{'s' * (found.clips != 1)} of {len(found.classes):,} classes"
    metric = METRICS["top1"]
    yield f"as trained  top-1 {metric.text(found.top1, 1)} ({metric.between((found.low, found.high))}), {of}"
    yield ""
    yield f"{'':22} {'top-1':>6}  {'points':>6}  {'95 % interval':16} {'shift':>6} {'moved':>6} {'changed':>7}  depend most"
    for effect in found.effects:
        if effect.reason:
            yield f"{effect.title:22} does not apply: {effect.reason}"
            continue
        gain = effect.difference
        assert gain is not None
        # Of a difference that every resample gives alike, an interval would say more than is known.
        between = "-" if gain.low == gain.high else f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        moved = "-" if math.isnan(effect.relative) else f"{100 * effect.relative:.1f} %"
        yield (
            f"{effect.title:22} {effect.top1:6.3f}  {100 * gain.value:+6.1f}  {between:16} {effect.shift:6.2f} {moved:>6} "
            f"{100 * effect.changed:5.1f} %  {dropped(effect)}"
        )
    yield ""
    draws = max((effect.draws for effect in found.effects), default=0)
    yield "shift: mean L2 distance of the logits from those as trained; moved: the same as a part of them; changed: share of"
    yield f"clips with another answer.{f' Random rows: mean over {draws} draws.' if draws > 1 else ''}"
    yield MEANING


def dropped(effect: Effect, most: int = SHOWN) -> str:
    """The classes with the largest drop, with their counts: ``left (12 -> 3 of 20)``."""
    rows = [row for row in effect.classes if row.drop > 0][:most]
    return ", ".join(f"{row.name} ({row.intact} -> {row.altered:.3g} of {row.clips})" for row in rows) or "none"


def table(found: Ablation) -> str:
    """The interventions as CSV; shares from 0 to 1."""
    rows: list[Sequence[object]] = [COLUMNS]
    plain: list[object] = ["" for _ in COLUMNS]
    plain[:4] = "as_trained", "as trained", 1, found.top1
    rows.append(plain)
    for effect in found.effects:
        gain = effect.difference
        ends = (gain.value, gain.low, gain.high) if gain else ("", "", "")
        figures = (effect.top1, effect.lowest, effect.highest, *ends, effect.only_intact, effect.only_altered)
        figures += (effect.shift, effect.relative, effect.changed)
        facts = [effect.facts.get(key, "") for key in ("edges", "edges_trained", "kept")]
        shown = [""] * len(figures) if effect.reason else list(figures)
        rows.append((effect.name, effect.title, effect.draws, *shown, *facts, effect.reason))
    return _csv(rows)


def class_table(found: Ablation) -> str:
    """Every intervention and class as CSV, the classes that depend most on it first."""
    rows: list[Sequence[object]] = [CLASS_COLUMNS]
    for effect in found.effects:
        rows += [(effect.name, row.name, row.clips, row.intact, row.altered, row.drop) for row in effect.classes]
    return _csv(rows)


def ablation_page(found: Ablation, checkpoint: str, clips: str, notes: Sequence[str] = ()) -> str:
    """Builds the whole document.

    Args:
        found: the ablation.
        checkpoint: name of the model.
        clips: where the clips come from.
        notes: sentences for the reader.
    """
    applies = [effect for effect in found.effects if not effect.reason]
    bars = [
        (effect.title, effect.difference.value, effect.difference.low, effect.difference.high)
        for effect in applies
        if effect.difference is not None
    ]
    return render(
        "ablation.html.j2",
        title=f"What {checkpoint} uses",
        eyebrow="taggnn ablation",
        subtitle=f"{count(found.clips, 'clip')} of {count(len(found.classes), 'class', 'classes')}, {clips}",
        meaning=MEANING,
        found=found,
        chart=svg(whiskers(bars), "accuracy of each intervention minus that of the model as trained, with intervals"),
        rows=[(effect, INTERVENTIONS[effect.name].summary, _shown(effect)) for effect in applies],
        absent=[effect for effect in found.effects if effect.reason],
        notes=notes,
        most=ROWS,
    )


def _shown(effect: Effect) -> dict[str, str]:
    gain = effect.difference
    assert gain is not None
    moved = "" if math.isnan(effect.relative) else percent(effect.relative)
    random = f"{percent(effect.lowest)} to {percent(effect.highest)} in {number(effect.draws)} draws"
    edges = ""
    if "edges" in effect.facts:
        edges = f"{number(round(effect.facts['edges']))} of {number(round(effect.facts['edges_trained']))} edges"
    if "kept" in effect.facts:
        edges = f"{percent(effect.facts['kept'])} of the edges are as trained"
    return {
        "points": points(gain.value),
        "between": "" if gain.low == gain.high else f"{points(gain.low)} to {points(gain.high)}",
        "shift": f"{effect.shift:.2f}",
        "moved": moved,
        "random": random if effect.draws > 1 else "",
        "edges": edges,
        "dropped": dropped(effect).replace("->", "→"),
        "only_intact": f"{effect.only_intact:.4g}",
        "only_altered": f"{effect.only_altered:.4g}",
    }


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([spreadsheet.as_text(cell) for cell in row] for row in rows)
    return text.getvalue()
