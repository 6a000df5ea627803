"""TransformerConv and GATv2 by frames, their own modules: pieces, gradients, precision, dropout, compilation."""

import copy

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.kernels.operators import Dot, Dynamic
from taggnn.kernels.structured import gatv2, softmax
from taggnn.kernels.structured.dot import StructuredDot
from taggnn.kernels.structured.gatv2 import StructuredGATv2
from tests.kernels.conftest import assert_equal_to_pyg, build, results, tokens

GRID = (3, 2, 4)
FAMILIES = ["transformer", "gatv2"]
both = pytest.mark.parametrize("family", FAMILIES)


def module_of(family, frames=3, positions=4):
    if family == "transformer":
        return StructuredDot(Dot(), True, 1, frames, positions)
    return StructuredGATv2(Dynamic(0.2, True), True, 1, frames, positions)


def operands(family, clips, nodes, heads, channels, dtype=torch.float64, grad=True, std=1.0):
    """q, k, v or l, r, a."""
    torch.manual_seed(0)
    wide = (clips, nodes, heads, channels)
    shapes = [wide, wide, wide if family == "transformer" else (heads, channels)]
    return [(std * torch.randn(shape)).to(dtype).requires_grad_(grad) for shape in shapes]


# Rows of a frame apart, frames apart, clips apart; comparisons row by row, some together; weights saved: none, some.
@both
@pytest.mark.parametrize(("weights", "saved", "pairs"), [(1, 0, 1), (20, 100, 90), (70, 400, 900), (400, 0, 700)])
def test_any_cut_into_pieces_gives_the_same(family, weights, saved, pairs, monkeypatch):
    monkeypatch.setattr(softmax, "_AT_ONCE", weights)
    monkeypatch.setattr(softmax, "_SAVED", saved)
    monkeypatch.setattr(gatv2, "_AT_ONCE", pairs)
    conv = build(family, 6, heads=3, concat=False)
    assert_equal_to_pyg("structured", conv, "clique+chain(reach=9)", GRID, tokens(3, GRID, 6))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_any_slope_and_sums_of_exactly_zero(slope, loops):
    conv, x = build("gatv2", 6, heads=3, add_self_loops=loops, negative_slope=slope), tokens(2, GRID, 6)
    conv.lin_l.bias.data.zero_()
    conv.lin_r.bias.data.zero_()
    # Two in a frame, and the same position in two frames.
    x[:, [0, 1, 8]] = 0
    assert_equal_to_pyg("structured", conv, "clique+chain", GRID, x)
    assert_equal_to_pyg("structured", conv, "clique+chain", GRID, torch.zeros_like(x))


@both
def test_the_hand_written_gradients(family):
    module = module_of(family)
    parts = operands(family, 2, 12, 2, 3)
    assert torch.autograd.gradcheck(lambda *inputs: module(*inputs, 0.0), parts)


@both
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_second_derivatives(family, dropout):
    # Three positions: of two neighbours in a frame each has its own share in the derivative by the other.
    module = module_of(family, 3, 3)

    def seeded(*inputs):
        torch.manual_seed(1)
        return module(*inputs, dropout)

    parts = operands(family, 1, 9, 2, 2)
    assert torch.autograd.gradgradcheck(seeded, parts)
    # A gradient that is differentiated again is computed another way.
    ways = [torch.autograd.grad(seeded(*parts).square().sum(), parts, create_graph=again) for again in (False, True)]
    torch.testing.assert_close(*ways)


