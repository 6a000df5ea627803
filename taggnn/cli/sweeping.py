"""A sweep from its plan to its table: ``plan``, ``check``, ``run_all``, ``table``.

    runs = plan("demo", {"tag.conv": ["gcn", "gat"]}, seeds=[0, 1, 2], words=[], out=Path("runs/sweep"))
    check(runs)
    run_all(runs, jobs=2)
    print(text(table(runs)))    # see taggnn.reporting.sweep_table

The folder of a sweep has ``sweep.json``, its plan, by which the table can be made again, and ``times.json``, the measured times.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from taggnn.cli import config as configuration
from taggnn.cli import costs, smoke, variations
from taggnn.cli.jobs import part_of, run_all, shard_of
from taggnn.cli.planning import Planned, check, finished, plan
from taggnn.data.lists.fold_clips import groups_of
from taggnn.evaluation.predictions import Predictions, pooled, read_predictions
from taggnn.evaluation.sweep_table import SweepTable
from taggnn.evaluation.variants import variants_of
from taggnn.io import environment
from taggnn.names import unknown
from taggnn.runtime import json_file, schema
from taggnn.runtime.atomic import write_text
from taggnn.training.best_epoch import best_row
from taggnn.training.history import read_history

__all__ = [
    "Planned",
    "check",
    "finished",
    "measure",
    "part_of",
    "plan",
    "read",
    "run_all",
    "shard_of",
    "table",
    "write",
]

PLAN, TIMES = "sweep.json", "times.json"
_PLAN_SCHEMA = {
    "config": str | None,
    "over": dict[str, list[str]],
    "seeds": list[int],
    "words": list[str],
    "folds": list[str],
}


def write(
    out: Path,
    config: str | None,
    over: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    words: Sequence[str],
    folds: Sequence[str] = (),
) -> None:
    """Writes the plan of a sweep into its folder."""
    content = {
        "config": config,
        "over": {key: list(of) for key, of in over.items()},
        "seeds": [*seeds],
        "words": [*words],
        "folds": [*folds],
    }
    write_text(out / PLAN, json_file.text(content, indent=2) + "\n")


def read(out: Path, trusts: bool = False) -> dict[str, Any]:
    """The plan in the folder of a sweep: config, over, seeds, words and folds.

    Args:
        out: the folder.
        trusts: it may name code outside of taggnn and PyG, which is imported (default: no).

    Raises:
        FileNotFoundError: no sweep was started there.
        ValueError: another kind of file, or one that names other code.
    """
    path = out / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the folder of a sweep, or --config and --over")
    content = json_file.read(path)
    for key, kind in _PLAN_SCHEMA.items():
        if key not in content:
            raise ValueError(f"{path}: {key} is missing; not what taggnn.sweep wrote")
        schema.check(content[key], kind, f"{path}, {key}")
    for values in variations.variants(content["over"]).values():
        words = [*content["words"], *(f"--{key}={value}" for key, value in values.items())]
        configuration.check_file_words(words, str(path), trusts)
    return {key: content[key] for key in _PLAN_SCHEMA}


def table(planned: Sequence[Planned], reference: str | None = None) -> SweepTable:
    """The table of the finished runs of a sweep: from the same runs the same, wherever it is made.

    Args:
        planned: the runs.
        reference: the variant that the others are compared with; None for the first one.

    Raises:
        ValueError: no such variant, or a run of another configuration.
    """
    values = {one.name: one.values for one in planned}
    if reference is None:
        reference = planned[0].name
    elif reference not in values:
        raise unknown("variant", reference, values, "--reference")
    runs, left_out = _predictions(planned)
    groups = {name: group for fold in _folds(planned) for name, group in groups_of(fold).items()}
    models, unreadable = _models(planned, runs)
    times = _times(planned)
    return SweepTable(
        title=", ".join(dict.fromkeys(key for of in values.values() for key in of)) or planned[0].name,
        keys=list(dict.fromkeys(key for of in values.values() for key in of)),
        values=values,
        found=variants_of(runs, reference, values, groups) if runs.get(reference) else None,
        reference=reference,
        costs={name: costs.with_times(one.cost, times["ms"].get(name, {})) for name, one in models.items()},
        one_backbone=len({one.backbone for one in models.values()}) <= 1,
        planned={name: list(dict.fromkeys(one.seed for one in planned if one.name == name)) for name in values},
        folds=len(_folds(planned)),
        **_validation(planned, runs),
        left_out=[*([smoke.NOTE] if any(one.settings.get("fast") for one in planned) else []), *left_out, *unreadable],
        measured_on=times["on"] if any(name in times["ms"] for name in models) else None,
    )


def measure(planned: Sequence[Planned], seconds: float) -> None:
    """Measures the time of one clip with the model of every variant, and keeps it for the table; nothing else should run.

    Args:
        planned: the runs; variants without a finished one are left out.
        seconds: to spend on each variant.
    """
    models, _ = _models(planned, _predictions(planned)[0])
    if not models:
        return
    facts = environment.describe(torch.device("cpu"), 0)
    on = f"{facts['device']}, threads: {facts['threads']}"
    path = _folder(planned) / TIMES
    write_text(path, json_file.text({"on": on, "ms": costs.timed(models, seconds)}, indent=2) + "\n")


def _folds(planned: Sequence[Planned]) -> list[str]:
    return list(dict.fromkeys(one.fold for one in planned if one.fold is not None))


def _folder(planned: Sequence[Planned]) -> Path:
    return planned[0].folder.parent.parent


def _times(planned: Sequence[Planned]) -> dict[str, Any]:
    path = _folder(planned) / TIMES
    if not path.is_file():
        return {"on": None, "ms": {}}
    content = json_file.read(path)
    schema.check(content.get("on"), str, f"{path}, on")
    schema.check(content.get("ms"), dict[str, dict[str, float]], f"{path}, ms")
    return content


def _predictions(planned: Sequence[Planned]) -> tuple[dict[str, dict[int, Predictions]], list[str]]:
    """Variant -> seed -> predictions of its finished run, of all folds together, and which could not be read."""
    found: dict[str, dict[int, Predictions]] = {one.name: {} for one in planned}
    parts: dict[tuple[str, int], list[Predictions]] = {}
    left_out = []
    for one in planned:
        try:
            if finished(one):
                parts.setdefault((one.name, one.seed), []).append(read_predictions(one.folder / "predictions.csv"))
        except (OSError, ValueError) as error:
            left_out.append(f"{one.title}, is left out: {_without_folder(error, one)}")
    folds = len(_folds(planned)) or 1
    for (name, seed), of_folds in parts.items():
        try:
            if len(of_folds) == folds:
                found[name][seed] = pooled(of_folds)
            else:
                left_out.append(f"{name}, seed {seed}, is left out: {len(of_folds)} of its {folds} folds are finished")
        except ValueError as error:
            left_out.append(f"{name}, seed {seed}, is left out: {error}")
    return found, left_out


def _validation(planned: Sequence[Planned], runs: Mapping[str, Mapping[int, Predictions]]) -> dict[str, Any]:
    """The figure that chose the epochs, and for each variant its mean over its runs; nothing where a run has none."""
    monitors = {str(one.settings.monitor) for one in planned}
    if len(monitors) != 1:
        return {}
    monitor, found = monitors.pop(), dict[str, list[float | None]]()
    for one in planned:
        if one.seed in runs[one.name]:
            path = one.folder / "metrics.csv"
            try:
                history = read_history(path) if path.is_file() else []
            except ValueError:
                history = []
            best = best_row(history, monitor) if history else None
            found.setdefault(one.name, []).append(None if best is None else history[best].get(monitor))
    means = {
        name: sum(known) / len(known)
        for name, values in found.items()
        if len(known := [value for value in values if value is not None]) == len(values)
    }
    return {"monitor": monitor, "validation": means}


def _models(
    planned: Sequence[Planned], runs: Mapping[str, Mapping[int, Predictions]]
) -> tuple[dict[str, costs.Counted], list[str]]:
    """Variant -> the model of its first readable run, and the variants without one."""
    models: dict[str, costs.Counted] = {}
    problems: dict[str, str] = {}
    for one in planned:
        if one.name in models or one.seed not in runs[one.name]:
            continue
        try:
            models[one.name] = costs.counted(one.folder / "best.ckpt", configuration.own_names(one.settings))
        except (OSError, ValueError) as error:
            problems.setdefault(one.name, f"{one.name}: its cost is not known: {_without_folder(error, one)}")
    return models, [problem for name, problem in problems.items() if name not in models]


def _without_folder(error: Exception, one: Planned) -> str:
    """A message without the folder of the run: the table must not depend on where it is."""
    return str(error).replace(f"{one.folder}/", "").replace(str(one.folder), "its folder")
