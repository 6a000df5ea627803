"""Everything that results.json says about a set of predictions, from the predictions alone.

Axes: M clips, K classes, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from taggnn.evaluation.bootstrap import LEVEL, RESAMPLES, Answers, answers, interval, interval_of_ece, resample
from taggnn.evaluation.longtail import groups_of, masks
from taggnn.evaluation.metrics import METRICS, Scores, confusion_matrix, wilson
from taggnn.evaluation.predictions import Predictions


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
    model = answers(predictions.probabilities, predictions.labels)
    of_groups = masks(training_counts) if training_counts is not None else {}
    found, drawn = intervals_of(model, scores, resamples, seed, of_groups)
    entries: dict[str, Any] = {
        "scores": {split: scores.as_dict()},
        "intervals": {split: {**found, "level": LEVEL, "resamples": resamples, "seed": seed}},
    }
    if training_counts is not None:
        groups = groups_of(confusion_matrix(predictions.probabilities, predictions.labels), training_counts)
        counted = [
            replace(row, interval=interval(drawn[f"mca {row.name}"])) if row.mca is not None else row for row in groups
        ]
        entries["groups"] = {split: [asdict(row) for row in counted]}
        entries["training_counts"] = dict(zip(predictions.classes, map(int, training_counts), strict=True))
    return entries


def intervals_of(
    model: Answers,
    scores: Scores,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """The interval [low, high] of each figure that a model has, and the resamples behind them.

    Which one it is, its row of `metrics.METRICS` says. Wilson's, that of top-1, has a width also where every clip is
    right, or none.

    Args:
        model: its answers.
        scores: its figures.
        resamples: of the bootstrap (default 2000).
        seed: of the bootstrap (default 0).
        groups: masks of classes, see `taggnn.evaluation.bootstrap.resample`.

    **Shapes:** groups (K,) bool, resamples (R,)
    """
    drawn = resample([model], groups, resamples, seed)[0]
    found = {}
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if row.interval == "wilson" and value is not None:
            found[name] = list(wilson(value, scores.measured))
        elif name in drawn and row.interval == "calibration":
            found[name] = list(interval_of_ece(model, value, drawn[name], seed))
        elif name in drawn:
            found[name] = list(interval(drawn[name]))
    return found, drawn


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
