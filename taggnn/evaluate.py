"""``python -m taggnn.evaluate --checkpoint X --data.root DIR``: how well a checkpoint does on labelled videos.

Writes predictions.csv, skipped.csv, confusion.png, results.json and report.html into a folder, and prints the figures.
"""

import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import Namespace
from torch.utils.data import DataLoader

from taggnn.cli import launch, rescoring, terminal
from taggnn.cli.parser import Parser
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import existing_root
from taggnn.data.lists.folders import read as read_folders
from taggnn.data.lists.folders import subfolders
from taggnn.data.loader import ClipData
from taggnn.data.published import PUBLISHED
from taggnn.evaluation.predictions import write_predictions, write_skipped
from taggnn.evaluation.results import Results
from taggnn.evaluation.scoring import score
from taggnn.io import checkpoint, environment
from taggnn.io.exported import Exported
from taggnn.io.run_folder import new_folder, writable
from taggnn.io.trust import add_option as add_trust
from taggnn.nn.consensus import add_options
from taggnn.reporting.console import print_evaluation
from taggnn.reporting.run_page import write_report
from taggnn.runtime import distributed


def main(arguments: Sequence[str]) -> None:
    if rescoring.asked(arguments):
        return rescoring.main(arguments)
    with launch.only_first_heard():
        given = parser().parse_args(arguments)
    with launch.joined(given.devices, "taggnn.evaluate", arguments):
        loaded, data, remark, loader, device = launch.agreed(lambda: _ready(given))
        # Before the long work that it is for.
        folder = launch.agreed(lambda: _folder(given.out) if distributed.is_first() else None)
        clips = getattr(data, f"{given.split}_clips")
        started = time.perf_counter()
        scored = score(
            *(loaded.model.accepting(data.spec), loader, clips, given.split, device, given.graph_effect),
            views=given.views * given.crops,
            average=given.average,
        )
        seconds = time.perf_counter() - started
        memory = environment.peak_memory(device)
        of_each = distributed.gathered(memory)
        if not distributed.is_first():
            return
    predictions = scored.predictions
    write_skipped(folder / "skipped.csv", scored.skipped)
    if predictions is None:
        raise ValueError(f"none of the {len(clips)} clips could be read; see {folder / 'skipped.csv'}")
    write_predictions(folder / "predictions.csv", predictions)
    results = Results.from_predictions(
        given.split,
        predictions,
        missing=len(clips.missing),
        unreadable=len(scored.skipped),
        loss=scored.loss,
        listed_counts=clips.listed_counts,
        training_counts=loaded.training_counts,
        title=f"evaluation of {Path(given.checkpoint).name}",
        subtitle=f"{clips.source}, {clips.listed:,} clips listed, {given.split}{_said_views(given)}",
        model=loaded.model.found,
        environment=environment.describe(device, seed=loaded.split_options["seed"]),
        durations={given.split: seconds},
        evaluation={
            "views": given.views,
            "crops": given.crops,
            "average": given.average,
            "processes": len(of_each),
            "clips_per_second": len(predictions.names) / seconds,
            # Of the process that had most.
            "peak_memory": {part: max(each[part] for each in of_each) for part in memory},
        },
        notes=[*remark, *data.splits.notes],
        graph_effect=scored.graph_effect,
    )
    results.write(folder)
    report = write_report(folder)
    print_evaluation(results.to_json(), given.split, predictions, folder, report)


def _ready(given: Namespace) -> tuple[checkpoint.Loaded, ClipData, list[str], DataLoader, torch.device]:
    """All that a mistake of the user can concern: the model, its clips, a remark on them, their loader, and where to compute."""
    _check_source(given)
    device = launch.device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset, given.trust)
    loaded.model.check_device(device)
    print(loaded.model.describe())
    if isinstance(loaded.model, Exported) and given.graph_effect:
        print("graph     its effect is not measured: an exported program cannot leave out edges, model.safetensors can")
    data, remark = _data(given, loaded)
    return loaded, data, remark, data.eval_dataloader(given.split, given.views, given.crops), device


def _folder(given: str | None) -> Path:
    """Where the results go."""
    return writable(Path(given)) if given else new_folder(Path("runs") / "evaluate")


