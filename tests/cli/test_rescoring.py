"""taggnn.evaluate --predictions: what a model's own run said, bit for bit, without the model."""

import json
import math
import shutil

import pytest
import torch

import taggnn.evaluate
from taggnn.cli.rescoring import is_requested, rescored
from taggnn.evaluation.metrics import summarise
from taggnn.evaluation.predictions import Predictions, Skipped, read_predictions, write_predictions, write_skipped
from taggnn.evaluation.results import Results
from taggnn.reporting.run_page import write_report


@pytest.fixture(scope="module")
def evaluated(trained, videos, program, tmp_path_factory):
    """An evaluation of the tiny run's checkpoint, and what it printed."""
    folder = tmp_path_factory.mktemp("evaluation")
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--out", folder, "--data.workers", "0"]
    ended = program(taggnn.evaluate, *words)
    assert ended.code == 0, ended.err
    return folder, ended.out


def rescore(program, file, out, *words):
    ended = program(taggnn.evaluate, "--predictions", file, "--out", out, *words)
    assert ended.code == 0, ended.err
    return ended.out, json.loads((out / "results.json").read_text())


def figures(printed):
    """What was printed, without the lines before the figures and the paths behind them."""
    return printed[printed.index("\nmeasured") : printed.index("\n          /")]


