"""The answers at the top of a report: when, compared with what, which classes are confused, and whether the edges matter."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from taggnn.evaluation.metrics import METRICS
from taggnn.reporting.page import number, p_value, points

# Pairs of classes, and models, at most; the sections below have more.
PAIRS, MODELS = 3, 3
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Answer(NamedTuple):
    """One row: a question, its answers, and the heading of the section with the rest; empty without one."""

    question: str
    answers: Sequence[str]
    section: str = ""


def date_of(folder: Path, results: Mapping[str, Any]) -> str:
    """The day of a run: that of results.json, else that in the name of its folder; empty where neither has one.

    Args:
        folder: of the run, such as ``runs/demo/2026-01-31_18-05-09``.
        results: content of results.json.
    """
    stated = str((results.get("environment") or {}).get("date", ""))
    found = _DAY.match(stated) or _DAY.match(folder.resolve().name)
    return found[0] if found else ""


def answers_of(
    results: Mapping[str, Any], classes: Mapping[str, Any] | None, effect: Mapping[str, Any] | None
) -> list[Answer]:
    """The rows of the first screen.

    Args:
        results: content of results.json.
        classes: of `taggnn.reporting.class_section`, with ``names`` and ``pairs``; None without predictions.
        effect: the section about the edges, with its ``verdict``; None without one.
    """
    found = [_compared(results)] if results.get("scores") or classes else []
    if classes is not None and len(classes["names"]) > 1:
        found.append(_confused(classes))
    if effect and effect["verdict"]:
        found.append(Answer("Graph", [effect["verdict"]], "Dependence on the edges"))
    return found


def _compared(results: Mapping[str, Any]) -> Answer:
    rows = results.get("paired") or []
    answers = [_difference(row, len(rows)) for row in rows[:MODELS]]
    if more := len(rows) - MODELS if len(rows) > MODELS else 0:
        answers.append(f"and {more} more")
    if not answers and len(results.get("comparison") or ()) > 1:
        answers = ["other models, without a test of the difference"]
    if answers:
        return Answer("Compared with", answers, "Comparison")
    return Answer("Compared with", ["nothing: whether another model is better or worse is not known from this run"])


def _difference(row: Mapping[str, Any], family: int) -> str:
    top1 = row["top1"]
    ends = f"{points(top1['low'])} to {points(top1['high'])}"
    p = row.get("p_holm") if family > 1 else row["p"]
    return (
        f"{row['against']}: {METRICS['top1'].title} {points(top1['value'])} points ({ends}), "
        f"{p_value(row['p'] if p is None else p)}"
    )


def _confused(classes: Mapping[str, Any]) -> Answer:
    names = classes["names"]
    pairs = [
        f"{names[first]} ↔ {names[second]}: {number(count)} of their {number(clips)} clips"
        for first, second, count, clips, _ in classes["pairs"][:PAIRS]
    ]
    return Answer("Most confused", pairs or ["no clip was misclassified"], "Most confused classes" if pairs else "")
