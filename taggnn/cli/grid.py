"""Sweeps from Python: ``taggnn.grid``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taggnn.cli import config as configuration
from taggnn.cli import sweep_files, sweeping
from taggnn.cli.planning import Planned, check, finished, plan
from taggnn.cli.run import Run
from taggnn.cli.words import text_of, words_of
from taggnn.evaluation.sweep_table import SweepTable
from taggnn.reporting.sweep_table import text


@dataclass(frozen=True)
class Sweep:
    """The finished runs of a sweep, and their table.

    Args:
        folder: of the sweep, with its page ``sweep.html``.
        runs: variant -> seed -> run.
        table: mean and spread of each variant, difference to the reference with its interval, and cost.
    """

    folder: Path
    runs: Mapping[str, Mapping[int, Run]]
    table: SweepTable

    def __str__(self) -> str:
        return text(self.table)


def grid(
    config: str | Path | None = None,
    over: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] = 3,
    options: Mapping[str, Any] | None = None,
    *,
    out: str | Path = "runs/sweep",
    jobs: int = 1,
    reference: str | None = None,
    quiet: bool = False,
) -> Sweep:
    """Trains every combination of some values with every seed, as ``python -m taggnn.sweep`` does; finished runs stay.

    Args:
        config: the name of a recipe or a configuration file; None (default) for what ``fit`` takes without one.
        over: key -> its values, such as ``{"tag.conv": ["gcn", "gat"]}``; keys that change together are one, with commas between
            them, and their values are groups. None (default): seeds alone.
        seeds: how many, 0, 1, ...; or the seeds themselves (default 3).
        options: every other option of ``taggnn.train``, as for ``fit``.
        out: folder of the sweep (default "runs/sweep").
        jobs: trainings at one time, each a process of its own (default 1).
        reference: the variant that the others are compared with (default: the first one).
        quiet: prints nothing.

    Returns:
        The runs and their table, which is also in the folder, as text, CSV, LaTeX and a page.

    Raises:
        ValueError: a wrong option or value, found before anything is trained; or a class that other processes cannot import.
        ChildProcessError: a training failed; the others are finished first.

    Example::

        sweep = taggnn.grid("folder", {"tag.conv": ["gcn", "gatv2"]}, seeds=5, options={"data.root": "videos"})
        print(sweep)
    """
    folder = Path(out)
    spelled = {key: [_spelled(key, value) for value in values] for key, values in (over or {}).items()}
    words = words_of(options or {}, configuration.parser().keys())
    if own := [one for one in [*words, *(one for of in spelled.values() for one in of)] if "__main__." in one]:
        raise ValueError(
            f"{own[0]}: each run is a process of its own, which cannot import __main__; define it in a module"
        )
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    planned = plan(None if config is None else str(config), spelled, chosen, words, folder)
    left = [one for one in planned if not finished(one)]
    folder.mkdir(parents=True, exist_ok=True)
    sweeping.write(folder, None if config is None else str(config), spelled, chosen, words)
    check(left)
    if left:
        sweeping.run_all(planned, jobs, report=(lambda line: None) if quiet else print)
    table = sweeping.table(planned, reference)
    sweep_files.write_table(folder, table)
    return Sweep(folder, _runs(planned), table)


def _spelled(key: str, value: Any) -> str:
    """A value of one key, or the group of values of keys that change together: "(gym99,DIR)"."""
    if "," in key and not isinstance(value, str):
        return f"({','.join(text_of(key, one) for one in value)})"
    return text_of(key, value)


def _runs(planned: Sequence[Planned]) -> dict[str, dict[int, Run]]:
    found: dict[str, dict[int, Run]] = {one.name: {} for one in planned}
    for one in planned:
        if finished(one):
            found[one.name][one.seed] = Run(one.folder, configuration.own_names(one.settings))
    return found
