"""The data module: options to loaders, and continuing a run exactly."""

import json
import os
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import torch

from taggnn.data.loader import ClipData, default_workers
from taggnn.data.sources import VideoSource, build, of
from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.views import clip_views
from taggnn.types import InputSpec

SMALL = {"frames": 3, "short_side": 16, "size": 12, "batch_size": 2, "workers": 0}
OF_VIDEO = set(signature(VideoSource).parameters)


def data_of(root, **options):
    """Clips of videos; each option goes to the part that has it."""
    video = {key: value for key, value in options.items() if key in OF_VIDEO}
    return ClipData(build("video", video), root, **{key: options[key] for key in options.keys() - video.keys()})


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
    return [index for batch in loader for index in batch.index.tolist()]


def test_lists_classes_and_batches(root, capsys):
    data = data_of(str(root), **SMALL)
    data.setup()
    data.setup()
    assert data.classes == ("left", "right")
    assert (len(data.train_clips), len(data.val_clips)) == (8, 2)
    assert data.test_clips is data.val_clips
    printed = capsys.readouterr().out
    assert printed.count("train 8, val 2, test 2 clips, 2 classes") == 1
    assert "the val clips are reported as test too" in printed
    (batch,) = data.val_dataloader()
    assert batch.x.shape == (2, 3, 3, 12, 12)
    assert batch.label.tolist() == batch.index.tolist() == [0, 1]
    assert keys(data.test_dataloader()) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_views_come_in_batches_of_the_same_size_whatever_the_workers(root, workers):
    small = SMALL | {"batch_size": 4, "workers": workers, "short_side": 14}
    data = data_of(str(root), **small, sampling="dense")
    loader = data.eval_dataloader("train", views=3, crops=2)
    assert len(loader) == 16
    seen, skipped = {}, set()
    for batch in loader:
        assert len(batch.x) in (0, 2, 4)
        skipped |= {name for name, *_ in batch.skipped}
        for index, clip in zip(batch.index.tolist(), batch.x, strict=True):
            seen.setdefault(index, []).append(clip)
    assert skipped == {"train/left/3.mp4"}
    assert sorted(seen) == [0, 1, 2, 4, 5, 6, 7]
    for index, clips in seen.items():
        views = torch.cat(list(clip_views(data.train_clips[index].path, data.source, 3, 2)))
        assert torch.equal(torch.stack(clips), views)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_epoch_is_shuffled_names_bad_clips_and_needs_no_global_numbers(root, workers):
    data = data_of(str(root), **SMALL | {"workers": workers})
    before = torch.get_rng_state()
    batches = list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(index for batch in batches for index in batch.index.tolist()) == [0, 1, 2, 4, 5, 6, 7]
    assert [row[0] for batch in batches for row in batch.skipped] == ["train/left/3.mp4"]
    reference = list(data_of(str(root), **SMALL).train_dataloader())
    for batch, expected in zip(batches, reference, strict=True):
        assert torch.equal(batch.x, expected.x)
    assert keys(data_of(str(root), **SMALL, seed=1).train_dataloader()) != keys(reference)


def test_drop_last(root):
    assert len(list(data_of(str(root), **SMALL | {"batch_size": 3}).train_dataloader())) == 3
    assert len(list(data_of(str(root), **SMALL | {"batch_size": 3}, drop_last=True).train_dataloader())) == 2


def test_the_spec_is_plain_and_loads_a_clip_as_validation_does(root):
    data = data_of(str(root), **SMALL | {"size": [12, 10]}, grayscale=True, mean=0.5, sampling="segment")
    stored = InputSpec.read(json.loads(json.dumps(data.spec.plain())))
    assert stored == data.spec == data.model_spec
    assert stored.shape == (3, 3, 12, 10)
    (batch,) = data.val_dataloader()
    assert torch.equal(of(stored)(data.val_clips[1], None).x, batch.x[1])


