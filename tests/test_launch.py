"""Several processes of one program: where they stand, what they say, and how they end."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

import pytest
import torch
import torch.distributed as dist

import taggnn.evaluate
from taggnn import launch, processes, terminal

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


def test_alone(environment):
    assert launch.place() == launch.Place(0, 1, 0, 1)


def test_under_torchrun(environment):
    environment(**TORCHRUN)
    assert launch.place() == launch.Place(3, 4, 1, 2)


def test_under_slurm(environment, monkeypatch):
    environment(**SRUN)
    assert launch.place() == launch.Place(3, 4, 1, 2)
    assert launch.os.environ["MASTER_ADDR"] == "gpu7"
    assert launch.os.environ["MASTER_PORT"] == str(15000 + 4567)


def test_one_task_of_slurm_is_alone(environment):
    environment(SLURM_NTASKS=1, SLURM_PROCID=0, SLURM_LOCALID=0)
    assert launch.place() == launch.Place()


def test_a_batch_script_without_srun_is_alone(environment):
    environment(**{key: value for key, value in SRUN.items() if key != "SLURM_STEP_ID"})
    assert launch.place() == launch.Place()


def test_slurm_without_tasks_per_node_is_refused(environment):
    environment(**{key: value for key, value in SRUN.items() if key != "SLURM_NTASKS_PER_NODE"})
    with pytest.raises(ValueError, match="--ntasks-per-node"):
        launch.place()


@pytest.mark.parametrize(
    ("launcher", "devices", "message"),
    [
        ({}, 0, "--devices 0: must be 1 or more"),
        (TORCHRUN, 3, "--devices 3: the launcher started 2 processes on this machine; leave it out"),
    ],
)
def test_impossible_numbers_of_processes_are_refused(launcher, devices, message, environment):
    environment(**launcher)
    with pytest.raises(ValueError, match=message), launch.joined(devices, "taggnn.evaluate", []):
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
        with launch.only_first_heard():
            print(f"out {rank}")
            print(f"err {rank}", file=sys.stderr)
    assert capsys.readouterr() == ("out 0\n", "err 0\n")


# Which processes fail.
FAILING = [(), (0, 1), (1,)]


def _step(failing, nested=False):
    def step():
        if processes.rank() in failing:
            raise FileNotFoundError(f"nothing for {processes.rank()}")
        return processes.rank()

    try:
        return launch.agreed(lambda: launch.agreed(step)) if nested else launch.agreed(step)
    except (OSError, ValueError) as error:
        return type(error).__name__, str(error)
    except SystemExit as leaving:
        return "SystemExit", leaving.code


def evaluated(words):
    """What a process of a group prints, and its code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = terminal.run(taggnn.evaluate.main, "taggnn.evaluate", words)
        except SystemExit as leaving:
            code = leaving.code
    return code, out.getvalue(), err.getvalue()


def several(*commands):
    return [_step(failing) for failing in FAILING], [evaluated(words) for words in commands]


def nested():
    return [_step(failing, nested=True) for failing in FAILING]


def words_of(trained, videos, out, *words):
    fixed = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--data.workers", 0, "--out", out]
    return [str(word) for word in (*fixed, *words)]


VIEWS = ("--views", 3, "--crops", 2, "--data.batch_size", 4)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("predictions.csv", "skipped.csv")}


def test_two_processes_evaluate_as_one(trained, videos, program, together, tmp_path):
    """To the last bit, with views and bad clips; only the first of them speaks, and a mistake is told once."""
    for name, words in (("plain", ()), ("views", VIEWS)):
        ended = program(taggnn.evaluate, *words_of(trained, videos, tmp_path / name, *words))
        assert ended.code == 0, ended.err
    (first_steps, first), (second_steps, second) = together(
        2,
        several,
        words_of(trained, videos, tmp_path / "plain2"),
        words_of(trained, videos, tmp_path / "views2", *VIEWS),
        words_of(trained, videos / "gone", tmp_path / "gone"),
        words_of(trained, videos, tmp_path / "gone", "--vews", 3),
    )
    assert [code for code, *_ in first] == [0, 0, 2, 2], first
    assert [code for code, *_ in second] == [0, 0, 2, 2]
    assert all(out == err == "" for _, out, err in second)
    assert "measured  8 of 13 listed clips" in first[0][1]
    assert "no such folder" in first[2][2]
    assert "unknown option --vews; did you mean views?" in first[3][2]
    for name in ("plain", "views"):
        assert files(tmp_path / f"{name}2") == files(tmp_path / name)
    assert not (tmp_path / "gone").exists()
    assert first_steps[:2] == [0, ("FileNotFoundError", "nothing for 0")]
    assert re.fullmatch(r"process 1 on .*: nothing for 1", first_steps[2][1])
    assert second_steps == [1, ("SystemExit", 2), ("SystemExit", 2)]


