"""python -m taggnn.ensemble: runs averaged clip by clip into a folder like that of any run."""

import json
import shutil

import pytest
import torch

import taggnn.compare
import taggnn.ensemble
import taggnn.evaluate
import taggnn.report
from taggnn.evaluation.metrics import summarise
from taggnn.evaluation.predictions import (
    Predictions,
    Skipped,
    read_predictions,
    read_skipped,
    write_predictions,
    write_skipped,
)
from taggnn.evaluation.results import Results
from taggnn.evaluation.significance import mcnemar

CLASSES = ["<b>up</b>", "down", "日本", "left"]


def predicted(seed, better=1.0, clips=80, ending=".npz", first=0, split="test"):
    """Predictions for clips of one list."""
    labels = torch.randint(4, (clips,), generator=torch.Generator().manual_seed(first))
    scores = torch.randn(clips, 4, generator=torch.Generator().manual_seed(seed))
    scores[torch.arange(clips), labels] += better
    names = [f"walk/clip_{first + n}{ending}" for n in range(clips)]
    return Predictions(names, [f"{split}/{name}" for name in names], labels, scores.softmax(1), CLASSES)


def run(folder, seed, better=1.0, val=True, **options):
    """A run folder with hand-written predictions of test and validation clips."""
    test = predicted(seed, better, **options)
    write_predictions(folder / "predictions.csv", test)
    if val:
        write_predictions(
            folder / "val" / "predictions.csv", predicted(seed + 50, better, clips=60, first=1000, split="val")
        )
    Results.from_predictions(
        "test", test, title=f"run {folder.name}", training_counts=[9, 8, 7, 6], resamples=20
    ).write(folder)
    return folder


@pytest.fixture
def three(tmp_path):
    return [
        run(tmp_path / name, seed, better)
        for name, seed, better in (("joint", 1, 1.2), ("bone", 2, 1.0), ("motion", 3, 0.1))
    ]


def test_an_ensemble_is_a_folder_like_that_of_any_run(three, program, tmp_path):
    out = tmp_path / "out"
    ended = program(taggnn.ensemble, *three, "--out", out)
    assert ended.code == 0, ended.err
    tables = [read_predictions(folder / "predictions.csv") for folder in three]
    mean = sum(table.probabilities.double() for table in tables) / 3
    whole = read_predictions(out / "predictions.csv")
    assert whole.names == tables[0].names
    assert torch.allclose(whole.probabilities.double(), mean)
    results = json.loads((out / "results.json").read_text())
    assert results["scores"]["test"]["top1"] == summarise(whole.probabilities, whole.labels).top1
    assert results["training_counts"] == dict(zip(CLASSES, [9, 8, 7, 6], strict=True))
    assert results["ensemble"] == {
        "average": "probabilities",
        "chosen": "equal",
        "members": [
            {"name": f"{letter}: run {folder.name}", "source": str(folder), "weight": 1 / 3}
            for letter, folder in zip("ABC", three, strict=True)
        ],
    }
    row = results["paired"][0]
    hits = [(table.probabilities.argmax(1) == table.labels) for table in (tables[0], whole)]
    b, c = int((hits[0] & ~hits[1]).sum()), int((hits[1] & ~hits[0]).sum())
    assert (row["name"], row["against"], row["only_against"], row["only_name"]) == ("ensemble", "A", b, c)
    assert row["p"] == mcnemar(b, c).p
    assert [row["name"] for row in results["comparison"]] == [
        "ensemble",
        *("A: run joint", "B: run bone", "C: run motion"),
    ]
    assert "best single run (A, by top-1 on these clips)" in ended.out
    page = (out / "report.html").read_text()
    assert page.count("Most confused pairs of classes") == 3
    assert "ensemble of 3 runs" in page
    assert "&lt;b&gt;up&lt;/b&gt;" in page
    assert not (out / "val").exists()
    # Every program that reads a run reads it.
    assert program(taggnn.report, out).code == 0
    assert program(taggnn.compare, three[0], out, "--out", tmp_path / "compared").code == 0
    assert program(taggnn.evaluate, "--predictions", out, "--out", tmp_path / "again").code == 0
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["scores"] == results["scores"]
    assert again["ensemble"] == results["ensemble"]
    assert program(taggnn.ensemble, out, three[0], "--out", tmp_path / "nested").code == 0


