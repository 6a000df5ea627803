"""What a training is about to do, before it starts."""

from collections.abc import Sequence

import torch
from jsonargparse import Namespace

from taggnn.cli import smoke
from taggnn.cli.build import device_of
from taggnn.data.loader import ClipData
from taggnn.runtime import distributed
from taggnn.training.device import precision_of
from taggnn.training.options import Training


def outline(settings: Namespace, data: ClipData, heads: Sequence[str]) -> list[str]:
    """Lines for the screen: heads, epochs, clips, device; how long is measured in the first batches.

    Args:
        settings: the configuration.
        data: its clips.
        heads: the heads, in the order in which they are trained.
    """
    assert data.train_clips is not None
    assert data.val_clips is not None
    assert data.test_clips is not None
    training, device = Training(**settings.train.as_dict()), device_of(settings)
    epochs = _counted(training.epochs, "epoch") + (" each" if len(heads) > 1 else "")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    where = f"{name}, {_counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else name
    where += f", {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    train, batches = (
        len(data.train_clips),
        _counted(training.limited(data.train_dataloader().batches()), "batch", "batches"),
    )
    lines = [
        f"plan      train {', then '.join(heads)}: {epochs} of {batches}, {train:,} clips",
        f"          validate on {len(data.val_clips):,} clips an epoch, test on {len(data.test_clips):,}; then the report",
        f"          on {where}, {precision_of(settings.precision, device)}; how long: after the first batches",
    ]
    return [f"smoke run {smoke.NOTE.partition(': ')[2]}", *lines] if settings.fast else lines


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
