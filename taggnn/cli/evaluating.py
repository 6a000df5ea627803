"""An evaluation: its options, the measurement, and the files that it leaves in a folder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from taggnn.cli import calibrating, launch
from taggnn.cli.checkpoint_options import add_checkpoint
from taggnn.cli.evaluation_setup import prepare
from taggnn.cli.parser import Parser
from taggnn.cli.scoring import write_scored
from taggnn.cli.thumbnails import THUMBNAILS, THUMBNAILS_HELP, write_thumbnails
from taggnn.cli.tracklets import TRACKLETS, TRACKLETS_HELP, write_tracklets
from taggnn.data.published import PUBLISHED
from taggnn.evaluation.scoring import score
from taggnn.io import environment
from taggnn.io.run_folder import new_folder, writable
from taggnn.nn.consensus import add_options
from taggnn.reporting.run_page import write_report
from taggnn.runtime import distributed


def evaluate(given: Namespace, words: Sequence[str]) -> Path | None:
    """Measures a checkpoint on labelled clips, and writes what was found; all processes of the evaluation call it.

    Args:
        given: see ``parser``.
        words: the command line, for the processes that ``devices`` starts.

    Returns:
        The folder, in the first process.

    Raises:
        ValueError, OSError: a wrong option, or data or a checkpoint that cannot be used.
    """
    with launch.process_group(given.devices, "taggnn.evaluate", words):
        loaded, data, notes, loader, device = launch.on_all_ranks(lambda: prepare(given))
        clips = getattr(data, f"{given.split}_clips")
        # Created before the long work starts.
        folder = launch.on_all_ranks(lambda: _folder(given.out) if distributed.is_main_process() else Path())
        if given.calibrate:
            loaded = calibrating.calibrate(given, loaded, clips, device)
        started = time.perf_counter()
        scored = score(
            *(loaded.model.accepting(data.spec), loader, clips, given.split, device, given.graph_effect),
            views=given.views * given.crops,
            average=given.average,
            temperature=loaded.temperature,
        )
        seconds = time.perf_counter() - started
        memory = environment.peak_memory(device)
        of_each = distributed.all_gather(memory)
        if not distributed.is_main_process():
            return None
    results = write_scored(folder, scored, clips, given.split, loaded.training_counts)
    predictions = scored.predictions
    assert predictions is not None
    model = loaded.model.accepting(data.spec)
    notes += write_tracklets(folder, scored, model, data.samples(given.split), given.tracklets, device)
    notes += write_thumbnails(folder, scored, model, data.samples(given.split), given.thumbnails, device)
    results = replace(
        results,
        title=f"evaluation of {Path(given.checkpoint).name}",
        subtitle=f"{clips.source}, {clips.listed:,} clips listed, {given.split}{_views(given)}",
        calibration=calibrating.measured(loaded, scored, given.split),
        model=loaded.model.found,
        environment=environment.describe(device, seed=loaded.split_options["seed"]),
        durations={given.split: seconds},
        evaluation={
            "views": given.views,
            "crops": given.crops,
            "average": given.average,
            "processes": len(of_each),
            "clips_per_second": len(predictions.names) / seconds,
            # Of the process with the highest peak.
            "peak_memory": {part: max(each[part] for each in of_each) for part in memory},
        },
        notes=[*notes, *data.splits.notes],
    )
    results.write(folder)
    write_report(folder)
    return folder


def _folder(given: str | None) -> Path:
    return writable(Path(given)) if given else new_folder(Path("runs") / "evaluate")


def _views(given: Namespace) -> str:
    if given.views == given.crops == 1:
        return ""
    crops = f" x {given.crops} crops" if given.crops > 1 else ""
    return f", {given.views} view{'s' if given.views > 1 else ''}{crops} a clip, {given.average} averaged"


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.evaluate", description="Measures a checkpoint on labelled videos.")
    add, option = built.add_argument, built.option
    add_checkpoint(add)
    option(
        "--predictions",
        str | None,
        None,
        "a predictions.csv to score again, instead of a checkpoint; only with --split and --out",
    )
    add("--data.root", type=str, required=True, help="folder of the clips")
    option("--data.list", str | None, None, "list of the clips to measure on (CSV, or 'path label' lines)")
    option("--data.folder", str | None, None, "or their folder in the root; '.' is the whole root")
    option(
        "--data.dataset",
        str | None,
        None,
        f"or a published data set: {', '.join(PUBLISHED)}; null: that of the checkpoint, if any",
    )
    option("--data.version", str | None, None, "its version; null: that of the checkpoint, or the default")
    option("--data.annotations", str | None, None, "folder of its lists, if they are not in the root")
    option(
        "--data.missing",
        Literal["error", "skip"] | None,
        None,
        "listed files that do not exist; null: error, or skip for a published data set",
    )
    option("--data.batch_size", int, 8, "clips in a batch")
    option("--data.workers", int | None, None, "loader processes; null: chosen for the machine")
    option("--split", Literal["train", "val", "test"], "test", "the split of the root, named as in training")
    option("--device", str | None, None, "cpu, cuda, cuda:1; null: a GPU if there is one")
    option("--out", str | None, None, "folder of the results; null: runs/evaluate/<time>")
    add_options(add)
    calibrating.add_options(built)
    option("--devices", int | None, None, "processes on this machine, each with its own GPU if there are GPUs")
    option("--tracklets", int, TRACKLETS, TRACKLETS_HELP)
    option("--thumbnails", int, THUMBNAILS, THUMBNAILS_HELP)
    option("--graph_effect", bool, True, "also evaluate the model without its edges")
    return built