def test_class_names_from_a_list_and_from_a_file(root, tmp_path):
    names = ["down", "left", "right"]
    (tmp_path / "names.txt").write_text("down\nleft\n\nright\n")
    for classes in (names, str(tmp_path / "names.txt")):
        data = data_of(str(root), **SMALL, classes=classes)
        assert data.classes == tuple(names)
        assert {clip.label for clip in data.train_clips} == {1, 2}
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file of class names"):
        data_of(str(root), **SMALL, classes="none.txt").setup()
    (tmp_path / "latin.txt").write_bytes("Gr\xe4tsche".encode("latin-1"))
    with pytest.raises(ValueError, match=r"unknown class.*save it as UTF-8"):
        data_of(str(root), **SMALL, classes=str(tmp_path / "latin.txt")).setup()
    with pytest.raises(ValueError, match="each once"):
        data_of(str(root), **SMALL, classes=["left", "left"]).setup()


def test_missing_files_are_counted_on_the_screen(root):
    (root / "partial.txt").write_text("train/left/0.mp4 0\ntrain/right/0.mp4 1\nlost/a.mp4 1\n")
    data = data_of(str(root), train_list="partial.txt", val_list="partial.txt", **SMALL, missing="skip")
    assert "train: 1 of 3 listed files do not exist and are left out: lost/a.mp4" in data.summary()
    assert len(data.train_clips) == 2


def test_a_split_that_is_not_there_is_named_when_asked_for(root):
    data = data_of(str(root / "val"), test_folder=".", classes=["left", "right"], **SMALL)
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
        ({"decode_timeout": 0}, "^video.decode_timeout 0"),
        ({"sampling": "best"}, "^unknown sampler 'best'"),
        ({"frames": 0}, "^video.frames must be 1 or more, not 0"),
        ({"sampling": "dense", "stride": 0}, "^video.stride must be 1 or more, not 0"),
        ({"synthetic": True}, r"^video.flip 0\.5: must be 0 for the synthetic set.*data.flip_pairs: {'left': 'right'"),
        ({"synthetic": True, "flip_pairs": {"left": "right"}}, r"^video.flip 0\.5: must be 0 for the synthetic set"),
        (
            {"synthetic": "region", "flip": 0.0},
            r"^data.synthetic: unknown synthetic set 'region'; did you mean 'regions'",
        ),
        ({"temporal_jitter": 0.5, "sampling": "dense"}, r"^video.temporal_jitter 0\.5: possible with sampling uniform"),
        ({"temporal_jitter": 2.0}, r"^video.temporal_jitter 2\.0: possible are 0 to 1"),
        ({"temporal_scale": (0.0, 1.0)}, r"^video.temporal_scale \(0\.0, 1\.0\): expected"),
        ({"scale": (0.0, 1.0)}, r"^video.scale \(0\.0, 1\.0\): expected"),
        ({"flip": 2.0}, r"^video.flip 2\.0: possible are 0 to 1"),
        ({"color_jitter": 2.0}, r"^video.color_jitter 2\.0: possible are 0 to 1"),
        ({"magnitude": 31}, "^video.magnitude 31: possible are 0 to 30"),
        ({"std": 0.0}, r"^video.std \(0\.0, 0\.0, 0\.0\): must be above 0"),
        ({"size": [1, 2, 3]}, r"^video.size \(1, 2, 3\): expected 2 numbers"),
    ],
)
def test_impossible_options_are_refused_at_once(root, options, message):
    with pytest.raises(ValueError, match=message):
        data_of(str(root), **options)


def test_the_synthetic_set_is_made_where_asked_for(tmp_path, monkeypatch):
    made = []
    sets = {
        name: replace(one, make=lambda root, seed, name=name: made.append((name, root, seed)))
        for name, one in VideoSource.synthetic.items()
    }
    monkeypatch.setattr(VideoSource, "synthetic", sets)
    data_of(str(tmp_path)).prepare_data()
    assert made == []
    data_of(str(tmp_path), synthetic=True, flip=0.0).prepare_data()
    data_of(str(tmp_path), synthetic="regions", flip=0.0).prepare_data()
    assert made == [("motions", str(tmp_path), 0), ("regions", str(tmp_path), 0)]
    both_sides = {"right": "left", "left": "right", "counter_clockwise": "clockwise"}
    data_of(str(tmp_path), synthetic=True, flip_pairs=both_sides).prepare_data()
    assert len(made) == 3


