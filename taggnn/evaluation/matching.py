"""The clips that several files of predictions share, found by name and checked by class.

Axes: M clips of a file, S clips that all files share, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from taggnn.evaluation.intervals import Answers, answers
from taggnn.evaluation.metrics import Scores, summarise
from taggnn.evaluation.predictions import Predictions

# How many names a message lists.
NAMED = 3


@dataclass(frozen=True)
class Matched:
    """The predictions of every model for the same clips, in the order of the first file.

    Args:
        names: of the clips, S of them.
        classes: class names in the first file's order, K of them.
        answers: of each model, classes numbered as in the first file.
        scores: of each model, on these clips alone.
        notes: sentences about clips that were left out.
    """

    names: list[str]
    classes: list[str]
    answers: list[Answers]
    scores: list[Scores]
    notes: list[str]


def matched(files: Sequence[Predictions], sources: Sequence[str]) -> Matched:
    """Finds the clips that all files have.

    Args:
        files: predictions, two files or more.
        sources: what to call each of them in messages.

    Raises:
        ValueError: other classes, a name of two clips, no common clip, or one of another class; names the file.
    """
    first = files[0]
    indices = [_indices(file, source) for file, source in zip(files, sources, strict=True)]
    orders = [_order(file, source, first, sources[0]) for file, source in zip(files[1:], sources[1:], strict=True)]
    common = [name for name in first.names if all(name in index for index in indices)]
    if not common:
        odd = next(number for number, index in enumerate(indices) if not any(name in index for name in first.names))
        raise ValueError(
            f"{sources[0]} and {sources[odd]} have no clip in common, by name: the first is {first.names[0]!r} in one and "
            f"{files[odd].names[0]!r} in the other; evaluate both on the same list"
        )
    rows = [torch.tensor([index[name] for name in common]) for index in indices]
    models: list[Answers] = []
    scores = []
    for file, row, order in zip(files, rows, [torch.arange(len(first.classes)), *orders], strict=True):
        probabilities, labels = file.probabilities[row], file.labels[row]
        own = answers(probabilities, labels)
        # Ties are decided in the file's own order of classes, as they were when it was written.
        models.append(replace(own, labels=order[own.labels], predicted=order[own.predicted]))
        scores.append(summarise(probabilities, labels))
    for one, source in zip(models[1:], sources[1:], strict=True):
        _check_labels(one.labels, models[0].labels, common, first.classes, source, sources[0])
    notes = [
        f"{source}: {len(file.names) - len(common):,} of its {len(file.names):,} clips are not in every file and are left out"
        for file, source in zip(files, sources, strict=True)
        if len(file.names) > len(common)
    ]
    return Matched(common, list(first.classes), models, scores, notes)


def _indices(file: Predictions, source: str) -> dict[str, int]:
    if not file.names:
        raise ValueError(f"{source}: no clip in it")
    last = {name: index for index, name in enumerate(file.names)}
    if len(last) < len(file.names):
        twice = list(dict.fromkeys(name for index, name in enumerate(file.names) if last[name] != index))
        names = "1 name" if len(twice) == 1 else f"{len(twice)} names"
        raise ValueError(f"{source}: {names} of several clips: {_some(twice)}")
    return last


def _order(file: Predictions, source: str, first: Predictions, against: str) -> Tensor:
    """The first file's number of each class of this file."""
    theirs = {name: number for number, name in enumerate(first.classes)}
    for classes, where in ((first.classes, against), (file.classes, source)):
        if len(set(classes)) < len(classes):
            raise ValueError(f"{where}: several classes have the same name, so that they cannot be matched")
    if set(file.classes) != set(theirs):
        only = [f"only in {source}: {_some([name for name in file.classes if name not in theirs])}"]
        only += [f"only in {against}: {_some([name for name in first.classes if name not in set(file.classes)])}"]
        raise ValueError(f"other classes: {'; '.join(one for one in only if not one.endswith(': '))}")
    return torch.tensor([theirs[name] for name in file.classes])


def _check_labels(
    labels: Tensor, wanted: Tensor, names: Sequence[str], classes: Sequence[str], source: str, against: str
) -> None:
    wrong = (labels != wanted).nonzero().flatten().tolist()
    if wrong:
        clip = wrong[0]
        other, own = classes[int(labels[clip])], classes[int(wanted[clip])]
        raise ValueError(
            f"{len(wrong):,} of {len(names):,} clips have another true class in {source} than in {against}, the first "
            f"{names[clip]!r}: {other!r} and {own!r}; compare models on the same labels"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:NAMED])) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
