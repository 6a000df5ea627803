"""A part of a published data set, trained on and measured by its name alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import taggnn.evaluate
import taggnn.train
from taggnn.data.synthetic import make_clip, write_video
from taggnn.evaluation.predictions import read_predictions

KINDS = ("left", "right", "up", "down")


EVENT = "00000000001_E_000900_000909"


def name(video, second):
    return f"{video:011d}_E_{second:06d}_{second + 9:06d}_A_0000_0001"


@pytest.fixture(scope="module")
def gym(tmp_path_factory):
    """Gym99 lists of 43 training and 12 val clips, of which half lie there; three as an event clip that is too short for two."""
    root = tmp_path_factory.mktemp("gym")
    lists = root.parent / "gym_lists"
    lists.mkdir()
    (lists / "gym99_categories.txt").write_text(
        "".join(f"Clabel: {k:3}; set:  1; Glabel: {k}; (VT) element {k}\n" for k in range(99))
    )
    for split, video, count in (("train_element_v1.1", 1, 40), ("val_element", 2, 12)):
        rows = [(name(video, second), second % 4) for second in range(count)]
        more = [(f"{EVENT}_A_000{second}_000{second}", 0) for second in (0, 5, 7)] if video == 1 else []
        (lists / f"gym99_{split}.txt").write_text("".join(f"{stem} {label}\n" for stem, label in rows + more))
        for place, (stem, label) in enumerate(rows):
            if place // 4 % 2 == 0:
                write_video(root / f"{stem}.mp4", make_clip(KINDS[label], 8, 32, np.random.default_rng([video, place])))
    segments = {
        f"A_000{second}_000{second}": {"stages": 1, "timestamps": [[second + 0.1, second + 0.6]]}
        for second in (0, 5, 7)
    }
    event = {"event": 1, "segments": segments, "timestamps": [[900.25, 909.5]]}
    info = {EVENT[:11]: {EVENT[12:]: event}}
    (lists / "finegym_annotation_info_v1.1.json").write_text(json.dumps(info))
    write_video(root / f"{EVENT}.mp4", make_clip("left", 20, 32, np.random.default_rng(3)))
    return root, lists


@pytest.fixture(scope="module")
def trained_by_name(gym, program, tmp_path_factory):
    root, lists = gym
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write_text(
        f"""
data: {{root: {root}, dataset: gym99, annotations: {lists}, batch_size: 4, workers: 0}}
video: {{frames: 4, short_side: 32, size: 32}}
backbone: {{options: {{width: 8}}}}
tag: {{encoder_layers: 1, encoder_heads: 4}}
optim: {{warmup_epochs: 0}}
train: {{epochs: 1}}
device: cpu
threads: 1
"""
    )
    ended = program(taggnn.train, "--config", recipe, "--runs", tmp_path_factory.mktemp("runs"))
    assert ended.code == 0, ended.err
    return Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1]), ended


SAID = (
    "gym99 v1.1: train 43 listed of 26,320 published, 23 found (53 %); val 12 listed of 8,521 published, 8 found (67 %)"
)


def test_training_says_what_it_used(trained_by_name):
    folder, ended = trained_by_name
    assert SAID in ended.out
    assert (
        "train: 20 of 43 listed files do not exist and are left out: 00000000001_E_000004_000013_A_0000_0001, "
        in ended.out
    )
    assert "train: clips come from cut actions (20), event clips (3)" in ended.out
    assert "skipped   2 clips could not be read" in ended.out
    results = json.loads((folder / "results.json").read_text())
    assert SAID in results["notes"]
    scores = results["scores"]["test"]
    assert (scores["listed"], scores["missing"], scores["measured"]) == (12, 4, 8)


def test_evaluation_finds_the_same_clips_by_the_checkpoint(trained_by_name, gym, program, tmp_path):
    folder, _ = trained_by_name
    root, lists = gym
    # Only the val list is needed to measure.
    train = lists / "gym99_train_element_v1.1.txt"
    train.rename(lists / "aside.txt")
    words = ["--checkpoint", folder / "best.ckpt", "--data.root", root, "--data.workers", 0, "--out", tmp_path / "out"]
    ended = program(taggnn.evaluate, *words, "--data.annotations", lists, "--graph_effect", "false")
    (lists / "aside.txt").rename(train)
    assert ended.code == 0, ended.err
    ours, theirs = (read_predictions(place / "predictions.csv") for place in (tmp_path / "out", folder))
    assert list(ours.names) == list(theirs.names)
    assert len(ours.names) == 8
    assert ours.classes[3] == "(VT) element 3"
    notes = json.loads((tmp_path / "out" / "results.json").read_text())["notes"]
    assert "gym99 v1.1: val 12 listed of 8,521 published, 8 found (67 %)" in notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no gym99_val_element.txt below"),
        (["--data.annotations", "LISTS", "--data.version", "v3"], "unknown version of gym99 'v3'"),
        (["--data.dataset", "gym9"], "data.dataset: unknown data set 'gym9'; did you mean 'gym99'"),
        (["--data.dataset", "gym288", "--data.annotations", "LISTS"], "gym288 v1.1: no gym288_val_element.txt below"),
        (["--data.dataset", "gym99", "--data.folder", "."], "--data.dataset and --data.folder both say which clips"),
        (["--data.dataset", "gym99", "--data.list", "x.csv"], "--data.dataset and --data.list both say which clips"),
        (["--data.annotations", "LISTS", "--data.missing", "error"], "4 of 12 listed files do not exist"),
        (["--data.folder", ".", "--data.version", "v1.0"], "is for a published data set: give data.dataset"),
    ],
)
def test_what_cannot_be_measured_is_refused(trained_by_name, gym, program, words, message):
    root, lists = gym
    (root / "a").mkdir(exist_ok=True)
    words = [lists if word == "LISTS" else word for word in words]
    ended = program(taggnn.evaluate, "--checkpoint", trained_by_name[0] / "best.ckpt", "--data.root", root, *words)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_other_clips_can_be_measured_all_the_same(trained_by_name, gym, program, tmp_path):
    root, _ = gym
    (tmp_path / "own.txt").write_text(f"{name(1, 0)}.mp4 0\n")
    words = ["--checkpoint", trained_by_name[0] / "best.ckpt", "--data.root", root, "--data.workers", 0]
    ended = program(
        taggnn.evaluate,
        *words,
        "--data.list",
        tmp_path / "own.txt",
        "--graph_effect",
        "false",
        "--out",
        tmp_path / "out",
    )
    assert ended.code == 0, ended.err
    assert "gym99 v1.1" not in ended.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.train_list", "x.csv"], "data.dataset gym99 and data.train_list both say which clips to use"),
        (["--data.dataset", "null"], "data.version v1.1 is for a published data set: give data.dataset (gym99,"),
        (["--data.dataset", "gym98"], "data.dataset: unknown data set 'gym98'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(gym, program, words, message):
    ended = program(taggnn.train, "--config", "gym99", "--data.root", gym[0], *words)
    assert ended.code == 2
    assert message in ended.err
