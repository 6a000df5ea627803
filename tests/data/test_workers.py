"""Loader processes that cannot hand over a batch, or do nothing any more."""

import errno
import itertools
import multiprocessing
import shutil
import sys
import time
from functools import partial

import pytest
import torch
from torch.utils.data import Dataset

from taggnn.data import workers
from taggnn.data.dataset import collate
from taggnn.data.workers import WorkerLoader, check_shared_memory, exit_when_undelivered
from taggnn.types import BadClip, InputSpec, Sample

SPEC = InputSpec("video", ("channel", "frame", "height", "width"), (3, 4, 64, 64))


class Clips(Dataset):
    """Eight clips; ``make`` is called for each."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.make(index)


def sample(index):
    return Sample(torch.full(SPEC.shape, float(index)), 0, index)


def loader(make=sample, init=None, **options):
    options = {"num_workers": 2, "worker_init_fn": init, "batch_size": 2} | options
    return WorkerLoader(Clips(make), partial(collate, spec=SPEC), **options)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.25)
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.75)


@pytest.mark.parametrize("number", [0, 2])
def test_batches_are_those_of_one_process_and_in_shared_memory(number):
    batches = list(loader(num_workers=number))
    assert [batch.index.tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert all(batch.x.is_shared() == bool(number) for batch in batches)
    assert [float(batch.x[1].mean()) for batch in batches] == [1.0, 3.0, 5.0, 7.0]


def test_too_little_shared_memory_is_refused_with_what_helps(monkeypatch, tmp_path):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**26, 0, 2**26))
    clip = InputSpec("video", SPEC.axes, (3, 16, 112, 112))
    check_shared_memory(clip, 8, 1, tmp_path)
    check_shared_memory(clip, 8, 0, tmp_path)
    check_shared_memory(clip, 8, 2, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"data.workers 2.* 96 MB .* 67 MB .*--shm-size=\d+m.*data.batch_size 5"):
        check_shared_memory(clip, 8, 2, tmp_path)


def _small_files(worker):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory counts as a file on Linux")
def test_a_batch_that_shared_memory_cannot_hold_is_an_error_not_a_wait():
    with pytest.raises(ChildProcessError, match=r"data\.workers 0"):
        list(loader(init=_small_files))


def _exits(worker):
    exit_when_undelivered()


def test_whatever_else_cannot_be_handed_over_ends_the_process(capfd):
    # A function inside a function cannot be pickled.
    bad = BadClip("a", "b", lambda: None)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(loader(lambda index: bad, _exits))
    assert "cannot be handed over" in capfd.readouterr().err


class Full(tuple):
    """What cannot be pickled where files are too many."""

    def __reduce__(self):
        raise OSError(errno.EMFILE, "Too many open files")


def test_too_many_files_are_named(capfd):
    with pytest.raises(ChildProcessError, match="ulimit -n"):
        list(loader(lambda index: BadClip("a", "b", Full()), _exits))


def test_processes_that_do_nothing_are_given_up_and_ended():
    started = set(multiprocessing.active_children())
    with pytest.raises(ChildProcessError, match=r"data\.workers 0"):
        list(loader(lambda index: time.sleep(600)))
    for child in set(multiprocessing.active_children()) - started:
        child.join(10)
        assert child.exitcode is not None


def _slow(index):
    time.sleep(1.2)
    return sample(index)


def test_processes_that_work_are_waited_for(monkeypatch):
    work = itertools.count()
    monkeypatch.setattr(workers, "_work_of", lambda _: [(100 * next(work), 0)])
    batches = iter(loader(_slow, num_workers=1, batch_size=1))
    assert next(batches).index.tolist() == [0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_work_is_processor_time_and_bytes_read():
    me = multiprocessing.current_process()
    before = workers._work_of([me])
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after = workers._work_of([me])
    assert not workers._idle(before, after)
    assert workers._idle(after, after)
    (ticks, read) = after[0]
    assert not workers._idle(after, [(ticks, read + 1)])
    # Where the system does not tell, nobody is taken to be idle.
    assert not workers._idle(None, None)


def test_whoever_waits_may_end_the_wait():
    calls = []

    def end():
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt

    hanging = loader(lambda index: time.sleep(600))
    hanging.while_waiting = end
    with pytest.raises(KeyboardInterrupt):
        list(hanging)
    assert calls == [0, 1]
