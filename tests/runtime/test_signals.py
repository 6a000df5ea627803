"""Who takes a signal that asks the program to end, and when."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest

from taggnn.runtime.signals import StopRequested, Watch, leave_to_parent

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals")


def send(name):
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_ends_the_program_at_once_or_is_noted(name):
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(StopRequested, match=f"ended by {name}"), Watch():
        send(name)
    with Watch() as watch:
        watch.deferred = True
        send(name)
        send("SIGTERM")
        assert watch.received == name
    assert signal.getsignal(getattr(signal, name)) == before


def _loader(begun):
    leave_to_parent()
    begun.set()
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sent a signal")
def test_a_loader_process_ends_for_its_parent_alone():
    start = multiprocessing.get_context("fork")
    begun = start.Event()
    loader = start.Process(target=_loader, args=(begun,), daemon=True)
    loader.start()
    try:
        assert begun.wait(10)
        for name in ("TERM", "USR1", "TERM"):
            subprocess.run(["kill", f"-{name}", str(loader.pid)], check=True)
        loader.join(0.3)
        assert loader.is_alive()
        # As Python does at its end; PyTorch takes another code than 0 for a failure.
        loader.terminate()
        loader.join(10)
        assert loader.exitcode == 0
    finally:
        loader.kill()
