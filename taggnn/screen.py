"""The figures of an evaluation as lines on the screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taggnn.calibration import BINS
from taggnn.longtail import GROUPS
from taggnn.metrics import Scores, confusion_matrix, per_class, said_unmeasured, wilson
from taggnn.page import p_value
from taggnn.predictions import Predictions

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
    scores, effect = Scores(**results["scores"][split]), results.get("graph_effect")
    print(f"\nmeasured  {scores.seen()}")
    for line in figure_lines(results, split):
        print(line)
    if effect is not None:
        print(
            f"graph     without its edges top-1 {effect['top1_without']:.4f}; {effect['changed']:.1%} of the predictions change, "
            f"the logits by {effect['relative_logits']:.2%}"
        )
        if effect["changed"] and effect.get("p") is not None:
            ends = f"{100 * effect['gain_low']:+.1f} to {100 * effect['gain_high']:+.1f}"
            gain = 100 * (effect["top1_with"] - effect["top1_without"])
            print(f"          its edges are worth {gain:+.1f} points of top-1 ({ends}), McNemar {p_value(effect['p'])}")
    if "evaluation" in results:
        print(_cost(results["evaluation"], results["durations"][split]))
    _print_classes(predictions)
    print()
    for name in ("predictions.csv", "confusion.png", "skipped.csv"):
        print(f"          {folder / name}")
    print(f"report    {report}")


def _cost(evaluation: Mapping[str, Any], seconds: float) -> str:
    """Time and memory of the pass over the clips."""
    kinds = [f"{size / 2**30:.2f} GiB of {kind} memory" for kind, size in evaluation["peak_memory"].items()]
    several = f" in {evaluation['processes']} processes" if evaluation["processes"] > 1 else ""
    return ", ".join([f"took      {seconds:.1f} s{several}", f"{evaluation['clips_per_second']:.1f} clips/s", *kinds])


def figure_lines(results: Mapping[str, Any], split: str) -> list[str]:
    """One line a figure, with its interval, and one that says what the intervals are.

    Args:
        results: content of results.json.
        split: name of the split.
    """
    scores = Scores(**results["scores"][split])
    intervals = results.get("intervals", {}).get(split, {})
    unmeasured = results.get("unmeasured", {}).get(split) or []
    low, high = wilson(scores.top1, scores.measured)
    lines = [f"top-1     {scores.top1:.4f}   (95 % interval {low:.3f} to {high:.3f})"]
    if scores.top5 is not None:
        lines.append(f"top-5     {scores.top5:.4f}{_between(intervals.get('top5'))}")
    else:
        lines.append("top-5     not stated: five classes or fewer")
    mean = f"mean over the {scores.classes_counted} of {scores.classes} classes that occur"
    lines.append(f"mca       {scores.mca:.4f}{_between(intervals.get('mca'))}   {mean}")
    if unmeasured:
        lines.append(f"          {said_unmeasured(unmeasured)}")
    if scores.macro_f1 is not None:
        lines.append(
            f"macro F1  {scores.macro_f1:.4f}{_between(intervals.get('macro_f1'))}   mean over the same classes"
        )
    lines += [_group_line(row) for row in results.get("groups", {}).get(split) or []]
    if scores.ece is not None:
        lines.append(
            f"ece       {scores.ece:.4f}{_between(intervals.get('ece'))}   confidence against accuracy, in {BINS} bins"
        )
    if scores.loss is not None:
        lines.append(f"loss      {scores.loss:.4f}")
    if intervals:
        drawn = f"{intervals['resamples']:,} bootstrap resamples of the clips"
        lines.append(f"          intervals: 95 %; Wilson's for top-1, {drawn} for the others")
    return lines


def summary_lines(results: Mapping[str, Any], split: str) -> list[str]:
    """The same in short, behind the line of the accuracies: their intervals, and the figures that it does not name.

    Args:
        results: content of results.json.
        split: name of the split.
    """
    scores, ends = Scores(**results["scores"][split]), results.get("intervals", {}).get(split, {})
    low, high = wilson(scores.top1, scores.measured)
    lines = [f"          95 % interval: top-1 {low:.3f} to {high:.3f}"]
    if "mca" in ends and ends["mca"][0] < ends["mca"][1]:
        lines[0] += f", class mean {ends['mca'][0]:.3f} to {ends['mca'][1]:.3f}"
    others = [("macro F1", "macro_f1"), ("calibration error", "ece")]
    said = [
        f"{name} {getattr(scores, key):.3f}{_between(ends.get(key)).replace('   ', ' ')}"
        for name, key in others
        if getattr(scores, key) is not None
    ]
    groups = [row for row in results.get("groups", {}).get(split) or [] if row["mca"] is not None]
    lines += [f"          {', '.join(said)}"] if said else []
    if len(groups) > 1:
        classes = ", ".join(f"{row['name']} {row['mca']:.3f} ({row['classes']} classes)" for row in groups)
        lines.append(f"          class mean by training clips: {classes}")
    return lines


def _group_line(row: Mapping[str, Any]) -> str:
    of = "" if row["classes_counted"] == row["classes"] else f" of {row['classes']}"
    classes = f"{row['classes_counted']}{of} {'class' if row['classes'] == 1 else 'classes'}"
    clips = "1 clip" if row["clips"] == 1 else f"{row['clips']:,} clips"
    about = f"class mean over {classes} of {GROUPS[row['name']]}, {clips} measured"
    if row["mca"] is None:
        return f"{row['name']:8}  -        none of its {row['classes']} classes ({GROUPS[row['name']]}) was measured"
    return f"{row['name']:8}  {row['mca']:.4f}{_between(row['interval'])}   {about}"


def _between(ends: Sequence[float] | None) -> str:
    # An interval without width says nothing.
    return "" if ends is None or ends[0] == ends[1] else f"   ({ends[0]:.3f} to {ends[1]:.3f})"


def _print_classes(predictions: Predictions) -> None:
    matrix = confusion_matrix(predictions.probabilities, predictions.labels)
    rows = sorted((row for row in per_class(matrix) if row.support), key=lambda row: row.recall)
    width = min(40, max(len(name) for name in predictions.classes))
    print(f"\n{'class':{width}}  clips  recall  precision  taken for")
    for row in rows[:TABLE]:
        taken = "" if row.confused_with is None else f"{predictions.classes[row.confused_with]} ({row.confused})"
        precision = "        -" if row.precision is None else f"{row.precision:9.3f}"
        print(
            f"{predictions.classes[row.label][:width]:{width}}  {row.support:5}  {row.recall:6.3f}  {precision}  {taken}"
        )
    if len(rows) > TABLE:
        print(f"... and {len(rows) - TABLE} more classes with higher recall: see the report")
