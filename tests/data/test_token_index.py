"""The index of stored tokens: what an extraction wrote is read, and any other field is named with its file."""

import json
from pathlib import Path

import pytest

from taggnn.data.clips import Clip, ClipList, Row
from taggnn.data.lists.splits import Splits
from taggnn.data.token_index import FORMAT, INDEX, KIND, read_token_index
from taggnn.data.tokens import splits_as_dict
from taggnn.types import VIDEO_AXES, InputSpec

FILE = {"bytes": 10, "sha256": "ab"}
GOOD = {
    "kind": KIND,
    "format": FORMAT,
    "complete": True,
    "settings": {"backbone.name": "small"},
    "input": InputSpec("video", VIDEO_AXES, (3, 4, 32, 32)).plain(),
    "tokens": [4, 2, 2, 8],
    "dtype": "float16",
    "views": 0,
    "seed": 7,
    "rows_a_shard": 8,
    "split_options": {"seed": 7},
    "weights": {"origin": "random", "digest": "abc", **FILE},
    "classes": ["left", "right"],
    "notes": [],
    "shards": {"train-00000.safetensors": FILE},
    "splits": {
        "train": {
            "source": "list",
            "notes": ["2 files were skipped"],
            "clips": [
                {"path": "a.mp4", "label": 0, "name": "a", "tokens": ["train-00000.safetensors", 0], "views": []}
            ],
        },
        "val": {"same_as": "train"},
    },
}


def changed(path, value):
    """The index with one value at a path of keys."""
    content = json.loads(json.dumps(GOOD))
    *above, last = path.split("/")
    inner = content
    for key in above:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[last] = value
    return content


def test_a_good_index_is_read(tmp_path):
    (tmp_path / INDEX).write_text(json.dumps(GOOD))
    assert read_token_index(tmp_path) == GOOD


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("complete", "yes", "complete: expected true or false"),
        ("settings", [], "settings: expected keys and values"),
        ("input/shape", [3, 10**12, 1, 1], r"input\.shape\[1\]: 10+ is not from 1"),
        ("input/axes", ["frame"], r"input\.shape: 4 sizes of 1 axes"),
        ("tokens", [10**6, 10**6], "tokens: 1,000,000,000,000 numbers a clip"),
        ("dtype", "object", "dtype: expected 'float16' or"),
        ("views", 10**12, "views: 10+ is not from 0"),
        ("split_options", {}, "split_options: no seed in it"),
        ("weights/digest", None, r"weights\.digest: expected text, got None"),
        ("shards", {"../../secret.safetensors": FILE}, "shards: '../../secret.safetensors' is not the name"),
        ("shards", {}, r"splits\.train\.clips\[0\]: its tokens are in 'train-00000.safetensors', which is none"),
        ("splits/val/same_as", "other", r"splits\.val\.same_as: no clips of 'other' in it"),
        ("splits/val", {"clips": []}, r"splits\.val: no source in it"),
        ("splits/other", {"same_as": "train"}, r"splits\.other: no split"),
        ("splits/train/clips/0/label", 2, r"splits\.train\.clips\[0\]\.label: 2 of 2 classes"),
        ("splits/train/clips/0/label", -1, r"splits\.train\.clips\[0\]\.label: -1 is not from 0"),
        ("splits/train/clips/0/tokens", [1], r"splits\.train\.clips\[0\]\.tokens"),
        ("splits/train/clips/0/index", 3, r"splits\.train\.clips\[0\]: unknown key 'index'"),
        ("splits/train/missing", ["a"], r"splits\.train\.missing_labels: not one for each"),
        ("splits/train/class_groups", {"event": ["VT"]}, r"splits\.train\.class_groups\.event: not one for each"),
    ],
)
def test_a_field_of_another_kind_is_named(path, value, message, tmp_path):
    (tmp_path / INDEX).write_text(json.dumps(changed(path, value)))
    with pytest.raises(ValueError, match=rf"index\.json, {message}"):
        read_token_index(tmp_path)


def test_every_field_of_a_list_and_of_a_clip_may_be_in_it(tmp_path):
    """An extraction writes them all."""
    found = (Clip("a.mp4", 0, "a", 1.0, 2.0, 0.5),)
    absent = (Row(2, "b", 1, (Path("b.mp4"),)),)
    groups = {"event": ("VT", "FX")}
    clips = ClipList(found, ("left", "right"), "list", ("b",), (1,), class_groups=groups, absent=absent)
    held = splits_as_dict(Splits(clips, clips, clips, clips.classes, ()))
    (tmp_path / INDEX).write_text(json.dumps({**GOOD, "splits": held}))
    read = read_token_index(tmp_path)["splits"]
    assert read.keys() == held.keys()
    assert read["train"]["class_groups"] == {"event": ["VT", "FX"]}
