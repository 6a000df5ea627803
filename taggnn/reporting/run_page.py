"""The report of a run: one HTML file made from the files of the run folder, and from nothing else.

``python -m taggnn.report RUN_DIR`` makes it again at any time. Every file is optional; what is absent is left out.

    config.yaml      shown as it is
    metrics.csv      the history: a column "epoch" and any of train/loss, val/loss, train/top1, val/top1, val/mca, lr,
                     seconds, ...; train/<name> for each part of the loss; several rows of one epoch are merged, the last value
                     of each column counts
    predictions.csv  of the headline split (`taggnn.evaluation.predictions`): confusion matrix and per-class figures
    skipped.csv      clips that could not be used (`taggnn.evaluation.predictions`)
    results.json     everything else, see `RESULTS`
    tracklets/       of some clips, see `taggnn.evaluation.tracklets`
    thumbnails/      of some clips, see `taggnn.explanation.thumbnails`

Besides ``report.html`` it writes the pictures alone, ``curves.png``, ``confusion.png`` and a PNG for each clip in ``tracklets``.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taggnn import papers
from taggnn.evaluation.calibration import reliability
from taggnn.evaluation.intervals import answers, wilson
from taggnn.evaluation.longtail import GROUPS
from taggnn.evaluation.metrics import (
    METRICS,
    Scores,
    summarise,
    unmeasured_note,
)
from taggnn.evaluation.predictions import Predictions, Skipped, read_predictions, read_skipped
from taggnn.evaluation.rejection import risk_coverage
from taggnn.evaluation.results import Results, headline
from taggnn.evaluation.significance import ONE_RUN_EACH, McNemar, verdict
from taggnn.names import unknown
from taggnn.reporting import thumbnail_section
from taggnn.reporting.class_section import classes_of
from taggnn.reporting.compare_page import differences_of
from taggnn.reporting.figures import curves, reliability_diagram, risk_coverage_figure
from taggnn.reporting.first_screen import answers_of, date_of
from taggnn.reporting.loss_parts import parts_of
from taggnn.reporting.page import ROWS, between, count, duration, figure, number, p_value, percent, points, render
from taggnn.reporting.theme import LIGHT, png, svg
from taggnn.reporting.tracklet_section import section_of
from taggnn.runtime.atomic import write_bytes, write_text
from taggnn.training.history import read_history


def write_report(run_dir: str | os.PathLike) -> Path:
    """Makes ``report.html``, ``curves.png`` and ``confusion.png`` from the files of a run folder; see this file's head.

    Returns:
        The path of ``report.html``.

    Raises:
        FileNotFoundError: no such folder, or none of the files in it.
        ValueError: a file that cannot be read as what it should be; names it.
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    folder = Path(run_dir)
    sources = ("results.json", "metrics.csv", "predictions.csv", "skipped.csv", "config.yaml")
    there = {name: folder / name for name in sources if (folder / name).is_file()}
    if not there:
        found = "is not there" if not folder.is_dir() else "is no run folder"
        raise FileNotFoundError(f"{folder} {found}: a report needs at least one of {', '.join(sources)} in it")
    results = Results.read(folder).to_json()
    history = read_history(there["metrics.csv"]) if "metrics.csv" in there else []
    skipped = read_skipped(there["skipped.csv"]) if "skipped.csv" in there else []
    predictions = read_predictions(there["predictions.csv"]) if "predictions.csv" in there else None
    if predictions is not None and not predictions.names:
        predictions = None
    config = there["config.yaml"].read_text(encoding="utf-8", errors="replace") if "config.yaml" in there else ""
    unmeasured = list(results.get("unmeasured", {}).get(headline(results)) or ())
    name, date = str(results.get("title") or folder.resolve().name), date_of(folder, results)
    effect = _graph(results.get("graph_effect") or {})
    classes = None if predictions is None else classes_of(folder, predictions)
    page = render(
        "report.html.j2",
        title=f"{name}, {date}" if date and date not in name else name,
        eyebrow="taggnn run report",
        subtitle=results.get("subtitle", ""),
        **_headline(results, predictions, skipped, unmeasured),
        answers=answers_of(results, classes, effect),
        groups=results.get("groups", {}).get(headline(results)),
        within=results.get("within", {}).get(headline(results)) or [],
        group_meanings=GROUPS,
        comparison=_comparison(results.get("comparison") or (), bool(results.get("ensemble"))),
        paired=[_paired(row, results["paired"]) for row in results.get("paired") or ()],
        effect=effect,
        training=_training(folder, history, results),
        calibration=_calibration(results, predictions),
        classes=classes,
        tracklets=section_of(folder),
        thumbnails=thumbnail_section.section_of(folder),
        unmeasured=set(unmeasured),
        skipped=skipped,
        most=ROWS,
        **_provenance(results),
        config=config.strip(),
        clips=_clips,
        titles=_titles,
    )
    return write_text(folder / "report.html", page)


