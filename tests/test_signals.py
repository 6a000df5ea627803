"""Who takes a signal that asks the program to end, and when."""

import os
import signal

import pytest

from taggnn.signals import Ended, Watch, leave_to_parent

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals")


def send(name):
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_ends_the_program_at_once_or_is_noted(name):
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(Ended, match=f"ended by {name}"), Watch():
        send(name)
    with Watch() as watch:
        watch.patient = True
        send(name)
        send("SIGTERM")
        assert watch.noted == name
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_loader_process_leaves_the_first_signal_to_its_parent():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        leave_to_parent()
        for number in before:
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
