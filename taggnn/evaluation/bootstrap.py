"""How much a figure owes to the choice of clips: it is computed again and again on clips drawn from the same list.

Axes: M clips, K classes, N bins, R resamples, F sums that the figures are made of.

Source: Efron, https://doi.org/10.1214/aos/1176344552. A resample draws M clips out of the M, with replacement, whatever
their class: the mix of classes is as much a matter of chance as the clips are. A class of which a resample holds no clip
does not count in it, as a class without clips does not count in the figure itself. A figure that is the same in every
resample, such as an accuracy of 100 %, has an interval without width; see `taggnn.evaluation.metrics.wilson` for shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from taggnn.evaluation.calibration import BINS, are_probabilities, bin_of
from taggnn.evaluation.metrics import METRICS, in_best, mean_of, measure, predicted_classes

RESAMPLES = 2000
LEVEL = 0.95
# Figures whose resamples are written out below; for any other see `Answers.clipwise` and `Answers.given`.
_BY_SUMS = ("top1", "top5", "mca", "macro_f1", "ece")
# Weights held at one time, M of each resample: 64 MB of them.
_HELD = 8_000_000


@dataclass(frozen=True)
class Answers:
    """What the figures of one model depend on, clip by clip.

    Args:
        labels: true classes.
        predicted: classes chosen.
        in_best5: whether the true class is among the best five; ``None`` with five classes or fewer.
        confidence: probability of the class chosen; ``None`` where the scores are no probabilities.
        classes: K.
        clipwise: further figures that are means over clips, by name of `metrics.METRICS`: their value for each clip.
        given: scores and labels, for further figures that are no such means; ``None`` without any.

    **Shapes:** (M,) each; given (M, K), (M,)
    """

    labels: Tensor
    predicted: Tensor
    in_best5: Tensor | None
    confidence: Tensor | None
    classes: int
    clipwise: Mapping[str, Tensor] = field(default_factory=dict)
    given: tuple[Tensor, Tensor] | None = None

    @property
    def right(self) -> Tensor:
        """Whether the class chosen is the true one."""
        return self.labels == self.predicted


def answers(scores: Tensor, labels: Tensor) -> Answers:
    """Reads off scores what the figures depend on.

    **Shapes:** scores (M, K), labels (M,)

    Raises:
        ValueError: as `taggnn.evaluation.metrics.summarise`.
    """
    among_five = in_best(scores, labels, 5)
    further = [name for name, row in METRICS.items() if row.interval is not None and name not in _BY_SUMS]
    known = {name: measure(name, scores, labels) for name in further}
    return Answers(
        labels=labels.long(),
        predicted=predicted_classes(scores),
        in_best5=among_five if scores.shape[1] > 5 else None,
        confidence=scores.amax(dim=1) if are_probabilities(scores) else None,
        classes=scores.shape[1],
        clipwise={name: value for name, value in known.items() if isinstance(value, Tensor)},
        given=(scores, labels) if any(isinstance(value, float) for value in known.values()) else None,
    )


def resample(
    models: Sequence[Answers],
    groups: Mapping[str, Tensor] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Tensor]]:
    """The figures of each model in every resample; all models see the same clips, so that differences are paired.

    Args:
        models: answers to the same clips in the same order.
        groups: masks of classes by name; their mean class accuracy becomes ``mca <name>`` (default: none).
        resamples: R (default 2000).
        seed: of the draws (default 0).

    Returns:
        Of each model every figure of `metrics.METRICS` with an interval, as far as it has them, and of each group
        its ``mca``; NaN in a resample that has no clip of it.

    **Shapes:** groups (K,) bool, figures (R,)

    Raises:
        ValueError: fewer than 2 resamples, or models that answer to different clips.
    """
    if resamples < 2:
        raise ValueError(f"resamples {resamples}: an interval needs 2 or more")
    clips = len(models[0].labels)
    if any(not torch.equal(model.labels, models[0].labels) for model in models):
        raise ValueError("the models do not answer to the same clips: their labels differ")
    sums = [_Sums(model) for model in models]
    block = min(resamples, max(1, _HELD // clips))
    draw = torch.Generator().manual_seed(seed)
    found: list[list[dict[str, Tensor]]] = [[] for _ in models]
    for begin in range(0, resamples, block):
        weights = _weights(clips, min(block, resamples - begin), draw)
        for parts, model in zip(found, sums, strict=True):
            parts.append(model.figures(weights, groups or {}))
        for parts, model in zip(found, models, strict=True):
            parts[-1].update(_recomputed(model, weights))
    return [{key: torch.cat([part[key] for part in parts]) for key in parts[0]} for parts in found]


def interval(values: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval: what lies between, say, the lowest and the highest 2.5 % of the resamples.

    Args:
        values: the figure in each resample; resamples without it (NaN) do not count.
        level: share of the resamples inside (default 0.95).

    **Shapes:** values (R,)
    """
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = values.nanquantile(ends).tolist()
    return low, high