def _headline(
    results: Mapping[str, Any], predictions: Predictions | None, skipped: Sequence[Skipped], unmeasured: Sequence[str]
) -> dict[str, Any]:
    """The tiles, the notes and the table of splits."""
    scores = {split: _scores(split, figures) for split, figures in results.get("scores", {}).items()}
    split = headline(results)
    if scores and split not in scores:
        raise unknown("split", str(split), scores, where="results.json, headline")
    notes = list(results.get("notes") or ())
    if predictions is not None:
        # Without a stated split, rows of several splits cannot be attributed to these clips.
        ours = [row for row in skipped if split in (None, row.split)]
        unreadable = len(ours) if len({row.split for row in ours}) == 1 else 0
        again = summarise(predictions.probabilities, predictions.labels, unreadable=unreadable)
        split, stated = split or "predictions.csv", scores.get(split)
        if stated is None:
            scores[split] = again
        elif stated.measured != again.measured or abs(stated.top1 - again.top1) > 1e-6:
            notes.append(
                f"results.json and predictions.csv disagree: top-1 {percent(stated.top1, 2)} of {stated.measured} clips "
                f"against {percent(again.top1, 2)} of {again.measured}. One of the two is of another run or split."
            )
        else:
            # Files of earlier versions lack some of the figures.
            known = {name: value for name, value in stated.figures.items() if value is not None}
            scores[split] = replace(stated, figures={**again.figures, **known})
    if not scores:
        return {"scores": {}, "split": None, "notes": notes, "heading": "Notes", "tiles": []}
    assert split is not None
    shown, heading = scores[split], f"Accuracy on {split}"
    if not shown.complete:
        heading += f": {_clips(shown.measured, shown.listed)} clips"
        also = f" Also {unmeasured_note(unmeasured, most=ROWS)}." if unmeasured else ""
        notes.insert(0, f"The figures of {split} are about {shown.coverage()}.{also}")
    tiles = _tiles(shown, results.get("intervals", {}).get(split, {}))
    return {"scores": scores, "split": split, "notes": notes, "heading": heading, "tiles": tiles}


def _scores(split: str, figures: Mapping[str, Any]) -> Scores:
    try:
        return Scores.read(figures)
    except ValueError as error:
        raise ValueError(f"results.json, scores.{split}: {error}") from error


def _tiles(scores: Scores, ends: Mapping[str, Sequence[float]]) -> list[tuple[str, str, str]]:
    """(figure, label, text below) of each headline figure."""
    tiles = []
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if value is None:
            continue
        if row.interval == "wilson":
            interval = f"95 % interval {between(wilson(value, scores.measured))}"
            below = f"{number(round(value * scores.measured))} right; {interval}"
        else:
            interval = between(ends.get(name), row)
            below = row.summary.format(**scores.as_dict()) + (f"; {interval}" if interval else "")
        tiles.append((figure(value, row), row.heading, below))
    counts = ((scores.missing, "missing"), (scores.unreadable, "unreadable"))
    left_out = ", ".join(f"{number(clips)} {why}" for clips, why in counts if clips)
    label = "Clips measured" if scores.complete else f"Clips measured of {number(scores.listed)} listed"
    below = f"{left_out}; counted nowhere" if left_out else "every clip of the list"
    return [*tiles, (number(scores.measured), label, below)]


def _clips(measured: int | None, listed: int | None) -> str:
    of = "" if listed is None or measured == listed else f" of {number(listed)}"
    return f"{number(measured)}{of}"


def _titles(names: Iterable[str]) -> list[tuple[str, str]]:
    """Columns of figures."""
    return [(name, "n") for name in names]


