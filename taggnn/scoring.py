"""A trained model over a list of clips: probabilities for those that could be read, reasons for those that could not."""

import sys
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from graphs import NoEdges
from taggnn.data.clips import ClipList
from taggnn.heads import TagHead
from taggnn.model import Recogniser
from taggnn.predictions import Predictions, Skipped


@torch.inference_mode()
def score(
    recogniser: Recogniser, batches: Iterable[dict], clips: ClipList, split: str, device: torch.device | str = "cpu"
) -> tuple[Predictions | None, float, list[Skipped]]:
    """Classifies every clip of a list once, with a progress bar.

    Args:
        recogniser: the model; it is moved to ``device`` and put into evaluation mode.
        batches: of the list, as the data module's loaders make them.
        clips: the list itself.
        split: its name, for the progress bar and the skipped clips.
        device: where to compute.

    Returns:
        The predictions in the order of the list (None if no clip could be read), their mean cross-entropy, and the clips
        that were left out.
    """
    recogniser.to(device).eval()
    order, probabilities, losses, skipped = [], [], [], []
    for batch in tqdm(batches, desc=split, unit="batch", file=sys.stderr, leave=False, disable=None):
        skipped += [Skipped(name, path, split, reason) for name, path, reason in batch["skipped"]]
        if not len(batch["label"]):
            continue
        logits = recogniser(batch["clip"].to(device))[0].float().cpu()
        losses.append(F.cross_entropy(logits, batch["label"].cpu(), reduction="none"))
        probabilities.append(logits.softmax(-1))
        order += batch["index"].tolist()
    if not order:
        return None, float("nan"), skipped
    seen = [clips[index] for index in order]
    predictions = Predictions(
        names=[clip.name for clip in seen],
        paths=[clip.path for clip in seen],
        labels=torch.tensor([clip.label for clip in seen]),
        probabilities=torch.cat(probabilities),
        classes=clips.classes,
    )
    return predictions, float(torch.cat(losses).mean()), skipped


@torch.inference_mode()
def graph_effect(recogniser: Recogniser, batches: Iterable[dict], device: torch.device | str = "cpu") -> dict | None:
    """Measures how much the graph of a trained TAG-Head moves its answers: the same weights with and without edges.

    Source: ours. The mean read-out of the released head nearly cancels its linear propagation; this tells which kind of
    head one has. Formula: ``relative_logits = |l - l0| / |l|`` over all clips, ``l0`` the logits without edges.

    Args:
        recogniser: the model; moved to ``device`` and put into evaluation mode.
        batches: of the clips to measure on.
        device: where to compute.

    Returns:
        ``top1_with``, ``top1_without``, ``changed`` (share of predictions that differ), ``relative_logits`` and ``clips``; None
        for a head without a graph, or without a clip.
    """
    head: nn.Module = recogniser.head
    if not isinstance(head, TagHead) or not len(head.propagation) or isinstance(head.topology, NoEdges):
        return None
    recogniser.to(device).eval()
    kept, bare, labels = [], [], []
    for batch in tqdm(batches, desc="graph on / off", unit="batch", file=sys.stderr, leave=False, disable=None):
        if len(batch["label"]):
            tokens = recogniser.tokens(batch["clip"].to(device))
            kept.append(head(tokens)[0].double().cpu())
            bare.append(head(tokens, topology=NoEdges())[0].double().cpu())
            labels.append(batch["label"].cpu())
    if not labels:
        return None
    with_edges, without, truth = torch.cat(kept), torch.cat(bare), torch.cat(labels)
    return {
        "top1_with": float((with_edges.argmax(-1) == truth).double().mean()),
        "top1_without": float((without.argmax(-1) == truth).double().mean()),
        "changed": float((with_edges.argmax(-1) != without.argmax(-1)).double().mean()),
        "relative_logits": float((with_edges - without).norm() / with_edges.norm()),
        "clips": len(truth),
    }
