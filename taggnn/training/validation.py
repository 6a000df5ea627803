"""Predictions and metrics of the validation clips after every epoch.

Axes: M clips, K classes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.evaluation import metrics
from taggnn.runtime import distributed
from taggnn.types import BadClip, Batch


@torch.no_grad()
def predict(
    logits_of: Callable[[Batch], Tensor | None], loader: Iterable[Batch], after_batch: Callable[[], None]
) -> tuple[Tensor | None, Tensor, list[BadClip]]:
    """The logits of all clips in the order of the list, and the clips that could not be read; the same in every process.

    Args:
        logits_of: a batch -> its logits on the CPU; with several processes it is called for empty batches too.
        loader: the batches of this process.
        after_batch: called after each.

    **Shapes:** logits (M, K), or None if no clip could be read; labels (M,)
    """
    found, skipped = [], []
    for batch in loader:
        skipped += batch.skipped
        logits = logits_of(batch) if len(batch) or distributed.world_size() > 1 else None
        if len(batch):
            found.append((logits, batch.label, batch.index))
        after_batch()
    shares = distributed.all_gather((found, skipped))
    skipped, parts = [clip for _, rows in shares for clip in rows], [part for rows, _ in shares for part in rows]
    if not parts:
        return None, torch.empty(0, dtype=torch.long), skipped
    logits, labels, index = (torch.cat(column) for column in zip(*parts, strict=True))
    # A single process has them in the order of the list already.
    order = index.argsort() if distributed.world_size() > 1 else slice(None)
    return logits[order], labels[order], skipped


def measure(logits: Tensor, labels: Tensor, monitor: str) -> dict[str, float]:
    """The columns of metrics.csv. **Shapes:** logits (M, K), labels (M,)"""
    scores = metrics.summarise(logits.softmax(-1), labels)
    loss = {"val/loss": float(F.cross_entropy(logits, labels))}
    return {**loss, **metrics.logged(scores, monitor), "val/clips": float(scores.measured)}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode during a ``with`` block; each module returns to its own mode afterwards.

    With several processes, BatchNorm keeps the statistics of the first one.
    """
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    for buffer in model.buffers() if distributed.world_size() > 1 else ():
        dist.broadcast(buffer, 0)
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
