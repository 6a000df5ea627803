"""One pass of a trained model over a list of clips: probabilities, skipped clips, and the effect of the graph.

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
from taggnn.evaluation.calibration import expected_calibration_error
from taggnn.evaluation.intervals import Answers
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
        graph_effect: see ``graph_effect``; None where it was not measured.
        extras: names of the further results that the model returned (default: none).
        uncalibrated: "loss" and "ece" of the same clips at temperature 1; None where that is the temperature.
    """

    predictions: Predictions | None
    loss: float
    skipped: list[Skipped]
    graph_effect: dict[str, float | int] | None = None
    extras: frozenset[str] = frozenset()
    uncalibrated: dict[str, float] | None = None


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
    temperature: float = 1.0,
) -> Scored:
    """Classifies every clip of a list once, with a progress bar.

    Several processes may each bring their share of the batches; all of them must call it, and all get the same result, in which
    each clip counts once. All views of a clip must come in one process.

    Args:
        model: it is moved to ``device`` and put into evaluation mode; for stored tokens, what ``Recogniser.accepting`` gives.
        batches: of the list, as the data module's loaders make them; gone through once.
        clips: the list itself.
        split: its name, for the progress bar and the skipped clips.
        device: where to compute.
        graph_effect: call the head a second time without its edges, on the same tokens, and measure how much its output changes
            (default: no); not measured where the model has no head with a graph, such as an exported one.
        views: how many views of a clip the batches hold (default 1). A clip counts once it has had them all, and is left out
            where one of them cannot be read.
        average: how a clip's views are averaged, see ``Consensus``.
        temperature: divides the logits (default 1).

    Raises:
        ValueError: a clip came with more or fewer views, and none of them was bad.
    """
    model.to(device).eval()
    head = getattr(model, "head", None)
    bare = graph_effect and has_graph(head)
    opened: dict[int, _Opened] = {}
    found = _Found(bare)
    scaled = temperature != 1
    bad: dict[str, str] = {}
    extras: set[str] = set()
    bar = tqdm(desc=split, total=len(clips), unit="clip", file=sys.stderr, leave=False, disable=_hidden())
    with bar, _inputs_of(model) if bare else nullcontext() as tokens:
        for batch in batches:
            done = len(found.indices) + len(bad)
            bad |= {name: reason for name, _, reason in batch.skipped}
            for index, logits, without in _answers(model, batch, device, tokens, extras):
                clip = opened.setdefault(index, _Opened(average, bare, scaled))
                clip.add(logits, without, temperature)
                if clip.consensus.views == views:
                    found.add(index, clips[index].label, opened.pop(index))
            # The other processes are about as far as this one.
            bar.update(min((len(found.indices) + len(bad) - done) * distributed.world_size(), len(clips) - bar.n))
    repeated = [index for index, count in Counter(found.indices).items() if count > 1]
    uneven = {*(index for index in opened if clips[index].name not in bad), *repeated}
    if uneven:
        raise ValueError(
            f"score expects {views} views of a clip, and {clips[min(uneven)].name} came with more or fewer"
        )
    return _together(found, bad, extras, clips, split, scaled)


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
    """How much the graph of a trained head changes its output: the same weights with and without edges.

    Source: ours. The mean read-out of the released head nearly cancels its linear propagation; this measures whether that is
    the case. Formula: ``relative_logits = |l - l0| / |l|`` over all views of all clips, ``l0`` the logits without edges.

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
    bare, whole_graph = (Answers(labels, found.long(), None, 0) for found in (without, chosen))
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
    """Sums over the views of a clip that have come so far."""

    def __init__(self, average: Average, bare: bool, scaled: bool) -> None:
        self.consensus = Consensus(average)
        self.uncalibrated = Consensus(average) if scaled else self.consensus
        self.without = Consensus(average) if bare else None
        self.moved = self.size = 0.0

    def add(self, logits: Tensor, bare: Tensor | None, temperature: float) -> None:
        """Adds a view. **Shapes:** (K,)"""
        self.consensus.add(logits[None] / temperature)
        if self.uncalibrated is not self.consensus:
            self.uncalibrated.add(logits[None])
        if self.without is not None and bare is not None:
            self.without.add(bare[None] / temperature)
            whole = logits.double()
            self.moved += float((whole - bare.double()).square().sum())
            self.size += float(whole.square().sum())


@dataclass
class _Found:
    """The finished clips, a row each, in the order in which they came."""

    bare: bool
    indices: list[int] = field(default_factory=list)
    probabilities: list[Tensor] = field(default_factory=list)
    # loss; loss, confidence and correctness at temperature 1; and where the graph's effect is measured: class without edges,
    # |l - l0|^2, |l|^2
    figures: list[list[float]] = field(default_factory=list)

    def add(self, index: int, label: int, clip: _Opened) -> None:
        plain = clip.uncalibrated.probabilities
        best = int(predicted_classes(plain[None]))
        row = [clip.consensus.loss(label), clip.uncalibrated.loss(label), float(plain[best]), float(best == label)]
        if clip.without is not None:
            row += [int(predicted_classes(clip.without.probabilities[None])), clip.moved, clip.size]
        self.indices.append(index)
        self.probabilities.append(clip.consensus.probabilities)
        self.figures.append(row)

    def tensors(self, classes: int) -> tuple[Tensor, Tensor, Tensor]:
        """**Shapes:** (M,) long, (M, K), (M, 4 or 7) double"""
        return (
            torch.tensor(self.indices, dtype=torch.long),
            torch.stack(self.probabilities) if self.indices else torch.empty(0, classes),
            torch.tensor(self.figures, dtype=torch.float64).view(len(self.indices), 7 if self.bare else 4),
        )


def _answers(
    model: Recogniser | TokenView | Exported,
    batch: Batch,
    device: torch.device | str,
    tokens: list[Tensor] | None,
    extras: set[str],
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Index of the clip, logits (K,) and those without edges, for each view of a batch; adds the names of its extras."""
    if not len(batch):
        return
    output = model(batch.x.to(device))
    extras.update(output.extras)
    logits = output.logits.float().cpu()
    without: Sequence[Tensor | None] = [None] * len(logits)
    if tokens is not None:
        head = _head_of(model)
        without = list(as_output(head(*tokens, topology=NoEdges()), head).logits.float().cpu())
    yield from zip(batch.index.tolist(), logits, without, strict=True)


