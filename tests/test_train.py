import csv
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

import taggnn.train
from taggnn.cli import config, experiment, terminal
from taggnn.data.dataset import ClipDataset
from taggnn.evaluation.intervals import answers
from taggnn.evaluation.paired_comparison import paired_comparison
from taggnn.evaluation.predictions import read_predictions, read_skipped
from taggnn.evaluation.significance import mcnemar
from taggnn.io import checkpoint
from taggnn.training.loop import Trainer

FILES = "config.yaml metrics.csv best.ckpt last.ckpt predictions.csv skipped.csv results.json report.html confusion.png"
BAD = ("empty", "text", "truncated", "audio", "no_frames")


def _signalled(batches, number, words):
    """A process with a program that gets a signal when training has begun so many batches, over all heads."""
    begin, left = Trainer.train_batch, [batches]

    def count(self, position, batch):
        if not left[0]:
            sys.stdout.flush()
            os.kill(os.getpid(), number)
        left[0] -= 1
        return begin(self, position, batch)

    Trainer.train_batch = count
    return terminal.run(taggnn.train.main, "taggnn.train", words)


@pytest.fixture
def killed(begin):
    """Runs the program in a process of its own and sends it a signal in the middle of an epoch."""

    def run(batches, with_signal, *words):
        ended = begin(_signalled, batches, with_signal, list(map(str, words))).end()
        return ended, Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1])

    return run


