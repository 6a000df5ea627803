"""GATv2 by frames equals PyG's over the edge list: outputs, every gradient, pieces, precision, dropout in distribution."""

import copy
from math import prod

import pytest
import torch
from torch_geometric.nn import GATv2Conv

from graphs import parse
from taggnn.kernels import operators
from taggnn.kernels.kernel import Kernel
from taggnn.kernels.operators import Dynamic
from taggnn.kernels.pyg import EdgeList
from taggnn.kernels.structured import gatv2, softmax
from taggnn.kernels.structured.gatv2 import StructuredGATv2

TOPOLOGIES = {
    "clique": (True, 0),
    "chain": (False, 1),
    "chain(reach=2)": (False, 2),
    "clique+chain": (True, 1),
    "clique+chain(reach=9)": (True, 9),
    "none": (False, 0),
}
GRIDS = [((3, 2, 4), 2), ((1, 3, 2), 1), ((4, 1, 1), 2), ((1, 1, 1), 1), ((2, 1, 2), 3)]


def build(conv, topology, grid):
    operator = operators.read(conv)
    frames, *plane = grid
    propagate = StructuredGATv2(operator.family, *TOPOLOGIES[topology], frames, prod(plane))
    return Kernel("structured", operator, propagate, frames * prod(plane))


def gradients(kernel, conv, x, back):
    x = x.clone().requires_grad_()
    out = kernel(conv, x)
    return out, *torch.autograd.grad((out * back).sum(), [x, *conv.parameters()], materialize_grads=True)


def check(conv, topology, grid, x, tolerance=1e-10):
    back = torch.randn(*x.shape[:2], conv.heads * conv.out_channels, dtype=x.dtype)
    got = gradients(build(conv, topology, grid), conv, x, back)
    expected = gradients(EdgeList(conv, parse(topology), grid), conv, x, back)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def made(loops=True, slope=0.2, **options):
    torch.manual_seed(0)
    return GATv2Conv(6, 5, heads=3, add_self_loops=loops, negative_slope=slope, **options).double()


def drawn(grid, clips=2):
    return torch.randn(clips, prod(grid), 6, dtype=torch.float64)


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
def test_outputs_and_gradients_equal_pyg(grid, clips, topology, loops):
    check(made(loops), topology, grid, drawn(grid, clips))


# Rows of a frame apart, frames apart, clips apart; comparisons row by row, some together; weights kept: none, some.
@pytest.mark.parametrize(("weights", "kept", "pairs"), [(1, 0, 1), (20, 100, 90), (70, 400, 900), (400, 0, 700)])
def test_any_cut_into_pieces_gives_the_same(weights, kept, pairs, monkeypatch):
    monkeypatch.setattr(softmax, "_AT_ONCE", weights)
    monkeypatch.setattr(softmax, "_KEPT", kept)
    monkeypatch.setattr(gatv2, "_AT_ONCE", pairs)
    check(made(), "clique+chain", (3, 2, 4), drawn((3, 2, 4), 3))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_any_slope_and_sums_of_exactly_zero(slope, loops):
    conv, x = made(loops, slope), drawn((3, 2, 4))
    conv.lin_l.bias.data.zero_()
    conv.lin_r.bias.data.zero_()
    # Two in a frame, and the same place in two frames.
    x[:, [0, 1, 8]] = 0
    check(conv, "clique+chain", (3, 2, 4), x)
    check(conv, "clique+chain", (3, 2, 4), torch.zeros_like(x))


@pytest.mark.parametrize("options", [{"share_weights": True}, {"residual": True, "bias": False}], ids=str)
def test_options_of_the_convolution(options):
    check(made(**options), "clique+chain", (3, 2, 4), drawn((3, 2, 4)))


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_scores_of_ten_thousand(loops):
    conv, x = made(loops), drawn((3, 2, 4))
    conv.att.data *= 1e4
    check(conv, "clique+chain", (3, 2, 4), x, 1e-8)


