import errno
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from taggnn.cli import terminal


def _raising(error):
    def program(arguments):
        raise error

    return program


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1)])
def test_code_of_the_program(answer, code, capsys):
    assert terminal.run(lambda words: answer, "p", ["a"]) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("no such thing"), 2, "p: no such thing"),
        (FileNotFoundError("x: no such file"), 2, "p: x: no such file"),
        (ImportError("PyAV is not installed"), 2, "p: PyAV is not installed"),
        (OSError(errno.ENOSPC, "No space left", "x"), 1, "p: x: no space left"),
        (KeyboardInterrupt(), 130, "p: interrupted"),
        (KeyboardInterrupt("continue with: c"), 130, "p: interrupted; continue with: c"),
        (MemoryError(), 1, "p: out of memory; a smaller data.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory."), 1, "p: out of memory; a smaller data.batch_size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), 1, "p: a loader process ended, "),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), 1, "p: a loader process ended, "),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>"), 1, "p: a loader process ended, "),
        (RuntimeError("unable to open shared memory object </torch_1> in rw mode"), 1, "p: a loader process ended, "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 5"), 1, "p: out of memory; a smaller"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_mistake_is_one_message(error, code, message, capsys):
    assert terminal.run(_raising(error), "p", []) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_a_loader_process_that_was_ended_gives_the_hint(capsys):
    terminal.run(_raising(RuntimeError("Unexpected bus error encountered in worker.")), "p", [])
    assert "--data.workers 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nshapes differ"),
        AssertionError(),
        KeyError("x"),
    ],
)
def test_a_mistake_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        terminal.run(_raising(error), "p", [])


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("TAGGNN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no such thing"):
        terminal.run(_raising(ValueError("no such thing")), "p", [])


def test_names_that_are_no_text_can_be_printed(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", screen)
    assert terminal.run(lambda words: print("a\udcff.mp4"), "p", []) == 0
    screen.flush()
    assert screen.buffer.getvalue() == b"a\\udcff.mp4" + os.linesep.encode()


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX pipes")
def test_reader_of_a_pipe_may_leave():
    program = "lambda _: [print(n) for n in range(10**6)] and 0"
    script = f"import sys; from taggnn.cli import terminal; sys.exit(terminal.run({program}, 'p'))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": Path(__file__).parents[2]}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdout.readline().strip() == b"0"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def notices(words):
    log, other = logging.getLogger("taggnn.kernels"), logging.getLogger("elsewhere")
    for _ in range(3):
        log.info("computed on its edge list")
        other.warning("of another library")
    log.info("another notice")


def test_a_notice_of_ours_is_shown_once(monkeypatch, capsys):
    # As at a terminal: nothing else in the process has handlers.
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    try:
        assert terminal.run(notices, "p", []) == 0
        assert terminal.run(notices, "p", []) == 0
    finally:
        logging.root.setLevel(level)
    shown = capsys.readouterr().err.splitlines()
    lines = ("computed on its edge list", "another notice", "of another library")
    assert [shown.count(line) for line in lines] == [2, 2, 6]


def test_handlers_of_a_program_around_ours_show_everything(caplog):
    caplog.set_level(logging.INFO)
    assert terminal.run(notices, "p", []) == 0
    notices([])
    assert caplog.messages.count("computed on its edge list") == 6


def test_control_characters_never_reach_the_screen(capsys):
    def program(arguments):
        print("a\x1b[2Jb\tc")
        print("d\x9be", file=sys.stderr)
        raise ValueError("x\x1b[31m.mp4\nresult    nothing is wrong\n  further line")

    assert terminal.run(program, "p", []) == 2
    out, err = capsys.readouterr()
    assert out == "a\\u001b[2Jb\tc\n"
    assert err.splitlines() == ["d\\u009be", "p: x\\u001b[31m.mp4\\nresult    nothing is wrong", "  further line"]


def test_the_streams_are_those_of_before_afterwards():
    before = sys.stdout, sys.stderr
    terminal.run(lambda words: 0, "p", [])
    assert (sys.stdout, sys.stderr) == before
