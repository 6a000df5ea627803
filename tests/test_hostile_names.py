"""Names that are no UTF-8, hold control characters or look like formulas: every program finishes, and shows them as text."""

import contextlib
import csv
import os
import re
import shutil
import zipfile

import pytest
import torch

import taggnn
import taggnn.check
import taggnn.compare
import taggnn.ensemble
import taggnn.evaluate
import taggnn.export
import taggnn.extract
import taggnn.predict
import taggnn.report
import taggnn.skeletons
import taggnn.train
from taggnn.data.skeleton.pose import landmarker
from taggnn.data.skeleton.pose.landmarker import Poses
from taggnn.data.synthetic import make_synthetic
from taggnn.evaluation.predictions import read_predictions

CLASSES = [b"caf\xe9", b"\x1b[31mred", b"b\nresult    nothing is wrong", b"=1+1"]
# What may stand on a screen: tabs, line feeds, and the carriage returns of progress bars.
RAW = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202e]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Class folders with such names, each with clips of such names, and one that is no video."""
    folder = tmp_path_factory.mktemp("hostile")
    counts = {"train": 6}
    source = make_synthetic(folder / "source", counts, frames=8, size=16, progress=False) / "train"
    for name, motion in zip(CLASSES, sorted(os.listdir(source)), strict=False):
        os.makedirs(os.fsencode(folder / "r\x1b[0mt") + b"/" + name)
        for number, file in enumerate(sorted(os.listdir(source / motion))):
            target = os.fsencode(folder / "r\x1b[0mt") + b"/" + name + b"/-%d\x1b]0;x\x07\xff\n.mp4" % number
            shutil.copy(source / motion / file, target)
    with open(os.fsencode(folder / "r\x1b[0mt") + b"/=1+1/@bad\xe9.mp4", "w") as file:
        file.write("no video\n")
    return folder / "r\x1b[0mt"


@pytest.fixture(scope="module")
def run(hostile, program, tmp_path_factory):
    """A run on them."""
    words = ["--data.root", hostile, "--data.workers", 0, "--data.batch_size", 4, "--backbone.name", "small"]
    words += [
        "--backbone.weights",
        "null",
        "--backbone.options",
        "{width: 4}",
        "--tag.encoder_layers",
        1,
        "--device",
        "cpu",
    ]
    words += ["--video.frames", 2, "--video.size", 16, "--video.short_side", 16, "--train.epochs", 1, "--threads", 1]
    words += ["--optim.warmup_epochs", 0, "--runs", tmp_path_factory.mktemp("runs"), "--video.flip", 0]
    ended = program(taggnn.train, "--config", "demo", "--data.synthetic", "false", *words, "--compare", "[]")
    assert ended.code == 0, ended.err
    return next(tmp_path_factory.getbasetemp().glob("runs*/demo/*")), ended


def plain(ended):
    assert not RAW.search(ended.out + ended.err)
    assert "result    nothing is wrong" not in (ended.out + ended.err).splitlines()


def test_training_finishes_and_its_files_agree(run):
    folder, ended = run
    plain(ended)
    for name in ("results.json", "report.html", "predictions.csv", "skipped.csv", "config.yaml", "best.ckpt"):
        assert (folder / name).is_file()
    found = read_predictions(folder / "predictions.csv")
    assert {os.fsencode(name) for name in found.classes} == set(CLASSES)
    assert not RAW.search((folder / "report.html").read_text(errors="surrogateescape"))


def test_a_finished_run_is_resumed_and_reported_again(run, program):
    for ended in (program(taggnn.train, "--resume", run[0]), program(taggnn.report, run[0])):
        assert ended.code == 0, ended.err
        plain(ended)


def test_links_in_a_run_folder_are_replaced_and_their_targets_stay(run, program, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    for name in ("report.html", "confusion.png", "config.yaml"):
        text = (folder / name).read_bytes()
        (folder / name).unlink()
        (tmp_path / name).write_bytes(text if name == "config.yaml" else b"mine")
        (folder / name).symlink_to(tmp_path / name)
    assert program(taggnn.report, folder).code == 0
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "confusion.png").read_bytes() == b"mine"
    assert not (folder / "report.html").is_symlink()


def test_evaluation_rescoring_and_comparison(run, hostile, program, tmp_path):
    words = ["--checkpoint", run[0] / "best.ckpt", "--data.root", hostile, "--data.workers", 0, "--out", tmp_path / "a"]
    ended = program(taggnn.evaluate, *words)
    assert ended.code == 0, ended.err
    plain(ended)
    assert read_predictions(tmp_path / "a/predictions.csv").names == read_predictions(run[0] / "predictions.csv").names
    ended = program(taggnn.evaluate, "--predictions", run[0], "--out", tmp_path / "b")
    assert ended.code == 0, ended.err
    plain(ended)
    ended = program(taggnn.compare, run[0], tmp_path / "a", "--out", tmp_path / "c")
    assert ended.code == 0, ended.err
    plain(ended)
    ended = program(taggnn.ensemble, run[0], tmp_path / "a", "--weights", "1,2", "--out", tmp_path / "e\x1b[31m")
    assert ended.code == 0, ended.err
    plain(ended)
    assert (
        read_predictions(tmp_path / "e\x1b[31m/predictions.csv").names
        == read_predictions(tmp_path / "a/predictions.csv").names
    )


def test_skeletons_of_such_videos(hostile, program, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def somebody(task, persons, confidence):
        yield lambda picture, milliseconds: Poses(torch.rand(1, 33, 2) * 16, torch.rand(1, 33, 3), torch.ones(1, 33))

    monkeypatch.setattr(landmarker, "mediapipe_landmarker", somebody)
    monkeypatch.setattr(landmarker, "import_mediapipe", lambda: None)
    with zipfile.ZipFile(tmp_path / "pose.task", "w") as archive:
        for name in landmarker.NETWORKS:
            archive.writestr(name, b"")
    words = ["--out", tmp_path / "a:b\x1b", "--overlay", tmp_path / "c:d\xff", "--verbose", "true"]
    ended = program(taggnn.skeletons, hostile, "--task", tmp_path / "pose.task", *words)
    assert ended.code == 1, ended.err
    plain(ended)
    made = [
        sorted((tmp_path / folder).rglob(ending)) for folder, ending in (("a:b\x1b", "*.npz"), ("c:d\xff", "*.mp4"))
    ]
    assert [len(files) for files in made] == [24, 24]


def test_prediction_of_a_folder(run, hostile, program):
    for words in ((), ("--json",)):
        ended = program(taggnn.predict, hostile, "--checkpoint", run[0] / "best.ckpt", *words)
        plain(ended)
        assert "-0" in ended.out


def test_stored_tokens(run, hostile, program, tmp_path):
    ended = program(taggnn.extract, "--config", run[0] / "config.yaml", "--out", tmp_path / "tokens")
    assert ended.code == 0, ended.err
    plain(ended)


def test_the_check_and_its_lists(hostile, program, tmp_path):
    ended = program(taggnn.check, "--data.root", hostile, "--out", tmp_path / "check", "--workers", 1)
    assert ended.code == 1, ended.err
    plain(ended)
    with (tmp_path / "check/problems.csv").open(newline="", errors="surrogateescape") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+1/@bad\udce9.mp4" in cells
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "@", "-"}]
    lists = [f"--data.{split}_list={tmp_path}/check/{split}.csv" for split in ("train", "val", "test")]
    ended = program(taggnn.check, "--data.root", hostile, *lists, "--out", tmp_path / "again", "--workers", 1)
    assert ended.code == 0, ended.err


def test_the_exported_weights_are_read_again(run, program, tmp_path):
    ended = program(
        taggnn.export, "--checkpoint", run[0] / "best.ckpt", "--out", tmp_path / "out", "--formats", "safetensors"
    )
    assert ended.code == 0, ended.err
    plain(ended)
    classes = taggnn.load(tmp_path / "out/model.safetensors").classes
    assert {os.fsencode(name) for name in classes} == set(CLASSES)


def test_a_root_that_is_no_utf8_is_refused_before_training(program, tmp_path):
    (tmp_path / "r\udcf6t").mkdir()
    ended = program(taggnn.train, "--config", "folder", "--data.root", tmp_path / "r\udcf6t")
    assert ended.code == 2
    assert ended.err.startswith("taggnn.train: data.root ")
    plain(ended)
