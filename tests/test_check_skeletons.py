"""A check of skeleton sets: what it finds is what training leaves out."""

import csv

import numpy as np
import pytest
import torch

import taggnn.check
import taggnn.evaluate
import taggnn.train
from taggnn.evaluation.predictions import read_predictions
from tests.data.skeleton import trees

NTU = ("ntu", 3)
SETS = {
    "ntu60": (trees.ntu, *NTU),
    "pku_mmd": (trees.pku, *NTU),
    "nw_ucla": (trees.nw_ucla, "nw_ucla", 3),
    "gym99_skeleton": (trees.gym99_skeleton, "coco", 2),
    "diving48_skeleton": (trees.diving48_skeleton, "coco", 2),
}
QUICK = [
    *("--config", "demo_skeleton", "--data.synthetic", "false", "--data.workers", 0, "--loggers", "csv", "--compare", "[]"),
    *("--backbone.options", '{"width": 8, "depths": [1, 1]}', "--head", "pool", "--train.epochs", 1, "--optim.warmup_epochs", 0),
]  # fmt: skip


def source(skeleton, dimensions, frames=8):
    return [
        *("--data.source", "skeleton", "--skeleton.skeleton", skeleton, "--skeleton.dimensions", dimensions),
        *("--skeleton.frames", frames, "--skeleton.persons", 2),
    ]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check(program, name, root, out, *words):
    _, *kind = SETS[name]
    return program(taggnn.check, *source(*kind), "--data.root", root, "--workers", 1, "--out", out, *words)


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_wrong_with_a_sound_set(name, program, tmp_path):
    ended = check(program, name, SETS[name][0](tmp_path / "data"), tmp_path, "--data.dataset", name)
    assert ended.code == 0, ended.out + ended.err
    assert {row["kind"] for row in rows_of(tmp_path / "problems.csv")} <= {"short", "one frame"}
    assert "missing joints of the main person" in (tmp_path / "check.html").read_text()


@pytest.mark.parametrize("name", ["pku_mmd", "diving48_skeleton"])
def test_the_cleaned_lists_are_the_clips_of_files_that_hold_many(name, program, tmp_path):
    root, first, second = SETS[name][0](tmp_path / "data"), tmp_path / "first", tmp_path / "second"
    assert check(program, name, root, first, "--data.dataset", name).code == 0
    lists = [f"--data.{split}_list={first / split}.csv" for split in ("train", "val", "test")]
    ended = check(program, name, root, second, *lists, "--data.classes", first / "classes.txt")
    assert ended.code == 0, ended.out + ended.err
    for split in ("train", "val", "test"):
        assert (second / f"{split}.csv").read_text() == (first / f"{split}.csv").read_text()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """NTU RGB+D with a file of every kind that real ones have, or may have; returns the root and name -> kind of finding."""
    names = trees.ntu_names(performers=(1, 2, 3))
    root = trees.ntu(tmp_path_factory.mktemp("damaged"), names)
    one, two = trees.body(14, seed=500), trees.body(14, seed=501, at=1.2)
    holes = trees.body(14, seed=502)
    holes[3, 4] = holes[7] = np.nan
    swapped = [np.concatenate([a[:5], b[5:]]) for a, b in ((one, two), (two, one))]
    frames = {
        "late": [[(1, one[t]), *([(2, two[t])] if t else [])] for t in range(14)],
        "swapped": [[(1, swapped[0][t]), (2, swapped[1][t])] for t in range(14)],
        "nan": [[(1, holes[t])] for t in range(14)],
        "one frame": [[(1, trees.body(1, seed=503)[0])]],
        "unreadable: no body": [[] for _ in range(14)],
    }
    texts = {kind: trees.ntu_text(content) for kind, content in frames.items()}
    texts["unreadable: truncated"] = trees.ntu_clip(14, (504,))[:9000]
    texts["unreadable: text"] = "no skeleton"
    texts["unreadable: empty"] = ""
    texts["unfit: 20 joints"] = trees.ntu_text([[(1, each)] for each in trees.body(14, 20, 505)], joints=20)
    kinds = dict(zip(names, texts, strict=False))
    for name, kind in kinds.items():
        trees.write(root / "nturgb+d_skeletons" / f"{name}.skeleton", texts[kind])
    return root, {name: kind.split(":")[0] for name, kind in kinds.items()}


def test_check_names_what_is_wrong(damaged, program, tmp_path):
    root, kinds = damaged
    words = [*source(*NTU), "--data.root", root, "--data.dataset", "ntu60", "--workers", 1, "--out", tmp_path]
    ended = program(taggnn.check, *words)
    assert ended.code == 1
    found = {row["name"]: row["kind"] for row in rows_of(tmp_path / "problems.csv")}
    assert found == {name: kind for name, kind in kinds.items() if kind in ("one frame", "unreadable", "unfit")}
    assert "20 joints" in ended.out


@pytest.mark.usefixtures("no_report")
def test_training_leaves_out_the_same_by_name(damaged, program, tmp_path):
    root, kinds = damaged
    words = [*QUICK, *source(*NTU), "--data.root", root, "--data.dataset", "ntu60", "--run", tmp_path / "run"]
    ended = program(taggnn.train, *words)
    assert ended.code == 0, ended.out + ended.err
    skipped = {row["name"]: row["reason"] for row in rows_of(tmp_path / "run" / "skipped.csv")}
    bad = {name for name, kind in kinds.items() if kind in ("unreadable", "unfit")}
    assert set(skipped) == bad
    assert not any(str(root) in reason for reason in skipped.values())
    names = read_predictions(tmp_path / "run" / "predictions.csv").names
    assert not bad & set(names)


@pytest.mark.usefixtures("no_report")
def test_clips_of_one_pickle_are_trained_on_and_evaluated(program, tmp_path):
    rules = {"xsub_train": lambda name: name[11] == "1", "xsub_val": lambda name: name[11] == "3"}
    trees.ntu_pickle(tmp_path / "data" / "ntu60_3danno.pkl", rules)
    words = [
        *QUICK,
        *source(*NTU),
        "--data.root",
        tmp_path / "data",
        "--run",
        tmp_path / "run",
        "--data.dataset",
        "ntu60",
    ]
    assert program(taggnn.train, *words).code == 0
    found = read_predictions(tmp_path / "run" / "predictions.csv")
    assert sorted(found.names) == sorted(name for name in trees.ntu_names() if rules["xsub_val"](name))
    words = [
        "--checkpoint",
        tmp_path / "run" / "best.ckpt",
        "--data.root",
        tmp_path / "data",
        "--out",
        tmp_path / "again",
    ]
    ended = program(taggnn.evaluate, *words, "--data.workers", 0)
    assert ended.code == 0, ended.out + ended.err
    again = read_predictions(tmp_path / "again" / "predictions.csv")
    assert again.names == found.names
    torch.testing.assert_close(again.probabilities, found.probabilities, atol=2e-6, rtol=0)