def _metrics(folder):
    """metrics.csv but for the time it took."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds", "clips/s")}
            for row in csv.DictReader(file)
        ]


def _same(folder, reference):
    assert _metrics(folder) == _metrics(reference)
    for name in ("predictions.csv", "skipped.csv"):
        assert (folder / name).read_text() == (reference / name).read_text(), name


def _hashes(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_run_folder_holds_everything(trained):
    folder, ended = trained
    for name in FILES.split():
        assert (folder / name).stat().st_size > 0, name
    assert str(folder / "best.ckpt") in ended.out
    assert str(folder / "report.html") in ended.out
    assert "Traceback" not in ended.err
    # A library's warnings are not for users.
    assert "Warning" not in ended.err


def test_metrics_have_a_row_an_epoch(trained):
    rows = _metrics(trained[0])
    assert [row["epoch"] for row in rows] == ["1", "2"]
    columns = {"epoch", "train/loss", "train/clips", "train/top1", "val/loss", "val/top1", "val/mca", "val/clips", "lr"}
    assert set(rows[0]) == columns
    assert [(row["train/clips"], row["val/clips"]) for row in rows] == [("16", "8")] * 2
    assert all(float(value) >= 0 for row in rows for value in row.values())


def test_predictions_give_the_reported_scores(trained):
    folder, ended = trained
    predictions = read_predictions(folder / "predictions.csv")
    top1 = float((predictions.probabilities.argmax(1) == predictions.labels).double().mean())
    scores = json.loads((folder / "results.json").read_text())["scores"]["test"]
    assert scores["top1"] == pytest.approx(top1)
    assert f"test      top-1 {100 * top1:.1f} %" in ended.out


def test_baseline_beside_the_head(trained):
    folder, ended = trained
    rows = json.loads((folder / "results.json").read_text())["comparison"]
    assert [row["name"] for row in rows] == ["tag (gat, clique+chain, attention)", "pool"]
    assert [row["chosen"] for row in rows] == [True, False]
    assert rows[0]["parameters"] > rows[1]["parameters"] > 0
    assert (folder / "compare" / "pool" / "best.ckpt").is_file()
    assert "Comparison" in (folder / "report.html").read_text()
    assert re.search(r"^head +pool,.* [\d.]+ (min|s)\n +top-1", ended.out, re.MULTILINE)


def test_equal_heads_differ_by_zero_without_a_sign(trained):
    folder, _ = trained
    (row,) = paired_comparison({"tag": folder, "again": folder})
    assert list(row["top1"].values()) == [0, 0, 0]
    assert "-0.0" not in repr(row)


def test_the_head_is_compared_with_its_baseline_clip_by_clip(trained):
    folder, ended = trained
    (row,) = json.loads((folder / "results.json").read_text())["paired"]
    ours, theirs = (read_predictions(place / "predictions.csv") for place in (folder, folder / "compare" / "pool"))
    right = [answers(file.probabilities, file.labels).right for file in (ours, theirs)]
    assert (row["name"], row["against"], row["clips"]) == ("tag", "pool", 8)
    assert row["only_name"] == int((right[0] & ~right[1]).sum())
    assert row["only_against"] == int((right[1] & ~right[0]).sum())
    assert row["p"] == row["p_holm"] == mcnemar(row["only_against"], row["only_name"]).p
    top1 = row["top1"]
    assert top1["low"] <= top1["value"] <= top1["high"]
    assert top1["value"] == pytest.approx(float(right[0].double().mean() - right[1].double().mean()))
    assert f"tag - pool: {100 * top1['value']:+.1f} points (" in ended.out
    assert row["verdict"] in ended.out
    assert "tag - pool" in (folder / "report.html").read_text()


def test_training_clips_of_each_class_are_kept(trained):
    folder, _ = trained
    stated = json.loads((folder / "results.json").read_text())["training_counts"]
    loaded = checkpoint.load(folder / "best.ckpt")
    assert dict(zip(loaded.classes, loaded.training_counts, strict=True)) == stated
    assert sorted(stated.values()) == [*([2] * 7), 7]


def test_bad_clips_are_named_once_and_counted_nowhere(trained):
    folder, ended = trained
    skipped = read_skipped(folder / "skipped.csv")
    listed = [(clip.split, clip.name.split("/")[-1]) for clip in skipped]
    wanted = [(split, f"a_{kind}.mp4") for split in ("train", "val", "test") for kind in BAD]
    assert sorted(listed) == sorted(wanted)
    assert all(clip.reason and Path(clip.path).is_file() for clip in skipped)
    # A whole batch of the test clips, the first four, is bad.
    scores = json.loads((folder / "results.json").read_text())["scores"]["test"]
    assert {key: scores[key] for key in ("listed", "missing", "unreadable", "measured")} == {
        "listed": 13,
        "missing": 0,
        "unreadable": 5,
        "measured": 8,
    }
    assert "over 8 classes, 8 of 13 listed clips (62 %): 5 unreadable" in ended.out
    assert re.search(r"^epoch   1/2 .* on 8 of 13 clips ", ended.out, re.MULTILINE)
    assert "skipped   15 clips could not be read" in ended.out
    assert "10 clips skipped" in ended.out


def test_a_partial_set_states_what_it_measured(tiny, videos, program, tmp_path):
    for split in ("train", "val"):
        names = [path.relative_to(videos).as_posix() for path in sorted((videos / split).glob("*/[!a]*.mp4"))]
        rows = [f"{name} {label // (len(names) // 8)}" for label, name in enumerate(names)]
        # Of class 8 nothing lies on the disk, of class 0 a part.
        rows += [f"{split}/gone_{label}.mp4 {label}" for label in (0, 8)]
        (tmp_path / f"{split}.txt").write_text("\n".join(rows))
    lists = [f"--data.{key}_list={tmp_path / key.replace('test', 'val')}.txt" for key in ("train", "val", "test")]
    words = ["--data.missing", "skip", "--compare", "[]", "--train.epochs", "1", "--runs", tmp_path / "runs"]
    ended = program(taggnn.train, "--config", tiny, *lists, *words)
    assert ended.code == 0, ended.err
    folder = Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1])
    results = json.loads((folder / "results.json").read_text())
    scores = results["scores"]["test"]
    assert (scores["listed"], scores["missing"], scores["measured"]) == (10, 2, 8)
    assert results["unmeasured"] == {"test": ["8"]}
    assert (results["comparison"][0]["measured"], results["comparison"][0]["listed"]) == (8, 10)
    for said in (
        "over 8 of 9 classes, 8 of 10 listed clips (80 %): 2 missing",
        "not measured: 1 class whose every listed clip is missing or unreadable: 8",
        " on 8 of 10 clips ",
    ):
        assert said in ended.out
    assert "16 of 18 listed training clips" in (folder / "report.html").read_text()


def test_configuration_of_the_run_is_complete(trained, tiny):
    kept = config.parser().parse_path(str(trained[0] / "config.yaml"))
    given = config.parse(["--config", str(tiny)])
    # Also what the backbone decided.
    given.video.mean, given.video.std = (0.45,) * 3, (0.225,) * 3
    for key in ("data", "video", "tag", "backbone", "optim", "train", "compare", "seed"):
        assert kept[key] == given[key], key


def test_resuming_a_finished_run_changes_nothing(trained, program):
    folder, first = trained
    before = _hashes(folder)
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 0, ended.err
    assert _hashes(folder) == before
    assert "epoch" not in ended.out
    assert ended.out.splitlines()[-1] == first.out.splitlines()[-1]


def test_a_run_that_stops_early_says_where(tiny, program, tmp_path):
    # Weights that do not move are no better in the second epoch.
    words = ["--optim.lr", "0", "--patience", "1", "--train.epochs", "5", "--compare", "[]", "--optim.ema", "0.9"]
    ended = program(taggnn.train, "--config", tiny, *words, "--runs", tmp_path)
    assert ended.code == 0, ended.err
    said = "stopped after epoch 2 of 5: val/top1 no better than in epoch 1 for 1 epoch"
    assert said in ended.out.splitlines()
    assert "5 epochs; 32-true, weights averaged (0.9), patience 1 for val/top1" in ended.out
    folder = Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1])
    assert said in json.loads((folder / "results.json").read_text())["notes"]
    assert said in (folder / "report.html").read_text()
    assert len(_metrics(folder)) == 2
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("words", [["--seed", "1"], ["--train.epochs", "9"], ["--config", "demo"]])
def test_resume_takes_no_further_options(words, trained, program):
    before = _hashes(trained[0])
    ended = program(taggnn.train, "--resume", trained[0], *words)
    assert ended.code == 2
    assert "--resume takes the run folder and nothing else" in ended.err
    assert _hashes(trained[0]) == before


def test_resume_of_no_run(program, tmp_path):
    assert "no such folder" in program(taggnn.train, "--resume", tmp_path / "a").err
    ended = program(taggnn.train, f"--resume={tmp_path}")
    assert ended.code == 2
    assert "no config.yaml in it" in ended.err


def test_a_run_of_an_earlier_version_is_refused_by_a_sentence(trained, program, tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {max_epochs: 2}\ndata: {frames: 4}\n")
    for words in (["--resume", tmp_path], ["--run", tmp_path]):
        ended = program(taggnn.train, *words)
        assert ended.code == 2
        assert ended.err.startswith(f"taggnn.train: {tmp_path / 'config.yaml'}: written by an earlier taggnn")


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_configuration_that_is_cut_off_is_one_sentence_with_its_file(trained, program, tmp_path, part):
    """Most parts of a YAML file are YAML as well, and a run of other options."""
    text = (trained[0] / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text[: int(part * len(text))])
    for words in (["--resume", tmp_path], ["--run", tmp_path]):
        ended = program(taggnn.train, *words)
        assert ended.code == 2
        assert ended.err.startswith(f"taggnn.train: {tmp_path / 'config.yaml'}: ")
        assert ended.err.count("\n") == 1


def test_resume_with_other_classes(trained, videos, program, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    for split in ("train", "val"):
        for name in ("left", "up"):
            shutil.copytree(videos / split / name, tmp_path / "two" / split / name)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(videos), str(tmp_path / "two")))
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 2
    assert f"{folder / 'last.ckpt'}: cannot be resumed: its classes differ" in ended.err


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("went", "its train clips are not those it began with: 0 added and 1 removed; bring"),
        ("relabelled", "its val clips are not those it began with: 1 added and 1 removed; bring"),
        ("nothing", None),
    ],
)
def test_resume_with_other_clips(trained, videos, program, tmp_path, change, said):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    shutil.copytree(videos, tmp_path / "videos")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(videos), str(tmp_path / "videos")))
    if change == "went":
        (tmp_path / "videos" / "train" / "up" / "up_001.mp4").unlink()
    if change == "relabelled":
        place = tmp_path / "videos" / "val"
        (place / "up" / "up_000.mp4").rename(place / "down" / "up_000.mp4")
    ended = program(taggnn.train, "--resume", folder)
    if said is None:
        assert ended.code == 0, ended.err
    else:
        assert ended.code == 2
        assert f"{folder / 'last.ckpt'}: cannot be resumed: {said}" in ended.err


@pytest.mark.usefixtures("no_report")
def test_resume_from_another_folder_finds_relative_data(trained, videos, program, tmp_path, monkeypatch):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    text = (folder / "config.yaml").read_text()
    text = text.replace(str(videos), videos.name).replace(
        f"working_dir: {os.getcwd()}", f"working_dir: {videos.parent}"
    )
    (folder / "config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 0, ended.err


@pytest.mark.usefixtures("no_report")
def test_resume_with_data_that_were_moved(trained, videos, program, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(videos), str(tmp_path / "gone")))
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 2
    assert "--data.root DIR" in ended.err
    shutil.copytree(videos, tmp_path / "now")
    (tmp_path / "now" / "train" / "up" / "up_001.mp4").rename(tmp_path / "up_001.mp4")
    ended = program(taggnn.train, "--resume", folder, "--data.root", tmp_path / "now")
    assert ended.code == 2
    assert "its train clips are not those it began with: 0 added and 1 removed" in ended.err
    (tmp_path / "up_001.mp4").rename(tmp_path / "now" / "train" / "up" / "up_001.mp4")
    ended = program(taggnn.train, f"--data.root={tmp_path / 'now'}", "--resume", folder)
    assert ended.code == 0, ended.err
    assert str(tmp_path / "now") in (folder / "config.yaml").read_text()


def test_resume_from_a_damaged_checkpoint(trained, program, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:5000])
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 2
    assert f"taggnn.train: checkpoint {folder / 'last.ckpt'}: cannot be read (5,000 bytes" in ended.err
    assert f"cp {folder / 'best.ckpt'} {folder / 'last.ckpt'}, then resume" in ended.err


@pytest.mark.usefixtures("no_report")
def test_a_flipped_bit_in_last_is_told_and_the_best_epoch_resumes(trained, program, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "results.json").unlink()
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 2
    assert "last.ckpt: damaged: its entry archive/data/" in ended.err
    assert f"cp {best} {last}, then resume" in ended.err
    shutil.copy(best, last)
    assert program(taggnn.train, "--resume", folder).code == 0
    _same(folder, trained[0])
    (folder / "results.json").unlink()
    for path in (last, best):
        path.write_bytes(content)
    assert "start a new run" in program(taggnn.train, "--resume", folder).err


@pytest.mark.usefixtures("no_report")
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(("batches", "workers"), [(9, 0), (2, 1)], ids=["in-the-second-epoch", "before-any-checkpoint"])
def test_killed_and_resumed_equals_uninterrupted(batches, workers, tiny, trained, program, killed, tmp_path):
    words = ["--config", tiny, "--runs", tmp_path, "--data.workers", workers, "--compare", "[]"]
    ended, folder = killed(batches, signal.SIGKILL, *words)
    assert ended.code == -signal.SIGKILL
    assert not (folder / "results.json").exists()
    assert (folder / "last.ckpt").exists() == (batches > 6)
    resumed = program(taggnn.train, "--resume", folder)
    assert resumed.code == 0, resumed.err
    # What an interrupted run has done it does not do again.
    assert ("epoch   1/2" in resumed.out) == (batches < 6)
    _same(folder, trained[0])


@pytest.mark.usefixtures("no_report")
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_resumed_draws_again_what_is_drawn_in_training(tiny, program, killed, tmp_path):
    """Balance, crops in time, augmentation with its labels and mixed batches, each from the place it had come to."""
    path = tmp_path / "drawn.yaml"
    path.write_text(
        """