def _head_of(model: nn.Module) -> nn.Module:
    head = model.head
    assert isinstance(head, nn.Module)
    return head


@contextmanager
def _inputs_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """The tokens of the head's last call, while the block runs: the backbone computes them once for both calls."""
    tokens: list[Tensor] = []

    def store(_: nn.Module, given: tuple[Any, ...]) -> None:
        tokens[:] = given[:1]

    hook = _head_of(model).register_forward_pre_hook(store)
    try:
        yield tokens
    finally:
        hook.remove()


def _together(
    found: _Found, bad: dict[str, str], extras: set[str], clips: ClipList, split: str, scaled: bool
) -> Scored:
    """The results of all processes, in the order of the list, each clip once."""
    parts = distributed.all_gather((*found.tensors(len(clips.classes)), bad, extras))
    bad = {name: reason for *_, mine, _ in parts for name, reason in mine.items()}
    skipped = (
        [Skipped(clip.name, clip.path, split, bad[clip.name]) for clip in clips.clips if clip.name in bad]
        if bad
        else []
    )
    indices, probabilities, figures = (torch.cat(column) for column in list(zip(*parts, strict=True))[:3])
    if not len(indices):
        return Scored(None, float("nan"), skipped)
    indices, order = indices.sort(stable=True)
    # Processes that did not share the batches have all scored all clips.
    first = torch.cat([torch.tensor([True]), indices[1:] != indices[:-1]])
    indices, order = indices[first], order[first]
    probabilities, figures = probabilities[order], figures[order]
    seen = [clips[index] for index in indices.tolist()]
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
            labels, predicted_classes(probabilities), figures[:, 4].long(), figures[:, 5], figures[:, 6]
        )
    named = frozenset(name for *_, names in parts for name in names)
    uncalibrated = None
    if scaled:
        # In the precision of probabilities, which decides the bin.
        error = expected_calibration_error(figures[:, 2].float(), figures[:, 3].bool())
        uncalibrated = {"loss": math.fsum(figures[:, 1].tolist()) / len(seen), "ece": error}
    loss = math.fsum(figures[:, 0].tolist()) / len(seen)
    return Scored(predictions, loss, skipped, effect, named, uncalibrated)


def _hidden() -> bool | None:
    """Only the first process shows a bar, and only on a terminal."""
    return None if distributed.is_main_process() else True