def _comparison(rows: Sequence[Mapping[str, Any]], averaged: bool) -> dict[str, Any] | None:
    """The table of models; ``averaged``: its first row is the average of others."""
    # A model alone is compared with nothing; its figures are at the top.
    if len(rows) < 2:
        return None
    lead = "The same data and budget under other heads."
    if any(row.get("source") for row in rows):
        lead = "Other models on the same clips."
    if averaged:
        lead = "The average, and each of its runs alone, on the same clips."
    first = ["name", *(key for key in METRICS if any(key in row for row in rows)), "measured", "parameters", "seconds"]
    keys = dict.fromkeys([*first, *(key for row in rows for key in row if key not in ("chosen", "listed", "source"))])
    known = [key for key in keys if any(row.get(key) is not None for row in rows)]
    titles = {"name": "", "measured": "Clips", "seconds": "Time", **{key: row.heading for key, row in METRICS.items()}}
    kinds = {"top1": "n bar", "name": "t", "note": "t"}
    columns = [(titles.get(key, key.replace("_", " ").capitalize()), kinds.get(key, "n")) for key in known]

    def shown(key: str, row: Mapping[str, Any]) -> Any:
        value = row.get(key)
        if key == "measured":
            return _clips(value, row.get("listed"))
        if key in METRICS:
            return value if key == "top1" else figure(value, METRICS[key])
        return duration(value) if key == "seconds" else number(value)

    cells = [list(zip(columns, (shown(key, row) for key in known), strict=True)) for row in rows]
    table = [{"chosen": row.get("chosen"), "cells": each} for row, each in zip(rows, cells, strict=True)]
    return {"columns": columns, "rows": table, "lead": lead}


