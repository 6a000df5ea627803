"""Weights, inputs and the reference of a case."""

import pytest
import torch

from benchmarks import memory
from benchmarks.case import Case
from benchmarks.sizes import Size
from graphs import parse

SIZE = Size(3, 2, (2, 3), 8, 2)
CPU = torch.device("cpu")


def case(name="gat", **options):
    return Case(name, SIZE, parse("clique+chain"), CPU, options.pop("dtype", torch.float32), **options)


def test_the_seed_fixes_weights_and_inputs():
    one, same, other = case(seed=1), case(seed=1), case(seed=2)
    assert torch.equal(one.x, same.x)
    assert torch.equal(one.conv.lin.weight, same.conv.lin.weight)
    assert not torch.equal(one.x, other.x)


def test_no_bias_starts_at_zero():
    assert all(float(p.detach().abs().min()) > 0 for p in case("transformer").conv.parameters() if p.ndim == 1)


def test_the_size_gives_the_heads():
    assert case("gat").conv.heads == 2
    assert case("gcn").x.shape == (3, 12, 8)


@pytest.mark.parametrize(
    ("size", "match"), [(Size(1, 2, (2, 2), 9, 2), "cannot be shared"), (Size(1, 2, (2, 2), 8, 3), "heads")]
)
def test_heads_that_do_not_divide_the_channels_are_refused(size, match):
    with pytest.raises(ValueError, match=match):
        Case.build("gat", size)


def test_the_reference_is_pyg_in_float64_on_all_clips():
    reference, clips = case(backward=True).reference()
    assert clips == 3
    assert reference["output"].dtype == torch.float64
    assert len(reference["output"]) == 3
    assert "gradient of lin.weight" in reference


def test_little_memory_leaves_fewer_clips_and_then_the_own_precision(monkeypatch):
    one = case()
    monkeypatch.setattr(memory, "available", lambda device: 2 * one.edge_bytes(torch.float64))
    reference, clips = one.reference()
    assert (clips, reference["output"].dtype) == (2, torch.float64)
    monkeypatch.setattr(memory, "available", lambda device: one.edge_bytes(torch.float64) - 1)
    reference, clips = one.reference()
    assert (clips, reference["output"].dtype) == (1, torch.float32)


@pytest.mark.parametrize("name", ["gat", "gcn", "gatv2", "transformer", "sage"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_of_the_edge_list_is_not_underestimated(name, backward):
    size = Size(1, 2, (10, 10), 64, 4)
    one = Case(name, size, parse("clique+chain"), CPU, torch.float32, backward=backward)
    call = one.call(one.way("pyg"), backward)
    call()
    assert 0.3 < memory.peak(call, CPU) / one.edge_bytes(torch.float32) < 1


def test_a_call_leaves_no_gradients_behind():
    one = case()
    gradients = one.call(one.way("pyg"), backward=True)()
    assert all(gradient is not None for gradient in gradients)
    assert all(parameter.grad is None for parameter in one.conv.parameters())


def test_the_projection_is_the_convolutions_own_layers():
    one = case("gatv2")
    left, right = one.projection()(one.x)
    flat = one.x.flatten(0, 1)
    assert torch.equal(left, one.conv.lin_l(flat))
    assert torch.equal(right, one.conv.lin_r(flat))
