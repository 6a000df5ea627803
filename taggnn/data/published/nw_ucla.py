"""Northwestern-UCLA (NW-UCLA), skeletons of three cameras.

Paper: https://arxiv.org/abs/1405.2941. Files as published for CTR-GCN, one for each sequence, at any depth below the root:
``all_sqe/a01_s01_e00_v01.json`` = action 1, subject 1, repetition 0, camera 1, with ``skeletons`` (T, 20, 3). The actions are
numbered 1 2 3 4 5 6 8 9 11 12.

Cross-view: cameras 1 and 2 train, camera 3 tests, 1,020 / 464 sequences. If ``split.json`` with
``{"train": [{"file_name": .., "label": ..}, ..], "val": [..]}`` and labels from 1 lies below the folder of annotations (by
default the root), its rows are read; else the rule is applied to the existing files. Its "val" (or "test") is camera 3, the
test: there is no split for choosing, for which a part of train is held out.

In the files as they are shared for CTR-GCN every sequence of actions 2 and 3 from camera 2, 95 of them, has the coordinates of
the one from camera 3: a fifth of the test is in train. Version ``xview`` is the published split; ``xview_unique`` leaves these
sequences out of train [ours].
"""

import re
from pathlib import Path
from typing import Any

from taggnn.data.clips import Clip, Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes, whole_clip
from taggnn.data.published.text import json_in
from taggnn.data.skeleton.formats import json_text

STEM = re.compile(r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<repetition>\d\d)_v(?P<camera>\d\d)")
CLASSES = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
_LABELS = {action: label for label, action in enumerate(CLASSES)}
# Of a split in split.json; the published one calls the test "val".
KEYS = {"train": ("train",), "test": ("test", "val")}
UNIQUE = "xview_unique"
CAMERAS = {"train": (1, 2), "test": (3,)}


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: there is neither a list nor a sequence.
        ValueError: the list has an unexpected format.
    """
    names = matched_classes(request.classes, tuple(CLASSES.values()), "nw_ucla")
    unique = request.version == UNIQUE
    splits = _listings(request, tuple(CAMERAS) if unique else request.splits)
    notes = [_leave_out_copies(splits)] if unique else []
    return Lists(names, {split: splits[split] for split in request.splits}, tuple(notes))


def _listings(request: Request, wanted: tuple[str, ...]) -> dict[str, Listing]:
    file = request.index.file("split.json")
    if file is not None:
        content = json_in(file, dict)
        return {split: Listing(file, _listed(request, file, content, split)) for split in wanted}
    stems = [stem for stem in request.index.stems() if STEM.fullmatch(stem)]
    if not stems:
        raise FileNotFoundError(
            f"nw_ucla: no sequence such as a01_s01_e00_v01.json below {request.index.root}; {request.index.describe()}"
        )
    rule = "nw_ucla, cameras {} by the names of the files"
    return {
        split: Listing(rule.format(" and ".join(map(str, CAMERAS[split]))), _by_name(request, stems, split))
        for split in wanted
    }


def _leave_out_copies(splits: dict[str, Listing]) -> str:
    """Takes the sequences out of train whose coordinates the test has too; returns a sentence about them."""
    test = {_coordinates(row) for row in splits["test"].rows} - {None}
    kept = [row for row in splits["train"].rows if _coordinates(row) not in test]
    copies = len(splits["train"].rows) - len(kept)
    splits["train"] = Listing(splits["train"].source, kept)
    return f"nw_ucla: sequences of train with the coordinates of one of the test, left out: {copies:,}"


def _coordinates(row: Row) -> bytes | None:
    """What is equal for equal sequences; None for one that is missing or cannot be read, which is reported elsewhere."""
    try:
        found = json_text.read(Clip(str(row.paths[0]), row.label, row.given)) if row.paths else None
    except (OSError, ValueError):
        return None
    return None if found is None else found.coordinates.tobytes()


def _listed(request: Request, file: Path, content: dict[str, Any], split: str) -> list[Row]:
    key = next((key for key in KEYS[split] if key in content), KEYS[split][0])
    entries = content.get(key)
    if not isinstance(entries, list):
        raise ValueError(f"{file}, key {key}: expected a list of sequences, found {entries!r:.60}")
    rows = []
    for line, entry in enumerate(entries, start=1):
        given = str(entry.get("file_name")) if isinstance(entry, dict) else str(entry)
        with each_row(request.problems, file, line, given):
            where = f"{file}, {key}, row {line}"
            match, label = STEM.fullmatch(given), entry.get("label") if isinstance(entry, dict) else None
            if match is None or type(label) is not int or int(match["action"]) not in _LABELS:
                message = f"expected a file_name such as a01_s01_e00_v01 and a label, found {entry!r:.80}"
                raise RowError("malformed", where, message)
            own = _LABELS[int(match["action"])]
            if label != own + 1:
                message = f"the label of {given} is {label} here, and {own + 1} by its name"
                raise RowError("mislabelled", where, message)
            rows.append(whole_clip(line, given, own, request.index.clip(given)))
    return rows


def _by_name(request: Request, stems: list[str], split: str) -> list[Row]:
    rows = []
    for stem in stems:
        match = STEM.fullmatch(stem)
        assert match is not None
        if int(match["camera"]) not in CAMERAS[split]:
            continue
        with each_row(request.problems, request.index.root, 0, stem):
            action = int(match["action"])
            if action not in _LABELS:
                message = f"{stem}: action {action} is none of {', '.join(map(str, _LABELS))}"
                raise RowError("malformed", str(request.index.root), message)
            rows.append(whole_clip(0, stem, _LABELS[action], request.index.clip(stem)))
    return rows


NW_UCLA = Published(
    title="NW-UCLA",
    paper="https://arxiv.org/abs/1405.2941",
    versions=("xview", UNIQUE),
    splits=("train", "test"),
    read=read,
    counts={"xview": {"train": 1_020, "test": 464}, UNIQUE: {"train": 925, "test": 464}},
    classes=dict.fromkeys(("xview", UNIQUE), len(CLASSES)),
    endings=(".json",),
)
