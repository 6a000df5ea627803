"""Whole runs on several processes: the figures and weights of one, told once, written once; and real launchers."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import taggnn.train
from taggnn.cli import experiment, terminal
from taggnn.io import checkpoint
from taggnn.runtime import distributed
from taggnn.training.loop import Trainer

ROOT = Path(__file__).parents[2]
# Nothing that differs by the size of a batch or by the process that draws it; and no Adam, which makes as much of a gradient
# that is all rounding as of any other.
PLAIN = [
    "--optim.optimiser",
    "sgd",
    "--optim.lr",
    "0.05",
    "--tag.dropout",
    "0",
    "--backbone.frozen_bn",
    "true",
    "--compare",
    "[]",
    "--loggers",
    "[csv]",
]

# Those of BatchNorm differ from process to process.
STATISTICS = ["--backbone.frozen_bn", "false", "--train.epochs", "1", "--optim.warmup_epochs", "0"]


def trained(words, stop=None, asked=None):
    """What a process of a group says, its code, and the folder.

    Before a batch of that number all end without warning (``stop``), or the second alone is asked to end (``asked``).
    """
    out, err = io.StringIO(), io.StringIO()
    begin, batches = Trainer.train_batch, itertools.count()

    def count(self, number, batch):
        done = next(batches)
        if done == stop:
            raise SystemExit(9)
        if done == asked and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return begin(self, number, batch)

    Trainer.train_batch = count
    report = experiment.write_report
    # Pictures take longer than the run.
    experiment.write_report = lambda folder: folder / "report.html"
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = terminal.run(taggnn.train.main, "taggnn.train", words)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        Trainer.train_batch, experiment.write_report = begin, report
    return code, out.getvalue(), err.getvalue()


def several(*commands):
    return [trained(*command) for command in commands]


def apart(words, place):
    """As on machines without a file system in common."""
    own = place / os.environ["RANK"]
    own.mkdir()
    os.chdir(own)
    experiment.VISIBLE_WITHIN = 0.2
    return trained(words)


def folder_of(out):
    return Path(re.search(r"^run +(.+)$", out, re.MULTILINE)[1])


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {k: float(v) for k, v in row.items() if k not in ("seconds", "clips/s")} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def runs(no_reports, tiny, videos, together, program, tmp_path_factory):
    """The same run by one process, and by two in each way; and what else two processes were asked for."""
    place = tmp_path_factory.mktemp("runs")
    words = ["--config", str(tiny), *PLAIN, "--runs", str(place)]
    of_two = [*words, "--data.batch_size", "2"]
    one = program(taggnn.train, *words)
    assert one.code == 0, one.err
    found = together(
        2,
        several,
        (of_two,),
        ([*of_two, "--train.strategy", "fsdp", "--optim.gradient_clip", "100"],),
        ([*of_two, "--save_batches", "1"], 8),
        ([*of_two, "--run", str(place / "asked")], None, 5),
        ([*of_two, "--run", str(place / "asked")],),
        ([*of_two, *STATISTICS],),
        ([*of_two, *STATISTICS, "--train.strategy", "fsdp"],),
        ([*of_two, "--data.root", str(videos / "gone")],),
        ([*of_two, "--data.bach_size", "2"],),
    )
    names = (
        "ddp",
        "fsdp",
        "stopped",
        "asked to end",
        "went on",
        "statistics",
        "statistics of fsdp",
        "no root",
        "no option",
    )
    return folder_of(one.out), {name: [each[number] for each in found] for number, name in enumerate(names)}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_the_weights_of_one(runs, strategy):
    one, found = runs
    (code, out, err), (other_code, other_out, _) = found[strategy]
    assert (code, other_code, other_out) == (0, 0, ""), err
    assert "step      2 processes x batch 2 = 4 clips" in out
    folder = folder_of(out)
    assert len(rows(folder)) == 2
    for mine, theirs in zip(rows(folder), rows(one), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    skipped, expected = ((run / "skipped.csv").read_text().splitlines() for run in (folder, one))
    assert sorted(skipped) == sorted(expected)
    weights, expected = (torch.load(run / "last.ckpt", weights_only=True) for run in (folder, one))
    assert weights["model"].keys() == expected["model"].keys()
    for key, value in expected["model"].items():
        torch.testing.assert_close(weights["model"][key], value, rtol=1e-4, atol=1e-5)
    mine, theirs = weights["optimiser"], expected["optimiser"]
    assert mine["param_groups"] == theirs["param_groups"]
    assert mine["state"].keys() == theirs["state"].keys()
    for number, state in theirs["state"].items():
        for key, value in state.items():
            assert mine["state"][number][key].shape == value.shape
    results, theirs = (json.loads((run / "results.json").read_text()) for run in (folder, one))
    assert results["scores"]["test"] == pytest.approx(theirs["scores"]["test"], rel=1e-4)
    assert (results["environment"]["processes"], results["environment"]["machines"]) == (2, 1)
    clips = torch.zeros(1, 3, 4, 32, 32)
    answers = [checkpoint.load(run / "best.ckpt").model(clips).logits for run in (folder, one)]
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)


def test_every_process_measures_with_the_statistics_of_the_first(runs):
    folders = [folder_of(runs[1][name][0][1]) for name in ("statistics", "statistics of fsdp")]
    replicated, shared = (rows(folder) for folder in folders)
    assert shared[0] == pytest.approx(replicated[0], rel=1e-4)
    states = [torch.load(folder / "last.ckpt", weights_only=True)["model"] for folder in folders]
    kept = [key for key in states[0] if "running" in key]
    assert kept
    for key in kept:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=1e-4, atol=1e-5)


def test_a_signal_to_one_process_ends_all_behind_the_same_batch(runs):
    _, found = runs
    assert [code for code, *_ in found["asked to end"]] == [143, 143]
    assert "continue with the same command" in found["asked to end"][0][2]
    (code, out, err), _ = found["went on"]
    assert code == 0, err
    assert "training  tag (continued)" in out
    whole, folder = folder_of(found["ddp"][0][1]), folder_of(out)
    assert rows(folder) == rows(whole)
    assert (folder / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    weights, expected = (torch.load(run / "last.ckpt", weights_only=True)["model"] for run in (folder, whole))
    assert all(torch.equal(weights[key], value) for key, value in expected.items())


def test_another_number_of_processes_goes_on(runs, program):
    (code, out, err), _ = runs[1]["stopped"]
    assert code != 0, err
    folder = folder_of(out)
    # Two batches into the second epoch, of four clips each; two clips each is what one process goes on with.
    stored = torch.load(folder / "last.ckpt", weights_only=True)
    assert (stored["progress"]["epoch"], stored["progress"]["position"]) == (1, 8)
    ended = program(taggnn.train, "--resume", folder)
    assert ended.code == 0, ended.err
    first, second = rows(folder)
    assert (first["train/clips"], second["train/clips"]) == (16, 16)
    whole = rows(folder_of(runs[1]["ddp"][0][1]))
    assert first == pytest.approx(whole[0], rel=1e-4)
    # The rate falls to zero at the end of the run, whatever the number of its steps.
    assert second["lr"] < 0.2 * first["lr"]
    progress = torch.load(folder / "last.ckpt", weights_only=True)["progress"]
    # Six steps of four clips, two more of the second epoch, and the seven of two clips that were left.
    assert (progress["epoch"], progress["step"]) == (2, 6 + 2 + 7)


def test_clips_too_few_for_a_batch_of_more_processes_end_the_epoch(tiny, tmp_path):
    words = ["--config", str(tiny), *PLAIN, "--run", str(tmp_path), "--data.drop_last", "true", "--save_batches", "1"]
    # Three of 21 clips are left; batches of twice the size are what twice the processes would have.
    assert trained([*words, "--data.batch_size", "2"], 9)[0] == 9
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 2", "batch_size: 4"))
    code, _, err = trained(["--resume", str(tmp_path)])
    assert code == 0, err
    first, second = rows(tmp_path)
    assert first["val/clips"] == second["val/clips"] == 8
    # The clips that cannot be read fall where they do.
    assert (first["train/clips"], second["train/clips"]) == (14, 15)


@pytest.mark.parametrize(("case", "said"), [("no root", "no such folder"), ("no option", "unknown option --data.bach")])
def test_a_mistake_is_told_once(runs, case, said):
    (code, _, err), (other_code, other_out, other_err) = runs[1][case]
    assert (code, other_code) == (2, 2)
    assert said in err
    assert other_out == other_err == ""


def test_machines_without_a_common_file_system_are_refused_before_training(tiny, together, tmp_path):
    first, second = together(2, apart, ["--config", str(tiny)], tmp_path)
    assert (first[0], second[0]) == (2, 2)
    assert "process 1 on " in first[2]
    assert "must be on a file system that all machines share" in first[2]
    assert "training" not in first[1]
    assert second[1:] == ("", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.strategy", "fsdq"], "train.strategy: unknown value 'fsdq'; did you mean 'fsdp'"),
        (
            ["--train.strategy", "fsdp"],
            "train.strategy fsdp: shards weights over several processes, and there is one",
        ),
        (
            ["--train.strategy", "fsdp", "--devices", "2", "--optim.ema", "0.9"],
            "optim.ema: not possible with train.strategy fsdp",
        ),
        (
            ["--train.strategy", "fsdp", "--devices", "2", "--precision", "16-mixed"],
            "precision 16-mixed: not possible with train.strategy fsdp; bf16-mixed is",
        ),
        (["--devices", "2", "--train.sync_batchnorm", "true"], "train.sync_batchnorm: PyTorch has it for"),
    ],
)
def test_what_processes_cannot_do_together_is_refused(words, message, program, tiny):
    ended = program(taggnn.train, "--config", tiny, *words)
    assert ended.code == 2
    assert message in ended.err


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _words(tiny, place, *words):
    return list(map(str, ("--config", tiny, *PLAIN, "--runs", place, *words)))


def _train(words):
    """A launcher, with what it needs imported; its processes are new interpreters."""
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return terminal.run(taggnn.train.main, "taggnn.train", words)


def _torchrun(words):
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Imported here, as torchrun has its own logging.
    from torch.distributed import run

    run.main(words)


@pytest.mark.skipif(sys.platform == "win32", reason="no torchrun")
def test_two_machines_of_torchrun(runs, tiny, begin, tmp_path):
    """Each machine is an agent of torchrun with one process, on loopback."""
    port = free_port()
    agent = ("--nnodes", 2, "--nproc-per-node", 1, "--master-addr", "127.0.0.1", "--master-port", port)
    program = ("-m", "taggnn.train", *_words(tiny, tmp_path, "--data.batch_size", 2))
    machines = [begin(_torchrun, list(map(str, (*agent, "--node-rank", rank, *program)))) for rank in (0, 1)]
    said = [machine.end() for machine in machines]
    assert [machine.code for machine in said] == [0, 0], said
    # On torch 2.9 gloo itself writes a line.
    assert [line for line in said[1].out.splitlines() if not line.startswith("[Gloo]")] == []
    assert "step      2 processes x batch 2 = 4 clips" in said[0].out
    folder = folder_of(said[0].out)
    for mine, theirs in zip(rows(folder), rows(runs[0]), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    told = json.loads((folder / "results.json").read_text())["environment"]
    assert (told["processes"], told["machines"]) == (2, 2)


def test_plain_python_starts_the_others(runs, tiny, tmp_path):
    """The one start of all of them that imports everything, as a user's."""
    command = [sys.executable, "-m", "taggnn.train", *_words(tiny, tmp_path, "--devices", 2, "--data.batch_size", 2)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("epoch   1/2") == 1
    for mine, theirs in zip(rows(folder_of(ended.stdout)), rows(runs[0]), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


LONG = ("--devices", 2, "--data.batch_size", 2, "--train.epochs", 200, "--optim.warmup_epochs", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_the_launcher_saves_and_ends_all(tiny, begin, tmp_path, name):
    program = begin(_train, _words(tiny, tmp_path, *LONG))
    program.wait_for("epoch   1/")
    os.kill(program.pid, getattr(signal, name))
    ended = program.end()
    assert ended.code == 143, ended.err
    assert f"ended by {name}" in ended.err
    assert ended.err.count("continue with") == 1
    assert "Traceback" not in ended.err
    assert (folder_of(ended.out) / "last.ckpt").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_all_end_where_one_process_is_killed(tiny, begin, tmp_path):
    program = begin(_train, _words(tiny, tmp_path, *LONG))
    program.wait_for("epoch   1/")
    children = subprocess.run(["pgrep", "-P", str(program.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    ended = program.end()
    assert ended.code == 1, ended.err
    assert "was killed by SIGKILL" in ended.err
    assert "Traceback" not in ended.err
    states = subprocess.run(
        ["ps", "-p", ",".join(children), "-o", "stat="], capture_output=True, text=True
    ).stdout.split()
    # Whoever is their parent now may not have taken note of their end yet.
    assert all(state.startswith("Z") for state in states)


def test_a_mistake_in_started_processes_is_printed_once(tiny, videos, begin, tmp_path):
    ended = begin(_train, _words(tiny, tmp_path, "--devices", 2, "--data.root", videos / "gone")).end()
    assert ended.code == 2
    assert ended.err.count("no such folder") == 1
    assert len(ended.err.strip().splitlines()) == 1, ended.err
