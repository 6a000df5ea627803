"""What must be unchanged where a run is resumed or extended; its state is restored by ``Trainer.load`` of training/loop.py."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from taggnn.cli import config
from taggnn.data.fingerprint import describe_changes
from taggnn.data.tokens import differences
from taggnn.io import checkpoint


def check_configuration(settings: Namespace, folder: Path) -> None:
    """Refuses ``--run FOLDER`` with another configuration than the folder's run; with more epochs it is extended.

    Raises:
        ValueError: names the keys that differ.
    """
    # What its file names is allowed where the command line names it too.
    begun = config.of_run(folder, config.own_names(settings))
    begun.train.epochs = max(begun.train.epochs, settings.train.epochs)
    changed = config.changes(begun, settings)
    if changed:
        raise ValueError(
            f"--run {folder}: it was started with another configuration ({'; '.join(changed)}); give that again, or another "
            "folder"
        )


def extend(folder: Path, settings: Namespace, folders: Iterable[Path]) -> None:
    """Makes a finished run an unfinished one where more epochs are wanted than it was trained for."""
    if not (folder / "config.yaml").is_file():
        return
    epochs = config.of_run(folder, config.own_names(settings)).train.epochs
    if epochs < settings.train.epochs:
        print(
            f"extended  from {epochs} to {settings.train.epochs} epochs; the learning rate is now that of the longer run"
        )
        for each in folders:
            (each / "results.json").unlink(missing_ok=True)


def check_checkpoint(last: Path, header: dict[str, Any]) -> None:
    """Refuses a last.ckpt that is damaged, or began with another model, other clips or other tokens.

    Args:
        last: the checkpoint.
        header: see ``header_of``, of the run as it would start now.

    Raises:
        ValueError: names the file, and what differs.
    """
    try:
        read = checkpoint.read(last)
    except ValueError as error:
        raise ValueError(f"{error}; {_remedy(last)}") from error
    content = checkpoint.checked(read, last)
    stored, now = content["architecture"], header["trained_on"]
    changed = [key for key, value in header["architecture"].items() if stored.get(key) != value]
    if changed:
        raise ValueError(
            f"{last}: cannot be resumed: its {' and '.join(changed)} differ from those of the videos and the configuration; "
            "start a new run"
        )
    then = content["trained_on"]
    splits = dict.fromkeys([*then["clips"], *now["clips"]])
    changes = {split: describe_changes(then["clips"].get(split, ""), now["clips"].get(split, "")) for split in splits}
    wrong = [f"its {split} clips are not those it began with: {change}" for split, change in changes.items() if change]
    if then["tokens"] != now["tokens"]:
        others = differences(then["tokens"] or {}, now["tokens"] or {})
        wrong.append(f"its tokens are not those it began with: {'; '.join(others)}")
    if wrong:
        raise ValueError(f"{last}: cannot be resumed: {'; '.join(wrong)}; bring them back, or start a new run")


def _remedy(last: Path) -> str:
    """What can be done about a last.ckpt that cannot be read; best.ckpt holds the same of an earlier epoch."""
    best = last.with_name("best.ckpt")
    try:
        epoch = checkpoint.checked(checkpoint.read(best), best)["progress"]["epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return "there is no whole best.ckpt next to it either; start a new run"
    copy = shlex.join(["cp", str(best), str(last)])
    return f"{best} is whole: with it the run continues after epoch {epoch}: {copy}, then resume"
