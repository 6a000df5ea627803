"""GAT in closed form equals PyG's over the edge list: outputs, every gradient, hard scores, dropout in distribution."""

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.kernels import operators
from taggnn.kernels.structured import gat, gat_blocks, gat_explicit, gat_sorted
from tests.kernels.conftest import assert_equal_to_pyg, build, results, tokens

TOPOLOGIES = ["clique", "chain", "chain(reach=2)", "clique+chain", "clique+chain(reach=9)", "none"]
GRIDS = [(3, 2, 4), (1, 3, 3), (4, 1, 1), (1, 1, 1), (2, 1, 2), (2, 5, 7)]


@pytest.fixture(params=[True, False], ids=["sorted", "blocks"])
def sorts(request, monkeypatch):
    """Both forms at every size."""
    for name in ("_SORTED_FROM", "_SORTED_FROM_IN_TRAINING"):
        monkeypatch.setattr(gat, name, 1 if request.param else 10**9)
    # More than one group of frames.
    monkeypatch.setattr(gat_blocks, "_AT_ONCE", 300)
    monkeypatch.setattr(gat_sorted, "_AT_ONCE", 300)
    monkeypatch.setattr(gat_explicit, "_AT_ONCE", 300)


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_outputs_and_gradients_equal_pyg(grid, topology, loops, sorts):
    conv = build("gat", 6, heads=3, add_self_loops=loops)
    assert_equal_to_pyg("structured", conv, topology, grid, tokens(2, grid, 6))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_any_slope_and_scores_of_exactly_zero(slope, loops, sorts):
    grid = (3, 2, 4)
    conv, x = build("gat", 6, heads=2, negative_slope=slope, add_self_loops=loops), tokens(2, grid, 6)
    x[:, ::3] = 0
    assert_equal_to_pyg("structured", conv, "clique+chain", grid, x)
    assert_equal_to_pyg("structured", conv, "clique+chain", grid, torch.zeros_like(x))
    # Every score at the kink, in the frame and along the chain, and all values apart.
    with torch.no_grad():
        conv.att_src.zero_()
        conv.att_dst.zero_()
    assert_equal_to_pyg("structured", conv, "clique+chain", grid, torch.randn_like(x))


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_scores_of_any_size(size, loops, sorts):
    grid = (4, 2, 3)
    conv, x = build("gat", 6, heads=2, add_self_loops=loops), tokens(2, grid, 6)
    with torch.no_grad():
        conv.att_src.mul_(size)
        conv.att_dst.mul_(size)
    got = assert_equal_to_pyg("structured", conv, "clique+chain", grid, x, rtol=1e-8, atol=1e-8 * size)
    # In float32 a score is known to 1e-7 of itself only; nothing may overflow.
    single = kernels.find(conv, parse("clique+chain"), grid, "structured")
    got |= {f"{part} in float32": value for part, value in results(single, conv.float(), x.float()).items()}
    assert [part for part, value in got.items() if not value.isfinite().all()] == []


def test_a_node_whose_own_score_is_far_above_the_rest_weighs_the_rest_without_loops():
    torch.manual_seed(0)
    family = operators.Additive(0.2, self_loops=False)
    v, d = torch.randn(1, 12, 1, 4), torch.zeros(1, 12, 1)
    s = torch.zeros(1, 12, 1)
    s[:, 5] = 1e4
    out = gat.StructuredGAT(family, True, 0, 2, 6)(v, s, d, 0.0)
    torch.testing.assert_close(out[:, 5], v[:, :5].mean(1))
    torch.testing.assert_close(out[:, 4], v[:, 5])


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
@pytest.mark.parametrize(
    ("values", "scores", "result"),
    [
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.float16, torch.float16),
        (torch.float64, torch.float64, torch.float64),
    ],
    ids=str,
)
def test_precisions(values, scores, result, loops, sorts):
    torch.manual_seed(0)
    module = gat.StructuredGAT(operators.Additive(0.2, loops), True, 1, 3, 6)
    v, s, d = torch.randn(2, 18, 2, 4).to(values), torch.randn(2, 18, 2).to(scores), torch.randn(2, 18, 2).to(scores)
    exact = module(v.double(), s.double(), d.double(), 0.0)
    inputs = [part.requires_grad_() for part in (v, s, d)]
    out = module(*inputs, 0.0)
    assert out.dtype == result
    torch.testing.assert_close(out.double(), exact, rtol=4e-3, atol=4e-3)
    grads = torch.autograd.grad(out.sum(), inputs)
    assert [grad.dtype for grad in grads] == [values, scores, scores]


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_dropout_drops_each_normalised_weight_by_itself(loops):
    torch.manual_seed(0)
    frames, positions, p, draws = 3, 3, 0.3, 4000
    nodes = frames * positions
    module = gat.StructuredGAT(operators.Additive(0.2, loops), True, 1, frames, positions)
    # Values that name their node: the output is the matrix of weights.
    v = torch.eye(nodes).view(1, nodes, 1, nodes)
    s, d = torch.randn(1, nodes, 1), torch.randn(1, nodes, 1)
    weights = module(v, s, d, 0.0)[0, :, 0]
    drawn = module(*(part.expand(draws, *part.shape[1:]) for part in (v, s, d)), p)[:, :, 0]
    edges = weights > 0
    kept = drawn > 0
    torch.testing.assert_close(drawn, torch.where(kept, weights / (1 - p), 0.0))
    torch.testing.assert_close(kept.float().mean(0)[edges], torch.full_like(weights[edges], 1 - p), rtol=0, atol=0.04)
    fates = kept[:, edges].float() - (1 - p)
    together = fates.T @ fates / draws
    torch.testing.assert_close(together, torch.eye(len(together)) * p * (1 - p), rtol=0, atol=0.03)


