"""Several processes of one program: where they stand, what they say, and how they end."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

import taggnn.evaluate
from taggnn.cli import launch, terminal
from taggnn.runtime import distributed

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SLURM = (
    "SLURM_STEP_ID",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_NODELIST",
    "SLURM_JOB_ID",
)


@pytest.fixture
def environment(monkeypatch):
    """Sets what a launcher says, and nothing else."""

    def given(**values):
        for key in (*LAUNCHERS, *SLURM, "SLURM_JOB_NAME"):
            monkeypatch.delenv(key, raising=False)
        for key, value in values.items():
            monkeypatch.setenv(key, str(value))

    given()
    return given


TORCHRUN = {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}
SRUN = {
    **{"SLURM_NTASKS": 4, "SLURM_PROCID": 3, "SLURM_LOCALID": 1, "SLURM_NTASKS_PER_NODE": 2},
    **{"SLURM_STEP_ID": 0, "SLURM_NODELIST": "gpu[7-8]", "SLURM_JOB_ID": 1234567},
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (0, 1, 0, 1)),
        (TORCHRUN, (3, 4, 1, 2)),
        (SRUN, (3, 4, 1, 2)),
        ({"SLURM_NTASKS": 1, "SLURM_PROCID": 0, "SLURM_LOCALID": 0}, (0, 1, 0, 1)),
        # A batch script without srun.
        ({key: value for key, value in SRUN.items() if key != "SLURM_STEP_ID"}, (0, 1, 0, 1)),
    ],
    ids=["alone", "torchrun", "slurm", "one task", "batch script"],
)
def test_ranks(given, expected, environment):
    environment(**given)
    assert distributed.ranks() == distributed.Ranks(*expected)
    if given is SRUN:
        assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu7", str(15000 + 4567))


def test_slurm_without_tasks_per_node_is_refused(environment):
    environment(**{key: value for key, value in SRUN.items() if key != "SLURM_NTASKS_PER_NODE"})
    with pytest.raises(ValueError, match="--ntasks-per-node"):
        distributed.ranks()


@pytest.mark.parametrize(
    ("launcher", "devices", "message"),
    [
        ({}, 0, "--devices 0: must be 1 or more"),
        (TORCHRUN, 3, "--devices 3: the launcher started 2 processes on this machine; leave it out"),
    ],
)
def test_impossible_numbers_of_processes_are_refused(launcher, devices, message, environment):
    environment(**launcher)
    with pytest.raises(ValueError, match=message), launch.process_group(devices, "taggnn.evaluate", []):
        pass


@pytest.mark.parametrize(
    ("given", "gpus", "expected"),
    [
        (None, 0, "cpu"),
        (None, 2, "cuda:1"),
        ("cuda", 4, "cuda:1"),
        ("cpu", 4, "cpu"),
        (None, 1, "2 processes, and this machine has 1 GPUs; --device cpu does without"),
        ("cuda", 0, "2 processes, and this machine has 0 GPUs"),
        ("cuda:1", 2, "--device cuda:1: one device for 2 processes"),
    ],
)
def test_each_process_of_a_machine_has_its_own_gpu(given, gpus, expected, environment, monkeypatch):
    environment(**TORCHRUN)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if "process" in expected:
        with pytest.raises(ValueError, match=expected):
            launch.device(given)
    else:
        assert launch.device(given) == torch.device(expected)


def test_a_process_that_is_not_the_first_is_not_heard(environment, capsys):
    for rank in (0, 1):
        environment(**TORCHRUN | {"RANK": rank})
        with launch.silence_other_ranks():
            print(f"out {rank}")
            print(f"err {rank}", file=sys.stderr)
    assert capsys.readouterr() == ("out 0\n", "err 0\n")


# Which processes fail.
FAILING = [(), (0, 1), (1,)]


def _step(failing, nested=False):
    def step():
        if distributed.rank() in failing:
            raise FileNotFoundError(f"nothing for {distributed.rank()}")
        return distributed.rank()

    try:
        return launch.on_all_ranks(lambda: launch.on_all_ranks(step)) if nested else launch.on_all_ranks(step)
    except (OSError, ValueError) as error:
        return type(error).__name__, str(error)
    except SystemExit as leaving:
        return "SystemExit", leaving.code


def evaluated(words):
    """What a process of a group prints, and its code; without the page, which takes longer than all else."""
    taggnn.evaluate.write_report = lambda folder: folder / "report.html"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = terminal.run(taggnn.evaluate.main, "taggnn.evaluate", words)
        except SystemExit as leaving:
            code = leaving.code
    return code, out.getvalue(), err.getvalue()


def _second_fails():
    """The second finds a mistake, the first loses it then: how each ends, and what it prints."""

    def program(_):
        with launch.process_group(None, "taggnn.train", []):
            store = dist.distributed_c10d._get_default_store()
            if distributed.rank() == 1:
                raise ValueError("only the second finds it")
            store.wait(["taggnn/message"])
            raise distributed.ProcessLost("another process has ended")

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = terminal.run(program, "taggnn.train", [])
    return code, err.getvalue()


def several(*commands):
    """All checks on one group; its end comes last."""
    return {
        "steps": [_step(failing) for failing in FAILING],
        "nested": [_step(failing, nested=True) for failing in FAILING],
        "evaluated": [evaluated(words) for words in commands],
        "second fails": _second_fails(),
    }


def words_of(trained, videos, out, *words):
    fixed = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", 0, "--out", out]
    return [str(word) for word in (*fixed, *words)]


VIEWS = ("--views", 3, "--crops", 2, "--data.batch_size", 4)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("predictions.csv", "skipped.csv")}


@pytest.fixture(scope="module")
def results_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def alone(no_reports, trained, videos, program, results_folder):
    """What one process measures, without views and with them."""
    for name, words in (("plain", ()), ("views", VIEWS)):
        ended = program(taggnn.evaluate, *words_of(trained, videos, results_folder / name, *words))
        assert ended.code == 0, ended.err
    return results_folder


@pytest.fixture(scope="module")
def pair(trained, videos, together, results_folder):
    """What each of two processes came to."""
    return together(
        2,
        several,
        words_of(trained, videos, results_folder / "plain2"),
        words_of(trained, videos, results_folder / "views2", *VIEWS),
        words_of(trained, videos / "gone", results_folder / "gone"),
        words_of(trained, videos, results_folder / "gone", "--vews", 3),
    )


def test_a_step_fails_in_all_where_it_fails_in_one(pair):
    first, second = (found["steps"] for found in pair)
    assert first[:2] == [0, ("FileNotFoundError", "nothing for 0")]
    assert re.fullmatch(r"process 1 on .*: nothing for 1", first[2][1])
    assert second == [1, ("SystemExit", 2), ("SystemExit", 2)]


def test_two_processes_evaluate_as_one(pair, alone):
    """To the last bit, with views and bad clips; only the first of them speaks, and a mistake is told once."""
    first, second = (found["evaluated"] for found in pair)
    assert [code for code, *_ in first] == [0, 0, 2, 2], first
    assert [code for code, *_ in second] == [0, 0, 2, 2]
    assert all(out == err == "" for _, out, err in second)
    assert "measured  8 of 13 listed clips" in first[0][1]
    assert "no such folder" in first[2][2]
    assert "unknown option --vews; did you mean views?" in first[3][2]
    for name in ("plain", "views"):
        assert files(alone / f"{name}2") == files(alone / name)
    assert not (alone / "gone").exists()


def test_a_step_in_a_step_is_agreed_on_too(pair):
    first, second = (found["nested"] for found in pair)
    assert first[:2] == [0, ("FileNotFoundError", "nothing for 0")]
    assert re.search(r"process 1 on .*: nothing for 1", first[2][1])
    assert second == [1, ("SystemExit", 2), ("SystemExit", 2)]


def started(*words, **options):
    """A program in a process of its own, as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *options.pop("path", [])])}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(
        command, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _evaluate(words):
    return terminal.run(taggnn.evaluate.main, "taggnn.evaluate", words)


def test_a_program_starts_its_processes(trained, videos, alone, begin, tmp_path):
    """They evaluate as one."""
    ended = begin(_evaluate, words_of(trained, videos, tmp_path / "two", "--devices", 2)).end()
    assert ended.code == 0, ended.err
    assert "in 2 processes" in ended.out
    assert files(tmp_path / "two") == files(alone / "plain")


# A program of several processes; what each does stands in its words. Those that only end import nothing, which takes seconds.
WORKER = """
import os, sys, time
rank = int(os.environ.get("RANK", -1))
if __name__ == "__main__" and rank < 0:
    from taggnn.cli import launch
    sys.exit(launch.start(len(sys.argv) - 1, "worker", sys.argv[1:]))
what = sys.argv[1 + rank]
if what == "sleeps":
    from taggnn.cli.launch import _end_with
os.write(1, f"pid {os.getpid()}\\n".encode())
if what == "sleeps":
    _end_with(int(os.environ["TAGGNN_PARENT"]))
if what.isdigit():
    print("worker: the disk is full", file=sys.stderr)
    sys.exit(int(what))
if what == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "worker.py").write_text(WORKER)
    return folder


def _launch(folder, words):
    os.environ["PYTHONPATH"] = str(folder)
    return launch.start(len(words), "worker", words)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["ends", "ends", "ends"], 0, ""),
        (["ends", "ends", "1"], 1, "worker: the disk is full\n"),
        (["ends", "2", "ends"], 2, "worker: the disk is full\n"),
        (["143", "ends", "ends"], 143, "worker: the disk is full\n"),
        (["ends", "killed", "ends"], 1, "worker: process 1 of 3 was killed by SIGKILL\n"),
    ],
    ids=["all-end", "fails", "mistake", "signal", "killed"],
)
def test_the_code_is_that_of_the_process_that_failed(folder, begin, words, code, message):
    ended = begin(_launch, folder, words).end()
    assert (ended.code, ended.err) == (code, message)


@pytest.mark.skipif(not hasattr(os, "getppid"), reason="no parents")
def test_processes_end_with_their_launcher(folder):
    with started("-m", "worker", "sleeps", "sleeps", path=[str(folder)]) as launcher:
        for _ in range(2):
            assert launcher.stdout.readline().startswith("pid")
        launcher.kill()
        # They hold the pipes open until they have ended.
        launcher.communicate(timeout=20)


def test_what_one_process_alone_finds_is_printed_by_it(pair):
    first, second = (found["second fails"] for found in pair)
    assert second == (2, "taggnn.train: only the second finds it\n")
    assert first == (1, "")


@pytest.mark.parametrize(
    ("ending", "code", "printed"),
    [
        (lambda: {}, 0, ""),
        (lambda: _failed(3, 5), 3, ""),
        (lambda: _failed(-signal.SIGKILL, 2), 1, "process 0 of 2 was killed by SIGKILL"),
        (lambda: _stopped(signal.SIGTERM), 143, ""),
        (lambda: _stopped(signal.SIGINT), 130, ""),
    ],
    ids=["all well", "the first that failed", "killed", "SIGTERM", "Ctrl-C"],
)
def test_the_launcher_s_exit_code_is_that_of_its_processes(ending, code, printed, monkeypatch, capsys):
    started = []

    def elastic_launch(run, program):
        started.append((run.min_nodes, run.nproc_per_node, run.max_restarts))
        return lambda *words: started.append((program, *words)) or ending()

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name in ("TORCHELASTIC_SIGNALS_TO_HANDLE", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", launch._PARENT):
        monkeypatch.setenv(name, "")
    assert launch.start(2, "taggnn.train", ["--seed", 3]) == code
    assert started == [(1, 2, 0), (sys.executable, "-m", "taggnn.train", "--seed", "3")]
    assert printed in capsys.readouterr().err


def _failed(first, second):
    failures = {}
    for rank, (code, after) in enumerate(((first, 1), (second, 2))):
        failures[rank] = SimpleNamespace(exitcode=code, timestamp=after, local_rank=rank)
    error = ChildFailedError.__new__(ChildFailedError)
    error.failures = failures
    raise error


def _stopped(number):
    raise SignalException("stopped", sigval=number)


def test_a_signal_without_a_name_is_its_number():
    assert launch._name(signal.SIGTERM) == "SIGTERM"
    # An exit code of Windows for an access violation.
    assert launch._name(1073741819) == "signal 1073741819"
