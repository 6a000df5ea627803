"""The parts of a report about certainty: calibration, many-, medium- and few-shot classes, and what the baseline's clips say.

Axes: M clips, K classes, N bins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from taggnn.evaluation.bootstrap import answers
from taggnn.evaluation.calibration import reliability
from taggnn.evaluation.longtail import GROUPS
from taggnn.evaluation.metrics import METRICS, Metric
from taggnn.evaluation.predictions import Predictions
from taggnn.reporting import page
from taggnn.reporting.diagrams import reliability_diagram, whiskers


def figure(value: float | None, metric: Metric) -> str:
    """A figure as a page shows it: shares in per cent, others with their decimals, "–" where there is none."""
    return page.percent(value) if metric.share or value is None else metric.text(value)


def between(ends: Sequence[float] | None, metric: Metric | None = None) -> str:
    """An interval: "62.7 to 73.7 %" of shares (default); empty where there is none, or none of any width."""
    if ends is None or ends[0] == ends[1]:
        return ""
    if metric is not None and not metric.share:
        return metric.between(ends).replace(" ", "\u00a0")
    return f"{100 * ends[0]:.1f}\u00a0to\u00a0{page.percent(ends[1])}"


def differences_drawn(rows: Mapping[str, Sequence[float]], alt: str) -> tuple[str, str]:
    """Differences of figures: a drawing of those that are shares, and a paragraph of the others.

    Args:
        rows: name of `taggnn.evaluation.metrics.METRICS` -> value, low, high.
        alt: what the drawing shows.
    """
    shares = [(METRICS[key].title, *row) for key, row in rows.items() if METRICS[key].share]
    others = [
        f"{METRICS[key].heading}: {value:+.{METRICS[key].decimals}f} ({METRICS[key].between((low, high))})"
        for key, (value, low, high) in rows.items()
        if not METRICS[key].share
    ]
    return whiskers(shares, alt), f"<p>{page.escape('; '.join(others))}</p>" if others else ""


def calibration_section(predictions: Predictions, ece: float | None, ends: Sequence[float] | None) -> str:
    """Confidence against accuracy; empty where the scores are no probabilities.

    Args:
        predictions: of the split shown large.
        ece: expected calibration error, where it is known.
        ends: its interval, where it is known.
    """
    model = answers(predictions.probabilities, predictions.labels)
    if model.confidence is None:
        return ""
    bins = reliability(model.confidence, model.right)
    sure, right = model.confidence.double().mean().item(), model.right.double().mean().item()
    kind = "surer than it is right" if sure > right else "less sure than it is right"
    lead = (
        f"On average the answer has a probability of {page.percent(sure)}, and is right {page.percent(right)} of the time: the "
        f"model is {kind}."
    )
    if ece is not None:
        interval = f" ({between(ends)})" if between(ends) else ""
        lead += f" Expected calibration error {page.percent(ece)}{interval}."
    over, under = (f'<span class="swatch {kind}"></span>' for kind in ("over", "under"))
    caption = (
        "<figcaption>The share of clips that is right, by the confidence of the answer. "
        f"{over} surer than right, {under} more right than sure. The dashed line: as "
        "right as sure. Below: the number of clips.</figcaption>"
    )
    return page.section(
        "How sure it is", f"<figure>{reliability_diagram(bins)}{caption}</figure>", lead=page.escape(lead)
    )


def groups_section(rows: Sequence[Mapping[str, Any]] | None) -> str:
    """Many-, medium- and few-shot classes, one row each."""
    if not rows:
        return ""
    header = [
        *(
            ("Classes of", ""),
            ("Classes", "n"),
            ("Training clips", "n"),
            ("Clips measured", "n"),
            ("Class mean", "n bar"),
        ),
        ("95 % interval", "n"),
    ]
    lines = []
    for row in rows:
        counted, classes = row["classes_counted"], row["classes"]
        of = page.number(classes) if counted == classes else f"{page.number(counted)} of {page.number(classes)}"
        cells = [
            page.cell(f"{row['name']}-shot: {GROUPS[row['name']]}"),
            page.cell(of, "n"),
            page.cell(page.number(row["training_clips"]), "n"),
            page.cell(page.number(row["clips"]), "n"),
            page.bar(row["mca"]),
            page.cell(between(row.get("interval")) or "–", "n"),
        ]
        lines.append(("", cells))
    return page.section("Many-, medium- and few-shot classes", page.table(header, lines))


def paired_rows(rows: Sequence[Mapping[str, Any]] | None) -> str:
    """What stands below the table of heads: differences clip by clip, with intervals, and what the test says."""
    parts = []
    for row in rows or ():
        name, other = row["name"], row["against"]
        known = {key: [row[key][end] for end in ("value", "low", "high")] for key in METRICS if key in row}
        holm = f", {page.p_value(row['p_holm'])} after Holm" if len(rows) > 1 else ""
        said = (
            f"{row['verdict']} Of {page.number(row['clips'])} clips only {name} has {page.number(row['only_name'])} right, "
            f"only {other} {page.number(row['only_against'])} (McNemar, {page.p_value(row['p'])}{holm})."
        )
        parts.append(f"<h3>{page.escape(name)} less {page.escape(other)}</h3><p>{page.escape(said)}</p>")
        parts += [part for part in differences_drawn(known, f"{name} less {other}, with paired 95 % intervals") if part]
    return "\n".join(parts)