def interval_of_ece(model: Answers, estimate: float, values: Tensor, seed: int = 0) -> tuple[float, float]:
    """The interval of an expected calibration error, which is too high by chance, and still higher in resamples.

    Source: ours. The percentile interval reflected about the estimate, which takes off what resampling adds. Where a
    perfectly calibrated model of the same confidences would show as much in 1 of 20 sets of clips (consistency resampling,
    Bröcker and Smith, https://doi.org/10.1175/WAF993.1), the interval begins at 0; it always holds the estimate.

    Args:
        model: the answers, with confidences.
        estimate: their error.
        values: that of each resample.
        seed: of the draws (default 0).

    **Shapes:** values (R,)
    """
    low, high = interval(values)
    by_chance = calibrated_errors(model, len(values), seed).quantile(LEVEL).item()
    return 0.0 if estimate <= by_chance else max(0.0, 2 * estimate - high), max(2 * estimate - low, estimate)


def calibrated_errors(model: Answers, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """The calibration error that a model of the same confidences shows by chance if each of them is exactly right.

    Args:
        model: the answers, with confidences.
        resamples: R (default 2000).
        seed: of the draws (default 0).

    **Shapes:** -> (R,)
    """
    confidence, clips = model.confidence.double(), len(model.labels)
    place, draw = bin_of(model.confidence), torch.Generator().manual_seed(seed)
    ones = torch.ones(clips, dtype=torch.float64)
    bins = _sparse(place, torch.arange(clips), ones, (BINS, clips))
    block = max(1, _HELD // clips)
    found = []
    for begin in range(0, resamples, block):
        hits = torch.rand(clips, min(block, resamples - begin), generator=draw) < confidence[:, None]
        found.append(torch.sparse.mm(bins, hits.double() - confidence[:, None]).abs().sum(0) / clips)
    return torch.cat(found)


def _sparse(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, shape, check_invariants=True).coalesce()


def _weights(clips: int, resamples: int, draw: torch.Generator) -> Tensor:
    """How often each resample (column) holds each clip (row)."""
    drawn = torch.randint(clips, (clips, resamples), generator=draw)
    drawn.mul_(resamples).add_(torch.arange(resamples))
    return torch.bincount(drawn.view(-1), minlength=clips * resamples).view(clips, resamples).double()


def _recomputed(model: Answers, weights: Tensor) -> dict[str, Tensor]:
    """Figures that are no means over clips, computed again on the clips of each resample."""
    if model.given is None:
        return {}
    scores, labels = model.given
    names = [
        name for name, row in METRICS.items() if row.interval is not None and name not in (*_BY_SUMS, *model.clipwise)
    ]
    values: dict[str, list[float]] = {name: [] for name in names}
    for column in weights.T:
        drawn = torch.arange(len(labels)).repeat_interleave(column.long())
        for name in names:
            value = mean_of(name, measure(name, scores[drawn], labels[drawn]))
            values[name].append(float("nan") if value is None else value)
    return {name: torch.tensor(found, dtype=torch.float64) for name, found in values.items()}


class _Sums:
    """Every figure is made of sums over clips: one sparse matrix (F, M), times the weights (M, R), gives all of them."""

    def __init__(self, model: Answers) -> None:
        self.classes, clips = model.classes, len(model.labels)
        right, number = model.right, torch.arange(clips)
        # Name -> how many sums, the clips that add to them, which of them each adds to, and how much.
        parts = {
            "support": (model.classes, number, model.labels, None),
            "correct": (model.classes, number[right], model.labels[right], None),
            "predicted": (model.classes, number, model.predicted, None),
        }
        if model.in_best5 is not None:
            among = number[model.in_best5]
            parts["in_best5"] = (1, among, torch.zeros_like(among), None)
        if model.confidence is not None:
            gap = right.double() - model.confidence.double()
            parts["gaps"] = (BINS, number, bin_of(model.confidence), gap)
        self.clipwise = list(model.clipwise)
        for name, value in model.clipwise.items():
            parts[name] = (1, number, torch.zeros_like(number), value.double())
        self.places: dict[str, slice] = {}
        rows, columns, values, first = [], [], [], 0
        for name, (count, members, place, value) in parts.items():
            self.places[name] = slice(first, first + count)
            rows.append(place + first)
            columns.append(members)
            values.append(torch.ones(len(members), dtype=torch.float64) if value is None else value)
            first += count
        self.matrix = _sparse(torch.cat(rows), torch.cat(columns), torch.cat(values), (first, clips))

    def figures(self, weights: Tensor, groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sums = torch.sparse.mm(self.matrix, weights)
        part = {name: sums[place] for name, place in self.places.items()}
        clips = weights.shape[0]
        support, correct = part["support"], part["correct"]
        occurs = support > 0
        recall = correct / support.clamp(min=1)
        f1 = 2 * correct / (support + part["predicted"]).clamp(min=1)
        found = {"top1": correct.sum(0) / clips}
        if "in_best5" in part:
            found["top5"] = part["in_best5"][0] / clips
        # A class that does not occur has no correct clip, so that it adds nothing to either sum.
        found["mca"] = recall.sum(0) / occurs.sum(0)
        found["macro_f1"] = f1.sum(0) / occurs.sum(0)
        if "gaps" in part:
            found["ece"] = part["gaps"].abs().sum(0) / clips
        for name in self.clipwise:
            found[name] = part[name][0] / clips
        for name, mask in groups.items():
            found[f"mca {name}"] = recall[mask].sum(0) / occurs[mask].sum(0)
        return found
