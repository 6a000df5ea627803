"""Bones and chain edge by edge and in blocks: both equal PyG; precisions, dropout, compilation, export."""

import copy

import pytest
import torch
from torch import nn

from graphs import parse
from taggnn import kernels
from taggnn.kernels.operators import Additive, Dot, Dynamic, Sum
from taggnn.kernels.structured import edges, fixed
from taggnn.kernels.structured.few_edges import FewEdges
from tests.kernels.conftest import assert_equal_to_pyg, build, results, tokens
from tests.kernels.structured.test_edges import BONES, ONE_WAY

CONVS = {
    "gcn": ("gcn", {}),
    "gcn-no-loops": ("gcn", {"add_self_loops": False}),
    "appnp": ("appnp", {"K": 3, "alpha": 0.2}),
    "appnp-no-step": ("appnp", {"K": 0, "alpha": 0.2}),
    "sage": ("sage", {}),
    "gat-one-head": ("gat", {"heads": 1}),
    "gat": ("gat", {"heads": 3, "concat": False, "add_self_loops": False}),
    "gatv2": ("gatv2", {"heads": 3, "concat": False}),
    "gatv2-no-loops": ("gatv2", {"heads": 2, "share_weights": True, "add_self_loops": False}),
    "transformer": ("transformer", {"heads": 3, "beta": True}),
    "transformer-mean": ("transformer", {"heads": 1, "concat": False, "root_weight": False}),
}
# Topology, grid, clips.
CASES = {
    "T1-B1": ("bones(skeleton=hand)+chain", (1, 21), 1),
    "T2-B3": ("bones(skeleton=coco)+chain(reach=9)", (2, 17), 3),
    "no-chain": ("bones(skeleton=coco)", (3, 17), 2),
}
FAMILIES = {
    "sum": Sum("mean"),
    "four-steps": Sum("symmetric", True, 4, 0.15),
    "gat": Additive(0.2, True),
    "gatv2": Dynamic(0.2, True),
    "dot": Dot(),
}
ATTENTION = ["gat", "gatv2", "dot"]
families = pytest.mark.parametrize("family", FAMILIES)
attention = pytest.mark.parametrize("family", ATTENTION)


def module_of(family, adjacency=ONE_WAY, frames=3):
    return fixed.propagation(FAMILIES[family], adjacency, 1, frames)


def operands(family, dtype=torch.float64, clips=2, nodes=9, heads=2, channels=3, grad=True):
    """All that the family takes but the probability of dropout."""
    torch.manual_seed(0)
    wide, narrow = (clips, nodes, heads, channels), (clips, nodes, heads)
    shapes = {"gat": (wide, narrow, narrow), "gatv2": (wide, wide, wide[2:]), "dot": (wide, wide, wide)}
    shapes = shapes.get(family, ((*wide[:2], 6), (6,)))
    return [torch.randn(shape).to(dtype).requires_grad_(grad) for shape in shapes]


def extra(family, dropout=0.0):
    return (dropout,) if family in ATTENTION else ()