def test_a_source_without_a_synthetic_set_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(VideoSource, "synthetic", {})
    with pytest.raises(ValueError, match=r"data\.synthetic"):
        data_of(str(tmp_path), synthetic=True, flip=0.0)


def test_a_flipped_training_clip_has_its_partners_label(root):
    data = data_of(str(root), **SMALL, flip=1.0, flip_pairs={"left": "right"})
    for batch in data.train_dataloader():
        own = torch.tensor([data.train_clips[index].label for index in batch.index.tolist()])
        assert torch.equal(batch.label, 1 - own)
    (batch,) = data.val_dataloader()
    assert batch.label.tolist() == [0, 1], "evaluation is not flipped"


def test_an_unknown_class_of_a_flip_pair_is_refused_before_training(root):
    data = data_of(str(root), **SMALL, flip_pairs={"left": "rigth"})
    with pytest.raises(ValueError, match=r"data\.flip_pairs: unknown class 'rigth'; did you mean 'right'"):
        data.setup()


@pytest.mark.parametrize(
    ("options", "warned"), [({}, True), ({"flip": 0.0}, False), ({"flip_pairs": {"right": "left"}}, False)]
)
def test_flips_of_classes_with_left_and_right_are_warned_of(root, options, warned):
    summary = data_of(str(root), **SMALL, **options).summary()
    assert ("name them in data.flip_pairs, or set video.flip 0: {'left': 'right'}" in summary) == warned


def test_training_jitters_and_evaluation_does_not(root):
    still = {"scale": (1.0, 1.0), "flip": 0.0}
    data = data_of(str(root), **SMALL | {"short_side": None, "size": 16}, **still, temporal_jitter=1.0)
    loader = data.train_dataloader()
    assert len({loader.dataset[0, seed].x.sum().item() for seed in range(8)}) > 1
    plain = data_of(str(root), **SMALL | {"short_side": None, "size": 16})
    assert torch.equal(next(iter(data.val_dataloader())).x, next(iter(plain.val_dataloader())).x)


def test_balanced_training_draws_the_rare_class_as_often(root):
    (root / "rare.txt").write_text("train/left/0.mp4 0\n" + "".join(f"train/right/{k}.mp4 1\n" for k in range(3)))
    options = SMALL | {"train_list": "rare.txt", "val_list": "rare.txt", "classes": ["left", "right"]}
    data = data_of(str(root), **options, balance="class")
    batches = list(data.train_dataloader())
    assert sorted(label for batch in batches for label in batch.label.tolist()) == [0, 0, 1, 1]
    first, second = (batch.x[k] for batch in batches for k, i in enumerate(batch.index.tolist()) if i == 0)
    assert not torch.equal(first, second), "the same clip twice, augmented anew"
    assert "the rarest class 'left' (1 clips) comes 2 times an epoch" in data.summary()
    assert keys(data.val_dataloader()) == [0, 1, 2, 3]


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 0), (4, 3), (64, 8)])
def test_default_workers_suit_the_machine(monkeypatch, cores, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers() == workers


# Four batches an epoch: inside the first epoch, inside a later one, and at the beginning of one.
@pytest.mark.parametrize("moment", [(0, 2), (1, 3), (2, 0), (2, 1)])
def test_an_epoch_is_entered_in_the_middle_as_if_nothing_had_happened(root, moment):
    def seen(epoch, batch):
        loader, found = data_of(str(root), **SMALL).train_dataloader(), []
        for each in range(epoch, 3):
            loader.order.resume(each, loader.batch_sampler.step * batch if each == epoch else 0)
            found += [(each, *rest) for rest in ((one.index.tolist(), one.x.sum().item()) for one in loader)]
        return found

    whole = seen(0, 0)
    assert len(whole) == 12
    assert seen(*moment) == whole[4 * moment[0] + moment[1] :]