def without_pictures_of_clips(folder, copy):
    """The same folder without what only a model can draw, and its report made again."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("thumbnails", ".lock"))
    write_report(copy)
    return copy


def test_an_evaluation_scored_again_is_the_same_file_by_file(evaluated, program, tmp_path):
    folder, printed = evaluated
    again, _ = rescore(program, folder / "predictions.csv", tmp_path / "again")
    without = without_pictures_of_clips(folder, tmp_path / "without")
    for name in ("results.json", "predictions.csv", "skipped.csv", "confusion.png", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (without / name).read_bytes(), name
    assert figures(again) == figures(printed)


def test_a_run_scored_again_is_the_same_file_by_file(trained, program, tmp_path):
    folder = trained[0]
    # The folder stands for the file in it; the report's title stays the run's.
    rescore(program, folder, tmp_path / "again")
    without = without_pictures_of_clips(folder, tmp_path / "without")
    for name in ("results.json", "predictions.csv", "confusion.png", "curves.png", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (without / name).read_bytes(), name


def test_the_file_alone_gives_the_same_figures_and_says_what_it_does_not_know(evaluated, program, tmp_path):
    folder, _ = evaluated
    shutil.copy(folder / "predictions.csv", tmp_path / "other.csv")
    printed, results = rescore(program, tmp_path / "other.csv", tmp_path / "out", "--split", "val")
    stated = json.loads((folder / "results.json").read_text())
    ours, theirs = results["scores"]["val"], stated["scores"]["test"]
    for key in ("top1", "top5", "mca", "macro_f1", "ece", "measured", "classes", "classes_counted"):
        assert ours[key] == theirs[key], key
    assert results["intervals"]["val"] == stated["intervals"]["test"]
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert (ours["missing"], ours["unreadable"]) == (0, 0)
    assert "no figures in" in printed
    assert "training clips of each class are not known" in printed
    assert "groups" not in results


def test_the_skipped_clips_beside_the_file_count(evaluated, program, tmp_path):
    for name in ("predictions.csv", "skipped.csv"):
        shutil.copy(evaluated[0] / name, tmp_path / name)
    printed, _ = rescore(program, tmp_path / "predictions.csv", tmp_path / "out")
    assert "measured  8 of 13 listed clips (62 %): 5 unreadable" in printed
    rows = [Skipped(name, name, split, "empty") for name, split in (("a", "train"), ("b", "val"))]
    write_skipped(tmp_path / "skipped.csv", rows)
    assert rescore(program, tmp_path, tmp_path / "out")[1]["scores"]["test"]["unreadable"] == 0


def test_results_of_other_predictions_are_not_believed(evaluated, program, tmp_path):
    shutil.copytree(evaluated[0], tmp_path / "run")
    said = read_predictions(tmp_path / "run" / "predictions.csv")
    sure = torch.nn.functional.one_hot(said.labels, len(said.classes)).float()
    wrong = Predictions(said.names, said.paths, said.labels, sure, said.classes)
    write_predictions(tmp_path / "run" / "predictions.csv", wrong)
    printed, results = rescore(program, tmp_path / "run", tmp_path / "out")
    assert "results.json: about other predictions" in printed
    assert "model" not in results
    assert results["scores"]["test"]["top1"] == 1.0
    # Nor are they written over.
    before = (tmp_path / "run" / "results.json").read_bytes()
    ended = program(taggnn.evaluate, "--predictions", tmp_path / "run", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "would be overwritten; give another folder" in ended.err
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_figures_that_another_machine_added_up_are_of_the_same_predictions(evaluated, program, tmp_path):
    shutil.copytree(evaluated[0], tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    stated = json.loads(path.read_text())
    for key in ("mca", "macro_f1", "ece"):
        stated["scores"]["test"][key] = math.nextafter(stated["scores"]["test"][key], 1)
    path.write_text(json.dumps(stated))
    printed, results = rescore(program, tmp_path / "run", tmp_path / "out")
    assert "other predictions" not in printed
    assert results["model"] == stated["model"]


def test_an_older_run_gets_its_new_figures_in_place(trained, program, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    new = json.loads(path.read_text())
    old = {key: value for key, value in new.items() if key not in ("intervals", "groups", "training_counts")}
    old["scores"] = {"test": {k: v for k, v in new["scores"]["test"].items() if k not in ("macro_f1", "ece")}}
    path.write_text(json.dumps(old))
    before = (tmp_path / "run" / "predictions.csv").stat().st_mtime_ns
    rescore(program, tmp_path / "run", tmp_path / "run")
    again = json.loads(path.read_text())
    assert again["scores"] == new["scores"]
    assert again["intervals"] == new["intervals"]
    assert "groups" not in again
    assert (tmp_path / "run" / "predictions.csv").stat().st_mtime_ns == before


def foreign(path, rows):
    path.write_text("name,path,label,class,predicted,predicted_class,probability,p:a,p:b\n" + "\n".join(rows) + "\n")
    return path


def test_a_foreign_file_with_rounded_probabilities_and_logits(program, tmp_path):
    path = foreign(tmp_path / "theirs.csv", ["x,,0,a,0,a,0.7,0.7,0.3", "y,,1,b,0,a,0.6,0.6,0.4"])
    printed, results = rescore(program, path, tmp_path / "out")
    scores = results["scores"]["test"]
    assert (scores["top1"], scores["mca"], scores["measured"]) == (0.5, 0.5, 2)
    # F1 of a: 2 / (1 + 2); of b: 0. The bins of 0.6 and 0.7 lie apart.
    assert scores["macro_f1"] == pytest.approx(1 / 3)
    assert scores["ece"] == pytest.approx((0.3 + 0.6) / 2)
    assert scores["loss"] == pytest.approx(-(torch.tensor([0.7, 0.4]).log().mean().item()))
    foreign(path, ["x,,0,a,0,a,3.5,3.5,-2"])
    printed, results = rescore(program, path, tmp_path / "out")
    assert "are no probabilities" in printed
    assert (results["scores"]["test"]["ece"], results["scores"]["test"]["loss"]) == (None, None)


def test_a_model_that_is_certain_and_right_has_a_loss_of_zero(program, tmp_path):
    printed, _ = rescore(program, foreign(tmp_path / "theirs.csv", ["x,,0,a,0,a,1,1,0"]), tmp_path / "out")
    assert "loss      0.0000" in printed


def test_a_true_class_of_probability_zero_has_no_finite_loss(program, tmp_path):
    path = foreign(tmp_path / "theirs.csv", ["x,,0,a,1,b,1,0,1"])
    printed, results = rescore(program, path, tmp_path / "out")
    assert "the loss is not stated" in printed
    assert results["scores"]["test"]["loss"] is None


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (["x,,0,a,0,a,nan,nan,0.3"], [], "not numbers"),
        (["x,,1,a,0,a,1,1,0"], [], "class 'a' is not that of label 1, 'b'"),
        (None, [], "no such file"),
        (["x,,0,a,0,a,1,1,0"], ["--checkpoint", "x.ckpt"], "give one of them"),
        (["x,,0,a,0,a,1,1,0"], ["--data.root", "x"], "unknown option --data.root"),
        ([], [], "no clip in it|cut off"),
    ],
    ids=["NaN", "another class", "no file", "a checkpoint too", "other options", "empty"],
)
def test_what_cannot_be_scored_is_named(rows, words, message, program, tmp_path):
    path = tmp_path / "theirs.csv"
    if rows is not None:
        foreign(path, rows)
    ended = program(taggnn.evaluate, "--predictions", path, "--out", tmp_path / "out", *words)
    assert ended.code == 2
    assert any(part in ended.err for part in message.split("|")), ended.err
    assert not (tmp_path / "out").exists()


def test_another_split_than_the_results_say_is_refused(evaluated, program, tmp_path):
    ended = program(taggnn.evaluate, "--predictions", evaluated[0], "--split", "val", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "is about the split test" in ended.err


def test_the_split_is_that_of_the_results_and_the_figures_of_others_stay(tmp_path):
    said = read_predictions(foreign(tmp_path / "predictions.csv", ["x,,0,a,0,a,0.7,0.7,0.3", "y,,1,b,0,a,0.6,0.6,0.4"]))
    of_val = summarise(said.probabilities, said.labels, missing=3, loss=0.6).as_dict()
    scores = {"train": of_val | {"top1": 1.0}, "val": of_val}
    Results(**{"title": "a run", "scores": scores}).write(tmp_path)
    results, split, _ = rescored(said, tmp_path / "predictions.csv")
    assert split == "val"
    assert results.title == "a run"
    assert results.scores == scores


def test_only_the_option_itself_asks():
    assert is_requested(["--predictions", "x"])
    assert is_requested(["--predictions=x"])
    assert not is_requested(["--checkpoint", "x", "--out", "predictions"])
