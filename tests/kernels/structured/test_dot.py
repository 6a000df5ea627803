"""TransformerConv by frames equals PyG over the edge list: outputs, gradients, pieces, precision, dropout in distribution."""

import copy
from math import prod

import pytest
import torch
from torch_geometric.nn import TransformerConv

from graphs import parse
from taggnn.kernels import operators
from taggnn.kernels.kernel import Kernel
from taggnn.kernels.operators import Dot
from taggnn.kernels.pyg import EdgeList
from taggnn.kernels.structured import softmax
from taggnn.kernels.structured.dot import StructuredDot

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
    propagate = StructuredDot(operator.family, *TOPOLOGIES[topology], frames, prod(plane))
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


def made(**options):
    torch.manual_seed(0)
    return TransformerConv(6, 5, heads=3, **options).double()


def drawn(grid, clips=2):
    return torch.randn(clips, prod(grid), 6, dtype=torch.float64)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
def test_outputs_and_gradients_equal_pyg(grid, clips, topology):
    check(made(), topology, grid, drawn(grid, clips))


# Rows of a frame apart, frames apart, clips apart; weights kept: none, some.
@pytest.mark.parametrize(("weights", "kept"), [(1, 0), (20, 100), (70, 400), (400, 0)])
def test_any_cut_into_pieces_gives_the_same(weights, kept, monkeypatch):
    monkeypatch.setattr(softmax, "_AT_ONCE", weights)
    monkeypatch.setattr(softmax, "_KEPT", kept)
    check(made(), "clique+chain", (3, 2, 4), drawn((3, 2, 4), 3))


@pytest.mark.parametrize("options", [{"beta": True}, {"root_weight": False, "bias": False}], ids=str)
def test_options_of_the_convolution(options):
    check(made(**options), "clique+chain", (3, 2, 4), drawn((3, 2, 4)))


def test_scores_of_ten_thousand():
    conv, x = made(), drawn((3, 2, 4))
    conv.lin_query.weight.data *= 1e4
    check(conv, "clique+chain", (3, 2, 4), x, 1e-8)


def test_the_hand_written_gradients():
    torch.manual_seed(0)
    module = StructuredDot(Dot(), True, 1, 3, 4)
    parts = [torch.randn(2, 12, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *inputs: module(*inputs, 0.0), parts)


def test_a_second_derivative_is_refused_and_not_wrong():
    module = StructuredDot(Dot(), True, 1, 3, 4)
    q, k, v = (torch.randn(1, 12, 2, 3, requires_grad=True) for _ in range(3))
    (slope,) = torch.autograd.grad(module(q, k, v, 0.0).square().sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_memory_in_training_is_bounded(monkeypatch):
    places, blocks = 100, 2 * 6 * 2
    monkeypatch.setattr(softmax, "_AT_ONCE", places**2)
    monkeypatch.setattr(softmax, "_KEPT", 3 * places**2)
    saved = []
    module = StructuredDot(Dot(), True, 1, 6, places)
    inputs = [torch.randn(2, 6 * places, 2, 3, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        module(*inputs, 0.0)
    assert 3 * places**2 < sum(saved) < 3 * places**2 + 12 * inputs[0].numel() < blocks * places**2


def test_a_dropped_weight_is_dropped_alone_and_the_rest_scaled():
    torch.manual_seed(0)
    grid, rate = (3, 1, 3), 0.25
    module = StructuredDot(Dot(), True, 1, 3, 3)
    q, k = torch.randn(2, 1, 9, 1, 9)
    # Values that name their node: the result of a node is its row of weights.
    v = torch.eye(9)[None, :, None].contiguous()
    whole = module(q, k, v, 0.0)[0, :, 0]
    drawn = torch.stack([module(q, k, v, rate)[0, :, 0] for _ in range(4000)])
    ratio = drawn / whole
    assert (whole > 0).sum() == parse("clique+chain").num_edges(grid)
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
    module = StructuredDot(Dot(), True, 1, 3, 4)
    parts = [torch.randn(1, 12, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def seeded(*inputs):
        torch.manual_seed(1)
        return module(*inputs, 0.4)

    assert torch.autograd.gradcheck(seeded, parts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sixteen_bits_are_computed_in_thirty_two(dtype):
    torch.manual_seed(0)
    module = StructuredDot(Dot(), True, 1, 3, 8)
    q, k, v = 3 * torch.randn(3, 2, 24, 2, 8).to(dtype)
    got, exact = module(q, k, v, 0.0), module(q.float(), k.float(), v.float(), 0.0)
    assert got.dtype == dtype
    torch.testing.assert_close(got, exact.to(dtype), rtol=0, atol=0)


def test_autocast_rounds_nothing_in_between():
    torch.manual_seed(0)
    module = StructuredDot(Dot(), True, 1, 3, 8)
    q, k, v = (torch.randn(2, 24, 2, 8, requires_grad=True) for _ in range(3))
    plain = torch.autograd.grad(module(q, k, v, 0.0).square().sum(), (q, k, v))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(module(q, k, v, 0.0).square().sum(), (q, k, v))
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("topology", ["clique+chain", "clique", "chain"])
def test_compiles_in_one_graph_with_gradients(topology):
    conv, grid = made(), (3, 2, 4)
    x, back = drawn(grid), torch.randn(2, 24, 15, dtype=torch.float64)
    kernel = build(conv, topology, grid)
    # A copy, because Dynamo remembers a module it has seen.
    compiled = torch.compile(copy.deepcopy(kernel), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled, conv, x, back), gradients(kernel, conv, x, back))


def test_exports_with_any_number_of_clips():
    module = StructuredDot(Dot(), True, 1, 3, 8)
    clips = {0: torch.export.Dim("clips", min=1, max=64)}
    example = tuple(torch.randn(3, 2, 24, 2, 8))
    exported = torch.export.export(module, (*example, 0.0), dynamic_shapes=(clips, clips, clips, None)).module()
    inputs = *torch.randn(3, 5, 24, 2, 8), 0.0
    torch.testing.assert_close(exported(*inputs), module(*inputs))
