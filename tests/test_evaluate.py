import json

import pytest
import torch

import taggnn.evaluate
from taggnn import metrics
from taggnn.predictions import read_predictions, read_skipped


@pytest.fixture(scope="module")
def evaluated(trained, videos, program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--out", folder, "--data.workers", "0"]
    return folder, program(taggnn.evaluate, *words)


@pytest.fixture
def evaluate(trained, videos, program, tmp_path):
    """Evaluates the tiny run with further words; returns how it ended, its scores and its predictions."""

    def evaluate(*words, root=videos):
        fixed = [
            "--checkpoint",
            trained[0] / "best.ckpt",
            "--data.root",
            root,
            "--out",
            tmp_path,
            "--data.workers",
            "0",
        ]
        ended = program(taggnn.evaluate, *fixed, "--graph_effect", "false", *words)
        assert ended.code == 0, ended.err
        scores = json.loads((tmp_path / "results.json").read_text())["scores"]
        return ended, scores, read_predictions(tmp_path / "predictions.csv")

    return evaluate


def test_equals_what_training_reported(evaluated, trained):
    folder, ended = evaluated
    assert ended.code == 0, ended.err
    now, then = (json.loads((run / "results.json").read_text())["scores"]["test"] for run in (folder, trained[0]))
    assert now == pytest.approx(then)
    ours, theirs = (read_predictions(run / "predictions.csv") for run in (folder, trained[0]))
    assert list(ours.names) == list(theirs.names)
    torch.testing.assert_close(ours.probabilities, theirs.probabilities)


def test_prints_what_it_measured(evaluated):
    folder, ended = evaluated
    scores = json.loads((folder / "results.json").read_text())["scores"]["test"]
    for line in (
        "clips     8 measured, 5 could not be read",
        f"top-1     {scores['top1']:.4f}",
        f"top-5     {scores['top5']:.4f}",
        f"mca       {scores['mca']:.4f}   mean over the 8 of 8 classes that occur",
        "graph     without its edges top-1",
    ):
        assert line in ended.out
    for name in ("clockwise", "red_green_blue"):
        assert f"\n{name} " in ended.out


def test_writes_report_and_picture(evaluated):
    folder, ended = evaluated
    for name in ("report.html", "confusion.png", "predictions.csv", "skipped.csv", "results.json"):
        assert (folder / name).stat().st_size > 0
        assert name == "results.json" or str(folder / name) in ended.out
    skipped = read_skipped(folder / "skipped.csv")
    assert len(skipped) == len({clip.name for clip in skipped}) == 5
    assert {clip.split for clip in skipped} == {"test"}


def test_predictions_alone_give_the_same_figures(evaluated):
    folder, _ = evaluated
    predictions = read_predictions(folder / "predictions.csv")
    again = metrics.summarise(predictions.probabilities, predictions.labels, skipped=5)
    stated = json.loads((folder / "results.json").read_text())["scores"]["test"]
    assert {**again.as_dict(), "loss": None} == pytest.approx({**stated, "loss": None})


def test_another_split(evaluate):
    ended, scores, predictions = evaluate("--split", "val")
    assert list(scores) == ["val"]
    assert all(name.startswith("val/") for name in predictions.names)
    assert "8 measured" in ended.out


def test_a_list(evaluate, tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("test/left/left_000.mp4 left\ntest/up/up_000.mp4 up\n")
    ended, scores, predictions = evaluate("--data.list", path)
    assert scores["test"]["clips"] == 2
    assert scores["test"]["classes_counted"] == 2
    assert [predictions.classes[label] for label in predictions.labels.tolist()] == ["left", "up"]
    assert "mean over the 2 of 8 classes that occur" in ended.out


def test_a_folder_of_class_folders(evaluate, videos, evaluated):
    _, scores, predictions = evaluate("--data.folder", ".", root=videos / "test")
    there = read_predictions(evaluated[0] / "predictions.csv")
    assert scores["test"]["clips"] == 8
    torch.testing.assert_close(predictions.probabilities, there.probabilities)
    # A folder by its name, too.
    assert evaluate("--data.folder", "val")[2].names[0].startswith("val/")


def test_no_clip_can_be_read(trained, videos, program, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("test/clockwise/a_empty.mp4 0\ntest/clockwise/a_text.mp4 0\n")
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", "0"]
    ended = program(taggnn.evaluate, *words, "--data.list", path, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "none of the 2 clips could be read; see" in ended.err
    assert len(read_skipped(tmp_path / "out" / "skipped.csv")) == 2
