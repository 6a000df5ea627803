"""The clips that several files of predictions share, found by name and checked by class.

Axes: M clips of a file, S clips that all files share, K classes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from taggnn.evaluation.intervals import Answers, answers
from taggnn.evaluation.metrics import Scores, summarise
from taggnn.evaluation.predictions import Predictions

# How many names a message lists.
NAMED = 3
# The ending of a file's name, before a cut if there is one.
_ENDING = re.compile(r"\.\w+(?=$| \[[^\[\]]*\)$)")


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


@dataclass(frozen=True)
class Aligned:
    """The probabilities of every model for the clips that all of them have, clips and classes in the first file's order.

    Args:
        names: of the clips, S of them.
        paths: file of each clip, as the first model has it.
        classes: class names, K of them.
        labels: true class of each clip.
        probabilities: of each model.
        left_out: names of the clips of each file that are not in every file.
        notes: sentences about clips that were left out, and how names were matched.
        key: what names are compared by.

    **Shapes:** labels (S,) long, probabilities (S, K) each
    """

    names: list[str]
    paths: list[str]
    classes: list[str]
    labels: Tensor
    probabilities: list[Tensor]
    left_out: list[list[str]]
    notes: list[str]
    key: Callable[[str], str]


@dataclass(frozen=True)
class _Common:
    """The rows of the common clips in each file, and the first file's number of each of its classes."""

    rows: list[Tensor]
    orders: list[Tensor]
    left_out: list[list[str]]
    notes: list[str]
    key: Callable[[str], str]


def matched(files: Sequence[Predictions], sources: Sequence[str]) -> Matched:
    """Finds the clips that all files have, and what each model answers to them.

    Clips are the same whose names are equal. Where files have no name in common, as of an RGB video and its skeleton, names are
    compared without the ending of the file, then without its folders as well; a note reports it.

    Args:
        files: predictions, two files or more.
        sources: what to call each of them in messages.

    Raises:
        ValueError: other classes, a name of two clips, no common clip, or one of another class; names the file.
    """
    common = _common(files, sources)
    models: list[Answers] = []
    scores = []
    for file, row, order in zip(files, common.rows, common.orders, strict=True):
        probabilities, labels = file.probabilities[row], file.labels[row]
        own = answers(probabilities, labels)
        # Ties are decided in the file's own order of classes, as they were when it was written.
        models.append(replace(own, labels=order[own.labels], predicted=order[own.predicted]))
        scores.append(summarise(probabilities, labels))
    names = [files[0].names[row] for row in common.rows[0].tolist()]
    return Matched(names, list(files[0].classes), models, scores, common.notes)


def aligned(files: Sequence[Predictions], sources: Sequence[str]) -> Aligned:
    """The probabilities of the clips that all files have, found as `matched` finds them.

    Args:
        files: predictions, two files or more.
        sources: what to call each of them in messages.

    Raises:
        ValueError: as `matched`.
    """
    common, first = _common(files, sources), files[0]
    rows = common.rows[0].tolist()
    tables = [
        file.probabilities[row][:, order.argsort()]
        for file, row, order in zip(files, common.rows, common.orders, strict=True)
    ]
    return Aligned(
        names=[first.names[row] for row in rows],
        paths=[first.paths[row] for row in rows],
        classes=list(first.classes),
        labels=first.labels[common.rows[0]],
        probabilities=tables,
        left_out=common.left_out,
        notes=common.notes,
        key=common.key,
    )


def _common(files: Sequence[Predictions], sources: Sequence[str]) -> _Common:
    first = files[0]
    for file, source in zip(files, sources, strict=True):
        _check_names(file, source)
    orders = [torch.arange(len(first.classes))]
    orders += [_order(file, source, first, sources[0]) for file, source in zip(files[1:], sources[1:], strict=True)]
    for key in KEYS.values():
        indices = [{key(name): row for row, name in enumerate(file.names)} for file in files]
        common = [name for name in map(key, first.names) if all(name in index for index in indices)]
        # A shortened name that stands for several clips of one file decides nothing.
        if common and all(len(index) == len(file.names) for index, file in zip(indices, files, strict=True)):
            break
    else:
        key = KEYS["name"]
        indices = [{key(name): row for row, name in enumerate(file.names)} for file in files]
        odd = next((n for n, index in enumerate(indices) if not any(name in index for name in first.names)), 1)
        raise ValueError(
            f"{sources[0]} and {sources[odd]} have no clip in common, by name: the first is {first.names[0]!r} in one and "
            f"{files[odd].names[0]!r} in the other; evaluate both on the same list"
        )
    rows = [torch.tensor([index[name] for name in common]) for index in indices]
    notes = [
        f"clips are matched by {kind}: {first.names[int(rows[0][0])]!r} is {files[1].names[int(rows[1][0])]!r}"
        for kind, each in KEYS.items()
        if each is key and kind != "name"
    ]
    wanted = first.labels[rows[0]]
    for file, row, order, source in zip(files[1:], rows[1:], orders[1:], sources[1:], strict=True):
        names = [file.names[number] for number in row.tolist()]
        _check_labels(order[file.labels[row]], wanted, names, first.classes, source, sources[0])
    kept = set(common)
    left_out = [[name for name in file.names if key(name) not in kept] for file in files]
    notes += [
        f"{source}: {len(out):,} of its {len(file.names):,} clips are not in every file and are left out: {_some(out)}"
        for file, source, out in zip(files, sources, left_out, strict=True)
        if out
    ]
    return _Common(rows, orders, left_out, notes, key)


def _without_ending(name: str) -> str:
    """ "walk/a.mp4 [0.0, 2.5)" -> "walk/a [0.0, 2.5)" """
    return _ENDING.sub("", name)


# What names are compared by, the strictest first.
KEYS: dict[str, Callable[[str], str]] = {
    "name": lambda name: name,
    "name without the file's ending": _without_ending,
    "name without folders and the file's ending": lambda name: _without_ending(name).rpartition("/")[2],
}


def _check_names(file: Predictions, source: str) -> None:
    if not file.names:
        raise ValueError(f"{source}: no clip in it")
    last = {name: index for index, name in enumerate(file.names)}
    if len(last) < len(file.names):
        twice = list(dict.fromkeys(name for index, name in enumerate(file.names) if last[name] != index))
        names = "1 name" if len(twice) == 1 else f"{len(twice)} names"
        raise ValueError(f"{source}: {names} of several clips: {_some(twice)}")


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
