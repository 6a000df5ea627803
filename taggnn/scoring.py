"""A trained model over a list of clips, in one pass: probabilities, reasons where there are none, and what the graph does.

Axes: B clips of a batch, T H W token grid, C channels, K classes.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from graphs import NoEdges
from taggnn.data.clips import ClipList
from taggnn.heads import TagHead
from taggnn.metrics import predicted_classes
from taggnn.model import Recogniser
from taggnn.predictions import Predictions, Skipped


@dataclass(frozen=True)
class Scored:
    """What one pass over a list of clips found.

    Args:
        predictions: in the order of the list; None if no clip could be read.
        loss: their mean cross-entropy; NaN without predictions.
        skipped: the clips that were left out, and why.
        graph_effect: see ``GraphEffect.figures``; None where it was not asked for.
    """

    predictions: Predictions | None
    loss: float
    skipped: list[Skipped]
    graph_effect: dict[str, float | int] | None = None


@torch.inference_mode()
def score(
    recogniser: Recogniser,
    batches: Iterable[dict],
    clips: ClipList,
    split: str,
    device: torch.device | str = "cpu",
    graph_effect: bool = False,
) -> Scored:
    """Classifies every clip of a list once, with a progress bar.

    Args:
        recogniser: the model; it is moved to ``device`` and put into evaluation mode.
        batches: of the list, as the data module's loaders make them; gone through once.
        clips: the list itself.
        split: its name, for the progress bar and the skipped clips.
        device: where to compute.
        graph_effect: ask the head a second time without its edges, on the same tokens, and say how far its answers move
            (default: no).
    """
    recogniser.to(device).eval()
    order, probabilities, losses, skipped = [], [], [], []
    effect = GraphEffect(recogniser.head) if graph_effect and has_graph(recogniser.head) else None
    for batch in tqdm(batches, desc=split, unit="batch", file=sys.stderr, leave=False, disable=None):
        skipped += [Skipped(name, path, split, reason) for name, path, reason in batch["skipped"]]
        if not len(batch["label"]):
            continue
        tokens = recogniser.tokens_in(batch, device)
        logits = recogniser.head(tokens)[0].float().cpu()
        labels = batch["label"].cpu()
        if effect is not None:
            effect.update(tokens, logits, labels)
        losses.append(F.cross_entropy(logits, labels, reduction="none"))
        probabilities.append(logits.softmax(-1))
        order += batch["index"].tolist()
    if not order:
        return Scored(None, float("nan"), skipped)
    seen = [clips[index] for index in order]
    predictions = Predictions(
        names=[clip.name for clip in seen],
        paths=[clip.path for clip in seen],
        labels=torch.tensor([clip.label for clip in seen]),
        probabilities=torch.cat(probabilities),
        classes=clips.classes,
    )
    figures = None if effect is None else effect.figures()
    return Scored(predictions, float(torch.cat(losses).mean()), skipped, figures)


def has_graph(head: nn.Module) -> bool:
    """Whether a head sends messages along edges, so that leaving them out can change its answers."""
    return isinstance(head, TagHead) and len(head.propagation) > 0 and not isinstance(head.topology, NoEdges)


class GraphEffect:
    """How much the graph of a trained TAG-Head moves its answers: the same weights with and without edges.

    Source: ours. The mean read-out of the released head nearly cancels its linear propagation; this tells which kind of
    head one has. Formula: ``relative_logits = |l - l0| / |l|`` over all clips, ``l0`` the logits without edges. Only sums
    are kept, so that memory does not grow with the list.

    Args:
        head: a head for which ``has_graph`` holds, in evaluation mode.
    """

    def __init__(self, head: TagHead) -> None:
        self.head = head
        self.clips = self.right_with = self.right_without = self.changed = 0
        self.moved = self.size = 0.0

    def update(self, tokens: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Counts a batch.

        Args:
            tokens: what the head was given.
            logits: what it answered with its edges.
            labels: the true classes.

        **Shapes:** tokens (B, T, H, W, C), logits (B, K), labels (B,)
        """
        kept, bare = logits.double(), self.head(tokens, topology=NoEdges())[0].cpu().double()
        chosen, without = predicted_classes(kept), predicted_classes(bare)
        self.clips += len(labels)
        self.right_with += int((chosen == labels).sum())
        self.right_without += int((without == labels).sum())
        self.changed += int((chosen != without).sum())
        self.moved += float((kept - bare).square().sum())
        self.size += float(kept.square().sum())

    def figures(self) -> dict[str, float | int]:
        """``top1_with``, ``top1_without``, ``changed`` (share of predictions that differ), ``relative_logits``, ``clips``."""
        return {
            "top1_with": self.right_with / self.clips,
            "top1_without": self.right_without / self.clips,
            "changed": self.changed / self.clips,
            "relative_logits": math.sqrt(self.moved / self.size) if self.size else math.nan,
            "clips": self.clips,
        }