def test_a_step_in_a_step_is_agreed_on_too(together):
    first, second = together(2, nested)
    assert first[:2] == [0, ("FileNotFoundError", "nothing for 0")]
    assert re.search(r"process 1 on .*: nothing for 1", first[2][1])
    assert second == [1, ("SystemExit", 2), ("SystemExit", 2)]


def test_copies_of_the_program(trained, videos, program, tmp_path):
    """Plain python starts the second process itself, and tells of one that fails."""
    assert program(taggnn.evaluate, *words_of(trained, videos, tmp_path / "one")).code == 0
    ended = program(taggnn.evaluate, *words_of(trained, videos, tmp_path / "two", "--devices", 2))
    assert ended.code == 0, ended.err
    assert "in 2 processes" in ended.out
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_a_copy_that_fails_is_told(environment, monkeypatch):
    monkeypatch.setattr(launch.sys, "executable", "/bin/false")
    with (
        pytest.raises(ChildProcessError, match="process 1 ended with code 1: without a word"),
        launch._copies(2, "", []),
    ):
        raise processes.Lost("another process has ended")
    with pytest.raises(ChildProcessError, match="process 1 ended with code 1"), launch._copies(2, "", []):
        assert launch.place() == launch.Place(0, 2, 0, 2)
    assert launch.place() == launch.Place()


def test_of_copies_that_fail_the_one_with_words_is_told(environment, monkeypatch, tmp_path):
    copy = tmp_path / "copy"
    copy.write_text('#!/bin/sh\n[ "$RANK" = 2 ] && echo "taggnn.train: the disk is full" >&2\nexit 1\n')
    copy.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(copy))
    said = "process 2 ended with code 1: taggnn.train: the disk is full"
    with pytest.raises(ChildProcessError, match=said), launch._copies(4, "", []):
        raise processes.Lost("another process has ended")


def _second_fails(copied):
    """The second finds a mistake, the first loses it then: how each ends, and what it says."""
    if copied:
        os.environ[launch._PARENT] = str(os.getppid())

    def program(_):
        with launch.joined(None, "taggnn.train", []):
            store = dist.distributed_c10d._get_default_store()
            if processes.rank() == 1:
                raise ValueError("only the second finds it")
            if not copied:
                store.wait(["taggnn/said"])
            raise processes.Lost("another process has ended")

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = terminal.run(program, "taggnn.train", [])
    return code, err.getvalue()


@pytest.mark.parametrize("copied", [False, True], ids=["launcher", "copies"])
def test_what_one_process_alone_finds_is_told_by_it(together, copied):
    first, second = together(2, _second_fails, copied)
    assert second == (2, "taggnn.train: only the second finds it\n")
    # Of copies the first takes the words of the others.
    assert first == (1, "taggnn.train: another process has ended\n" if copied else "")


@pytest.mark.parametrize("left", [False, True], ids=["it hangs", "it has noticed"])
def test_a_process_ends_behind_a_failed_copy_also_where_it_hangs(left, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "_GRACE", 0.05)
    codes, noticed = [], threading.Event()
    monkeypatch.setattr(launch.os, "_exit", codes.append)
    if left:
        noticed.set()
    (tmp_path / "said").write_text("Traceback\nout of memory\n")
    copies = [subprocess.Popen(words) for words in (["false"], ["sleep", "60"])]
    try:
        copies[0].wait()
        with (tmp_path / "said").open("rb") as said:
            launch._end_with_copies("taggnn.train", copies, [said, said], noticed)
        if left:
            assert (codes, copies[1].poll(), capsys.readouterr().err) == ([], None, "")
        else:
            assert (codes, copies[1].wait(5)) == ([1], -signal.SIGKILL)
            assert capsys.readouterr().err == "taggnn.train: process 1 ended with code 1: out of memory\n"
    finally:
        copies[1].kill()
        copies[1].wait()


def test_copies_end_with_the_first(environment, monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(slow))
    started, start = [], launch.subprocess.Popen
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1])
    with pytest.raises(ValueError, match="a mistake"), launch._copies(3, "", []):
        raise ValueError("a mistake")
    assert len(started) == 2
    assert all(copy.returncode for copy in started)


@pytest.mark.parametrize(("code", "ends"), [(143, False), (0, False), (1, True)])
def test_only_a_copy_that_failed_ends_the_first(code, ends, monkeypatch, capsys):
    """One that left on a signal has left with all others, of which the first may take longer."""
    ended, left = [], threading.Event()
    monkeypatch.setattr(launch, "_GRACE", 0)
    monkeypatch.setattr(launch.os, "_exit", ended.append)
    with subprocess.Popen(["sh", "-c", f"exit {code}"]) as copy, tempfile.TemporaryFile() as told:
        copy.wait()
        watching = threading.Thread(target=launch._end_with_copies, args=("taggnn.train", [copy], [told], left))
        watching.start()
        watching.join(1)
        left.set()
        watching.join()
    assert ended == ([1] if ends else [])
    assert ("process 1 ended with code 1" in capsys.readouterr().err) == ends
