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


@pytest.mark.parametrize("name", SETS)
def test_check_finds_nothing_wrong_and_its_lists_are_read(name, program, tmp_path):
    make, *kind = SETS[name]
    root, out = make(tmp_path / "data"), tmp_path / "out"
    words = [*source(*kind), "--data.root", root, "--workers", 1]
    ended = program(taggnn.check, *words, "--data.dataset", name, "--out", out)
    assert ended.code == 0, ended.out + ended.err
    assert {row["kind"] for row in rows_of(out / "problems.csv")} <= {"short", "one frame"}
    page = (out / "check.html").read_text()
    assert "missing joints of the main person" in page
    lists = [f"--data.{split}_list={out / split}.csv" for split in ("train", "val")]
    again = program(taggnn.check, *words, *lists, "--data.classes", out / "classes.txt", "--out", tmp_path / "again")
    assert again.code == 0, again.out + again.err
    for split in ("train", "val"):
        assert (tmp_path / "again" / f"{split}.csv").read_text() == (out / f"{split}.csv").read_text()


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
