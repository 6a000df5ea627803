"""results.json: everything that a run or an evaluation found, in one dataclass; made, written and read here.

Axes: M clips, K classes, R resamples.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from taggnn.evaluation import results_fields
from taggnn.evaluation.intervals import LEVEL, RESAMPLES, Answers, answers, interval, interval_of_ece, resample, wilson
from taggnn.evaluation.longtail import GROUPS, groups_of, masks
from taggnn.evaluation.metrics import METRICS, Scores, confusion_matrix, summarise, unmeasured
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.within import within
from taggnn.names import unknown
from taggnn.runtime import json_file
from taggnn.runtime.atomic import write_text


@dataclass
class Results:
    """The content of results.json; a field that is ``None`` is absent from the file.

    Args:
        title: heading; the folder's name when absent.
        subtitle: one sentence below it.
        scores: split name -> ``Scores.as_dict()``.
        intervals: split name -> [low, high] of each figure of `metrics.METRICS` with an interval; level, resamples and seed
            of the bootstrap, for those that are not Wilson's.
        groups: split name -> rows of `longtail.Group`: class mean of many-shot, medium-shot and few-shot classes.
        within: split name -> rows of `within.Within`: accuracy within the event and the set of the true class.
        class_groups: what groups of classes are ("event") -> class -> its group.
        training_counts: class -> training clips.
        paired: rows of `paired_comparison.paired_comparison`: the chosen head compared with each head trained next to it.
        unmeasured: split name -> names of the classes that the list has clips of, all of them missing or unreadable.
        headline: the split shown large, whose clips predictions.csv holds; when absent "test", else the last of ``scores``.
        best_epoch: epoch of the stored weights; that of the highest val/top1 (else lowest val/loss) when absent.
        comparison: a row for each head: "name", "chosen" (bool), the headline figures of `metrics.METRICS`, "measured",
            "listed", "parameters", "seconds" and any other column; "source" of another run that was added to it.
        ensemble: how predictions of several runs were averaged: "average", "members" (rows of "name", "source", "weight"),
            "chosen" ("equal", "given" or "validation"), and where chosen "figure", "value", "equal", "clips" and "step";
            "test_choice" ("figure", "value", "weights"): what weights picked on these very clips would have claimed.
        graph_effect: what `scoring.graph_effect` found: the same weights with and without edges.
        calibration: "temperature" and the validation clips that it was fitted on, as ``Calibration.plain()``; "measured":
            "split", "loss" and "ece" of its clips without it, and where a threshold was chosen "coverage" and "risk" at it.
        model: facts about the model: backbone, head, tokens, edges, parameters, ...
        environment: command, seed, device, threads, versions of python, torch, ...
        evaluation: "views", "crops", "average", "processes", "clips_per_second", "peak_memory" (kind -> bytes).
        losses: name of each named loss -> "weight", and "last": mean over the clips of the last epoch, unweighted.
        durations: part -> seconds: {"train": 95.2, "test": 4.1}.
        notes: sentences that a reader must know.
    """

    title: str | None = None
    subtitle: str | None = None
    scores: dict[str, dict[str, Any]] | None = None
    intervals: dict[str, dict[str, Any]] | None = None
    groups: dict[str, list[dict[str, Any]]] | None = None
    within: dict[str, list[dict[str, Any]]] | None = None
    class_groups: dict[str, dict[str, str]] | None = None
    training_counts: dict[str, int] | None = None
    paired: list[dict[str, Any]] | None = None
    unmeasured: dict[str, list[str]] | None = None
    headline: str | None = None
    best_epoch: int | None = None
    comparison: list[dict[str, Any]] | None = None
    ensemble: dict[str, Any] | None = None
    graph_effect: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    losses: dict[str, dict[str, Any]] | None = None
    durations: dict[str, float] | None = None
    notes: list[str] | None = None

    @classmethod
    def from_predictions(
        cls,
        split: str,
        predictions: Predictions,
        *,
        missing: int = 0,
        unreadable: int = 0,
        loss: float | None = None,
        listed_counts: Sequence[int] | None = None,
        training_counts: Sequence[int] | None = None,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
        **others: Any,
    ) -> "Results":
        """All figures of a split: scores and intervals; groups and unmeasured classes where the counts are known.

        Args:
            split: its name.
            predictions: what the figures are computed from.
            missing: clips of the list without a file.
            unreadable: clips of the list that could not be read.
            loss: mean loss over the clips.
            listed_counts: how many clips the list has of each class; ``None`` (default) where that is not known.
            training_counts: training clips of each class; ``None`` (default) where they are not known.
            class_groups: what groups of classes are -> the group of each class; ``None`` (default) or empty without any.
            resamples: of the bootstrap (default 2000).
            seed: of the bootstrap (default 0).
            others: further fields.

        **Shapes:** listed_counts (K,), training_counts (K,)

        Raises:
            ValueError: not one training count for each class, or as `taggnn.evaluation.metrics.summarise`.
        """
        scores = summarise(predictions.probabilities, predictions.labels, missing, unreadable, loss)
        model = answers(predictions.probabilities, predictions.labels)
        of_groups = masks(training_counts) if training_counts is not None else {}
        ends, drawn = intervals_of(model, scores, resamples, seed, of_groups)
        found = cls(
            scores={split: scores.as_dict()},
            intervals={split: {**ends, "level": LEVEL, "resamples": resamples, "seed": seed}},
            **others,
        )
        if training_counts is not None:
            groups = groups_of(confusion_matrix(predictions.probabilities, predictions.labels), training_counts)
            counted = [
                replace(row, interval=interval(drawn[f"mca {row.name}"])) if row.mca is not None else row
                for row in groups
            ]
            found.groups = {split: [asdict(row) for row in counted]}
            found.training_counts = dict(zip(predictions.classes, map(int, training_counts), strict=True))
        if class_groups:
            rows = [
                within(predictions.probabilities, predictions.labels, kind, of) for kind, of in class_groups.items()
            ]
            found.within = {split: [asdict(row) for row in rows]}
            found.class_groups = {
                kind: dict(zip(predictions.classes, of, strict=True)) for kind, of in class_groups.items()
            }
        if listed_counts is not None:
            found.unmeasured = {
                split: [predictions.classes[label] for label in unmeasured(predictions.labels, listed_counts)]
            }
        return found

    @classmethod
    def read(cls, run_dir: str | os.PathLike) -> "Results":
        """Reads ``results.json``; empty when there is none. Groups with the names of an earlier version are left out.

        Raises:
            ValueError: no JSON object, an unknown key, or a field of another type or out of range; names the file and the field.
        """
        path = Path(run_dir) / "results.json"
        if not path.is_file():
            return cls()
        content = json_file.read(path)
        known = [field.name for field in fields(cls)]
        for key in content:
            if key not in known:
                raise unknown("key", key, known, where=str(path))
        plain: dict[str, Any] = {key: _plain(value, f"{path}, {key}") for key, value in content.items()}
        groups = plain.get("groups")
        parts = [part for part in groups.values() if isinstance(part, list)] if isinstance(groups, dict) else []
        rows = [row for part in parts for row in part]
        if any(isinstance(row, dict) and str(row.get("name")) not in GROUPS for row in rows):
            # Of an earlier version, with other names of the groups; scoring predictions.csv again computes them.
            plain["groups"] = None
        results_fields.check(plain, str(path))
        return cls(**plain)

    def write(self, run_dir: str | os.PathLike) -> Path:
        """Writes ``results.json`` all or nothing.

        Raises:
            ValueError: a value that JSON cannot hold; names the key.
            OSError: as `taggnn.runtime.atomic.replacing`.
        """
        path = Path(run_dir) / "results.json"
        return write_text(path, json_file.text(self.to_json(str(path)), indent=2) + "\n")

    def to_json(self, where: str = "results.json") -> dict[str, Any]:
        """The fields that are not ``None`` as plain types.

        Dataclasses, paths, tuples and one-element tensors become plain types; figures that are not finite become ``None``.

        Args:
            where: what messages call the file.

        Raises:
            ValueError: a value that JSON cannot hold; names the key.
        """
        present = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return {key: _plain(value, f"{where}, {key}") for key, value in present.items()}

    def add_comparison(self, split: str, name: str, parameters: int, seconds: float) -> None:
        """Makes this run, with its headline figures of a split, the one row of ``comparison``."""
        assert self.scores is not None
        scores = Scores.read(self.scores[split])
        row = {"name": name, "chosen": True, **scores.headline()}
        row |= {"measured": scores.measured, "listed": scores.listed, "parameters": parameters, "seconds": seconds}
        self.comparison = [row]

    def groups_of(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """The groups of each class; empty where they are not known, or are those of other classes.

        Args:
            classes: class names in label order.
        """
        stored = self.class_groups or {}
        return {kind: [of[name] for name in classes] for kind, of in stored.items() if set(of) == set(classes)}

    def counts_of(self, classes: Sequence[str]) -> list[int] | None:
        """Training clips of each class; ``None`` where they are not known, or are those of other classes.

        Args:
            classes: class names in label order.
        """
        stored = self.training_counts
        return [int(stored[name]) for name in classes] if stored and set(stored) == set(classes) else None


def intervals_of(
    model: Answers,
    scores: Scores,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """The interval [low, high] of each figure that a model has, and the resamples that it comes from.

    The kind of interval is that of its row of `metrics.METRICS`. Wilson's, that of top-1, has a width also where every clip
    is right, or none.

    Args:
        model: its answers.
        scores: its figures.
        resamples: of the bootstrap (default 2000).
        seed: of the bootstrap (default 0).
        groups: masks of classes, see `taggnn.evaluation.intervals.resample`.

    **Shapes:** groups (K,) bool, resamples (R,)
    """
    drawn = resample([model], groups, resamples, seed)[0]
    found = {}
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if value is None:
            continue
        if row.interval == "wilson":
            found[name] = list(wilson(value, scores.measured))
        elif name in drawn and row.interval == "calibration":
            found[name] = list(interval_of_ece(model, value, drawn[name], seed))
        elif name in drawn:
            found[name] = list(interval(drawn[name]))
    return found, drawn


def headline(results: Mapping[str, Any]) -> str | None:
    """The split shown large, of the content of results.json; ``None`` where no split has figures."""
    scores = results.get("scores", {})
    return results.get("headline") or ("test" if "test" in scores else next(reversed(scores), None))


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
