"""Pages that need no network and no second file: Jinja2 templates, and how they write figures."""

import base64
import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from taggnn.evaluation.metrics import METRICS, Metric
from taggnn.reporting.theme import DARK, LIGHT, clean, shorten

Value = TypeVar("Value")
# Rows of a table: a page of 5,000 classes must open in a browser, and the files next to it have all of them.
ROWS = 1000
# What a page calls the groups of `taggnn.evaluation.longtail`.
GROUPS = {"many": "many-shot", "medium": "medium-shot", "few": "few-shot"}


def percent(share: float | None, digits: int = 1) -> str:
    """0.9625 -> "96.3 %" (a narrow space that does not break); "–" where there is no figure."""
    if share is None or math.isnan(share):
        return "–"
    # Rounding must not turn "nearly all" into "all": 8519 of 8520 is not 100.0 %.
    shown = 100 * share
    edge = 10.0**-digits
    if share < 1:
        shown = min(shown, 100 - edge)
    if share > 0:
        shown = max(shown, edge)
    return f"{shown:.{digits}f}\u202f%"


def number(value: object) -> str:
    """Counts with separators, other numbers with four significant digits, the rest as text."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}".replace(",", "\u202f")
        case float():
            return f"{value:.4g}"
        case dict():
            return ", ".join(f"{key} {number(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(number(item) for item in value)
    return str(value)


def count(clips: int, noun: str, plural: str = "") -> str:
    """1, "clip" -> "1 clip"; 1200, "clip" -> "1 200 clips"."""
    return f"{number(clips)} {noun if clips == 1 else plural or noun + 's'}"


def ends(rows: Sequence[Value], most: int) -> Sequence[Value]:
    """All rows, or the first and the last of them, ``most`` together."""
    return rows if len(rows) <= most else [*rows[: most // 2], *rows[-(most // 2) :]]


def points(share: float) -> str:
    """A difference of shares in percentage points: 0.0123 -> "+1.2"."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def p_value(p: float) -> str:
    """0.0503 -> "p = 0.0503", 0.25 -> "p = 0.25"; "p < 0.0001" for what is smaller."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"


def duration(seconds: float | None) -> str:
    """75 -> "1 min 15 s"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def figure(value: float | None, metric: Metric) -> str:
    """A figure as a page shows it: shares in per cent, others with their decimals, "–" where there is none."""
    return percent(value) if metric.share or value is None else metric.text(value)


def between(ends: Sequence[float] | None, metric: Metric | None = None) -> str:
    """An interval: "62.7 to 73.7 %" of shares (default); empty where there is none, or none of any width."""
    if ends is None or ends[0] == ends[1]:
        return ""
    if metric is not None and not metric.share:
        return metric.between(ends).replace(" ", "\u00a0")
    return f"{100 * ends[0]:.1f}\u00a0to\u00a0{percent(ends[1])}"


def anchor(title: str) -> str:
    """What a section is linked by: "Accuracy on test: 3 clips" -> "accuracy-on-test"."""
    return "-".join(re.findall(r"[a-z0-9]+", title.partition(":")[0].lower())) or "section"


def sections(body: str) -> list[tuple[str, str]]:
    """The anchor and the title of each section of a rendered page."""
    return re.findall(r'<section id="([^"]*)">\s*<h2>([^<:]*)', body)


def render(template: str, **context: Any) -> str:
    """A whole page; every text of the context is escaped, and characters that no page may hold become U+FFFD."""
    return clean(_ENVIRONMENT.get_template(template).render(context))


_ENVIRONMENT = Environment(
    loader=PackageLoader("taggnn.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_ENVIRONMENT.globals |= {"METRICS": METRICS, "GROUPS": GROUPS, "LIGHT": LIGHT, "DARK": DARK}
_FILTERS = (percent, number, count, points, p_value, duration, figure, between, anchor, sections, shorten)
_ENVIRONMENT.filters |= {function.__name__: function for function in _FILTERS} | {
    "base64": lambda png: base64.b64encode(png).decode("ascii")
}
