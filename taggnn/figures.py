"""Everything that results.json says about a set of predictions, from the predictions alone.

Axes: M clips, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from taggnn.bootstrap import LEVEL, RESAMPLES, answers, interval, interval_of_ece, resample
from taggnn.longtail import groups_of, masks
from taggnn.metrics import Scores, confusion_matrix
from taggnn.predictions import Predictions

# The figures that have a bootstrap interval, in the order of every table.
WITH_INTERVAL = ("top1", "top5", "mca", "macro_f1", "ece")


def figures_of(
    split: str,
    predictions: Predictions,
    scores: Scores,
    training_counts: Sequence[int] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The entries of results.json about one split: "scores", "intervals", and "groups" and "training_counts" where known.

    Args:
        split: its name.
        predictions: what the figures are computed from.
        scores: the figures themselves.
        training_counts: training clips of each class; ``None`` (default) where they are not known.
        resamples: of the bootstrap (default 2000).
        seed: of the bootstrap (default 0).

    **Shapes:** training_counts (K,)

    Raises:
        ValueError: not one training count for each class.
    """
    groups, of_groups = [], {}
    if training_counts is not None:
        matrix = confusion_matrix(predictions.probabilities, predictions.labels)
        groups, of_groups = groups_of(matrix, training_counts), masks(training_counts)
    model = answers(predictions.probabilities, predictions.labels)
    drawn = resample([model], of_groups, resamples, seed)[0]
    found: dict[str, Any] = {}
    for key in WITH_INTERVAL:
        if key == "ece" and key in drawn:
            found[key] = list(interval_of_ece(model, scores.ece, drawn[key], seed))
        elif key in drawn:
            found[key] = list(interval(drawn[key]))
    found |= {"level": LEVEL, "resamples": resamples, "seed": seed}
    entries: dict[str, Any] = {"scores": {split: scores.as_dict()}, "intervals": {split: found}}
    if training_counts is not None:
        counted = [
            replace(row, interval=interval(drawn[f"mca {row.name}"])) if row.mca is not None else row for row in groups
        ]
        entries["groups"] = {split: [asdict(row) for row in counted]}
        entries["training_counts"] = dict(zip(predictions.classes, map(int, training_counts), strict=True))
    return entries


def counts_in(results: Mapping[str, Any], classes: Sequence[str]) -> list[int] | None:
    """Training clips of each class as results.json states them; ``None`` where it does not, or is of other classes.

    Args:
        results: content of results.json.
        classes: class names in label order.
    """
    stated = results.get("training_counts")
    if not stated or set(stated) != set(classes):
        return None
    return [int(stated[name]) for name in classes]
