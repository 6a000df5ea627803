"""``python -m taggnn.train``: labelled videos in, a trained recogniser and a report out.

Alone it runs the demo recipe. ``--config NAME|FILE`` picks another one, every value can be given on the command line, and
``--resume RUN_DIR`` continues an interrupted run to the result it would have had, from any folder, and with ``--data.root DIR``
on data that were moved; ``--run RUN_DIR`` starts one there, or resumes it, so that a job can be restarted with the same command.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from taggnn.cli import build, config, experiment, launch, locations, smoke, terminal
from taggnn.cli.parser import Parser
from taggnn.evaluation.metrics import METRICS, Scores, unmeasured_note
from taggnn.evaluation.predictions import read_skipped
from taggnn.evaluation.results import Results
from taggnn.reporting.console import summary_lines
from taggnn.reporting.page import p_value
from taggnn.reporting.preview import write_preview
from taggnn.runtime import distributed
from taggnn.training.device import devices_of
from taggnn.training.options import Optimisation


def main(arguments: Sequence[str]) -> None:
    with launch.silence_other_ranks():
        settings, folder = _settings(arguments)
    if settings.preview:
        if distributed.ranks().rank == 0:
            _preview(settings)
        return
    devices = devices_of(settings.devices, settings.device)
    gpus = [device.index or 0 for device in devices if device.type == "cuda"]
    with launch.process_group(len(devices), "taggnn.train", arguments, gpus, settings.threads):
        done = experiment.run(settings, folder)
    if done is not None:
        run_dir, data = done
        _print_summary(Results.read(run_dir).to_json(), run_dir)
        for name, note in data.capabilities.notes().items():
            print(f"{name:9} {note}")


def parser() -> Parser:
    """Builds the command line of this program."""
    built = config.parser()
    built.option("--resume", str | None, None, "a run folder: resume the interrupted run in it")
    return built


def _preview(settings: Namespace) -> None:
    """Draws training clips as the model is fed them; what is done to whole batches is named instead."""
    path = Path(settings.runs) / (settings.recipe or "run") / "preview.png"
    mixing = Optimisation(**settings.optim.as_dict()).mixing
    notes = [f"not shown: {mixing.describe()}, on whole batches"] if mixing else []
    data = build.data_of(settings)
    experiment.check_models(settings, data, weights=False)
    print(f"preview   {write_preview(path, data, settings.preview, notes)}")


def _settings(arguments: Sequence[str]) -> tuple[Namespace, Path | None]:
    """The configuration, and the folder of the run to resume if there is one."""
    trusts, arguments = config.split_trust(arguments) if _resumes(arguments) else (False, arguments)
    if not _resumes(arguments):
        settings = config.parse(arguments)
        begun = settings.run is not None and (Path(settings.run) / "config.yaml").is_file()
        return settings, Path(settings.run) if begun else None
    given = locations.moved(arguments)
    folder = Path(given.pop("resume"))
    if not (folder / "config.yaml").is_file():
        problem = "no config.yaml in it" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"--resume {folder}: {problem}; give the folder that the run printed as 'run'")
    settings = config.of_run(folder, trusts)
    settings.run = None
    for key, value in given.items():
        settings[key] = value
    _check_root(settings, folder)
    if distributed.ranks().world_size > 1:
        # A run can be resumed with another number of processes.
        settings.devices = "auto"
    return settings, folder


def _check_root(settings: Namespace, folder: Path) -> None:
    key = "data.root" if settings.data.tokens is None else "data.tokens"
    if settings[key] is not None and not Path(settings[key]).is_dir():
        raise FileNotFoundError(
            f"--resume {folder}: its {key} {settings[key]} is not there; if the data were moved, say where they are now: "
            f"--resume {shlex.quote(str(folder))} --{key} DIR"
        )


def _resumes(arguments: Sequence[str]) -> bool:
    return any(word.split("=")[0] == "--resume" for word in arguments)


def _print_summary(results: dict[str, Any], folder: Path) -> None:
    scores, unmeasured = Scores.read(results["scores"]["test"]), results["unmeasured"]["test"]
    of = "" if scores.classes_counted == scores.classes else f" of {scores.classes}"
    notes = results.get("notes") or []
    print(f"\ntest      {_accuracies(scores.figures)}")
    print(f"          over {scores.classes_counted}{of} classes, {scores.coverage()}")
    if smoke.NOTE in notes:
        print(f"          {smoke.NOTE}")
    if unmeasured:
        print(f"          {unmeasured_note(unmeasured)}")
    print(*summary_lines(results, "test"), sep="\n")
    for row in results["comparison"]:
        on = "" if row["measured"] == row["listed"] else f", on {row['measured']:,} of {row['listed']:,} clips"
        seconds = row["seconds"]
        spent = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
        print(f"{'head':9} {row['name']}{on}, {spent}\n            {_accuracies(row)}")
    for row in results["paired"]:
        # McNemar's test is about top-1.
        gain = row["top1"]
        interval = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
        difference = f"{row['name']} - {row['against']}: {100 * gain['value']:+.1f} points"
        print(f"{'paired':9} {difference} ({interval}), {p_value(row['p'])}")
        print(f"          {row['verdict']}")
    # Validation clips may be test clips as well, and one file may hold many clips.
    skipped = len({(clip.path, clip.name) for clip in read_skipped(folder / "skipped.csv")})
    if skipped:
        print(f"skipped   {skipped} clips could not be read: {folder / 'skipped.csv'}")
    print(f"model     {folder / 'best.ckpt'}")
    print(f"report    {folder / 'report.html'}")


def _accuracies(figures: Any) -> str:
    """The headline metrics: "top-1 95.0 %, top-5 100.0 %, mean class accuracy 94.1 %"."""
    shown = {key: metric for key, metric in METRICS.items() if metric.headline and figures.get(key) is not None}
    return ", ".join(f"{metric.title} {metric.text(figures[key], 1)}" for key, metric in shown.items())


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.train"))
