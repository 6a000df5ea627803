"""The vector that a head hands to its classifier: what a clip is to the model, before classes.

Axes: B clips, D channels of the vector, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from taggnn.data.clips import Clip
from taggnn.io.exported import Exported
from taggnn.serving.neighbours import Index
from taggnn.types import Batch, Output


@torch.no_grad()
def representations(model: nn.Module, x: Tensor) -> tuple[Tensor, Output]:
    """The input of the layer whose output are the logits, scaled to length 1, and the output of the model.

    The layer is the linear one of the head that gives the logits. Where a head has none, as one that compares with texts, its
    ``pooled`` vector is taken.

    Args:
        model: a recogniser, or its view that takes stored tokens, in evaluation mode.
        x: clips, on its device.

    **Shapes:** x (B, *spec.shape) -> float32 (B, D) on the CPU

    Raises:
        ValueError: an exported program, which does not show its layers, or a head that has neither.
    """
    if isinstance(model, Exported):
        raise ValueError("an exported program does not show what is before its classifier; give the checkpoint")
    head = model.head
    assert isinstance(head, nn.Module)
    with _inputs_of_linear(head) as seen:
        output = model(x)
    found = next((given for given, logits in reversed(seen) if logits is output.logits), output.extras.get("pooled"))
    if found is None or found.ndim != 2 or len(found) != len(x):
        raise ValueError(f"{type(head).__name__} has no linear layer that gives its logits, and no extra 'pooled'")
    return normalize(found.detach().float().cpu(), dim=1), output


def index_of(
    model: nn.Module, batches: Iterable[Batch], clips: Sequence[Clip], digest: str, device: torch.device
) -> tuple[Index, int]:
    """Computes the vectors of all clips; those that cannot be read are left out and counted.

    Args:
        model: in evaluation mode.
        batches: of the clips, as evaluation sees them.
        clips: which ``Batch.index`` counts.
        digest: of the weights.
        device: of the model.

    Raises:
        ValueError: no clip can be read; or as ``representations``.
    """
    vectors: list[Tensor] = []
    indices: list[int] = []
    skipped = 0
    for batch in batches:
        skipped += len(batch.skipped)
        if len(batch):
            vectors.append(representations(model, batch.to(device).x)[0])
            indices += batch.index.tolist()
    if not vectors:
        raise ValueError(f"none of the {len(clips)} training clips can be read, so there are no neighbours")
    return Index(torch.cat(vectors), [clips[index] for index in indices], digest), skipped


@contextmanager
def _inputs_of_linear(head: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The input and the output of every call of a linear layer during the block."""
    seen: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...], result: Tensor) -> None:
        seen.append((given[0], result))

    hooks = [module.register_forward_hook(note) for module in head.modules() if isinstance(module, nn.Linear)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
