"""Several ways of training, each with several seeds, on the same clips: means, spreads, differences to a reference.

Axes: S seeds, M clips.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from taggnn.evaluation.confusions import accuracy_on_pairs, most_confused
from taggnn.evaluation.intervals import Answers
from taggnn.evaluation.matching import Matched, matched
from taggnn.evaluation.metrics import METRICS
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.seeds import OverSeeds, difference_over_seeds, interval_over_seeds, over_seeds
from taggnn.evaluation.significance import Difference


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Args:
        name: of the variant.
        seeds: of its runs, S of them.
        clips: M, those that all variants on the same data have.
        accuracy: top-1 over the seeds.
        of_seeds: top-1 of each seed.
        figures: further headline figures of `taggnn.evaluation.metrics.METRICS` by name: mean over the seeds.
        confused: mean accuracy on the clips of the most confused classes; None without any.
        reference: the variant that it is compared with; None for a reference itself.
        difference: accuracy minus that of the reference, with an interval over clips and seeds; None where there is none.
        paired: the seeds that both have, of which the difference is.
        interval: 95 % interval of the mean accuracy, over clips and seeds.
        groups: number of groups of clips, which the intervals draw instead of clips; 0 without groups.
    """

    name: str
    seeds: list[int]
    clips: int
    accuracy: OverSeeds
    of_seeds: list[float]
    figures: dict[str, float]
    confused: float | None
    reference: str | None = None
    difference: Difference | None = None
    paired: list[int] = field(default_factory=list)
    interval: tuple[float, float] | None = None
    groups: int = 0

    @property
    def over_seeds(self) -> bool:
        """Whether the interval knows how much seeds differ; of one seed it is over the clips only."""
        return len(self.paired) > 1


@dataclass(frozen=True)
class Variants:
    """All of them, in their order.

    Args:
        rows: the variants with a finished run.
        reference: what the others on the same data are compared with.
        confused_classes: how many classes are most often confused, of the reference's data.
        notes: sentences about clips that were left out, and other data.
    """

    rows: list[Variant]
    reference: str
    confused_classes: int
    notes: list[str]


def variants_of(
    runs: Mapping[str, Mapping[int, Predictions]],
    reference: str,
    alike: Mapping[str, Mapping[str, str]] | None = None,
    groups: Mapping[str, str] | None = None,
) -> Variants:
    """Compares ways of training with a reference, on the clips that all their runs share.

    Variants on other data, with other classes or without a clip in common, form groups of their own; in each the reference is the
    variant that shares most values with the reference, the first of several.

    Args:
        runs: variant -> seed -> its predictions.
        reference: what the others are compared with.
        alike: variant -> key -> value, by which a reference is chosen on other data (default: the first one).
        groups: name of a clip -> its group, such as the speaker; intervals then draw groups (default: they draw clips).

    Raises:
        ValueError: the reference has no run.
    """
    if not runs.get(reference):
        raise ValueError(f"no finished run of {reference!r}, which the others are compared with")
    data, notes, rows = _groups(runs, reference), list[str](), dict[str, Variant]()
    confused_classes = 0
    for number, (names, both) in enumerate(data):
        of_clips = _numbered(both.names, groups or {})
        if groups and of_clips is None:
            notes.append(
                "some clips are of no known group: intervals are over clips, as if each were independent of the others"
            )
        answers = iter(both.answers)
        models = {name: {seed: next(answers) for seed in runs[name]} for name in names}
        notes += both.notes
        own = reference if not number else _nearest(names, reference, alike or {})
        if number:
            notes.append(f"{', '.join(names)}: on other clips or classes, compared with {own}")
        # Of all variants together, so that none is favoured.
        pairs = most_confused([model for of_name in models.values() for model in of_name.values()])
        if not number:
            confused_classes = len({label for pair in pairs for label in pair})
        scores = iter(both.scores)
        for name in names:
            of_name = list(models[name].values())
            figures = [next(scores).figures for _ in of_name]
            shares = [accuracy_on_pairs(model, pairs) for model in of_name]
            rows[name] = Variant(
                name=name,
                seeds=list(models[name]),
                clips=len(both.names),
                accuracy=over_seeds(of_name),
                of_seeds=[model.right.double().mean().item() for model in of_name],
                figures=_means(figures),
                confused=_mean([share[0] for share in shares if share]) if all(shares) else None,
                interval=interval_over_seeds(of_name, of_clips),
                groups=0 if of_clips is None else int(of_clips.max()) + 1,
                **({} if name == own else _against(models[name], models[own], own, of_clips)),
            )
    return Variants([rows[name] for name in runs if name in rows], reference, confused_classes, notes)


def _numbered(names: Sequence[str], groups: Mapping[str, str]) -> Tensor | None:
    """The number of the group of each clip; None where one has none."""
    if not all(name in groups for name in names):
        return None
    order = {group: number for number, group in enumerate(sorted({groups[name] for name in names}))}
    return torch.tensor([order[groups[name]] for name in names], dtype=torch.long)


def _against(
    models: Mapping[int, Answers], reference: Mapping[int, Answers], name: str, groups: Tensor | None
) -> dict[str, Any]:
    paired = [seed for seed in models if seed in reference]
    if not paired:
        return {"reference": name}
    first, second = ([side[seed] for seed in paired] for side in (reference, models))
    return {"reference": name, "difference": difference_over_seeds(first, second, groups=groups), "paired": paired}


def _groups(runs: Mapping[str, Mapping[int, Predictions]], reference: str) -> list[tuple[list[str], Matched]]:
    """The variants on the same data, that of the reference first; each variant joins the first group that it fits."""
    groups: list[list[str]] = []
    for name in [reference, *(name for name in runs if name != reference)]:
        if not runs[name]:
            continue
        for group in groups:
            try:
                _matched({each: runs[each] for each in (group[0], name)})
            except ValueError:
                continue
            group.append(name)
            break
        else:
            groups.append([name])
    order = {name: number for number, name in enumerate(runs)}
    return [
        (names, _matched({name: runs[name] for name in names}))
        for names in (sorted(group, key=order.__getitem__) for group in groups)
    ]


def _matched(runs: Mapping[str, Mapping[int, Predictions]]) -> Matched:
    every = {f"{name}, seed {seed}": one for name, of_name in runs.items() for seed, one in of_name.items()}
    return matched(list(every.values()), list(every))


def _nearest(names: Sequence[str], reference: str, alike: Mapping[str, Mapping[str, str]]) -> str:
    wanted = alike.get(reference, {})
    shared = {name: sum(wanted.get(key) == value for key, value in alike.get(name, {}).items()) for name in names}
    return max(names, key=lambda name: shared[name])


def _means(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    found = {}
    for key, metric in METRICS.items():
        values = [row.get(key) for row in rows]
        if metric.headline and all(value is not None and not math.isnan(value) for value in values):
            found[key] = _mean([value for value in values if value is not None])
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
