"""The data module: options to loaders, and continuing a run exactly."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from taggnn.data import datamodule
from taggnn.data.datamodule import ClipData, default_workers
from taggnn.data.dataset import load_clip
from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.views import clip_views

SMALL = {"frames": 3, "short_side": 16, "size": 12, "batch_size": 2, "workers": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """train: 2 classes of 4 clips, one of them no video; val: 2 classes of 1 clip."""
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("left", "right")):
        for split, count in (("train", 4), ("val", 1)):
            (root / split / name).mkdir(parents=True)
            for clip in range(count):
                pictures = make_clip(name, 8, 16, np.random.default_rng([number, clip]))
                write_video(root / split / name / f"{clip}.mp4", pictures)
    (root / "train" / "left" / "3.mp4").write_text("no video")
    return root


def keys(loader):
    return [index for batch in loader for index in batch["index"].tolist()]


def test_lists_classes_and_batches(root, capsys):
    data = ClipData(str(root), **SMALL)
    data.setup("fit")
    data.setup("test")
    assert data.classes == ("left", "right")
    assert (len(data.train_clips), len(data.val_clips)) == (8, 2)
    assert data.test_clips is data.val_clips
    printed = capsys.readouterr().out
    assert printed.count("train 8, val 2, test 2 clips, 2 classes") == 1
    assert "the val clips are reported as test too" in printed
    (batch,) = data.val_dataloader()
    assert batch["clip"].shape == (2, 3, 3, 12, 12)
    assert batch["label"].tolist() == batch["index"].tolist() == [0, 1]
    assert keys(data.test_dataloader()) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_views_come_in_batches_of_the_same_size_whatever_the_workers(root, workers):
    small = SMALL | {"batch_size": 4, "workers": workers, "short_side": 14}
    data = ClipData(str(root), **small, sampling="dense")
    loader = data.eval_dataloader("train", views=3, crops=2)
    assert len(loader) == 16
    seen, skipped = {}, set()
    for batch in loader:
        assert len(batch["clip"]) in (0, 2, 4)
        skipped |= {name for name, *_ in batch["skipped"]}
        for index, clip in zip(batch["index"].tolist(), batch["clip"], strict=True):
            seen.setdefault(index, []).append(clip)
    assert skipped == {"train/left/3.mp4"}
    assert sorted(seen) == [0, 1, 2, 4, 5, 6, 7]
    for index, clips in seen.items():
        views = torch.cat(list(clip_views(data.train_clips[index].path, data.preprocess, 3, 2)))
        assert torch.equal(torch.stack(clips), views)


def test_several_views_of_stored_tokens_are_refused(root):
    data = ClipData(str(root), **SMALL)
    data.setup()
    data.cache = SimpleNamespace(dataset=lambda split, train: [])
    with pytest.raises(ValueError, match="views 3, crops 1: stored tokens are of one view of a clip"):
        data.eval_dataloader("val", views=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_epoch_is_shuffled_names_bad_clips_and_needs_no_global_numbers(root, workers):
    data = ClipData(str(root), **SMALL | {"workers": workers})
    before = torch.get_rng_state()
    batches = list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(index for batch in batches for index in batch["index"].tolist()) == [0, 1, 2, 4, 5, 6, 7]
    assert [row[0] for batch in batches for row in batch["skipped"]] == ["train/left/3.mp4"]
    reference = list(ClipData(str(root), **SMALL).train_dataloader())
    for batch, expected in zip(batches, reference, strict=True):
        assert torch.equal(batch["clip"], expected["clip"])
    assert keys(ClipData(str(root), **SMALL, seed=1).train_dataloader()) != keys(reference)


def test_drop_last(root):
    assert len(list(ClipData(str(root), **SMALL | {"batch_size": 3}).train_dataloader())) == 3
    assert len(list(ClipData(str(root), **SMALL | {"batch_size": 3}, drop_last=True).train_dataloader())) == 2


def test_preprocess_is_plain_and_loads_a_clip_as_validation_does(root):
    data = ClipData(str(root), **SMALL | {"size": [12, 10]}, grey=True, mean=0.5, sampling="segment")
    stored = json.loads(json.dumps(data.preprocess))
    assert stored == data.preprocess
    (batch,) = data.val_dataloader()
    assert torch.equal(load_clip(data.val_clips[1].path, stored), batch["clip"][1])


def test_class_names_from_a_list_and_from_a_file(root, tmp_path):
    names = ["down", "left", "right"]
    (tmp_path / "names.txt").write_text("down\nleft\n\nright\n")
    for classes in (names, str(tmp_path / "names.txt")):
        data = ClipData(str(root), **SMALL, classes=classes)
        assert data.classes == tuple(names)
        assert {clip.label for clip in data.train_clips} == {1, 2}
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file of class names"):
        ClipData(str(root), **SMALL, classes="none.txt").setup()
    (tmp_path / "latin.txt").write_bytes("Gr\xe4tsche".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt: class names must be UTF-8 text"):
        ClipData(str(root), **SMALL, classes=str(tmp_path / "latin.txt")).setup()
    with pytest.raises(ValueError, match="each once"):
        ClipData(str(root), **SMALL, classes=["left", "left"]).setup()


def test_missing_files_are_counted_on_the_screen(root):
    (root / "partial.txt").write_text("train/left/0.mp4 0\ntrain/right/0.mp4 1\nlost/a.mp4 1\n")
    data = ClipData(str(root), train_list="partial.txt", val_list="partial.txt", **SMALL, missing="skip")
    assert "train: 1 of 3 listed files do not exist and are left out: lost/a.mp4" in data.summary()
    assert len(data.train_clips) == 2


def test_a_split_that_is_not_there_is_named_when_asked_for(root):
    data = ClipData(str(root / "val"), test_folder=".", classes=["left", "right"], **SMALL)
    assert keys(data.test_dataloader()) == [0, 1]
    with pytest.raises(ValueError, match="no train split; give train_list"):
        data.train_dataloader()
    with pytest.raises(ValueError, match="no val split; give val_list"):
        data.val_dataloader()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "^data.batch_size 0"),
        ({"workers": -1}, "^data.workers -1"),
        ({"give_up": 0}, "^data.give_up 0"),
        ({"sampling": "best"}, "^unknown sampler 'best'"),
        ({"frames": 0}, "^data.frames must be 1 or more, not 0"),
        ({"sampling": "dense", "stride": 0}, "^data.stride must be 1 or more, not 0"),
        ({"synthetic": True}, r"^data.flip 0\.5: must be 0 for the synthetic set.*data.mirrored: {'left': 'right'"),
        ({"synthetic": True, "mirrored": {"left": "right"}}, r"^data.flip 0\.5: must be 0 for the synthetic set"),
        ({"temporal_jitter": 0.5, "sampling": "dense"}, r"^data.temporal_jitter 0\.5: possible with sampling uniform"),
        ({"temporal_jitter": 2.0}, r"^data.temporal_jitter 2\.0: possible are 0 to 1"),
        ({"temporal_scale": (0.0, 1.0)}, r"^data.temporal_scale \(0\.0, 1\.0\): expected"),
        ({"scale": (0.0, 1.0)}, r"^data.scale \(0\.0, 1\.0\): expected"),
        ({"flip": 2.0}, r"^data.flip 2\.0: possible are 0 to 1"),
        ({"jitter": 2.0}, r"^data.jitter 2\.0: possible are 0 to 1"),
        ({"magnitude": 31}, "^data.magnitude 31: possible are 0 to 30"),
        ({"std": 0.0}, r"^data.std \(0\.0, 0\.0, 0\.0\): must be above 0"),
        ({"size": [1, 2, 3]}, r"^data.size \(1, 2, 3\): expected 2 numbers"),
        ({"tokens": "tok", "store": "st"}, "^data.tokens tok and data.store st: one of them is possible"),
    ],
)
def test_impossible_options_are_refused_at_once(root, options, message):
    with pytest.raises(ValueError, match=message):
        ClipData(str(root), **options)


def test_the_synthetic_set_is_made_where_asked_for(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(datamodule, "make_synthetic", lambda root, seed: made.append((root, seed)))
    ClipData(str(tmp_path)).prepare_data()
    assert made == []
    ClipData(str(tmp_path), synthetic=True, flip=0.0).prepare_data()
    assert made == [(str(tmp_path), 0)]
    both_sides = {"right": "left", "left": "right", "counter_clockwise": "clockwise"}
    ClipData(str(tmp_path), synthetic=True, mirrored=both_sides).prepare_data()
    assert len(made) == 2


def test_a_flipped_training_clip_has_its_partners_label(root):
    data = ClipData(str(root), **SMALL, flip=1.0, mirrored={"left": "right"})
    for batch in data.train_dataloader():
        own = torch.tensor([data.train_clips[index].label for index in batch["index"].tolist()])
        assert torch.equal(batch["label"], 1 - own)
    (batch,) = data.val_dataloader()
    assert batch["label"].tolist() == [0, 1], "evaluation is not flipped"


def test_a_mirrored_class_that_is_none_is_refused_before_training(root):
    data = ClipData(str(root), **SMALL, mirrored={"left": "rigth"})
    with pytest.raises(ValueError, match=r"data\.mirrored: unknown class 'rigth'; did you mean 'right'"):
        data.setup()


@pytest.mark.parametrize(
    ("options", "told"), [({}, True), ({"flip": 0.0}, False), ({"mirrored": {"right": "left"}}, False)]
)
def test_flips_of_classes_that_know_left_from_right_are_warned_of(root, options, told):
    summary = ClipData(str(root), **SMALL, **options).summary()
    assert ("name them in data.mirrored, or set data.flip 0: {'left': 'right'}" in summary) == told


def test_training_jitters_and_evaluation_does_not(root):
    still = {"scale": (1.0, 1.0), "flip": 0.0}
    data = ClipData(str(root), **SMALL | {"short_side": None, "size": 16}, **still, temporal_jitter=1.0)
    loader = data.train_dataloader()
    assert len({loader.dataset[0, seed]["clip"].sum().item() for seed in range(8)}) > 1
    plain = ClipData(str(root), **SMALL | {"short_side": None, "size": 16})
    assert torch.equal(next(iter(data.val_dataloader()))["clip"], next(iter(plain.val_dataloader()))["clip"])


def test_balanced_training_draws_the_rare_class_as_often(root):
    (root / "rare.txt").write_text("train/left/0.mp4 0\n" + "".join(f"train/right/{k}.mp4 1\n" for k in range(3)))
    options = SMALL | {"train_list": "rare.txt", "val_list": "rare.txt", "classes": ["left", "right"]}
    data = ClipData(str(root), **options, balance="class")
    batches = list(data.train_dataloader())
    assert sorted(label for batch in batches for label in batch["label"].tolist()) == [0, 0, 1, 1]
    first, second = (batch["clip"][k] for batch in batches for k, i in enumerate(batch["index"].tolist()) if i == 0)
    assert not torch.equal(first, second), "the same clip twice, augmented anew"
    assert "the rarest class 'left' (1 clips) comes 2 times an epoch" in data.summary()
    assert keys(data.val_dataloader()) == [0, 1, 2, 3]


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 0), (4, 3), (64, 8)])
def test_default_workers_suit_the_machine(monkeypatch, cores, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers() == workers


class Learner(LightningModule):
    """A model whose weights remember every clip it saw, and when."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch["index"].tolist()))
        if not len(batch["label"]):
            return None
        return torch.nn.functional.cross_entropy(self.layer(batch["clip"].mean((2, 3, 4))), batch["label"])

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.1)


class Stop(Callback):
    """Ends a run without warning, as a kill does."""

    def __init__(self, epoch, batch):
        self.moment = (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.moment:
            raise KeyError("killed")


def fit(root, folder, callbacks=(), resume=None, every=1):
    torch.manual_seed(0)
    model = Learner()
    saver = ModelCheckpoint(folder, save_last=True, every_n_train_steps=every, enable_version_counter=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=3, callbacks=[saver, *callbacks], **quiet)
    trainer.fit(model, datamodule=ClipData(str(root), **SMALL), ckpt_path=resume)
    return model


# Four batches an epoch: inside the first epoch, inside a later one, and at the beginning of one.
@pytest.mark.parametrize("moment", [(0, 2), (1, 3), (2, 0), (2, 1)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(root, tmp_path, moment):
    whole = fit(root, tmp_path / "whole")
    with pytest.raises(KeyError, match="killed"):
        fit(root, tmp_path / "killed", [Stop(*moment)])
    resumed = fit(root, tmp_path / "killed", resume=tmp_path / "killed" / "last.ckpt")
    assert resumed.seen == [row for row in whole.seen if row[:2] >= moment]
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