@both
def test_memory_in_training_is_bounded(family, monkeypatch):
    # The blocks; fused loops store no weight.
    monkeypatch.setenv("TAGGNN_FUSED", "0")
    positions, blocks = 100, 2 * 6 * 2
    monkeypatch.setattr(softmax, "_AT_ONCE", positions**2)
    monkeypatch.setattr(softmax, "_SAVED", 3 * positions**2)
    saved = []
    inputs = operands(family, 2, 6 * positions, 2, 3, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        module_of(family, 6, positions)(*inputs, 0.0)
    assert 3 * positions**2 < sum(saved) < 3 * positions**2 + 12 * inputs[0].numel() < blocks * positions**2


@both
def test_a_dropped_weight_is_dropped_alone_and_the_rest_scaled(family):
    grid, rate = (3, 1, 3), 0.25
    module = module_of(family, 3, 3)
    inputs = operands(family, 1, 9, 1, 9, torch.float32, grad=False)
    # Values that name their node: the output of a node is its row of weights.
    inputs[2 if family == "transformer" else 0] = torch.eye(9)[None, :, None].contiguous()
    whole = module(*inputs, 0.0)[0, :, 0]
    # Every clip is a draw of its own.
    many = [part.repeat_interleave(4000, 0) if part.ndim > 2 else part for part in inputs]
    drawn = module(*many, rate)[:, :, 0]
    ratio = drawn / whole
    assert (whole > 0).sum() == parse("clique+chain").num_edges(grid) + (9 if family == "gatv2" else 0)
    values = ratio[:, whole > 0]
    assert torch.all((values == 0) | ((values - 1 / (1 - rate)).abs() < 1e-4))
    dropped = (values == 0).double()
    torch.testing.assert_close(dropped.mean(0), torch.full_like(dropped[0], rate), rtol=0, atol=0.03)
    # No two weights fall together.
    together = dropped.T.cov() - torch.eye(dropped.shape[1]) * rate * (1 - rate)
    assert together.abs().max() < 0.02


@both
def test_gradients_with_dropout_are_those_of_the_drawn_weights(family, monkeypatch):
    monkeypatch.setattr(softmax, "_AT_ONCE", 20)
    monkeypatch.setattr(softmax, "_SAVED", 40)
    module = module_of(family)

    def seeded(*inputs):
        torch.manual_seed(1)
        return module(*inputs, 0.4)

    assert torch.autograd.gradcheck(seeded, operands(family, 1, 12, 2, 3))


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sixteen_bits_are_computed_in_thirty_two(family, dtype):
    module, inputs = module_of(family, 3, 8), operands(family, 2, 24, 2, 8, dtype, grad=False, std=3.0)
    got, exact = module(*inputs, 0.0), module(*(part.float() for part in inputs), 0.0)
    assert got.dtype == dtype
    torch.testing.assert_close(got, exact.to(dtype), rtol=0, atol=0)


@both
def test_autocast_rounds_nothing_in_between(family):
    module, inputs = module_of(family, 3, 8), operands(family, 2, 24, 2, 8, torch.float32)
    plain = torch.autograd.grad(module(*inputs, 0.0).square().sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(module(*inputs, 0.0).square().sum(), inputs)
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


# Clique and chain together are compiled in test_compile.py, for the convolutions as they are by default.
COMPILED = [
    ("transformer", {}, "clique"),
    ("transformer", {}, "chain"),
    ("gatv2", {}, "clique"),
    ("gatv2", {"share_weights": True}, "chain"),
    ("gatv2", {"share_weights": True}, "clique+chain"),
]


@pytest.mark.parametrize(("family", "options", "topology"), COMPILED, ids=str)
def test_compiles_in_one_graph_with_gradients(family, options, topology):
    torch._dynamo.reset()
    conv, x = build(family, 6, heads=3, **options), tokens(2, GRID, 6)
    kernel = kernels.find(conv, parse(topology), GRID, "structured")
    # A copy, because Dynamo remembers a module it has seen.
    compiled = torch.compile(copy.deepcopy(kernel), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(results(compiled, conv, x), results(kernel, conv, x))


@both
def test_exports_with_any_number_of_clips(family):
    module = module_of(family, 3, 8)
    clips = {0: torch.export.Dim("clips", min=1, max=64)}
    dynamic = (clips, clips, clips if family == "transformer" else None, None)
    example = operands(family, 2, 24, 2, 8, torch.float32, grad=False)
    exported = torch.export.export(module, (*example, 0.0), dynamic_shapes=dynamic).module()
    inputs = *operands(family, 5, 24, 2, 8, torch.float32, grad=False), 0.0
    torch.testing.assert_close(exported(*inputs), module(*inputs))
