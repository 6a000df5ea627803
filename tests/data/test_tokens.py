"""Stored tokens as a source: rows that say where their tokens lie, of any grid."""

import json
import pickle

import pytest
import torch

from taggnn.data import shards
from taggnn.data.loader import ClipData
from taggnn.data.samplers import seed_of
from taggnn.data.token_index import BACKBONE, FORMAT, INDEX, KIND
from taggnn.data.tokens import TokenSource, token_axes
from taggnn.types import SKELETON_AXES, BadClip, InputSpec

INPUT = InputSpec("mine.ArraySource", SKELETON_AXES, (3, 4, 5, 2), {"noise": 0.1})
SHAPE = (2, 5, 6)


def write(folder, views=0, **changes):
    """Three training clips, of the last of which nothing could be read, and one to choose on."""
    draws = torch.Generator().manual_seed(0)
    names = ["train", *(f"view{view}" for view in range(views)), "val"]
    for name in names:
        count = 1 if name == "val" else 2
        # A flipped view has the other label.
        labels = torch.tensor([1, 0] if name.startswith("view") else [0, 1])[:count]
        held = {"tokens": torch.randn(count, *SHAPE, generator=draws).half(), "label": labels}
        shards.write_shard(folder / f"{name}.safetensors", held)
    shards.write_shard(folder / BACKBONE, {"weight": torch.ones(3)})

    def row(number, split):
        lost = "no array in it"
        stored = {"tokens": lost if number == 2 else [f"{split}.safetensors", number]}
        if views and split == "train":
            stored["views"] = [lost if number == 2 else [f"view{v}.safetensors", number] for v in range(views)]
        return {"path": f"/gone/{number}.npy", "label": min(number, 1), "name": f"{split}/{number}.npy", **stored}

    held = {"source": "train", "missing": [], "missing_labels": [], "class_groups": {"side": ["a", "b"]}}
    index = {
        "kind": KIND,
        "format": FORMAT,
        "complete": True,
        "settings": {"backbone.name": "mine"},
        "input": INPUT.plain(),
        "tokens": list(SHAPE),
        "dtype": "float16",
        "views": views,
        "seed": 7,
        "rows_a_shard": 8,
        "split_options": {"seed": 7},
        "weights": {"origin": "random", "digest": "abc", **shards.file_info(folder / BACKBONE)},
        "classes": ["left", "right"],
        "notes": [],
        "shards": {f"{name}.safetensors": shards.file_info(folder / f"{name}.safetensors") for name in names},
        "splits": {
            "train": {**held, "clips": [row(number, "train") for number in range(3)]},
            "val": {**held, "clips": [row(0, "val")]},
            "test": {"same_as": "val"},
        },
        **changes,
    }
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def stored(folder, name):
    return shards.read_shard(folder / f"{name}.safetensors")["tokens"]


def test_tokens_of_any_grid_are_batches_without_root_or_workers(tmp_path, capsys):
    data = ClipData(TokenSource(write(tmp_path)), workers=3, batch_size=4)
    data.prepare_data()
    data.setup()
    assert f"data {tmp_path}: train 3, val 1, test 1 clips, 2 classes" in capsys.readouterr().out
    assert (data.spec.kind, data.spec.axes, data.spec.shape) == ("tokens", ("frame", "axis1", "channel"), SHAPE)
    assert (data.model_spec, data.workers, data.split_options) == (INPUT, 0, {"seed": 7})
    assert data.test_clips is data.val_clips
    assert data.val_clips.class_groups == {"side": ("a", "b")}
    (batch,) = data.train_dataloader()
    assert batch.x.dtype is torch.float16
    for index, x in zip(batch.index.tolist(), batch.x, strict=True):
        assert torch.equal(x, stored(tmp_path, "train")[index])
    assert batch.skipped == [BadClip("train/2.npy", "/gone/2.npy", "no array in it")]
    assert data.capabilities.identity == {"backbone weights": "abc", "dtype": "float16", "views": 0, "seed": 7}
    assert torch.equal(data.capabilities.backbone_state()["weight"], torch.ones(3))
    with pytest.raises(ValueError, match="views 2, crops 1: tokens give one view of a clip"):
        data.eval_dataloader("val", views=2)


def test_an_epoch_has_its_own_view_and_any_other_seed_has_one_at_random(tmp_path):
    source = pickle.loads(pickle.dumps(TokenSource(write(tmp_path, views=2))))
    clip = source.splits.train[1]
    for view in range(2):
        found = source(clip, seed_of(7, view, 1))
        assert torch.equal(found.x, stored(tmp_path, f"view{view}")[1])
        assert found.label == 0, "the label of the view"
    seeds = [seed_of(8, epoch, 1) for epoch in range(20)]
    assert len({source(clip, seed).x.sum().item() for seed in seeds}) == 2
    assert torch.equal(source(clip, None).x, stored(tmp_path, "train")[1])
    assert source(clip, None).label == 1
    assert isinstance(source(source.splits.train[2], 3), BadClip)
    assert source.cache.skipped == [("train/train/2.npy", "no array in it")]


@pytest.mark.parametrize("version", [None, 1, 99])
def test_a_folder_of_another_version_is_refused(tmp_path, version):
    with pytest.raises(ValueError, match=r"written by another version of taggnn .*extract them again"):
        TokenSource(write(tmp_path, format=version))


@pytest.mark.parametrize(
    ("rank", "axes"),
    [
        (2, ("frame", "channel")),
        (3, ("frame", "axis1", "channel")),
        (4, ("frame", "height", "width", "channel")),
        (5, ("frame", "axis1", "axis2", "axis3", "channel")),
    ],
)
def test_time_is_first_and_channels_are_last(rank, axes):
    assert token_axes(rank) == axes
