"""Which device each process has, and which precision is possible where."""

import pytest
import torch

from taggnn.runtime import distributed
from taggnn.training import device
from taggnn.training.device import devices_of, precision_of

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(params=["cpu", "old gpu", "new gpu"])
def machine(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: request.param == "new gpu")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    return request.param


def test_auto_is_what_the_device_has(machine):
    where = CPU if machine == "cpu" else GPU
    assert precision_of("auto", where) == ("bf16-mixed" if machine == "new gpu" else "32-true")
    assert precision_of("auto", CPU) == "32-true"


def test_gradients_are_scaled_on_apple_s_gpu_too(machine):
    assert precision_of("16-mixed", torch.device("mps")) == "16-mixed"


def test_what_a_device_does_not_have_is_refused_in_a_sentence(machine):
    refused = {
        "cpu": ("16-mixed", "needs a GPU; on a CPU bf16-mixed"),
        "old gpu": ("bf16-mixed", "Old GPU has no bfloat16"),
    }
    where = CPU if machine == "cpu" else GPU
    for given in ("32-true", "16-mixed", "bf16-mixed"):
        name, message = refused.get(machine, (None, ""))
        if given == name:
            with pytest.raises(ValueError, match=rf"precision {given}: {message}"):
                precision_of(given, where)
        else:
            assert precision_of(given, where) == given


@pytest.fixture
def here(monkeypatch):
    """Sets how many GPUs this machine has and which process this is."""

    def given(gpus=0, **at):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(device, "find_device", lambda name: torch.device(name or ("cuda" if gpus else "cpu")))
        monkeypatch.setattr(distributed, "ranks", lambda: distributed.Ranks(**at))

    return given


FOUR = {"rank": 5, "world_size": 8, "local_rank": 1, "local_world_size": 4}


@pytest.mark.parametrize(
    ("given", "name", "gpus", "at", "expected"),
    [
        ("auto", None, 4, {}, ["cuda"]),
        (1, None, 4, {}, ["cuda"]),
        (1, "cpu", 4, {}, ["cpu"]),
        ("auto", None, 0, {}, ["cpu"]),
        (3, "cpu", 0, {}, ["cpu"] * 3),
        ("2", None, 4, {}, ["cuda:0", "cuda:1"]),
        (-1, None, 2, {}, ["cuda:0", "cuda:1"]),
        ([1, 3], "cuda", 4, {}, ["cuda:1", "cuda:3"]),
        ("1,3", "cuda", 4, {}, ["cuda:1", "cuda:3"]),
        ("auto", None, 0, FOUR, ["cpu"] * 4),
        ("auto", None, 4, FOUR, [f"cuda:{number}" for number in range(4)]),
        (4, "cpu", 4, FOUR, ["cpu"] * 4),
    ],
)
def test_each_process_has_its_device(given, name, gpus, at, expected, here):
    here(gpus, **at)
    assert devices_of(given, name) == [torch.device(name) for name in expected]


def test_a_task_of_slurm_that_sees_one_gpu_takes_it(here, monkeypatch):
    here(1, **FOUR)
    monkeypatch.setenv("SLURM_PROCID", "5")
    assert devices_of("auto", "cuda")[FOUR["local_rank"]] == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("words", "gpus", "at", "message"),
    [
        ((4, "cuda"), 2, {}, "--devices 4: 4 processes need a GPU each, and this machine has 2 GPUs"),
        ((2, "cuda"), 0, {}, "--devices 2: 2 processes need a GPU each, and this machine has no GPU"),
        (([1, 1], "cuda"), 2, {}, r"--devices \[1, 1\]: 2 processes need a GPU each"),
        ((0, "cpu"), 0, {}, "--devices 0: on the CPU it is a number of processes, 1 or more"),
        (("two", "cpu"), 0, {}, "--devices two: expected a number, a list of GPUs, or auto"),
        ((2, "mps"), 0, {}, "--device of several processes: unknown device 'mps'. Possible: cpu, cuda"),
        ((2, "cpu"), 0, FOUR, "--devices 2: the launcher started 4 processes on this machine; leave it out"),
        (("auto", "cuda"), 2, FOUR, "4 processes need a GPU each, and this machine has 2 GPUs"),
    ],
)
def test_devices_that_are_not_there_are_refused(words, gpus, at, message, here):
    here(gpus, **at)
    with pytest.raises(ValueError, match=message):
        devices_of(*words)
