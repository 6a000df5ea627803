"""Peak memory on cases that can be counted by hand."""

import pytest
import torch

from benchmarks import memory

CPU = torch.device("cpu")
TENSOR = 4 * 512 * 1024


@pytest.fixture
def x():
    return torch.zeros(512, 1024)


def test_two_tensors_live_at_once(x):
    assert memory.peak(lambda: (x + 1) + 1, CPU) == pytest.approx(2 * TENSOR, rel=1e-3)


def test_what_is_released_in_between_is_not_added(x):
    def call():
        first = x + 1
        second = first + 1
        del first
        return second + 1

    assert memory.peak(call, CPU) == pytest.approx(2 * TENSOR, rel=1e-3)


def test_what_was_there_before_makes_no_room_when_it_goes(x):
    held = [x.clone()]

    def call():
        held.clear()
        return x + 1

    assert memory.peak(call, CPU) == pytest.approx(TENSOR, rel=1e-3)


def test_a_backward_pass_counts():
    weight = torch.zeros(512, 1024, requires_grad=True)
    upstream = torch.ones(512, 1024)
    # The exponential is kept for the backward pass; its product with the upstream gradient is as large again.
    peak = memory.peak(lambda: torch.autograd.grad(weight.exp(), weight, upstream), CPU)
    assert peak == pytest.approx(2 * TENSOR, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "peak"), [([], 0), ([-5, 4], 0), ([3, 4, -7, 5], 7), ([-5, 9], 4)], ids=str
)  # fmt: skip
def test_highest_running_sum(changes, peak):
    assert memory.highest(changes) == peak


def test_too_much_memory_is_an_error_that_is_known(monkeypatch):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(memory, "available", lambda device: 2**28)
    with memory.limited(CPU):
        assert torch.zeros(2**20).numel() == 2**20
        with pytest.raises((RuntimeError, MemoryError)) as shortage:
            torch.zeros(2**34, dtype=torch.uint8)
    assert memory.is_shortage(shortage.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_other_errors_are_no_shortage():
    assert not memory.is_shortage(RuntimeError("shapes cannot be multiplied"))


def test_there_is_memory():
    assert memory.available(CPU) > 2**20
