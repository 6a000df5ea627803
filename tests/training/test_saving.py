"""A run that goes on from any state that its folder ever had, or after a signal, ends as if nothing had happened.

It is killed at random moments too: ``TAGGNN_KILLS`` says how often (2), ``TAGGNN_KILL_SEED`` at which (0).
"""

import csv
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

import taggnn
import taggnn.train
from taggnn.cli import experiment, terminal
from taggnn.data import workers
from taggnn.data.video.source import VideoSource
from taggnn.io import run_folder
from taggnn.io.checkpoint import read
from taggnn.training.loop import Trainer

KILLS, SEED = int(os.environ.get("TAGGNN_KILLS", 2)), int(os.environ.get("TAGGNN_KILL_SEED", 0))
# Everything that is drawn in training, steps behind two batches, and a shorter last one.
DRAWN = """
data: {balance: class}
video: {sampling: uniform, temporal_jitter: 0.7, random_erasing: 0.3}
optim: {mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1, ema: 0.9}
train: {accumulate: 2}
compare: []
"""


def folder_of(ended):
    return Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1])


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds", "clips/s")}
            for row in csv.DictReader(file)
        ]


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def check_same(folder, reference):
    """Scores, predictions, and both checkpoints to the last bit."""
    assert metrics(folder) == metrics(reference)
    for name in ("predictions.csv", "skipped.csv"):
        assert (folder / name).read_text() == (reference / name).read_text(), name
    for name in ("best.ckpt", "last.ckpt"):
        found, wanted = read(folder / name), read(reference / name)
        for part in ("model", "optimiser", "scaler", "steps", "progress", "ema", "trained_weights"):
            assert equal(found.get(part), wanted.get(part)), f"{name}: {part}"


pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(scope="module")
def drawn(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "drawn.yaml"
    path.write_text(DRAWN)
    return ["--config", tiny, "--config", path]


@pytest.fixture(scope="module")
def whole(drawn, program, tmp_path_factory):
    """The folder of a run that was not interrupted and wrote nothing inside its epochs."""
    ended = program(taggnn.train, *drawn, "--runs", tmp_path_factory.mktemp("whole"))
    assert ended.code == 0, ended.err
    return folder_of(ended)


@pytest.fixture(scope="module")
def states(drawn, program, tmp_path_factory):
    """Copies of a run folder behind each change of it, and its end; a process can be killed in no other state."""
    place, copies, replace = tmp_path_factory.mktemp("states"), [], os.replace

    def copied(source, target):
        replace(source, target)
        folder, name = Path(target).parent, Path(target).name
        if (folder / "config.yaml").is_file():
            copies.append(shutil.copytree(folder, place / f"{len(copies):02d}-{name}"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", copied)
        ended = program(taggnn.train, *drawn, "--save_batches", 1, "--runs", place / "runs")
    assert ended.code == 0, ended.err
    return copies, folder_of(ended)


def test_writing_inside_epochs_changes_nothing(states, whole):
    check_same(states[1], whole)


def test_checkpoints_are_written_behind_steps_only(states):
    written = [read(state / "last.ckpt") for state in states[0] if state.name.endswith("-last.ckpt")]
    positions = [content["progress"]["position"] for content in written]
    # Six batches, the last of 1 clip; before validation all clips are done, and after it comes the beginning of an epoch.
    assert positions == [8, 16, 21, 0] * 2
    assert [content["progress"]["step"] for content in written] == [1, 2, 3, 3, 4, 5, 6, 6]


# The file that was written last, at which writing of it, and how many loader processes it goes on with.
NAMED = {
    "first-inside-an-epoch": ("last.ckpt", 0, 0),
    "before-validation": ("last.ckpt", 2, 0),
    "scored-but-not-written": ("metrics.csv", 0, 0),
    "best-is-ahead-of-last": ("best.ckpt", 0, 0),
    "second-epoch": ("last.ckpt", 5, 1),
    "before-the-last-validation": ("last.ckpt", 6, 0),
    "before-the-test-clips": ("last.ckpt", 7, 0),
    "before-the-report": ("results.json", 0, 0),
}


@pytest.mark.parametrize(("name", "number", "workers"), NAMED.values(), ids=NAMED)
def test_a_run_goes_on_from_every_state(states, whole, program, tmp_path, name, number, workers):
    state = [state for state in states[0] if state.name.endswith(f"-{name}")][number]
    folder = shutil.copytree(state, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("workers: 0", f"workers: {workers}"))
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 0, ended.err
    check_same(folder, whole)


def test_a_checkpoint_inside_an_epoch_says_how_many_are_done(states):
    written = [state / "last.ckpt" for state in states[0] if state.name.endswith("-last.ckpt")]
    assert [taggnn.load(path).epoch for path in written] == [0, 0, 0, 1, 1, 1, 1, 2]


def test_a_checkpoint_holds_tensors_and_plain_types_only(states):
    def walk(value, where):
        if isinstance(value, dict):
            for key, below in value.items():
                assert type(key) in (str, int), where
                walk(below, f"{where}.{key}")
        elif type(value) in (list, tuple):
            for number, below in enumerate(value):
                walk(below, f"{where}.{number}")
        else:
            assert type(value) in (torch.Tensor, str, int, float, bool, type(None)), f"{where}: {type(value)}"

    for name in ("best.ckpt", "last.ckpt"):
        walk(torch.load(states[1] / name, weights_only=True), name)


# Where a signal comes: the method, at which call of it, and how many steps are done when the program leaves.
COMES = {
    "while-gradients-wait": ("losses", 2, "SIGTERM", 2),
    "at-the-last-batch": ("losses", 5, "SIGUSR1", 3),
    "in-validation": ("after_validation_batch", 2, "SIGTERM", 3),
    "after-validation": ("finish_epoch", 0, "SIGTERM", 3),
    "after-the-last-epoch": ("finish_epoch", 1, "SIGUSR1", 6),
}


def asked(monkeypatch, method, call, name):
    """The process gets the signal at that call of a method of the loop."""
    plain, calls = getattr(Trainer, method), []

    def noted(self, *arguments):
        if len(calls) == call:
            os.kill(os.getpid(), getattr(signal, name))
        calls.append(method)
        return plain(self, *arguments)

    monkeypatch.setattr(Trainer, method, noted)


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize(("method", "call", "name", "steps"), COMES.values(), ids=COMES)
def test_a_signal_saves_and_leaves(drawn, whole, program, tmp_path, monkeypatch, method, call, name, steps):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    with monkeypatch.context() as patched:
        asked(patched, method, call, name)
        ended = program(taggnn.train, *drawn, "--runs", tmp_path)
    assert ended.code == 143
    folder = folder_of(ended)
    assert ended.err.splitlines()[-1] == (
        f"taggnn.train: ended by {name}; continue with: python -m taggnn.train --resume {folder}"
    )
    assert "Traceback" not in ended.err
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
    # Nothing that was trained is trained again.
    assert read(folder / "last.ckpt")["progress"]["step"] == steps
    resumed = program(taggnn.train, "--resume", folder)
    assert resumed.code == 0, resumed.err
    check_same(folder, whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the loader process has the source that hangs because it is a fork")
def test_a_signal_while_no_clip_comes_saves_and_leaves(drawn, whole, program, tmp_path, monkeypatch):
    plain, calls = VideoSource.__call__, []

    def hanging(self, clip, seed):
        calls.append(clip)
        if len(calls) == 10:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(600)
        return plain(self, clip, seed)

    with monkeypatch.context() as patched:
        patched.setattr(VideoSource, "__call__", hanging)
        patched.setattr(workers, "LOOK_SECONDS", 0.25)
        ended = program(taggnn.train, *drawn, "--runs", tmp_path, "--data.workers", 1)
    assert ended.code == 143, ended.err
    folder = folder_of(ended)
    assert read(folder / "last.ckpt")["progress"]["step"] == 1
    resumed = program(taggnn.train, "--resume", folder)
    assert resumed.code == 0, resumed.err
    check_same(folder, whole)


@pytest.mark.parametrize("method", ["losses", "validate", "finish_epoch"])
def test_a_run_whose_folder_is_removed_ends_with_its_name(drawn, program, tmp_path, monkeypatch, method):
    plain = getattr(Trainer, method)

    def removing(self, *arguments):
        shutil.rmtree(tmp_path / "run")
        return plain(self, *arguments)

    monkeypatch.setattr(Trainer, method, removing)
    ended = program(taggnn.train, *drawn, "--run", tmp_path / "run")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"taggnn.train: run folder {tmp_path / 'run'}: removed")
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_signal_while_the_test_clips_are_scored_ends_at_once(drawn, whole, program, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "score", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        ended = program(taggnn.train, *drawn, "--runs", tmp_path)
    assert ended.code == 143
    assert program(taggnn.train, "--resume", folder_of(ended)).code == 0
    check_same(folder_of(ended), whole)


def test_the_best_epoch_is_known_where_the_folder_was_moved(states, whole, program, tmp_path):
    state = [state for state in states[0] if state.name.endswith("-last.ckpt")][4]
    folder = shutil.copytree(state, tmp_path / "elsewhere" / "run")
    assert program(taggnn.train, "--resume", folder).code == 0
    check_same(folder, whole)


def test_the_same_command_begins_goes_on_and_ends(drawn, whole, program, tmp_path, monkeypatch):
    words = [*drawn, "--run", tmp_path / "run"]
    with monkeypatch.context() as patched:
        asked(patched, "losses", 7, "SIGTERM")
        first = program(taggnn.train, *words)
    assert first.code == 143
    assert first.err.splitlines()[-1] == "taggnn.train: ended by SIGTERM; continue with the same command"
    second = program(taggnn.train, *words, "--save_minutes", 0)
    assert second.code == 0, second.err
    assert folder_of(second) == tmp_path / "run"
    assert "epoch   1/2" not in second.out
    check_same(tmp_path / "run", whole)
    kept = (tmp_path / "run" / "last.ckpt").stat().st_mtime_ns
    third = program(taggnn.train, *words)
    assert third.code == 0, third.err
    assert f"run       {tmp_path / 'run'} (has ended: only its report is written again)" in third.out
    assert (tmp_path / "run" / "last.ckpt").stat().st_mtime_ns == kept
    other = program(taggnn.train, *words, "--optim.lr", 0.5, "--data.batch_size", 2)
    assert other.code == 2
    assert "it was started with another configuration (data.batch_size 4, now 2; optim.lr 0.001, now 0.5)" in other.err


def test_a_folder_with_other_things_in_it_is_no_run_folder(drawn, program, tmp_path):
    (tmp_path / "thesis.tex").touch()
    ended = program(taggnn.train, *drawn, "--run", tmp_path)
    assert ended.code == 2
    assert f"--run {tmp_path}: no run was started in it (no config.yaml), and it is not empty: thesis.tex" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_processes_in_one_run_folder_are_refused(states, program, monkeypatch):
    monkeypatch.setattr(run_folder, "LOCK_TIMEOUT", 0.05)
    with run_folder.locked(states[1]):
        ended = program(taggnn.train, "--resume", states[1])
    assert ended.code == 2
    assert f"run {states[1]}: another process is working in it" in ended.err


def trained(words):
    """One process of its own."""
    # Nobody looks at the pages of runs that are only compared.
    experiment.write_report = lambda folder: folder / "report.html"
    return terminal.run(taggnn.train.main, "taggnn.train", [str(word) for word in words])


def halves(folder):
    """Files that are being written, by their names."""
    return {path.name for path in folder.glob(".*.part-*")} if folder.is_dir() else set()


def kill(process, folder, draw, seconds):
    """Kills the process; returns where it was, None where it had ended before."""
    aims, began, stale, seen = draw.random() < 0.5, time.monotonic(), halves(folder), set()
    moment, number = draw.uniform(0, seconds), draw.randint(1, 8)
    while process.is_alive():
        writing = halves(folder) - stale
        seen |= writing
        if writing and len(seen) >= number if aims else time.monotonic() - began > moment:
            break
    process.kill()
    process.join()
    if process.exitcode >= 0:
        assert process.exitcode == 0
        return None
    left = sorted(halves(folder) - stale)
    return f"writing {left[0]}" if left else f"after {time.monotonic() - began:.2f} s"


def test_killed_again_and_again(tiny, begin, tmp_path):
    words = ["--config", tiny, "--compare", "[]", "--save_batches", 1, "--data.balance", "sqrt", "--optim.mixup", 0.8]
    began = time.monotonic()
    whole = begin(trained, [*words, "--run", tmp_path / "whole"]).end()
    assert whole.code == 0, whole.err
    seconds, draw = time.monotonic() - began, random.Random(SEED)
    kills, runs = 0, 0
    while kills < KILLS:
        # A run may come to its end before all kills are done; then another begins.
        runs += 1
        folder = tmp_path / f"killed_{runs}"
        while True:
            begun = begin(trained, [*words, "--run", folder])
            place = kill(begun.process, folder, draw, seconds) if kills < KILLS else begun.process.join()
            if place is None:
                break
            kills += 1
            loaded = [read(path)["progress"]["step"] for path in folder.glob("[!.]*.ckpt")]
            print(f"kill {kills}: {place}; steps in checkpoints {loaded}")
        assert begun.end().code == 0, begun.err()
        check_same(folder, tmp_path / "whole")
        assert not halves(folder)