def _said_views(given: Namespace) -> str:
    """How clips were looked at, where it was not the plain way."""
    if given.views == given.crops == 1:
        return ""
    crops = f" x {given.crops} crops" if given.crops > 1 else ""
    return f", {given.views} view{'s' if given.views > 1 else ''}{crops} a clip, {given.average} averaged"


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.evaluate", description="Measures a checkpoint on labelled videos.")
    add = built.add_argument
    add(
        "--checkpoint",
        type=str,
        required=True,
        help="a run's folder or checkpoint, what taggnn.export wrote, or a file that TAG-Head's authors published",
    )
    add(
        "--predictions",
        type=str | None,
        default=None,
        help="instead of a checkpoint, and with --split and --out alone: a predictions.csv to score again",
    )
    add("--dataset", type=str | None, default=None, help=f"for the authors' files: {', '.join(checkpoint.RELEASED)}")
    add_trust(add)
    add("--data.root", type=str, required=True, help="folder of the clips")
    add(
        "--data.list",
        type=str | None,
        default=None,
        help="list of the clips to measure on (CSV, or 'path label' lines)",
    )
    add("--data.folder", type=str | None, default=None, help="or their folder inside the root; '.' is the whole root")
    add(
        "--data.dataset",
        type=str | None,
        default=None,
        help=f"or a published data set: {', '.join(PUBLISHED)}; null: the one that the checkpoint was trained on, if any",
    )
    add("--data.version", type=str | None, default=None, help="its version; null: the default one, or the checkpoint's")
    add("--data.annotations", type=str | None, default=None, help="folder of its lists, where they are not in the root")
    add(
        "--data.missing",
        type=Literal["error", "skip"] | None,
        default=None,
        help="listed files that do not exist; null: stop, but leave out what a published data set lacks",
    )
    add("--data.batch_size", type=int, default=8, help="clips in a batch")
    add("--data.workers", type=int | None, default=None, help="loader processes; null: what suits the machine")
    add(
        "--split",
        type=Literal["train", "val", "test"],
        default="test",
        help="which split of the root, named as in training",
    )
    add("--device", type=str | None, default=None, help="cpu, cuda, cuda:1; null: a GPU where there is one")
    add("--out", type=str | None, default=None, help="folder of the results; null: runs/evaluate/<time>")
    add_options(add)
    add(
        "--devices",
        type=int | None,
        default=None,
        help="processes on this machine, each with a GPU of its own if it has them",
    )
    add("--graph_effect", type=bool, default=True, help="measure the model without its edges as well")
    return built


def _check_source(given: Namespace) -> None:
    """Refuses clips that are not there, where the rule for absent splits would quietly take other ones."""
    root = existing_root(given.data.root)
    if given.data.dataset is not None and (given.data.folder is not None or given.data.list is not None):
        own = "--data.list" if given.data.folder is None else "--data.folder"
        raise ValueError(f"--data.dataset and {own} both say which clips to measure on: give one of them")
    if given.data.folder is None:
        return
    if given.data.list is not None:
        raise ValueError("--data.list and --data.folder both say which clips to measure on: give one of them")
    place = root / given.data.folder
    if not place.is_dir():
        here = ", ".join(folder.name for folder in subfolders(root)) or "no folders"
        raise FileNotFoundError(f"--data.folder {given.data.folder}: no such folder in {root}; there are {here}")
    if not subfolders(place):
        raise ValueError(f"--data.folder {given.data.folder}: expected class folders with videos in {place}")


def _data(given: Namespace, loaded: checkpoint.Loaded) -> tuple[ClipData, list[str]]:
    """The clips, read against the checkpoint's classes and shown as the model was trained to see them; and what to remark."""
    named = dict(loaded.split_options)
    classes, remark = list(loaded.classes), []
    options = {f"{given.split}_list": given.data.list, "missing": given.data.missing, "workers": given.data.workers}
    if given.data.folder is not None:
        options[f"{given.split}_folder"] = given.data.folder
    named |= _published(given, named)
    if given.dataset is not None and named["dataset"] is not None:
        remark = [f"the labels of {given.checkpoint} are taken to be the numbers that {named['dataset']} publishes"]
        print(remark[0])
    elif given.dataset is not None and given.data.list is None:
        folder, classes, said = _numbered_folders(given, len(classes), capabilities_of(sources.of(loaded.spec)).endings)
        options[f"{given.split}_folder"], remark = folder, [said]
        print(said)
    source = sources.of(loaded.spec)
    data = ClipData(source, given.data.root, classes=classes, batch_size=given.data.batch_size, **named, **options)
    data.setup_only(given.split)
    return data, remark


def _published(given: Namespace, named: dict[str, Any]) -> dict[str, str | None]:
    """The published data set to measure on: the one given, else the checkpoint's where no other clips are given."""
    own = given.data.list is not None or given.data.folder is not None
    dataset = given.data.dataset or (None if own else named.get("dataset"))
    same = dataset is not None and dataset == named.get("dataset")
    version = given.data.version or (named.get("version") if same else None)
    return {"dataset": dataset, "version": version, "annotations": given.data.annotations}


def _numbered_folders(given: Namespace, count: int, endings: Collection[str]) -> tuple[str, list[str], str]:
    """The class folders as the labels of a published checkpoint, which holds no class names to find them by.

    Returns:
        The folder inside the root, the class names in label order, and a sentence for the screen.

    Raises:
        ValueError: not as many folders as classes, so that their labels cannot be told.
    """
    root, folder = Path(given.data.root), given.data.folder
    if folder is None:
        folder = given.split if (root / given.split).is_dir() and subfolders(root / given.split) else "."
    names = list(read_folders(root / folder, None, endings=endings).classes)
    if len(names) != count:
        raise ValueError(
            f"{root / folder}: {len(names)} class folders, and {given.dataset} has {count} classes. The published files hold "
            "no class names, so the labels of these folders are not known: give a list with --data.list, of the columns "
            "FileName,Class,ClassEncoded or of 'path label' lines"
        )
    said = (
        f"no list was given: the {count} class folders in {root / folder} are taken in sorted order as labels 0 "
        f"({names[0]}) to {count - 1} ({names[-1]})"
    )
    return folder, names, said


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.evaluate"))
