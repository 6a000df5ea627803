"""results.json: what it says about a set of predictions, from the predictions alone; written and read.

Axes: M clips, K classes, R resamples.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from taggnn.evaluation.bootstrap import LEVEL, RESAMPLES, Answers, answers, interval, interval_of_ece, resample
from taggnn.evaluation.longtail import groups_of, masks
from taggnn.evaluation.metrics import METRICS, Scores, confusion_matrix, wilson
from taggnn.evaluation.predictions import Predictions
from taggnn.names import unknown
from taggnn.runtime.atomic import write_text

RESULTS = {
    "title": "heading; the folder's name when absent",
    "subtitle": "one sentence below it",
    "scores": "split name -> Scores.as_dict(), e.g. {'val': {...}, 'test': {...}}",
    "intervals": "split name -> [low, high] of each figure of `metrics.METRICS` with an interval; level, resamples and "
    "seed of the bootstrap behind those that are not Wilson's",
    "groups": "split name -> rows of `longtail.Group`: class mean of classes with many, some and few training clips",
    "training_counts": "class -> training clips",
    "paired": "rows of `paired_comparison.beside`: the chosen head less each head trained beside it, on the same clips",
    "unmeasured": "split name -> names of the classes that the list has clips of, all of them missing or unreadable",
    "headline": "the split shown large, whose clips predictions.csv holds; when absent 'test', else the last of scores",
    "best_epoch": "epoch of the kept weights; that of the highest val/top1 (else lowest val/loss) when absent",
    "comparison": "rows {'name', 'chosen': bool, 'top1', 'top5', 'mca', 'measured', 'listed', 'parameters', 'seconds', any "
    "other column}",
    "graph_effect": "{'top1_with', 'top1_without', 'changed', 'relative_logits', 'clips'}: the same weights with and "
    "without edges; share of changed predictions; |logits - logits without| / |logits|",
    "model": "facts about the model: backbone, head, tokens, edges, parameters, ...",
    "environment": "command, seed, device, threads, versions of python, torch, ...",
    "evaluation": "{'views', 'crops', 'average', 'processes', 'clips_per_second', 'peak_memory': kind -> bytes}: how clips were "
    "looked at and what it took",
    "losses": "name of each named loss -> {'weight', 'last': mean over the clips of the last epoch, unweighted}",
    "durations": "part -> seconds, e.g. {'train': 95.2, 'test': 4.1}",
    "notes": "sentences a reader must know",
}


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


def write_results(run_dir: str | os.PathLike, results: Mapping) -> Path:
    """Writes ``results.json`` all or nothing; keys as in `RESULTS`, each optional.

    Dataclasses, paths, tuples and one-element tensors become plain types; figures that are not finite become null.

    Raises:
        ValueError: an unknown key, or a value that JSON cannot hold.
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    path = Path(run_dir) / "results.json"
    plain = _known_keys(results, path)
    return write_text(path, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def read_results(run_dir: str | os.PathLike) -> dict:
    """Reads ``results.json``; empty when there is none.

    Raises:
        ValueError: no JSON object, or an unknown key; names the file.
    """
    path = Path(run_dir) / "results.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a JSON object, holds a {type(content).__name__}")
    return _known_keys(content, path)


def headline(results: Mapping) -> str | None:
    """The split shown large; ``None`` where no split has figures."""
    scores = results.get("scores", {})
    return results.get("headline") or ("test" if "test" in scores else next(reversed(scores), None))


def _known_keys(results: Mapping, path: Path) -> dict:
    for key in results:
        if key not in RESULTS:
            raise unknown("key", key, RESULTS, where=str(path))
    return {key: _plain(value, f"{path}, {key}") for key, value in results.items()}


def _plain(value: object, where: str) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Scores):
        return _plain(value.as_dict(), where)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value), where)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return _plain(value.item(), where)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise ValueError(f"{where}: a {type(value).__name__} cannot be stored; possible are text, numbers, lists and dicts")
