"""NTU RGB+D 60 and 120, skeletons of three Kinects.

Papers: https://arxiv.org/abs/1604.02808, https://arxiv.org/abs/1905.04757. Files, at any depth below the root, either as
published, one for each clip, such as ``S001C002P003R002A013.skeleton`` (setup 1, camera 2, performer 3, repetition 2, action 13,
which is label 12), or one of pyskl's pickles:

    ntu60_3danno.pkl, ntu120_3danno.pkl   three coordinates, 25 joints      versions xsub, xview, xset
    ntu60_hrnet.pkl, ntu120_hrnet.pkl     2-D in pixels, 17 joints of COCO  versions xsub_2d, xview_2d, xset_2d

    xsub    20 (of 40) and 53 (of 106) performers train, the others test
    xview   cameras 2 and 3 train, camera 1 tests
    xset    even setups train, odd ones test

There is no split for choosing: a part of train is held out. 302 and 535 published files have no usable body. If their list,
``NTU_RGBD_samples_with_missing_skeletons.txt`` or ``NTU_RGBD120_samples_with_missing_skeletons.txt``, lies below the folder of
annotations (by default the root), they are left out; else they are found when they are read.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from taggnn.data.clips import Row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes, whole_clip
from taggnn.data.published.ntu_actions import ACTIONS
from taggnn.data.published.pickled import find_pickle, listings
from taggnn.data.published.text import lines
from taggnn.data.skeleton.formats.pyskl import ENDINGS

STEM = re.compile(r"S(?P<S>\d{3})C(?P<C>\d{3})P(?P<P>\d{3})R(?P<R>\d{3})A(?P<A>\d{3})")
_PERFORMERS_60 = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
_PERFORMERS_120 = _PERFORMERS_60 | {
    *(45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103)
}
_TWO_DIMENSIONS = "_2d"


class _Set(NamedTuple):
    """60 or 120: its actions and training performers, the published lists of files without a body, and pickles."""

    actions: int
    performers: frozenset[int]
    missing: tuple[str, ...]
    three: str
    two: str


_SETS = {
    "ntu60": _Set(
        60,
        _PERFORMERS_60,
        ("NTU_RGBD_samples_with_missing_skeletons.txt", "NTU_RGBD120_samples_with_missing_skeletons.txt"),
        "ntu60_3danno.pkl",
        "ntu60_hrnet.pkl",
    ),
    "ntu120": _Set(
        120,
        _PERFORMERS_120,
        ("NTU_RGBD120_samples_with_missing_skeletons.txt",),
        "ntu120_3danno.pkl",
        "ntu120_hrnet.pkl",
    ),
}


def read(request: Request, name: str) -> Lists:
    """Reads the rows of ntu60 or ntu120.

    Raises:
        FileNotFoundError: there is neither a ``.skeleton`` file nor a pickle.
        ValueError: a pickle has an unexpected format.
    """
    index, known = request.index, _SETS[name]
    names = matched_classes(request.classes, ACTIONS[: known.actions], name)
    rule, two = request.version.removesuffix(_TWO_DIMENSIONS), request.version.endswith(_TWO_DIMENSIONS)
    stems = [] if two else [stem for stem in index.stems() if STEM.fullmatch(stem)]
    if stems:
        return _by_name(request, name, rule, stems, names)
    wanted = known.two if two else known.three
    file = find_pickle(index, wanted)
    if file is None:
        raw = "" if two else "S001C001P001R001A001.skeleton nor "
        raise FileNotFoundError(f"{name}: neither {raw}{wanted} below {index.root}; {index.describe()}")
    keys = {"train": (f"{rule}_train",), "test": (f"{rule}_val", f"{rule}_test")}
    return Lists(names, listings(request, file, keys, known.actions, label_of), (f"{name}: clips of {file}",))


def label_of(stem: str) -> int | None:
    """The label in the name of a clip; None for another name."""
    match = STEM.fullmatch(stem)
    return int(match["A"]) - 1 if match else None


def _by_name(request: Request, name: str, rule: str, stems: list[str], names: tuple[str, ...]) -> Lists:
    known, notes = _SETS[name], []
    missing, source = _without_body(request, known.missing)
    trains = _rule(rule, known)
    rows: dict[str, list[Row]] = {split: [] for split in request.splits}
    others = left_out = 0
    for stem in stems:
        match = STEM.fullmatch(stem)
        assert match is not None
        label = int(match["A"]) - 1
        if not 0 <= label < known.actions:
            others += 1
        elif stem in missing:
            left_out += 1
        elif (split := "train" if trains(match) else "test") in rows:
            rows[split].append(whole_clip(0, stem, label, request.index.clip(stem)))
    if left_out:
        notes.append(f"{name}: files without a usable body, left out by {source}: {left_out:,}")
    elif source is None:
        notes.append(
            f"{name}: no {known.missing[0]} below {request.index.annotations}: files without a usable body are found when they "
            "are read"
        )
    if others:
        notes.append(f"{name}: files of other actions than 1 to {known.actions}, left out: {others:,}")
    return Lists(
        names, {split: Listing(f"{name} {rule}, {split}", found) for split, found in rows.items()}, tuple(notes)
    )


def _rule(rule: str, known: _Set) -> Callable[[re.Match[str]], bool]:
    """Whether the clip of a name is for training."""
    if rule == "xview":
        return lambda match: int(match["C"]) in (2, 3)
    if rule == "xset":
        return lambda match: int(match["S"]) % 2 == 0
    return lambda match: int(match["P"]) in known.performers


def _without_body(request: Request, names: tuple[str, ...]) -> tuple[frozenset[str], Path | None]:
    """The names in the published list of files without a usable body, and that list."""
    file = request.index.file(*names)
    if file is None:
        return frozenset(), None
    # Sentences come before the names.
    return frozenset(text for _, text in lines(file) if STEM.fullmatch(text)), file


def _published(name: str, title: str, paper: str, counts: dict[str, tuple[int, int]]) -> Published:
    versions = (*counts, *(f"{rule}{_TWO_DIMENSIONS}" for rule in counts))
    return Published(
        title=title,
        paper=paper,
        versions=versions,
        splits=("train", "test"),
        read=lambda request: read(request, name),
        counts={rule: {"train": train, "test": test} for rule, (train, test) in counts.items()},
        classes=dict.fromkeys(versions, _SETS[name].actions),
        endings=(".skeleton", *ENDINGS),
    )


# Without the files that have no usable body.
NTU60 = _published(
    "ntu60", "NTU RGB+D 60", "https://arxiv.org/abs/1604.02808", {"xsub": (40_091, 16_487), "xview": (37_646, 18_932)}
)
NTU120 = _published(
    "ntu120", "NTU RGB+D 120", "https://arxiv.org/abs/1905.04757", {"xsub": (63_026, 50_919), "xset": (54_468, 59_477)}
)