def _paired(row: Mapping[str, Any], family: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One head compared with another, clip by clip, with intervals and McNemar's test."""
    name, other = row["name"], row["against"]
    known = {key: [row[key][end] for end in ("value", "low", "high")] for key in METRICS if key in row}
    chart, others = differences_of(known, f"{name} - {other}, with paired 95 % intervals")
    holm = f", {p_value(row['p_holm'])} after Holm" if len(family) > 1 else ""
    text = (
        f"{row['verdict']} Of {number(row['clips'])} clips only {name} has {number(row['only_name'])} right, only {other} "
        f"{number(row['only_against'])} (McNemar, {p_value(row['p'])}{holm}). {ONE_RUN_EACH}"
    )
    gain = f": {points(known['top1'][0])} points" if "top1" in known else ""
    return {
        "title": f"{name} - {other}{gain}",
        "text": text,
        "chart": chart,
        "others": others,
        # Files of earlier versions lack them.
        "confused": row.get("confused") or [],
        "name": name,
        "against": other,
    }


def _graph(effect: Mapping[str, Any]) -> dict[str, Any] | None:
    if not effect:
        return None
    found: dict[str, Any] = {"tiles": [], "verdict": "", "test": ""}
    if effect.get("top1_with") is not None and effect.get("top1_without") is not None:
        found["tiles"] += [(percent(effect["top1_with"]), "Top-1 with its edges")]
        found["tiles"] += [(percent(effect["top1_without"]), "Top-1 without edges")]
    changed, moved = effect.get("changed"), effect.get("relative_logits")
    if changed is not None:
        clips = f"of {number(effect['clips'])} clips" if effect.get("clips") else ""
        found["tiles"].append((percent(changed), "Predictions that change", clips))
        found["verdict"] = (
            "No prediction depends on the edges: this model decides as a pooled encoder would."
            if changed == 0
            else "Hardly any prediction depends on the edges."
            if changed < 0.01
            else f"These weights depend on their edges: without them {percent(changed)} of the predictions change."
        )
    if moved is not None:
        size = percent(moved) if moved >= 1e-3 else f"{moved:.1e}"
        found["tiles"].append((size, "Change of the logits", "relative to their size"))
    if changed and effect.get("p") is not None:
        test = McNemar(effect["only_without"], effect["only_with"], effect["p"])
        better = verdict(test, test.p, "the model without its edges", "the model with its edges")
        found["test"] = (
            f"{better[0].upper()}{better[1:]} Top-1 {points(effect['top1_without'] - effect['top1_with'])} points when they are "
            f"removed (95 % interval {points(0 - effect['gain_high'])} to {points(0 - effect['gain_low'])}; McNemar, "
            f"{p_value(test.p)}). This does not show that edges help: the weights were trained with them, and a network trained "
            "without edges can be as good. Train one (--HEAD.topology none) and compare."
        )
    return found


def _training(folder: Path, history: list[dict[str, float]], results: Mapping[str, Any]) -> dict[str, Any] | None:
    if not history:
        return None
    best = results.get("best_epoch")
    best = _best_epoch(history) if best is None else int(best)
    weights = parts_of(history, results)
    drawn = curves(history, best, LIGHT, list(weights))
    if drawn is not None:
        write_bytes(folder / "curves.png", png(drawn))
    by_epoch = {int(row["epoch"]): row for row in history}
    last = max(by_epoch)
    epochs = [epoch for epoch in dict.fromkeys((best, last)) if epoch in by_epoch]
    parts = []
    for name, weight in weights.items():
        values = [by_epoch[epoch].get(f"train/{name}") for epoch in epochs]
        if values[-1] is None and epochs[-1] == last:
            # metrics.csv lacks the column.
            values[-1] = (results.get("losses") or {}).get(name, {}).get("last")
        parts.append((name, [weight, *values]))
    keys = list(dict.fromkeys(key for row in history for key in row))
    return {
        "chart": svg(drawn, "Loss and accuracy over the epochs"),
        "best": best,
        "parts": parts,
        "parts_columns": [f"Epoch {epoch}, {'kept' if epoch == best else 'last'}" for epoch in epochs],
        "columns": keys,
        "epochs": [(row["epoch"] == best, [_value(key, row.get(key)) for key in keys]) for row in history],
    }


def _value(key: str, value: float | None) -> str:
    metric = METRICS.get(key.rsplit("/")[-1])
    if value is not None and metric is not None:
        return figure(value, metric)
    return number(int(value) if value is not None and value.is_integer() and abs(value) < 1e15 else value)


def _best_epoch(history: list[dict[str, float]]) -> int | None:
    for key, sign in (("val/top1", 1), ("val/loss", -1)):
        rows = [row for row in history if math.isfinite(row.get(key, math.nan))]
        if rows:
            return int(max(rows, key=lambda row: sign * row[key])["epoch"])
    return None


def _calibration(results: Mapping[str, Any], predictions: Predictions | None) -> dict[str, Any] | None:
    """None where the scores are no probabilities."""
    model = None if predictions is None else answers(predictions.probabilities, predictions.labels)
    if model is None or model.confidence is None:
        return None
    split = headline(results)
    ece = results.get("scores", {}).get(split, {}).get("ece")
    ends = between(results.get("intervals", {}).get(split, {}).get("ece"))
    confidence, accuracy = model.confidence.double().mean().item(), model.right.double().mean().item()
    text = (
        f"Mean confidence, the probability of the predicted class, is {percent(confidence)}; accuracy is {percent(accuracy)}: "
        f"the model is {'over' if confidence > accuracy else 'under'}-confident."
    )
    if ece is not None:
        text += f" Expected calibration error {percent(ece)}{f' ({ends})' if ends else ''}."
    chart = reliability_diagram(reliability(model.confidence, model.right))
    curve, found = risk_coverage(model.confidence, model.right), results.get("calibration") or {}
    measured = found.get("measured") or {}
    if found and measured.get("split") == split:
        text += (
            f" Its logits are divided by the temperature {found['temperature']:.3f}, fitted on "
            f"{count(found['clips'], 'validation clip')}; "
            f"without it the calibration error of these clips is {percent(measured['ece'])}."
        )
    return {
        "text": text,
        "chart": svg(chart, "accuracy of the clips against the confidence of the predictions"),
        "aurc": percent(curve.aurc, 2),
        "rejection": svg(
            risk_coverage_figure(curve, measured.get("coverage"), measured.get("risk")),
            "share of wrong answers against the share of clips that are answered",
        ),
        "threshold": found.get("threshold") if measured.get("coverage") is not None else None,
        "risk": percent(found.get("risk")),
        "coverage": percent(measured.get("coverage")),
        "wrong": percent(measured.get("risk")),
    }


def _provenance(results: Mapping[str, Any]) -> dict[str, Any]:
    """The command, and facts about the model, the evaluation and the machine."""
    environment, evaluation = dict(results.get("environment", {})), results.get("evaluation", {})
    command = environment.pop("command", "")
    model = dict(results.get("model", {}))
    cite = papers.entries_of(str(model.pop("papers", "")).split(", "))
    facts = [*model.items()]
    facts += [(key, evaluation[key]) for key in ("views", "crops", "average", "processes") if key in evaluation]
    if evaluation.get("clips_per_second"):
        facts.append(("clips per second", f"{evaluation['clips_per_second']:.1f}"))
    if sizes := [f"{kind} {size / 2**30:.2f} GiB" for kind, size in evaluation.get("peak_memory", {}).items()]:
        facts.append(("peak memory", ", ".join(sizes)))
    facts = [(key.replace("_", " "), value) for key, value in (*facts, *environment.items())]
    facts += [(f"{part} took", duration(seconds)) for part, seconds in results.get("durations", {}).items()]
    text = " ".join(command) if isinstance(command, list) else command
    return {"command": text, "provenance": facts, "cite": cite}
