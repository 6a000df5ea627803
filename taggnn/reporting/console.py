"""The figures of an evaluation as lines on the screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.longtail import GROUPS
from taggnn.evaluation.metrics import (
    METRICS,
    Metric,
    Scores,
    confusion_matrix,
    in_percent,
    per_class,
    shares_of_clips,
    unmeasured_note,
)
from taggnn.evaluation.predictions import Predictions
from taggnn.reporting.page import GROUPS as TITLES
from taggnn.reporting.page import p_value
from taggnn.runtime.printable import one_line

# Rows of the per-class table on the screen; the report has all of them.
TABLE = 20


def print_evaluation(
    results: Mapping[str, Any], split: str, predictions: Predictions, folder: Path, report: Path
) -> None:
    """Prints the figures of a split, its hardest classes, and where everything was written.

    Args:
        results: content of results.json.
        split: name of the split.
        predictions: what the figures are about.
        folder: where the files lie.
        report: the page.
    """
    scores, effect = Scores.read(results["scores"][split]), results.get("graph_effect")
    print(f"\nmeasured  {scores.coverage()}")
    for line in figure_lines(results, split):
        print(line)
    if effect is not None:
        print(
            f"graph     edges removed after training: top-1 {METRICS['top1'].text(effect['top1_without'])}, "
            f"{in_percent(effect['changed'])} of the predictions change, the logits by {in_percent(effect['relative_logits'], 2)}"
        )
        if effect["changed"] and effect.get("p") is not None:
            # 0 - 0 is 0, where its negative would print as -0.0.
            ends = f"{100 * (0 - effect['gain_high']):+.1f} to {100 * (0 - effect['gain_low']):+.1f}"
            change = 100 * (effect["top1_without"] - effect["top1_with"])
            print(
                f"          that is {change:+.1f} points ({ends}), McNemar {p_value(effect['p'])}; whether edges help, a training"
            )
            print("          without them shows (--HEAD.topology none)")
    if results.get("calibration"):
        for line in calibration_lines(results["calibration"], scores):
            print(line)
    if "evaluation" in results:
        print(_cost(results["evaluation"], results["durations"][split]))
    _print_classes(predictions)
    print()
    for name in ("predictions.csv", "confusion.png", "skipped.csv"):
        print(f"          {folder / name}")
    print(f"report    {report}")


def calibration_lines(found: Mapping[str, Any], scores: Scores) -> list[str]:
    """Lines on the temperature and the threshold of a calibrated model, on the clips that were measured.

    Args:
        found: "calibration" of results.json.
        scores: those of the clips that were measured.
    """
    measured = found.get("measured")
    first = f"temperature {found['temperature']:.3f}, fitted on {found['clips']:,} validation clips"
    if measured is None:
        return [f"calibration {first}"]
    after = (
        ""
        if scores.ece is None
        else f": calibration error {METRICS['ece'].text(measured['ece'])} -> {METRICS['ece'].text(scores.ece)}"
    )
    lines = [f"calibration {first}{after}"]
    if found.get("threshold") is not None and measured.get("coverage") is not None:
        risk = "none is answered" if measured.get("risk") is None else f"{in_percent(measured['risk'])} of them wrong"
        lines.append(
            f"rejection   below {found['threshold']:.3f} (risk {in_percent(found['risk'])} on validation clips): "
            f"{in_percent(measured['coverage'])} of the clips are "
            f"answered, {risk}"
        )
    return lines


def _cost(evaluation: Mapping[str, Any], seconds: float) -> str:
    """Time and memory of the pass over the clips."""
    kinds = [f"{size / 2**30:.2f} GiB of {kind} memory" for kind, size in evaluation["peak_memory"].items()]
    several = f" in {evaluation['processes']} processes" if evaluation["processes"] > 1 else ""
    return ", ".join([f"took      {seconds:.1f} s{several}", f"{evaluation['clips_per_second']:.1f} clips/s", *kinds])


def figure_lines(results: Mapping[str, Any], split: str) -> list[str]:
    """One line per figure, with its interval, and one line that explains the intervals.

    Args:
        results: content of results.json.
        split: name of the split.
    """
    scores = Scores.read(results["scores"][split])
    intervals = results.get("intervals", {}).get(split, {})
    unmeasured = results.get("unmeasured", {}).get(split) or []
    # Lines that follow the one of a figure because they are about the same classes.
    after = {
        "mca": [
            *([f"          {unmeasured_note(unmeasured)}"] if unmeasured else []),
            *(_within_line(row) for row in results.get("within", {}).get(split) or []),
        ],
        "macro_f1": [_group_line(row) for row in results.get("groups", {}).get(split) or []],
    }
    lines = []
    for name, row in METRICS.items():
        value, short = scores.figures.get(name), row.short or row.title
        if value is None and row.absent:
            lines.append(f"{short:8}  not stated: {row.absent}")
        elif value is not None and row.interval == "wilson":
            ends = row.between(wilson(value, scores.measured))
            lines.append(f"{short:8}  {row.text(value)}   (95 % interval {ends}){_about(row, scores)}")
        elif value is not None:
            ends = row.between(intervals.get(name))
            lines.append(f"{short:8}  {row.text(value)}{f'   ({ends})' if ends else ''}{_about(row, scores)}")
        lines += after.get(name, [])
    if scores.loss is not None:
        lines.append(f"loss      {scores.loss:.4f}")
    if intervals:
        drawn = f"{intervals['resamples']:,} bootstrap resamples of the clips"
        lines.append(f"          intervals: 95 %; Wilson's for {shares_of_clips()}, {drawn} for the others")
    return lines


def summary_lines(results: Mapping[str, Any], split: str) -> list[str]:
    """The same in short, after the line of the accuracies: their intervals, and the figures that it does not name.

    Args:
        results: content of results.json.
        split: name of the split.
    """
    scores, ends = Scores.read(results["scores"][split]), results.get("intervals", {}).get(split, {})
    stated, others = [], []
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if value is None:
            continue
        between = row.between(wilson(value, scores.measured) if row.interval == "wilson" else ends.get(name))
        if not row.headline:
            others.append(f"{row.title} {row.text(value, 1)}{f' ({between})' if between else ''}")
        elif row.compared and between:
            stated.append(f"{row.title} {between}")
    lines = [f"          95 % interval: {', '.join(stated)}"] if stated else []
    lines += [f"          {', '.join(others)}"] if others else []
    groups = [row for row in results.get("groups", {}).get(split) or [] if row["mca"] is not None]
    if len(groups) > 1:
        classes = ", ".join(
            f"{TITLES[row['name']]} {in_percent(row['mca'])} ({row['classes']} classes)" for row in groups
        )
        lines.append(f"          mean class accuracy by training clips: {classes}")
    return lines


def _about(row: Metric, scores: Scores) -> str:
    note = row.summary if row.note is None else row.note
    return f"   {note.format(**scores.as_dict())}" if note else ""


def _within_line(row: Mapping[str, Any]) -> str:
    about = (
        f"top-1 among the classes of the true {row['kind']} ({row['groups']} occur); chance {in_percent(row['chance'])}"
    )
    within = f"{METRICS['top1'].text(row['within'])}{_between(row['interval'])}"
    return f"{row['kind']:8}  {within}   {about}; {in_percent(row['found'])} of the clips are taken for a class of it"


def _group_line(row: Mapping[str, Any]) -> str:
    of = "" if row["classes_counted"] == row["classes"] else f" of {row['classes']}"
    classes = f"{row['classes_counted']}{of} {'class' if row['classes'] == 1 else 'classes'}"
    clips = "1 clip" if row["clips"] == 1 else f"{row['clips']:,} clips"
    about = f"MCA over {classes} of {GROUPS[row['name']]}, {clips} measured"
    name = f"{TITLES[row['name']].removesuffix('-shot'):8}"
    if row["mca"] is None:
        return f"{name}  -        none of its {row['classes']} classes ({GROUPS[row['name']]}) was measured"
    return f"{name}  {METRICS['mca'].text(row['mca'])}{_between(row['interval'])}   {about}"


def _between(ends: Sequence[float] | None) -> str:
    # An interval without width has no information.
    shown = METRICS["mca"].between(ends)
    return f"   ({shown})" if shown else ""


def _print_classes(predictions: Predictions) -> None:
    matrix = confusion_matrix(predictions.probabilities, predictions.labels)
    rows = sorted((row for row in per_class(matrix) if row.support), key=lambda row: row.recall or 0.0)
    names = [one_line(name) for name in predictions.classes]
    width = min(40, max(map(len, names)))
    print(f"\n{'class':{width}}  clips   recall  precision  taken for")
    for row in rows[:TABLE]:
        taken = "" if row.confused_with is None else f"{names[row.confused_with]} ({row.confused})"
        precision = "-" if row.precision is None else in_percent(row.precision)
        recall = in_percent(row.recall or 0.0)
        print(f"{names[row.label][:width]:{width}}  {row.support:5}  {recall:>7}  {precision:>9}  {taken}".rstrip())
    if len(rows) > TABLE:
        print(f"... and {len(rows) - TABLE} more classes with higher recall: see the report")