@pytest.mark.parametrize("few", [0, 32], ids=["blocks", "edges"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CONVS)
def test_equal_to_pyg_in_values_and_every_gradient(name, case, few, monkeypatch):
    monkeypatch.setattr(fixed, "_FEW", few)
    conv, options = CONVS[name]
    topology, grid, clips = CASES[case]
    assert_equal_to_pyg("structured", build(conv, 6, **options), topology, grid, tokens(clips, grid, 6))


@pytest.mark.parametrize("adjacency", [BONES, ONE_WAY], ids=["bones", "one-way"])
@families
def test_few_edges_run_one_by_one_and_many_in_blocks(family, adjacency):
    assert type(module_of(family, adjacency)) is FewEdges
    many = torch.ones(40, 40).fill_diagonal_(0) > 0
    for other in (many, torch.zeros(4, 4, dtype=torch.bool)):
        assert type(module_of(family, other)) is not FewEdges


@families
def test_edges_equal_blocks_with_the_same_second_derivatives(family):
    module, inputs = module_of(family), operands(family)

    def slopes(way):
        first = torch.autograd.grad(way(*inputs, *extra(family)).pow(3).sum(), inputs, create_graph=True)
        return *first, *torch.autograd.grad(sum(part.square().sum() for part in first), inputs, allow_unused=True)

    torch.testing.assert_close(slopes(module), slopes(module.blocks))


@families
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sixteen_bits_are_computed_in_thirty_two(family, dtype):
    module, inputs = module_of(family), operands(family, dtype, grad=False)
    got = module(*inputs, *extra(family))
    if family not in ATTENTION:
        inputs[1] = torch.zeros(6, dtype=dtype)
        got = module(*inputs)
    exact = module(*(part.float() for part in inputs), *extra(family))
    assert got.dtype == dtype
    torch.testing.assert_close(got, exact.to(dtype), rtol=0, atol=0)


@families
def test_autocast_rounds_nothing_in_between(family):
    module, inputs = module_of(family), operands(family, torch.float32)

    def gradients():
        return torch.autograd.grad(module(*inputs, *extra(family)).square().sum(), inputs)

    plain = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gradients(), plain, rtol=0, atol=0)


@attention
def test_dropout_drops_single_weights_and_has_the_gradient_of_its_draw(family):
    module, inputs = module_of(family), operands(family, clips=1)

    def seeded(*parts):
        torch.manual_seed(3)
        return module(*parts, 0.4)

    assert torch.autograd.gradcheck(seeded, inputs)
    # Values that name their node: the output is the matrix of weights.
    inputs = operands(family, torch.float32, 1, 9, 1, 9, grad=False)
    inputs[2 if family == "dot" else 0] = torch.eye(9)[None, :, None].contiguous()
    whole = module(*inputs, 0.0)
    # Every clip is a draw of its own.
    drawn = module(*(part.repeat_interleave(2000, 0) if part.ndim > 2 else part for part in inputs), 0.25)
    edge = whole[0] > 0
    ratio = (drawn / whole)[:, edge]
    assert torch.all((ratio == 0) | ((ratio - 1 / 0.75).abs() < 1e-4))
    lost = (ratio == 0).double()
    torch.testing.assert_close(lost.mean(0), torch.full_like(lost[0], 0.25), rtol=0, atol=0.05)
    assert (lost.T.cov() - torch.eye(lost.shape[1]) * 0.1875).abs().max() < 0.03
    assert not module(*inputs, 1.0).any()


@pytest.mark.parametrize("name", ["gcn", "gat"])
def test_compiles_in_one_graph_with_gradients(name):
    torch._dynamo.reset()
    grid = (2, 17)
    conv, x = build(name), tokens(2, grid)
    kernel = kernels.find(conv, parse("bones(skeleton=coco)+chain"), grid, "structured")
    # A copy, because Dynamo remembers a module it has seen.
    compiled = torch.compile(copy.deepcopy(kernel), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(results(compiled, conv, x), results(kernel, conv, x))


class Operands(nn.Module):
    """Takes the operands as one list: an exported program of torch 2.9 cannot check several without names."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, operands):
        return self.module(*operands)


@families
def test_exports_with_any_number_of_clips(family):
    module, example = Operands(module_of(family)), operands(family, torch.float32, grad=False)
    clips = {0: torch.export.Dim("clips", min=1, max=64)}
    dynamic = [clips if part.ndim > 2 else None for part in example] + [None] * len(extra(family))
    exported = torch.export.export(module, ([*example, *extra(family)],), dynamic_shapes=(dynamic,)).module()
    inputs = [*operands(family, torch.float32, clips=5, grad=False), *extra(family)]
    torch.testing.assert_close(exported(inputs), module(inputs))


def test_edges_are_used_on_a_cpu_alone(monkeypatch):
    module, inputs = module_of("sum"), operands("sum", torch.float32, grad=False)
    calls = []
    monkeypatch.setattr(edges, "weighted", lambda *parts: calls.append(parts) or torch.zeros(18, 6))
    module(*inputs)
    assert len(calls) == 1
    module.to("meta")(*(part.to("meta") for part in inputs))
    assert len(calls) == 1
