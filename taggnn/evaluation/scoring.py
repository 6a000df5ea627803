"""A trained model over a list of clips, in one pass: probabilities, reasons where there are none, and what the graph does.

Axes: B views of a batch, T H W token grid, C channels, M clips, K classes.
"""

import inspect
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from graphs import NoEdges, Topology
from taggnn.data.clips import ClipList
from taggnn.evaluation.bootstrap import Answers
from taggnn.evaluation.metrics import predicted_classes
from taggnn.evaluation.predictions import Predictions, Skipped
from taggnn.evaluation.significance import top1_difference
from taggnn.io.exported import Exported
from taggnn.model import Recogniser, TokenView, as_output
from taggnn.nn.consensus import Average, Consensus
from taggnn.nn.layers import GraphLayer
from taggnn.runtime import distributed
from taggnn.types import Batch


@dataclass(frozen=True)
class Scored:
    """What one pass over a list of clips found.

    Args:
        predictions: in the order of the list; None if no clip could be read.
        loss: their mean cross-entropy; NaN without predictions.
        skipped: the clips that were left out, and why, in the order of the list.
        graph_effect: see ``graph_effect``; None where it was not asked for.
    """

    predictions: Predictions | None
    loss: float
    skipped: list[Skipped]
    graph_effect: dict[str, float | int] | None = None


@torch.inference_mode()
def score(
    model: Recogniser | TokenView | Exported,
    batches: Iterable[Batch],
    clips: ClipList,
    split: str,
    device: torch.device | str = "cpu",
    graph_effect: bool = False,
    views: int = 1,
    average: Average = "probabilities",
) -> Scored:
    """Classifies every clip of a list once, with a progress bar.

    Several processes may each bring their share of the batches; all of them must call it, and all get the same answer, in which
    each clip counts once. All views of a clip must come in one process.

    Args:
        model: it is moved to ``device`` and put into evaluation mode; for stored tokens, what ``Recogniser.accepting`` gives.
        batches: of the list, as the data module's loaders make them; gone through once.
        clips: the list itself.
        split: its name, for the progress bar and the skipped clips.
        device: where to compute.
        graph_effect: call the head a second time without its edges, on the same tokens, and measure how far its answers move
            (default: no); not measured where the model has no head with a graph, such as an exported one.
        views: how many views of a clip the batches hold (default 1). A clip counts once it has had them all, and is left out
            where one of them cannot be read.
        average: how a clip's views are averaged, see ``Consensus``.

    Raises:
        ValueError: a clip came with more or fewer views, and none of them was bad.
    """
    model.to(device).eval()
    head = getattr(model, "head", None)
    bare = graph_effect and has_graph(head)
    opened: dict[int, _Opened] = {}
    found, bad = _Found(bare), {}
    bar = tqdm(desc=split, total=len(clips), unit="clip", file=sys.stderr, leave=False, disable=_hidden())
    with bar, _inputs_of(head) if bare else nullcontext() as tokens:
        for batch in batches:
            done = len(found.places) + len(bad)
            bad |= {name: reason for name, _, reason in batch.skipped}
            for place, *answers in _answers(model, batch, device, tokens):
                clip = opened.setdefault(place, _Opened(average, bare))
                clip.add(*answers)
                if clip.consensus.views == views:
                    found.add(place, clips[place].label, opened.pop(place))
            # The other processes are about as far as this one.
            bar.update(min((len(found.places) + len(bad) - done) * distributed.world_size(), len(clips) - bar.n))
    uneven = {*(place for place in opened if clips[place].name not in bad), *_repeated(found.places)}
    if uneven:
        raise ValueError(
            f"score was told of {views} views of a clip, and {clips[min(uneven)].name} came with more or fewer"
        )
    return _together(found, bad, clips, split)


def has_graph(head: nn.Module | None) -> bool:
    """Whether a head sends messages along edges, and can be called without them."""
    if head is None or not any(isinstance(part, GraphLayer) for part in head.modules()):
        return False
    own = getattr(head, "topology", None)
    takes = "topology" in inspect.signature(head.forward).parameters
    return takes and isinstance(own, Topology) and not isinstance(own, NoEdges)


def graph_effect(
    labels: Tensor, chosen: Tensor, without: Tensor, moved: Tensor, size: Tensor
) -> dict[str, float | int]:
    """How much the graph of a trained TAG-Head moves its answers: the same weights with and without edges.

    Source: ours. The mean read-out of the released head nearly cancels its linear propagation; this tells which kind of
    head one has. Formula: ``relative_logits = |l - l0| / |l|`` over all views of all clips, ``l0`` the logits without edges.

    Args:
        labels: the true class of each clip.
        chosen: the class that it was given.
        without: the class that it would be given without edges.
        moved: ``|l - l0|^2`` over its views.
        size: ``|l|^2`` over its views.

    **Shapes:** (M,) each, M at least 1

    Returns:
        ``top1_with``, ``top1_without``, ``changed`` (share of predictions that differ), ``relative_logits``, ``clips``; the
        clips that are right ``only_with`` and ``only_without`` edges, McNemar's ``p`` of them, and the paired bootstrap
        interval of ``top1_with - top1_without``, ``gain_low`` to ``gain_high``.
    """
    count, whole = len(labels), math.fsum(size.tolist())
    bare, whole_graph = (Answers(labels, found.long(), None, None, 0) for found in (without, chosen))
    gain, test = top1_difference(bare, whole_graph)
    return {
        "top1_with": int((chosen == labels).sum()) / count,
        "top1_without": int((without == labels).sum()) / count,
        "changed": int((chosen != without).sum()) / count,
        "relative_logits": math.sqrt(math.fsum(moved.tolist()) / whole) if whole else math.nan,
        "clips": count,
        "only_with": test.only_second,
        "only_without": test.only_first,
        "p": test.p,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }


class _Opened:
    """A clip of which not all views have come: their sums."""

    def __init__(self, average: Average, bare: bool):
        self.consensus = Consensus(average)
        self.without = Consensus(average) if bare else None
        self.moved = self.size = 0.0

    def add(self, logits: Tensor, bare: Tensor | None) -> None:
        """Adds a view. **Shapes:** (K,)"""
        self.consensus.add(logits[None])
        if self.without is not None:
            self.without.add(bare[None])
            kept = logits.double()
            self.moved += float((kept - bare.double()).square().sum())
            self.size += float(kept.square().sum())


@dataclass
class _Found:
    """What is known of the clips that are done, a row each, in the order in which they came."""

    bare: bool
    places: list[int] = field(default_factory=list)
    probabilities: list[Tensor] = field(default_factory=list)
    # loss; and where the graph's effect is measured: class without edges, |l - l0|^2, |l|^2
    figures: list[list[float]] = field(default_factory=list)

    def add(self, place: int, label: int, clip: _Opened) -> None:
        row = [clip.consensus.loss(label)]
        if self.bare:
            row += [int(predicted_classes(clip.without.probabilities[None])), clip.moved, clip.size]
        self.places.append(place)
        self.probabilities.append(clip.consensus.probabilities)
        self.figures.append(row)

    def tensors(self, classes: int) -> tuple[Tensor, Tensor, Tensor]:
        """**Shapes:** (M,) long, (M, K), (M, 1 or 4) double"""
        return (
            torch.tensor(self.places, dtype=torch.long),
            torch.stack(self.probabilities) if self.places else torch.empty(0, classes),
            torch.tensor(self.figures, dtype=torch.float64).view(len(self.places), 4 if self.bare else 1),
        )


def _answers(
    model: Recogniser | TokenView | Exported, batch: Batch, device: torch.device | str, tokens: list[Tensor] | None
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Index of the clip, logits (K,) and those without edges, for each view of a batch."""
    if not len(batch):
        return
    logits = model(batch.x.to(device)).logits.float().cpu()
    without: Sequence[Tensor | None] = [None] * len(logits)
    if tokens is not None:
        without = as_output(model.head(*tokens, topology=NoEdges()), model.head).logits.float().cpu()
    yield from zip(batch.index.tolist(), logits, without, strict=True)


@contextmanager
def _inputs_of(head: nn.Module) -> Iterator[list[Tensor]]:
    """The tokens that a head was given last, while the block runs: the model itself is called, and made once only."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        kept[:] = given[:1]

    hook = head.register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        hook.remove()


def _together(found: _Found, bad: dict[str, str], clips: ClipList, split: str) -> Scored:
    """The answer of all processes, in the order of the list, each clip once."""
    parts = distributed.all_gather((*found.tensors(len(clips.classes)), bad))
    bad = {name: reason for *_, mine in parts for name, reason in mine.items()}
    skipped = (
        [Skipped(clip.name, clip.path, split, bad[clip.name]) for clip in clips.clips if clip.name in bad]
        if bad
        else []
    )
    places, probabilities, figures = (torch.cat(column) for column in list(zip(*parts, strict=True))[:3])
    if not len(places):
        return Scored(None, float("nan"), skipped)
    places, order = places.sort(stable=True)
    # Processes that did not share the batches have all scored all clips.
    first = torch.cat([torch.tensor([True]), places[1:] != places[:-1]])
    places, order = places[first], order[first]
    probabilities, figures = probabilities[order], figures[order]
    seen = [clips[place] for place in places.tolist()]
    labels = torch.tensor([clip.label for clip in seen])
    predictions = Predictions(
        names=[clip.name for clip in seen],
        paths=[clip.path for clip in seen],
        labels=labels,
        probabilities=probabilities,
        classes=clips.classes,
    )
    effect = None
    if found.bare:
        effect = graph_effect(
            labels, predicted_classes(probabilities), figures[:, 1].long(), figures[:, 2], figures[:, 3]
        )
    return Scored(predictions, math.fsum(figures[:, 0].tolist()) / len(seen), skipped, effect)


def _repeated(places: Sequence[int]) -> set[int]:
    return {place for place, count in Counter(places).items() if count > 1}


def _hidden() -> bool | None:
    """Bars are for a terminal, and of one process."""
    return None if distributed.is_main_process() else True
