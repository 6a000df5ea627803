"""Something-Something V2.

Paper: https://arxiv.org/abs/1706.04261. Files, anywhere below the folder of annotations (by default the root), under either
of their published names:

    something-something-v2-train.json | train.json             rows {"id": "78687", "template": "Holding [something] ..", ..}
    something-something-v2-validation.json | validation.json   likewise
    something-something-v2-labels.json | labels.json           {"Holding something ..": "0", ..}

and the clips ``<id>.webm`` (published as ``20bn-something-something-v2/``) at any depth below the root, each shown whole.
168,913 / 24,777 clips of 174 classes. A row's class is its template without brackets. The test list has no labels.
"""

from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes, whole_clip
from taggnn.data.published.text import json_in

LISTS = {"train": "train", "val": "validation"}


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: if a list or the labels are not there.
        ValueError: if a file has an unexpected format.
    """
    files = {split: _file(request, LISTS[split]) for split in request.splits}
    source = _file(request, "labels")
    label_of: dict[str, int] = {}
    for name, number in json_in(source, dict).items():
        if not str(number).isdecimal():
            raise ValueError(f"{source}: the label of {name!r} is {number!r}, not a class number")
        label_of[name] = int(number)
    if sorted(label_of.values()) != list(range(len(label_of))):
        raise ValueError(f"{source}: the labels are not the numbers 0 to {len(label_of) - 1}, each once")
    names = matched_classes(request.classes, sorted(label_of, key=label_of.__getitem__), source)
    return Lists(names, {split: Listing(file, _rows(request, file, label_of)) for split, file in files.items()})


def _file(request: Request, what: str) -> Path:
    return request.index.require("ssv2", f"something-something-v2-{what}.json", f"{what}.json")


def _rows(request: Request, file: Path, label_of: dict[str, int]) -> list[Row]:
    rows = []
    for line, entry in enumerate(json_in(file, list), start=1):
        given = str(entry.get("id")) if isinstance(entry, dict) else str(entry)
        with each_row(request.problems, file, line, given):
            # An id is a text of digits, or a number.
            valid = isinstance(entry, dict) and type(entry.get("id")) in (str, int)
            if not valid or not isinstance(entry.get("template"), str):
                raise RowError("malformed", f"{file}, row {line}", f"expected an id and a template, found {entry!r}")
            template = entry["template"].replace("[", "").replace("]", "")
            if template not in label_of:
                raise RowError("mislabelled", f"{file}, row {line}", f"the template {template!r} has no label")
            rows.append(whole_clip(line, given, label_of[template], request.index.clip(given)))
    return rows


SSV2 = Published(
    title="Something-Something V2",
    paper="https://arxiv.org/abs/1706.04261",
    versions=("v2",),
    splits=("train", "val"),
    read=read,
    counts={"v2": {"train": 168_913, "val": 24_777}},
    classes={"v2": 174},
)
