"""What an ablation begins with: the trained model and its labelled clips, those of its run or others."""

from pathlib import Path

import torch
from jsonargparse import Namespace
from torch.utils.data import DataLoader

from taggnn.cli import build, config, evaluation_setup, launch
from taggnn.data.clips import ClipList
from taggnn.data.loader import ClipData
from taggnn.io import checkpoint
from taggnn.io.loaded import Loaded

# Folders above a checkpoint in which its run's config.yaml may be: a compared head is in RUN/compare/HEAD.
_ABOVE = 3


def prepare(given: Namespace) -> tuple[ClipList, DataLoader, torch.device, torch.nn.Module]:
    """The clips, their loader, the device, and the model that takes such clips.

    Args:
        given: the options of ``taggnn.ablate``.

    Raises:
        FileNotFoundError, ValueError: as ``taggnn.evaluate``; or no clips are given, and the checkpoint is not in its run.
    """
    if given.data.root is not None:
        given = Namespace(**vars(given), tracklets=0, thumbnails=0, graph_effect=False, views=1, crops=1)
        loaded, data, _, loader, device = evaluation_setup.prepare(given)
    else:
        device = launch.device(given.device)
        loaded, data = _of_run(given)
        loaded.model.check_device(device)
        print(loaded.model.describe())
        loader = data.eval_dataloader(given.split)
    clips: ClipList | None = getattr(data, f"{given.split}_clips")
    assert clips is not None
    return clips, loader, device, loaded.model.accepting(data.spec)


def run_of(path: Path) -> Path | None:
    """The run folder that a checkpoint lies in; None where there is none."""
    folder = path if path.is_dir() else path.parent
    for _ in range(_ABOVE):
        if (folder / "config.yaml").is_file():
            return folder
        folder = folder.parent
    return None


def settings_of(given: Namespace) -> Namespace:
    """The configuration of the checkpoint's run.

    Raises:
        FileNotFoundError: the checkpoint is in no run folder.
    """
    run = run_of(Path(given.checkpoint))
    if run is None:
        raise FileNotFoundError(
            f"--checkpoint {given.checkpoint}: no config.yaml next to it, so its clips are not known; give --data.root DIR, or "
            "the folder of its run"
        )
    return config.of_run(run, given.trust)


def _of_run(given: Namespace) -> tuple[Loaded, ClipData]:
    settings = settings_of(given)
    key = "data.root" if settings.data.tokens is None else "data.tokens"
    if settings[key] is not None and not Path(settings[key]).is_dir():
        raise FileNotFoundError(
            f"--checkpoint {given.checkpoint}: its run's {key} {settings[key]} is not there; give --data.root DIR"
        )
    settings.data.batch_size, settings.data.workers = given.data.batch_size, given.data.workers
    return checkpoint.load(given.checkpoint, given.dataset, given.trust), build.data_of(settings)