def test_the_hand_written_gradients():
    torch.manual_seed(0)
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 4)
    parts = [torch.randn(2, 12, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    a = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *inputs: module(*inputs, 0.0), (*parts, a))


def test_a_second_derivative_is_refused_and_not_wrong():
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 4)
    l, r = (torch.randn(1, 12, 2, 3, requires_grad=True) for _ in range(2))  # noqa: E741
    (slope,) = torch.autograd.grad(module(l, r, torch.randn(2, 3), 0.0).square().sum(), l, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_memory_in_training_is_bounded(monkeypatch):
    places, blocks = 100, 2 * 6 * 2
    monkeypatch.setattr(softmax, "_AT_ONCE", places**2)
    monkeypatch.setattr(softmax, "_KEPT", 3 * places**2)
    saved = []
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 6, places)
    inputs = [torch.randn(2, 6 * places, 2, 3, requires_grad=True) for _ in range(2)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        module(*inputs, torch.randn(2, 3, requires_grad=True), 0.0)
    assert 3 * places**2 < sum(saved) < 3 * places**2 + 12 * inputs[0].numel() < blocks * places**2


def test_a_dropped_weight_is_dropped_alone_and_the_rest_scaled():
    torch.manual_seed(0)
    grid, rate = (3, 1, 3), 0.25
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 3)
    r, a = torch.randn(1, 9, 1, 9), torch.randn(1, 9)
    # Values that name their node: the result of a node is its row of weights.
    l = torch.eye(9)[None, :, None].contiguous()  # noqa: E741
    whole = module(l, r, a, 0.0)[0, :, 0]
    drawn = torch.stack([module(l, r, a, rate)[0, :, 0] for _ in range(4000)])
    ratio = drawn / whole
    assert (whole > 0).sum() == parse("clique+chain").num_edges(grid) + 9
    values = ratio[:, whole > 0]
    assert torch.all((values == 0) | ((values - 1 / (1 - rate)).abs() < 1e-4))
    dropped = (values == 0).double()
    torch.testing.assert_close(dropped.mean(0), torch.full_like(dropped[0], rate), rtol=0, atol=0.03)
    # No two weights fall together.
    together = dropped.T.cov() - torch.eye(dropped.shape[1]) * rate * (1 - rate)
    assert together.abs().max() < 0.02


def test_gradients_with_dropout_are_those_of_the_drawn_weights(monkeypatch):
    monkeypatch.setattr(softmax, "_AT_ONCE", 20)
    monkeypatch.setattr(softmax, "_KEPT", 40)
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 4)
    parts = [torch.randn(1, 12, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    a = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def seeded(*inputs):
        torch.manual_seed(1)
        return module(*inputs, 0.4)

    assert torch.autograd.gradcheck(seeded, (*parts, a))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sixteen_bits_are_computed_in_thirty_two(dtype):
    torch.manual_seed(0)
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 8)
    l, r = (3 * torch.randn(2, 24, 2, 8).to(dtype) for _ in range(2))  # noqa: E741
    a = torch.randn(2, 8).to(dtype)
    got, exact = module(l, r, a, 0.0), module(l.float(), r.float(), a.float(), 0.0)
    assert got.dtype == dtype
    torch.testing.assert_close(got, exact.to(dtype), rtol=0, atol=0)


def test_autocast_rounds_nothing_in_between():
    torch.manual_seed(0)
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 8)
    l, r = (torch.randn(2, 24, 2, 8, requires_grad=True) for _ in range(2))  # noqa: E741
    a = torch.randn(2, 8, requires_grad=True)
    plain = torch.autograd.grad(module(l, r, a, 0.0).square().sum(), (l, r, a))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(module(l, r, a, 0.0).square().sum(), (l, r, a))
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


@pytest.mark.parametrize(("topology", "shared"), [("clique+chain", False), ("clique", True), ("chain", False)])
def test_compiles_in_one_graph_with_gradients(topology, shared):
    conv, grid = made(share_weights=shared), (3, 2, 4)
    x, back = drawn(grid), torch.randn(2, 24, 15, dtype=torch.float64)
    kernel = build(conv, topology, grid)
    # A copy, because Dynamo remembers a module it has seen.
    compiled = torch.compile(copy.deepcopy(kernel), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled, conv, x, back), gradients(kernel, conv, x, back))


def test_exports_with_any_number_of_clips():
    module = StructuredGATv2(Dynamic(0.2, True), True, 1, 3, 8)
    a = torch.randn(2, 8)
    clips = {0: torch.export.Dim("clips", min=1, max=64)}
    exported = torch.export.export(
        module,
        (torch.randn(2, 24, 2, 8), torch.randn(2, 24, 2, 8), a, 0.0),
        dynamic_shapes=(clips, clips, None, None),
    ).module()
    inputs = torch.randn(5, 24, 2, 8), torch.randn(5, 24, 2, 8), a, 0.0
    torch.testing.assert_close(exported(*inputs), module(*inputs))