data:
  balance: class
  flip_pairs: {left: right, clockwise: counter_clockwise}
video:
  sampling: uniform
  temporal_jitter: 0.7
  temporal_scale: [0.8, 1.0]
  randaugment: 2
  magnitude_std: 0.5
  random_erasing: 0.3
optim: {mixup: 0.8, cutmix: 1.0, mix_prob: 0.9, label_smoothing: 0.1}
compare: []
"""
    )
    words = ["--config", tiny, "--config", path, "--runs"]
    whole = program(taggnn.train, *words, tmp_path / "whole")
    assert whole.code == 0, whole.err
    ended, folder = killed(9, signal.SIGKILL, *words, tmp_path / "killed")
    assert ended.code == -signal.SIGKILL
    resumed = program(taggnn.train, "--resume", folder)
    assert resumed.code == 0, resumed.err
    _same(folder, Path(re.search(r"^run +(.+)$", whole.out, re.MULTILINE)[1]))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT")
def test_interrupt_while_the_baseline_trains(tiny, trained, program, killed, tmp_path):
    ended, folder = killed(15, signal.SIGINT, "--config", tiny, "--runs", tmp_path)
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == (
        f"taggnn.train: interrupted; continue with: python -m taggnn.train --resume {folder}"
    )
    assert "Traceback" not in ended.err
    for path in folder.rglob("*.ckpt"):
        torch.load(path, weights_only=True)
    assert list(folder.rglob(".*")) == [folder / ".lock"]
    resumed = program(taggnn.train, "--resume", folder)
    assert resumed.code == 0, resumed.err
    assert "training  tag" not in resumed.out
    _same(folder, trained[0])
    _same(folder / "compare" / "pool", trained[0] / "compare" / "pool")
    scores = [
        [
            (row["name"], row["top1"], row["chosen"])
            for row in json.loads((run / "results.json").read_text())["comparison"]
        ]
        for run in (folder, trained[0])
    ]
    assert scores[0] == scores[1]


@pytest.mark.usefixtures("no_report")
def test_interrupt_before_the_test_clips_forgets_no_bad_clip(tiny, trained, program, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "score", interrupted)
        ended = program(taggnn.train, "--config", tiny, "--runs", tmp_path, "--compare", "[]")
    assert ended.code == 130
    folder = Path(re.search(r"--resume (.+)$", ended.err)[1])
    loaded, load = [], ClipDataset.__getitem__
    monkeypatch.setattr(
        ClipDataset, "__getitem__", lambda self, key: loaded.append(self.clips[key[0]].name) or load(self, key)
    )
    monkeypatch.setattr(experiment, "write_thumbnails", lambda *_: [])
    assert program(taggnn.train, "--resume", folder).code == 0
    _same(folder, trained[0])
    # Scores and the graph's effect come from one pass; the validation clips are predicted in another one.
    assert "graph_effect" in json.loads((folder / "results.json").read_text())
    assert len(loaded) == len(set(loaded)) == 26
    assert [sum(name.startswith(f"{split}/") for name in loaded) for split in ("val", "test")] == [13, 13]


@pytest.mark.usefixtures("no_report")
def test_disk_full_while_saving(tiny, trained, program, tmp_path, monkeypatch):
    open_, saved = Path.open, []

    class Full:
        """A disk that is full behind so many bytes."""

        def __init__(self, file):
            self.file, self.flush, self.left = file, file.flush, 3000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.left -= len(content)
            if self.left < 0:
                raise OSError(28, os.strerror(28))
            return self.file.write(content)

    def full(path, *mode, **options):
        file = open_(path, *mode, **options)
        if path.name.startswith(".last"):
            saved.append(path)
            return Full(file) if len(saved) == 2 else file
        return file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        ended = program(taggnn.train, "--config", tiny, "--runs", tmp_path, "--compare", "[]")
    assert ended.code == 1
    last = saved[0].parent / "last.ckpt"
    assert f"taggnn.train: disk full while writing {last}" in ended.err
    assert "the old file is unchanged" in ended.err
    assert torch.load(last, weights_only=True)["progress"]["epoch"] == 1
    assert not saved[1].exists()
    assert program(taggnn.train, "--resume", last.parent).code == 0
    _same(last.parent, trained[0])