def test_dropout_has_the_gradient_of_its_own_draw():
    torch.manual_seed(0)
    module = gat.StructuredGAT(operators.Additive(0.2, True), True, 1, 3, 4)
    inputs = [torch.randn(2, 12, 2, 3), torch.randn(2, 12, 2), torch.randn(2, 12, 2)]
    inputs = [part.double().requires_grad_() for part in inputs]

    def drawn(*parts):
        torch.manual_seed(7)
        return module(*parts, 0.4)

    assert torch.autograd.gradcheck(drawn, inputs)


def test_compiled_in_one_graph_for_any_number_of_clips(sorts):
    torch.manual_seed(0)
    module = gat.StructuredGAT(operators.Additive(0.2, True), True, 1, 3, 6)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for clips in (2, 3, 5):
        inputs = [torch.randn(clips, 18, 2, 4), torch.randn(clips, 18, 2), torch.randn(clips, 18, 2)]
        inputs = [part.requires_grad_() for part in inputs]
        for part in inputs:
            # One graph from the start, not one for the first number and another one for all others.
            torch._dynamo.mark_dynamic(part, 0)
        got, expected = compiled(*inputs, 0.0), module(*inputs, 0.0)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), inputs) for out in (got, expected)))


@pytest.mark.usefixtures("sorts")
def test_autocast_rounds_nothing_in_between():
    # The whole step inside: also the way back is computed in full precision.
    torch.manual_seed(0)
    module = gat.StructuredGAT(operators.Additive(0.2, True), True, 1, 3, 8)
    v, s, d = torch.randn(2, 24, 2, 8), torch.randn(2, 24, 2), torch.randn(2, 24, 2)
    inputs = tuple(part.requires_grad_() for part in (v, s, d))
    plain = torch.autograd.grad(module(*inputs, 0.0).square().sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(module(*inputs, 0.0).square().sum(), inputs)
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


def test_autocast_rounds_no_gradient_of_the_scores():
    torch.manual_seed(0)
    parts = tuple(torch.randn(*shape, requires_grad=True) for shape in ((6, 2, 4), (1, 2, 4), (1, 2, 4)))

    def gradients():
        v, source, target = operators._Scores.apply(*parts)
        return torch.autograd.grad((v.sum(-1) * source + target).square().sum(), parts)

    plain = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gradients(), plain, rtol=0, atol=0)


def test_the_scores_by_gradcheck():
    torch.manual_seed(0)
    parts = [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((6, 2, 4), (1, 2, 4), (1, 2, 4))]
    assert torch.autograd.gradcheck(operators._Scores.apply, parts)


@pytest.mark.usefixtures("sorts")
def test_second_derivatives():
    torch.manual_seed(0)
    module = gat.StructuredGAT(operators.Additive(0.2, True), True, 1, 2, 3)
    parts = [torch.randn(1, 6, 2, *size, dtype=torch.float64, requires_grad=True) for size in ((2,), (), ())]
    assert torch.autograd.gradgradcheck(lambda *inputs: module(*inputs, 0.0), parts)
