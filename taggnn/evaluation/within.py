"""Accuracy within groups of classes, such as the events and sets of FineGym: the choice among the classes of the true group.

Axes: M clips, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.metrics import checked, predicted_classes


@dataclass(frozen=True)
class Part:
    """One group: its classes, its clips, and how many of them are right.

    Args:
        name: of the group.
        classes: how many classes it has.
        clips: clips whose true class is in it.
        top1: share of them that are right among all classes; None without clips.
        within: share of them that are right among the classes of the group; None without clips.
        found: share of them that are taken for a class of the group; None without clips.
    """

    name: str
    classes: int
    clips: int
    top1: float | None
    within: float | None
    found: float | None


@dataclass(frozen=True)
class Within:
    """The accuracy within the groups of one kind.

    Args:
        kind: what the groups are: "event", "set".
        groups: how many of them occur.
        within: share of all clips that are right among the classes of their true group.
        interval: Wilson's 95 % interval of it.
        class_mean: mean over the classes that occur of that share.
        found: share of clips that are taken for a class of their true group.
        chance: ``within`` of a model that chooses among the classes of the group at random.
        parts: of each group, in the order of their first class.
    """

    kind: str
    groups: int
    within: float
    interval: tuple[float, float]
    class_mean: float
    found: float
    chance: float
    parts: list[Part]


def within(scores: Tensor, labels: Tensor, kind: str, group_of: Sequence[str]) -> Within:
    """The accuracy of a model that is given the group of the true class.

    Source: the element-level tasks of FineGym, https://arxiv.org/abs/2004.06704; there a model of its own is trained for each
    event and set, here the answers of one model for all classes are restricted [ours].
    Formula: ``argmax over k with group(k) = group(y) of score_k``.

    Args:
        scores: probabilities or logits.
        labels: true classes.
        kind: what the groups are.
        group_of: the group of each class, K of them.

    **Shapes:** scores (M, K), labels (M,)

    Raises:
        ValueError: not one group for each class, or as `taggnn.evaluation.metrics.summarise`.
    """
    scores, labels = checked(scores, labels)
    if len(group_of) != scores.shape[1]:
        raise ValueError(f"{kind}: {len(group_of)} groups are given for {scores.shape[1]} classes")
    names = list(dict.fromkeys(group_of))
    number = torch.tensor([names.index(name) for name in group_of], device=scores.device)
    own = number == number[labels, None]
    inside = predicted_classes(scores.double().masked_fill(~own, -torch.inf)) == labels
    chosen = predicted_classes(scores)
    right, found = chosen == labels, number[chosen] == number[labels]
    parts = []
    for index, name in enumerate(names):
        here = number[labels] == index
        shares = [_mean(value[here]) if here.any() else None for value in (right, inside, found)]
        parts.append(Part(name, int((number == index).sum()), int(here.sum()), *shares))
    of_class = [_mean(inside[labels == label]) for label in labels.unique().tolist()]
    share = _mean(inside)
    return Within(
        kind,
        groups=sum(part.clips > 0 for part in parts),
        within=share,
        interval=wilson(share, len(labels)),
        class_mean=sum(of_class) / len(of_class),
        found=_mean(found),
        chance=_mean(1 / own.sum(1).double()),
        parts=parts,
    )


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
