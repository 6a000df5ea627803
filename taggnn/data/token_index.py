"""The index of a folder of stored tokens: its fields, and their check."""

import re
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import NotRequired, TypedDict

from taggnn.data import described
from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.splits import SPLITS
from taggnn.data.shards import read_index
from taggnn.runtime import schema
from taggnn.runtime.schema import Count, Range

KIND = "taggnn tokens"
# Of the index; increased when older folders can no longer be read.
FORMAT = 3
INDEX, BACKBONE, CONFIG = "index.json", "backbone.safetensors", "config.yaml"
# Shards lie in the folder itself.
_FILE = re.compile(r"[\w.-]+\.safetensors")

# What a list and a row of it are made of.
_LIST_KEYS = {field.name for field in fields(ClipList)} - {"classes", "absent"}
_ROW_KEYS = {field.name for field in fields(Clip)} | {"tokens", "views"}

# (shard, row), or why there are no tokens.
Location = tuple[str, Count] | str


class Row(TypedDict):
    """A clip and the location of its tokens."""

    path: str
    label: Count
    name: str
    start: NotRequired[float | None]
    stop: NotRequired[float | None]
    origin: NotRequired[float | None]
    member: NotRequired[str | None]
    tokens: NotRequired[Location]
    views: NotRequired[list[Location]]


class ClipsOf(TypedDict):
    """The clips of a split; or the split that has the same."""

    same_as: NotRequired[str]
    clips: NotRequired[list[Row]]
    source: NotRequired[str]
    missing: NotRequired[list[str]]
    missing_labels: NotRequired[list[Count]]
    notes: NotRequired[list[str]]
    class_groups: NotRequired[dict[str, list[str]]]


class Weights(TypedDict):
    """The weights of the backbone."""

    origin: str
    digest: str
    bytes: NotRequired[Count]
    sha256: NotRequired[str]


class File(TypedDict):
    """A shard as it was written."""

    bytes: Count
    sha256: str


class Index(TypedDict):
    """The content of index.json."""

    complete: bool
    settings: dict[str, Any]
    weights: Weights
    tokens: list[described.Size]
    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    views: Annotated[int, Range(0, 10**6)]
    seed: Count
    rows_a_shard: Count
    classes: list[str]
    notes: list[str]
    shards: dict[str, File]
    splits: dict[str, ClipsOf]


def read_token_index(folder: Path) -> dict[str, Any]:
    """The index of a folder of tokens, finished or not.

    Raises:
        FileNotFoundError: there is none.
        ValueError: of another kind, of another version of taggnn, or a field that is missing, of another type or out of range;
            names the file and the field.
    """
    path = folder / INDEX
    index = read_index(path, KIND)
    if index.get("format") != FORMAT:
        raise ValueError(
            f"tokens {folder}: written by another version of taggnn (format {str(index.get('format', 1))[:20]}, this one reads "
            f"{FORMAT}); extract them again, into another folder"
        )
    schema.check(index, Index, str(path))
    described.check_input(index.get("input"), f"{path}, input")
    described.check_split_options(index.get("split_options"), f"{path}, split_options")
    if prod(index["tokens"]) > described.MAX_CLIP:
        raise ValueError(f"{path}, tokens: {prod(index['tokens']):,} numbers a clip, more than {described.MAX_CLIP:,}")
    for name in index["shards"]:
        if not _FILE.fullmatch(name):
            raise ValueError(f"{path}, shards: {name[:80]!r} is not the name of a shard in its folder")
    for split, held in index["splits"].items():
        _check_split(split, held, index, f"{path}, splits.{split}")
    if index["complete"] and not {"bytes", "sha256"} <= set(index["weights"]):
        raise ValueError(f"{path}, weights: no bytes and sha256 in it")
    return index


def _check_split(split: str, held: dict[str, Any], index: dict[str, Any], where: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"{where}: no split; possible are {', '.join(SPLITS)}")
    if "same_as" in held:
        if "clips" not in index["splits"].get(held["same_as"], {}):
            raise ValueError(f"{where}.same_as: no clips of {held['same_as'][:80]!r} in it")
        return
    for key in ("clips", "source"):
        if key not in held:
            raise ValueError(f"{where}: no {key} in it")
    if unknown := sorted(set(held) - _LIST_KEYS):
        raise ValueError(f"{where}: unknown key {unknown[0][:80]!r}")
    if len(held.get("missing", ())) != len(held.get("missing_labels", ())):
        raise ValueError(f"{where}.missing_labels: not one for each of missing")
    for kind, groups in held.get("class_groups", {}).items():
        if len(groups) != len(index["classes"]):
            raise ValueError(f"{where}.class_groups.{kind[:80]}: not one for each of the classes")
    for number, row in enumerate(held["clips"]):
        at = f"{where}.clips[{number}]"
        if not row["label"] < len(index["classes"]):
            raise ValueError(f"{at}.label: {row['label']} of {len(index['classes'])} classes")
        if unknown := sorted(set(row) - _ROW_KEYS):
            raise ValueError(f"{at}: unknown key {unknown[0][:80]!r}")
        for location in (row.get("tokens", ""), *row.get("views", ())):
            if not isinstance(location, str) and location[0] not in index["shards"]:
                raise ValueError(f"{at}: its tokens are in {location[0][:80]!r}, which is none of the shards")
