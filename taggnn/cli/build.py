"""Builds what a configuration describes: the clips, the model, the header of its checkpoints, and the training loop."""

import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from taggnn import heads, model
from taggnn.cli import launch, resolve
from taggnn.data.fingerprint import fingerprint
from taggnn.data.lists.splits import SPLITS
from taggnn.data.loader import ClipData
from taggnn.io import checkpoint
from taggnn.model import Recogniser
from taggnn.runtime import distributed
from taggnn.runtime.seeding import seed_everything, set_deterministic
from taggnn.runtime.signals import Watch
from taggnn.training import compiling, loggers
from taggnn.training.bar import Bar
from taggnn.training.device import devices_of, precision_of
from taggnn.training.history import History
from taggnn.training.loop import Trainer
from taggnn.training.options import Optimisation, Training
from taggnn.training.save_schedule import Saving


def data_of(settings: Namespace) -> ClipData:
    """Reads the clips of a configuration; mean and deviation of its backbone's weights are filled in if none are given."""
    resolve.fill(settings)
    if settings.data.tokens is not None:
        resolve.check_tokens(settings)
        resolve.freeze(settings)
    data = resolve.clips_of(settings)
    # Once on each machine.
    launch.on_all_ranks(lambda: data.prepare_data() if distributed.ranks().local_rank == 0 else None)
    data.setup()
    return data


def architecture_of(settings: Namespace, data: ClipData, head: str, stored: bool = False) -> dict[str, Any]:
    """The architecture that ``model.build`` takes, as plain types.

    Args:
        settings: the configuration.
        data: the clips.
        head: which of its heads.
        stored: as a checkpoint holds it, see ``heads.stored``.
    """
    backbone, options = settings.backbone, resolve.head_options(settings, head)
    return {
        "backbone": {
            **{key: value for key, value in backbone.as_dict().items() if key not in ("weights", "options")},
            **backbone.options,
        },
        "head": {"name": head, **(heads.stored(head, options) if stored else options)},
        "input": data.model_spec.plain(),
        "classes": list(data.classes),
    }


def recogniser_of(settings: Namespace, data: ClipData, head: str, weights: str | None) -> Recogniser:
    """Builds the model; the same seed gives the same backbone whatever the head."""
    seed_everything(settings.seed)
    # Stored tokens come with the backbone that made them, so that the checkpoint works on videos too.
    stored = data.capabilities.backbone_state and data.capabilities.backbone_state()
    built = model.build(architecture_of(settings, data, head), weights if stored is None else None)
    if stored is not None:
        built.backbone.load_state_dict(stored)
    return built


def header_of(settings: Namespace, data: ClipData, head: str) -> dict[str, Any]:
    """The part of a checkpoint that stays the same during a run, as plain types."""
    lists = {split: getattr(data.splits, split) for split in SPLITS}
    assert data.train_clips is not None
    trained_on = {
        "clips": {split: fingerprint(clips) for split, clips in lists.items() if clips is not None},
        "tokens": data.capabilities.identity,
        "counts": data.train_clips.counts,
    }
    return {
        "format": checkpoint.FORMAT,
        "architecture": architecture_of(settings, data, head, stored=True),
        "split_options": dict(data.split_options),
        "trained_on": trained_on,
        "optimisation": settings.optim.as_dict(),
        "seed": settings.seed,
    }


def device_of(settings: Namespace) -> torch.device:
    """The device of this process."""
    return devices_of(settings.devices, settings.device)[distributed.ranks().local_rank]


def trainer_of(
    settings: Namespace,
    data: ClipData,
    built: Recogniser,
    header: dict[str, Any],
    folder: Path,
    watch: Watch,
    later: int = 0,
) -> Trainer:
    """Builds the training loop of a configuration.

    Args:
        settings: the configuration.
        data: the clips.
        built: the model; it is moved to its device.
        header: see ``header_of``.
        folder: the run folder.
        watch: the signals that ask the run to save and end.
        later: epochs of heads that are trained afterwards (default 0).
    """
    assert data.val_clips is not None
    device, history = device_of(settings), History(folder, data.val_clips.listed)
    training = Training(**settings.train.as_dict())
    set_deterministic(training.deterministic)
    torch.backends.cudnn.benchmark = training.benchmark
    torch.autograd.set_detect_anomaly(training.detect_anomaly)
    built.to(device)
    if training.sync_batchnorm and distributed.world_size() > 1:
        built = torch.nn.SyncBatchNorm.convert_sync_batchnorm(built)
    compiling.compile_parts(built, settings.compile)
    shown = {key: value for key, value in vars(settings.as_flat()).items() if key != "config"}
    return Trainer(
        built,
        data.spec,
        data.train_dataloader(),
        data.val_dataloader(),
        Optimisation(**settings.optim.as_dict()),
        training,
        history,
        header,
        seed=settings.seed,
        precision=precision_of(settings.precision, device),
        monitor=settings.monitor,
        patience=settings.patience,
        saving=Saving(settings.save_minutes, settings.save_batches, watch),
        # Progress bars only at a terminal; the line after each epoch is always printed.
        bar=Bar(sys.stderr.isatty() and distributed.is_main_process(), training.epochs, later),
        later=later,
        curves=loggers.Curves(loggers.available(settings.loggers), folder, shown, settings.log_every),
        unused=settings.backbone.name.startswith("hf:"),
        begin_batch=torch.compiler.cudagraph_mark_step_begin if settings.compile else lambda: None,
    )