def test_weights_are_given(three, program, tmp_path):
    ended = program(taggnn.ensemble, *three, "--weights", 2, 1, 0, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    tables = [read_predictions(folder / "predictions.csv").probabilities.double() for folder in three]
    found = read_predictions(tmp_path / "out" / "predictions.csv").probabilities
    assert torch.allclose(found.double(), (2 * tables[0] + tables[1]) / 3)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["ensemble"]["chosen"] == "given"
    assert [row["name"] for row in results["comparison"]][:2] == ["ensemble", "equal weights"]


def test_weights_are_chosen_on_the_validation_clips_alone(three, program, tmp_path):
    words = ["--choose", "top1", "--show_test_choice", "true"]
    ended = program(taggnn.ensemble, *three, *words, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    stated = results["ensemble"]
    weights = [row["weight"] for row in stated["members"]]
    # Other test clips: the same weights.
    for number, folder in enumerate(three):
        write_predictions(folder / "predictions.csv", predicted(90 + number, 0.5))
        (folder / "results.json").unlink()
    program(taggnn.ensemble, *three, *words, "--out", tmp_path / "other")
    other = json.loads((tmp_path / "other" / "results.json").read_text())["ensemble"]
    assert [row["weight"] for row in other["members"]] == weights
    assert other["test_choice"] != stated["test_choice"]
    assert stated["clips"] == 60
    assert stated["value"] >= stated["equal"]
    tables = [read_predictions(folder / "val" / "predictions.csv") for folder in three]
    mean = sum(weight * table.probabilities.double() for weight, table in zip(weights, tables, strict=True)).float()
    assert summarise(mean, tables[0].labels).top1 == stated["value"]
    # What the test clips would have picked is at least as good on them, and is named as no valid figure.
    assert stated["test_choice"]["value"] >= results["scores"]["test"]["top1"]
    assert "Not a valid figure" in (tmp_path / "out" / "report.html").read_text()
    assert "by top-1 on validation clips" in ended.out
    # An ensemble of ensembles finds them as well.
    assert (tmp_path / "out" / "val" / "predictions.csv").is_file()


def test_without_the_option_the_test_clips_pick_nothing(three, program, tmp_path):
    program(taggnn.ensemble, *three, "--choose", "loss", "--out", tmp_path / "out")
    assert "test_choice" not in json.loads((tmp_path / "out" / "results.json").read_text())["ensemble"]
    assert "Not a valid figure" not in (tmp_path / "out" / "report.html").read_text()


def test_a_video_and_its_skeleton_are_the_same_clip(program, tmp_path):
    rgb = run(tmp_path / "rgb", 1, ending=".mp4")
    pose = run(tmp_path / "pose", 2, ending=".npz")
    ended = program(taggnn.ensemble, rgb, pose, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert read_predictions(tmp_path / "out" / "predictions.csv").names[0] == "walk/clip_0.mp4"
    assert "matched by name without the file's ending" in ended.out


def test_clips_that_a_run_lacks_are_left_out_by_name(tmp_path, program):
    whole, part = run(tmp_path / "whole", 1), run(tmp_path / "part", 2, clips=80)
    given = read_predictions(part / "predictions.csv")
    kept = torch.arange(80) >= 3
    rest = Predictions(given.names[3:], given.paths[3:], given.labels[kept], given.probabilities[kept], CLASSES)
    write_predictions(part / "predictions.csv", rest)
    # Results of 80 clips and a missing one.
    Results.from_predictions("test", rest, unreadable=3, missing=1, resamples=20).write(part)
    write_skipped(part / "skipped.csv", [Skipped("walk/clip_0.npz", "x", "test", "no body")])
    ended = program(taggnn.ensemble, whole, part, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    scores = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]["test"]
    assert [scores[key] for key in ("measured", "unreadable", "missing", "listed")] == [77, 3, 1, 81]
    skipped = {row.name: row.reason for row in read_skipped(tmp_path / "out" / "skipped.csv")}
    assert list(skipped) == [f"walk/clip_{n}.npz" for n in range(3)]
    assert skipped["walk/clip_0.npz"] == "no body"
    assert "3 of its 80 clips are not in every file and are left out: 'walk/clip_0.npz'" in ended.out


def test_runs_without_validation_predictions_get_the_command(three, program, tmp_path):
    shutil.rmtree(three[1] / "val")
    (three[1] / "config.yaml").write_text("data: {root: my clips, val_list: val.csv}\n")
    ended = program(taggnn.ensemble, *three, "--choose", "top1", "--out", tmp_path / "out")
    assert ended.code == 2
    command = "--data.root 'my clips' --data.list val.csv --split val --out"
    assert f"python -m taggnn.evaluate --checkpoint {three[1]} {command} {three[1] / 'val'}" in ended.err
    assert not (tmp_path / "out").exists()


def test_validation_clips_that_are_test_clips_choose_nothing(three, program, tmp_path):
    for folder in three:
        shutil.copy(folder / "predictions.csv", folder / "val" / "predictions.csv")
    ended = program(taggnn.ensemble, *three, "--choose", "top1", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "80 of its 80 clips are test clips as well" in ended.err


def test_a_trained_run_has_its_validation_predictions(trained, program, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    val = read_predictions(folder / "val" / "predictions.csv")
    assert len(val.names) == 8
    ended = program(taggnn.ensemble, folder, folder / "compare" / "pool", "--choose", "top1", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    words = ["--checkpoint", folder, "--data.root", val.paths[0].split("/val/")[0]]
    again = program(taggnn.evaluate, *words, "--split", "val", "--out", folder / "val", "--data.workers", 0)
    assert again.code == 0, again.err
    other = read_predictions(folder / "val" / "predictions.csv")
    assert (other.names, other.paths) == (val.names, val.paths)
    # Of other batches.
    assert torch.allclose(other.probabilities, val.probabilities, atol=1e-5)


def other_classes(folder):
    given = predicted(1)
    write_predictions(
        folder / "predictions.csv",
        Predictions(*(given.names, given.paths, given.labels), given.probabilities, ["x", *CLASSES[1:]]),
    )
    return folder


def other_split(folder):
    write_predictions(folder / "predictions.csv", predicted(1))
    Results.from_predictions("val", predicted(1), resamples=20).write(folder)
    return folder


def logits(folder):
    given = predicted(1)
    write_predictions(
        folder / "predictions.csv",
        Predictions(given.names, given.paths, given.labels, given.probabilities * 3, CLASSES),
    )
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{one}"], "an ensemble needs two runs or more"),
        (["{one}", "{one}/predictions.csv"], "given twice"),
        (["{one}", "{empty}"], "no predictions.csv in it"),
        (["{one}", "x/best.ckpt"], "a model, not its predictions"),
        (["{one}", "{two}", "--weights", "1", "-1"], "weights 1 -1: each must be a number of 0 or more"),
        (["{one}", "{two}", "--weights", "1"], "weights 1: 1 for 2 runs"),
        (["{one}", "{two}", "--weights", "1,a"], "weights: expected a list"),
        (["{one}", "{two}", "--weights", "1,1", "--choose", "top1"], "give one of them"),
        (["{one}", "{two}", "--choose", "top9"], "choose: unknown figure 'top9'"),
        (["{one}", "{two}", "--average", "votes"], "average"),
        (["{one}", "{classes}"], "other classes"),
        (["{one}", "{split}"], "is about the split val"),
        (["{one}", "{logits}"], "are no probabilities"),
    ],
)
def test_a_mistake_is_one_sentence(words, message, three, program, tmp_path):
    (tmp_path / "empty").mkdir()
    made = {
        "classes": other_classes(tmp_path / "classes"),
        "split": other_split(tmp_path / "split"),
        "logits": logits(tmp_path / "logits"),
    }
    words = [word.format(one=three[0], two=three[1], empty=tmp_path / "empty", **made) for word in words]
    ended = program(taggnn.ensemble, *words, "--out", tmp_path / "out")
    assert ended.code == 2
    assert message in ended.err, ended.err
    assert not (tmp_path / "out").exists()
