import json
import re
import shutil

import pytest
import torch

import taggnn.evaluate
import taggnn.train
from taggnn.cli import evaluating
from taggnn.data import sources
from taggnn.data.dataset import ClipDataset
from taggnn.data.views import clip_views
from taggnn.evaluation import metrics
from taggnn.evaluation.predictions import read_predictions, read_skipped
from taggnn.io import checkpoint


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
    results = json.loads((folder / "results.json").read_text())
    scores, ends = results["scores"]["test"], results["intervals"]["test"]
    assert set(results["training_counts"].values()) == {2, 7}
    shown = {key: f"{100 * scores[key]:.2f} %" for key in scores if key in ends or key in ("top1", "top5")}
    # An interval without width, of a model that has all or nothing right, is not printed.
    between = {
        key: f"   ({100 * low:.1f} to {100 * high:.1f} %)" if low < high else ""
        for key, (low, high) in ((key, ends[key]) for key in ("mca", "macro_f1", "ece"))
    }
    for line in (
        "measured  8 of 13 listed clips (62 %): 5 unreadable",
        f"top-1     {shown['top1']}",
        f"top-5     {shown['top5']}",
        f"MCA       {shown['mca']}{between['mca']}   mean class accuracy, 8 of 8 classes occur",
        f"macro F1  {shown['macro_f1']}{between['macro_f1']}",
        f"ECE       {shown['ece']}{between['ece']}",
        f"few       {shown['mca']}{between['mca']}   MCA over 8 classes of fewer than 20 training clips, 8 clips measured",
        "intervals: 95 %; Wilson's for top-1, 2,000 bootstrap resamples of the clips for the others",
        "graph     edges removed after training: top-1",
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
    again = metrics.summarise(predictions.probabilities, predictions.labels, unreadable=5)
    stated = json.loads((folder / "results.json").read_text())["scores"]["test"]
    assert {**again.as_dict(), "loss": None} == pytest.approx({**stated, "loss": None})


@pytest.mark.usefixtures("no_report")
def test_each_clip_is_loaded_once_for_scores_and_graph(trained, videos, program, tmp_path, monkeypatch):
    loaded, load = [], ClipDataset.__getitem__
    monkeypatch.setattr(
        ClipDataset, "__getitem__", lambda self, key: loaded.append(self.clips[key[0]].name) or load(self, key)
    )
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", "0"]
    # Pictures of single clips read those again.
    ended = program(taggnn.evaluate, *words, "--out", tmp_path, "--thumbnails", 0)
    assert ended.code == 0, ended.err
    assert "graph     edges removed" in ended.out
    assert len(loaded) == len(set(loaded)) == 13


def test_views_and_crops(evaluate, trained, videos, tmp_path):
    words = ("--views", 3, "--crops", 2, "--average", "logits", "--data.batch_size", 4)
    ended, scores, predictions = evaluate(*words)
    assert scores["test"]["measured"] == 8
    assert len(predictions.names) == 8
    assert re.search(r"^took      \d+\.\d s, \d+\.\d clips/s, \d\.\d\d GiB of main memory$", ended.out, re.MULTILINE)
    results = json.loads((tmp_path / "results.json").read_text())
    stated = results["evaluation"]
    assert stated.pop("clips_per_second") == pytest.approx(8 / results["durations"]["test"])
    assert 2**20 < stated.pop("peak_memory")["main"] < 2**37
    assert stated == {"views": 3, "crops": 2, "average": "logits", "processes": 1}
    assert results["subtitle"].endswith("test, 3 views x 2 crops a clip, logits averaged")
    assert "3 views x 2 crops a clip" in (tmp_path / "report.html").read_text()
    # By hand, with no loader.
    loaded = checkpoint.load(trained[0] / "best.ckpt")
    for name, probabilities in zip(predictions.names, predictions.probabilities, strict=True):
        views = torch.cat(list(clip_views(str(videos / name), sources.of(loaded.spec), 3, 2)))
        with torch.no_grad():
            expected = loaded.model(views).logits.mean(0).softmax(-1)
        torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--views", 0), "views must be 1 or more, not 0"),
        (("--crops", -1), "crops must be 1 or more, not -1"),
        (("--devices", 0), "--devices 0: must be 1 or more"),
        (("--average", "mean"), "average: unknown value 'mean'"),
    ],
)
def test_impossible_views_are_refused_before_any_clip_is_read(words, message, trained, videos, program, tmp_path):
    fixed = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--out", tmp_path / "out"]
    ended = program(taggnn.evaluate, *fixed, *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_report")
def test_another_split(evaluate):
    ended, scores, predictions = evaluate("--split", "val")
    assert list(scores) == ["val"]
    assert all(name.startswith("val/") for name in predictions.names)
    assert "measured  8 of 13 listed clips" in ended.out


@pytest.mark.usefixtures("no_report")
def test_a_root_that_training_parted_is_parted_alike(tiny, videos, program, tmp_path):
    root = tmp_path / "unsplit"
    # Three sound clips a class: each part gets one.
    for path in [*videos.glob("train/*/*.mp4"), *videos.glob("val/*/*.mp4")]:
        if not path.name.startswith("a_"):
            place = root / path.parent.name / f"{path.parent.parent.name}_{path.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    small = ["--data.root", root, "--train.epochs", 1, "--compare=[]", "--runs", tmp_path / "runs"]
    ended = program(taggnn.train, "--config", tiny, *small)
    assert ended.code == 0, ended.err
    run = next((tmp_path / "runs").rglob("best.ckpt")).parent
    words = ["--checkpoint", run / "best.ckpt", "--data.root", root, "--data.workers", 0, "--out", tmp_path / "out"]
    ended = program(taggnn.evaluate, *words)
    assert ended.code == 0, ended.err
    ours, theirs = (read_predictions(folder / "predictions.csv") for folder in (tmp_path / "out", run))
    assert list(ours.names) == list(theirs.names)
    torch.testing.assert_close(ours.probabilities, theirs.probabilities)


def test_a_list(evaluate, tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("test/left/left_000.mp4 left\ntest/up/up_000.mp4 up\n")
    ended, scores, predictions = evaluate("--data.list", path)
    assert scores["test"]["measured"] == 2
    assert scores["test"]["classes_counted"] == 2
    assert [predictions.classes[label] for label in predictions.labels.tolist()] == ["left", "up"]
    assert "mean class accuracy, 2 of 8 classes occur" in ended.out
    assert "\nmeasured  2 clips\n" in ended.out
    assert "not measured" not in ended.out


def test_a_partial_list_states_what_it_measured(evaluate, tmp_path):
    path = tmp_path / "some.txt"
    there = ["test/left/left_000.mp4 left", "test/up/up_000.mp4 up", "test/clockwise/a_text.mp4 clockwise"]
    path.write_text("\n".join([*there, "test/up/gone.mp4 up", *(f"test/down/gone_{n}.mp4 down" for n in range(1200))]))
    ended, scores, _ = evaluate("--data.list", path, "--data.missing", "skip")
    counts = {key: scores["test"][key] for key in ("listed", "missing", "unreadable", "measured")}
    assert counts == {"listed": 1204, "missing": 1201, "unreadable": 1, "measured": 2}
    for line in (
        "measured  2 of 1,204 listed clips (0.2 %): 1,201 missing, 1 unreadable",
        "mean class accuracy, 2 of 8 classes occur",
        "not measured: 2 classes whose every listed clip is missing or unreadable: clockwise, down",
    ):
        assert line in ended.out
    assert json.loads((tmp_path / "results.json").read_text())["unmeasured"] == {"test": ["clockwise", "down"]}
    assert "Accuracy on test: 2 of 1\u202f204 clips" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_class_folders(evaluate, videos, evaluated):
    _, scores, predictions = evaluate("--data.folder", ".", root=videos / "test")
    there = read_predictions(evaluated[0] / "predictions.csv")
    assert scores["test"]["measured"] == 8
    torch.testing.assert_close(predictions.probabilities, there.probabilities)
    # A folder by its name, too.
    assert evaluate("--data.folder", "val")[2].names[0].startswith("val/")


def test_no_clip_can_be_read(trained, videos, program, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("test/clockwise/a_empty.mp4 0\ntest/clockwise/a_text.mp4 0\n")
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", "0"]
    ended = program(taggnn.evaluate, *words, "--data.list", path, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "none of the 2 test clips could be read; see" in ended.err
    assert len(read_skipped(tmp_path / "out" / "skipped.csv")) == 2


def test_a_place_that_cannot_be_written_is_told_before_the_work(trained, videos, program, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(evaluating, "score", lambda *given, **options: pytest.fail("clips were scored"))
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", "0"]
    ended = program(taggnn.evaluate, *words, "--out", tmp_path / "file" / "out")
    assert ended.code == 2
    assert ended.err == f"taggnn.evaluate: {tmp_path / 'file' / 'out'}: not a directory\n"


@pytest.mark.usefixtures("no_report")
def test_without_a_folder_each_evaluation_gets_its_own(trained, videos, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", "0"]
    for split in ("test", "val"):
        ended = program(taggnn.evaluate, *words, "--graph_effect", "false", "--split", split)
        assert ended.code == 0, ended.err
    written = [json.loads(path.read_text())["scores"] for path in sorted(tmp_path.glob("runs/evaluate/*/results.json"))]
    assert [list(scores) for scores in written] == [["test"], ["val"]]


@pytest.mark.usefixtures("no_report")
def test_other_splits_are_not_read(trained, videos, program, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(videos / "test", root / "test")
    (root / "train" / "no_class_of_the_checkpoint").mkdir(parents=True)
    shutil.copy(videos / "test" / "left" / "left_000.mp4", root / "train" / "no_class_of_the_checkpoint" / "a.mp4")
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", root, "--data.workers", "0"]
    ended = program(taggnn.evaluate, *words, "--graph_effect", "false", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "measured  8 of 13 listed clips" in ended.out


@pytest.fixture
def released(trained, videos, program, tmp_path, monkeypatch):
    """Evaluates the tiny run as if it were a published file of 8 classes, whose names are numbers."""
    tiny = checkpoint.load(trained[0] / "best.ckpt")
    tiny.classes, tiny.split_options = tuple(map(str, range(8))), {"seed": 0}
    monkeypatch.setattr(checkpoint, "load", lambda path, dataset, trust: tiny)

    def released(*words, root=videos):
        fixed = [
            "--checkpoint",
            "haa500_best.pth",
            "--dataset",
            "haa500",
            "--data.root",
            root,
            "--out",
            tmp_path / "out",
        ]
        return program(taggnn.evaluate, *fixed, "--data.workers", "0", "--graph_effect", "false", *words)

    return released


def test_a_published_file_takes_its_class_names_from_the_list(released, videos, tmp_path):
    path = tmp_path / "val.csv"
    path.write_text("FileName,Class,TotalFrames,ClassEncoded\nleft_000.mp4,left,8,5\nup_000.mp4,up,8,2\n")
    ended = released("--data.list", path, root=videos / "test")
    assert ended.code == 0, ended.err
    found = read_predictions(tmp_path / "out" / "predictions.csv")
    assert list(found.classes) == ["0", "1", "up", "3", "4", "left", "6", "7"]
    assert list(zip(found.names, found.labels.tolist(), strict=True)) == [
        ("left/left_000.mp4", 5),
        ("up/up_000.mp4", 2),
    ]
    assert "\nleft " in ended.out


def test_a_published_file_and_a_list_of_numbers(released, tmp_path):
    path = tmp_path / "val.txt"
    path.write_text("test/left/left_000.mp4 7\n")
    ended = released("--data.list", path)
    assert ended.code == 0, ended.err
    assert read_predictions(tmp_path / "out" / "predictions.csv").labels.tolist() == [7]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("val.csv", "FileName,Class,ClassEncoded\nleft_000.mp4,left,8\n", "ClassEncoded 8 is out of range"),
        ("val.txt", "left/left_000.mp4 8\n", "label 8 is out of range"),
    ],
)
def test_a_label_that_a_published_file_does_not_have(released, videos, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    ended = released("--data.list", tmp_path / name, root=videos / "test")
    assert ended.code == 2
    assert f"{name}, line" in ended.err
    assert f"{message}; the classes are 0 to 7" in ended.err


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("place", ["test", "."])
def test_a_published_file_and_as_many_class_folders(released, videos, tmp_path, place):
    ended = released(root=videos if place == "test" else videos / "test")
    assert ended.code == 0, ended.err
    assert "taken in sorted order as labels 0 (clockwise) to 7 (up)" in ended.out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["scores"]["test"]["measured"] == 8


@pytest.mark.usefixtures("no_report")
def test_a_published_file_and_a_published_data_set(released, videos, tmp_path):
    for folder in sorted((videos / "test").iterdir()):
        place = tmp_path / "set" / "video" / folder.name
        place.mkdir(parents=True)
        shutil.copy(folder / f"{folder.name}_000.mp4", place / f"{folder.name}_017.mp4")
    ended = released("--data.dataset", "haa500", root=tmp_path / "set")
    assert ended.code == 0, ended.err
    assert "are taken to be the numbers that haa500 publishes" in ended.out
    found = read_predictions(tmp_path / "out" / "predictions.csv")
    assert found.names[0] == "clockwise/clockwise_017"
    assert found.labels.tolist() == list(range(8))


def test_a_published_file_and_too_few_class_folders(released, videos, tmp_path):
    shutil.copytree(videos / "test" / "left", tmp_path / "set" / "test" / "left")
    ended = released(root=tmp_path / "set")
    assert ended.code == 2
    assert "1 class folders, and haa500 has 8 classes" in ended.err
    assert "give a list with --data.list" in ended.err
