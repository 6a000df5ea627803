"""A skeleton user's way through the programs, on the set that the project makes itself."""

import json

import pytest
import torch

import taggnn
import taggnn.compare
import taggnn.evaluate
import taggnn.export
import taggnn.extract
import taggnn.predict
import taggnn.train
from taggnn.data.skeleton.synthetic import make_synthetic
from taggnn.evaluation.predictions import read_predictions
from taggnn.evaluation.results import Results
from taggnn.types import SKELETON_AXES

QUICK = [
    *("--config", "demo_skeleton", "--skeleton.frames", 12, "--backbone.options", '{"width": 8, "depths": [1, 1]}'),
    *("--train.epochs", 1, "--optim.warmup_epochs", 0, "--data.workers", 0, "--loggers", "csv", "--compare", "[]"),
]


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("skeletons"), {"train": 3, "val": 1, "test": 2}, frames=16)


@pytest.fixture(scope="module")
def run(sequences, tmp_path_factory, program):
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["--data.root", sequences, "--data.synthetic", "false", "--run", folder]
    assert program(taggnn.train, *QUICK, *words).code == 0
    return folder


def test_training_leaves_what_a_run_leaves(run):
    results = Results.read(run)
    assert results.scores["test"]["top1"] >= 0
    assert {path.name for path in run.iterdir()} >= {
        "best.ckpt",
        "last.ckpt",
        "metrics.csv",
        "predictions.csv",
        "report.html",
    }
    assert len(read_predictions(run / "predictions.csv").names) == 16


@pytest.mark.usefixtures("no_report")
def test_evaluate_measures_what_training_did(run, sequences, program, tmp_path):
    words = ["--checkpoint", run / "best.ckpt", "--data.root", sequences, "--data.workers", 0, "--out", tmp_path]
    assert program(taggnn.evaluate, *words).code == 0
    known, found = (read_predictions(folder / "predictions.csv") for folder in (run, tmp_path))
    torch.testing.assert_close(found.probabilities, known.probabilities, atol=2e-6, rtol=0)


def test_predict_answers_and_reports_a_file_that_does_not_fit(run, sequences, program, tmp_path):
    good = sorted((sequences / "test").rglob("*.npz"))[0]
    bad = tmp_path / "cut.npz"
    bad.write_bytes(good.read_bytes()[:100])
    ended = program(taggnn.predict, "--json", good, bad, "--checkpoint", run / "best.ckpt")
    assert ended.code == 1
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert answers[0]["top"]
    assert answers[1]["error"]
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("no_report")
def test_a_run_is_resumed(run, program, tmp_path, sequences):
    folder = tmp_path / "longer"
    words = ["--data.root", sequences, "--data.synthetic", "false", "--run", folder]
    assert program(taggnn.train, *QUICK, *words).code == 0
    assert program(taggnn.train, *QUICK, "--train.epochs", 2, *words).code == 0
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3


def test_an_exported_model_is_fed_the_same(run, program, tmp_path, sequences):
    clip = sorted((sequences / "test").rglob("*.npz"))[0]
    words = ["--checkpoint", run / "best.ckpt", "--out", tmp_path, "--formats", "safetensors,torch", "--clip", clip]
    assert program(taggnn.export, *words).code == 0
    eager = taggnn.load(run / "best.ckpt").predict(clip).probabilities
    for file in ("model.safetensors", "model.pt2"):
        loaded = taggnn.load(tmp_path / file)
        assert loaded.spec.axes == SKELETON_AXES
        torch.testing.assert_close(loaded.predict(clip).probabilities, eager, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("no_report")
def test_tokens_are_extracted_and_trained_on(run, program, tmp_path, sequences):
    words = ["--data.root", sequences, "--data.synthetic", "false", "--out", tmp_path / "tokens"]
    ended = program(taggnn.extract, *QUICK[:6], "--data.workers", 0, "--loggers", "csv", *words)
    assert ended.code == 0, ended.err
    words = ["--data.tokens", tmp_path / "tokens", "--run", tmp_path / "run", "--train.epochs", 1, "--head", "tag"]
    ended = program(taggnn.train, *words, "--optim.warmup_epochs", 0, "--tag.encoder_heads", 4, "--compare", "[]")
    assert ended.code == 0, ended.err


def test_heads_are_compared_on_joints(program, tmp_path, sequences):
    words = ["--data.root", sequences, "--data.synthetic", "false", "--run", tmp_path / "run"]
    heads = ["--head", "tag", "--compare", "pool", "--tag.encoder_layers", 1, "--tag.encoder_heads", 4]
    topology = ["--tag.topology", "bones(skeleton=ntu)+chain"]
    ended = program(taggnn.train, *QUICK[:-2], *words, *heads, *topology)
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "compare" / "pool" / "results.json").is_file()


def test_the_preview_draws_skeletons(program, tmp_path, sequences):
    words = ["--data.root", sequences, "--data.synthetic", "false", "--runs", tmp_path]
    ended = program(taggnn.train, *QUICK, *words, "--preview", 2)
    assert ended.code == 0, ended.err
    assert next(tmp_path.rglob("*.png")).stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--backbone.name", "r3d_18", "--backbone.options", "{}"], "r3d_18"),
        (["--video.frames", "8"], "video"),
        (["--skeleton.stream", "muscle"], "skeleton.stream"),
        (["--skeleton.skeleton", "dog"], "dog"),
    ],
    ids=["video backbone", "option of videos", "stream", "skeleton"],
)
def test_what_does_not_fit_is_refused_before_training(program, tmp_path, sequences, words, named):
    ended = program(
        taggnn.train, *QUICK, "--data.root", sequences, "--data.synthetic", "false", "--run", tmp_path / "run", *words
    )
    assert ended.code == 2
    assert named in ended.err
    assert "Traceback" not in ended.err
