"""The interventions of an ablation as networks of their own, trained from the beginning: a sweep over them and seeds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from torch import nn

from graphs import NoEdges, Topology
from taggnn.cli import sweeping, variations
from taggnn.cli.ablation_setup import run_of, settings_of
from taggnn.evaluation.ablation import INTERVENTIONS, NotApplicable
from taggnn.evaluation.ablation.edges import layers_of
from taggnn.reporting import sweep_table
from taggnn.reporting.sweep_page import sweep_page
from taggnn.runtime.atomic import write_text


def planned(given: Namespace, model: nn.Module, out: Path) -> list[sweeping.Planned]:
    """The runs: the model's own configuration first, then one for each intervention that a network can be trained with.

    Args:
        given: the options of ``taggnn.ablate``.
        model: the trained model.
        out: folder of the runs.

    Raises:
        FileNotFoundError: the checkpoint is in no run folder.
        ValueError: no intervention can be trained with this head; or as `taggnn.cli.planning.plan`.
    """
    settings, run = settings_of(given), run_of(Path(given.checkpoint))
    assert run is not None, "settings_of refuses a checkpoint without its run"
    head = _head_of(Path(given.checkpoint), run, settings)
    own = settings[head].as_dict() if head in settings else {}
    arms = _arms(model, own, [name for name in INTERVENTIONS if not given.rows or name in given.rows])
    keys = list(dict.fromkeys(key for arm in arms for key in arm))
    if not keys:
        raise ValueError(
            f"--retrain: head {head} has no option for any of {', '.join(given.rows or INTERVENTIONS)}; possible are the edges "
            "and the encoder of tag and art"
        )
    base = {key: str(_topology_of(model)) if key == "topology" else own[key] for key in keys}
    rows = [base, *({**base, **arm} for arm in arms)]
    groups = [",".join(variations.spelled(row[key]) for key in keys) for row in rows]
    over = {",".join(f"{head}.{key}" for key in keys): [f"({group})" if len(keys) > 1 else group for group in groups]}
    config, words, seeds = str(run / "config.yaml"), ["--head", head], variations.seeds(given.seeds)
    words += ["--trust"] if given.trust else []
    found = sweeping.plan(config, over, seeds, words, out)
    out.mkdir(parents=True, exist_ok=True)
    sweeping.write(out, config, over, seeds, words)
    sweeping.check(found)
    return found


def train(runs: Sequence[sweeping.Planned], jobs: int, out: Path, show: Callable[[str], Any] = print) -> None:
    """Trains what is not finished, and writes and shows the table of all."""
    sweeping.run_all(runs, jobs)
    table = sweeping.table(runs)
    for line in sweep_table.text(table).splitlines():
        show(line)
    written = [
        write_text(out / name, form(table))
        for name, form in (("sweep.csv", sweep_table.as_csv), ("sweep.html", sweep_page))
    ]
    show(f"retrained {written[0]}\n          {written[1]}")


def _head_of(checkpoint: Path, run: Path, settings: Namespace) -> str:
    """The head of a checkpoint of a run: RUN/compare/HEAD holds that of a compared one."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return folder.name if folder.parent == run / "compare" else settings.head


def _arms(model: nn.Module, own: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """What each intervention changes of the head's options."""
    arms = []
    for name in names:
        row = INTERVENTIONS[name]
        if row.train is None:
            continue
        try:
            # The same reason against both: a part that the model does not have.
            row.make(model, 0)
        except NotApplicable:
            continue
        changes = row.train(_topology_of(model), 0)
        changes = {key: str(value) if key == "topology" else value for key, value in changes.items() if key in own}
        if changes:
            arms.append(changes)
    return arms


def _topology_of(model: nn.Module) -> Topology:
    """The edges of the head's graph layers; none where there are no layers."""
    try:
        return layers_of(model)[0].topology
    except NotApplicable:
        return NoEdges()
