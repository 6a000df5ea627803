"""What an evaluation begins with: the checkpoint, and the labelled clips with its classes and its input."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from torch.utils.data import DataLoader

from taggnn.cli import launch
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import existing_root
from taggnn.data.lists.folders import read as read_folders
from taggnn.data.lists.folders import subfolders
from taggnn.data.loader import ClipData
from taggnn.io import checkpoint
from taggnn.io.exported import Exported
from taggnn.io.loaded import Loaded
from taggnn.runtime.printable import one_line


def prepare(given: Namespace) -> tuple[Loaded, ClipData, list[str], DataLoader, torch.device]:
    """The model, its clips, notes on them, their loader, and the device: everything that a wrong option can stop."""
    _check_source(given)
    for key in ("tracklets", "thumbnails"):
        if given[key] < 0:
            raise ValueError(f"--{key} {given[key]}: must be 0 or more")
    device = launch.device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset, given.trust)
    loaded.model.check_device(device)
    print(loaded.model.describe())
    if isinstance(loaded.model, Exported) and given.graph_effect:
        print("graph     its effect is not measured: an exported program cannot leave out edges, model.safetensors can")
    data, notes = _data(given, loaded)
    return loaded, data, notes, data.eval_dataloader(given.split, given.views, given.crops), device


def _check_source(given: Namespace) -> None:
    root = existing_root(given.data.root)
    if given.data.dataset is not None and (given.data.folder is not None or given.data.list is not None):
        own = "--data.list" if given.data.folder is None else "--data.folder"
        raise ValueError(f"--data.dataset and {own} both say which clips to measure on: give one of them")
    if given.data.folder is None:
        return
    if given.data.list is not None:
        raise ValueError("--data.list and --data.folder both say which clips to measure on: give one of them")
    folder = root / given.data.folder
    if not folder.is_dir():
        here = ", ".join(path.name for path in subfolders(root)) or "no folders"
        raise FileNotFoundError(f"--data.folder {given.data.folder}: no such folder in {root}; there are {here}")
    if not subfolders(folder):
        raise ValueError(f"--data.folder {given.data.folder}: expected class folders with videos in {folder}")


def _data(given: Namespace, loaded: Loaded) -> tuple[ClipData, list[str]]:
    """Reads the clips with the classes of the checkpoint, as its model sees them in evaluation; and notes for results.json."""
    named = dict(loaded.split_options)
    classes, notes = list(loaded.classes), []
    options = {f"{given.split}_list": given.data.list, "missing": given.data.missing, "workers": given.data.workers}
    if given.data.folder is not None:
        options[f"{given.split}_folder"] = given.data.folder
    named |= published(given, named)
    if given.dataset is not None and named["dataset"] is not None:
        notes = [f"the labels of {given.checkpoint} are taken to be the numbers that {named['dataset']} publishes"]
        print(one_line(notes[0]))
    elif given.dataset is not None and given.data.list is None:
        folder, classes, note = _numbered_folders(given, len(classes), capabilities_of(sources.of(loaded.spec)).endings)
        options[f"{given.split}_folder"], notes = folder, [note]
        print(one_line(note))
    source = sources.of(loaded.spec)
    data = ClipData(source, given.data.root, classes=classes, batch_size=given.data.batch_size, **named, **options)
    data.setup_only(given.split)
    return data, notes


def published(given: Namespace, named: dict[str, Any]) -> dict[str, str | None]:
    """The published data set of a command line, its version and the folder of its lists.

    Args:
        given: the command line.
        named: that of the checkpoint.
    """
    own = given.data.list is not None or given.data.folder is not None
    dataset = given.data.dataset or (None if own else named.get("dataset"))
    same = dataset is not None and dataset == named.get("dataset")
    version = given.data.version or (named.get("version") if same else None)
    return {"dataset": dataset, "version": version, "annotations": given.data.annotations}


def _numbered_folders(given: Namespace, count: int, endings: Collection[str]) -> tuple[str, list[str], str]:
    """The class folders as labels of a published checkpoint, which holds no class names.

    Returns:
        The folder inside the root, the class names in label order, and a note for the user.

    Raises:
        ValueError: not as many folders as classes, so that their labels are not known.
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
    note = (
        f"no list was given: the {count} class folders in {root / folder} are taken in sorted order as labels 0 "
        f"({names[0]}) to {count - 1} ({names[-1]})"
    )
    return folder, names, note
