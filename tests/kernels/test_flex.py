"""FlexAttention under the mask of a topology equals PyG's message passing.

Here without CUDA: FlexAttention's plain form gives the values. It refuses gradients on the CPU ("FlexAttention does not support
backward on CPU"), so these are proven with FlexAttention replaced by the formula of its documentation, under ordinary autograd;
what remains untested is PyTorch's own kernel.
"""

import copy
import pickle
from math import prod

import pytest
import torch

from graphs import graph, parse
from taggnn import kernels
from taggnn.kernels import flex
from taggnn.nn import convs
from tests.kernels.conftest import TOPOLOGIES, build, results, tokens

CASES = {
    "gat": ("gat", {"heads": 2}),
    "gat-without-loops": ("gat", {"heads": 3, "add_self_loops": False, "concat": False}),
    "gat-wide": ("gat", {"heads": 1, "out_channels": 20}),
    "transformer": ("transformer", {"heads": 2, "beta": True}),
}
# One frame, one position, fewer frames than the reach, more frames than it; one clip and three.
GRIDS = [((1, 2, 3), 3), ((4, 1, 1), 1), ((2, 1, 2), 3), ((4, 3, 2), 1), ((4,), 2), ((3, 5), 1), ((2, 2, 1, 3), 1)]


def made(case, dtype=torch.float64):
    name, options = CASES[case]
    return build(name, 12, dtype, 0.4, **options)


def eager(conv, topology, grid):
    kernel = kernels.find(conv, topology, grid, "flex")
    kernel.propagate.compiled = False
    return kernel


def written_out(q, k, v, score, mask, scale):
    """What FlexAttention computes, after its documentation."""
    scores = scale * q @ k.mT
    at = torch.meshgrid(*(torch.arange(size) for size in scores.shape), indexing="ij")
    scores = score(scores, *at) if score else scores
    edge = mask.mask_mod(*at).expand_as(scores)
    weights = scores.masked_fill(~edge & edge.any(-1, keepdim=True), float("-inf")).softmax(-1)
    return torch.where(edge.any(-1, keepdim=True), weights @ v, 0)


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("case", CASES)
def test_values_equal_message_passing_on_the_edge_list(case, topology):
    grid = (3, 1, 3)
    for dtype, precision in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        conv = made(case, dtype)
        x = tokens(2, grid, 12, dtype)
        with torch.no_grad():
            got, expected = eager(conv, topology, grid)(conv, x), kernels.find(conv, topology, grid, "pyg")(conv, x)
        torch.testing.assert_close(got, expected, rtol=0, atol=precision)


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_those_of_message_passing(case, topology, grid, clips, monkeypatch):
    monkeypatch.setattr(flex, "_plain", written_out)
    conv, x = made(case), tokens(clips, grid, 12)
    got, expected = (
        results(k, conv, x) for k in (eager(conv, topology, grid), kernels.find(conv, topology, grid, "pyg"))
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("self_loops", [False, True], ids=["without-loops", "with-loops"])
@pytest.mark.parametrize("topology", [*TOPOLOGIES.values(), parse("clique+chain(reach=3)")], ids=str)
@pytest.mark.parametrize("grid", [(1, 2, 3), (5, 1, 1), (5, 2, 3)], ids=str)
def test_the_rule_of_the_mask_is_the_topology(grid, topology, self_loops):
    node = torch.arange(prod(grid))
    is_edge = flex.rule(topology, grid, self_loops, torch.device("cpu"))
    expected = graph(topology, grid).mask | (torch.eye(len(node), dtype=torch.bool) & self_loops)
    assert torch.equal(is_edge(None, None, node[:, None], node).expand_as(expected), expected)


@pytest.mark.parametrize("case", ["gat", "transformer"])
def test_large_scores_neither_overflow_nor_differ(case):
    conv, topology, grid = made(case), parse("clique+chain"), (2, 2, 2)
    x = tokens(2, grid, 12)
    with torch.no_grad():
        for name, parameter in conv.named_parameters():
            if name.startswith(("att", "lin_query.weight")):
                parameter.mul_(1e4)
        got, expected = eager(conv, topology, grid)(conv, x), kernels.find(conv, topology, grid, "pyg")(conv, x)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        assert bool(eager(conv.float(), topology, grid)(conv, x.float()).isfinite().all())


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_under_autocast_is_close(case):
    conv, topology, grid = made(case, torch.float32), parse("clique+chain"), (2, 2, 3)
    x = tokens(2, grid, 12, torch.float32)
    with torch.no_grad():
        expected = kernels.find(conv, topology, grid, "pyg")(conv, x)
        with torch.autocast("cpu", torch.bfloat16):
            out = eager(conv, topology, grid)(conv, x)
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0.03 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (convs.build("gcn", 8), "no softmax: nothing for FlexAttention to compute"),
        (convs.build("sage", 8, aggr="max"), "no softmax: nothing for FlexAttention to compute"),
        (convs.build("gatv2", 8), r"score_mod cannot reach the channels of l_j \+ r_i"),
    ],
    ids=["sum", "max", "gatv2"],
)
def test_what_it_cannot_compute_is_refused_when_built(conv, reason):
    with pytest.raises(ValueError, match=f"^impl flex: {reason}"):
        kernels.find(conv, parse("clique+chain"), (2, 2, 2), "flex")


@pytest.mark.parametrize("name", ["gat", "transformer"])
def test_another_device_and_dropout_are_refused_when_called(name):
    conv, grid = convs.build(name, 8, dropout=0.5), (2, 2, 2)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "flex")
    with pytest.raises(
        ValueError, match=r"impl flex cannot drop weights, dropout is 0\.5; possible: pyg, scatter, dense"
    ):
        kernel(conv, torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="impl flex needs a CUDA device, x is on cpu"):
        kernel(conv.eval(), torch.zeros(1, 8, 8))


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_a_used_kernel_owns_and_saves_nothing(topology, monkeypatch):
    monkeypatch.setattr(flex, "_plain", written_out)
    conv, grid = made("gat"), (2, 2, 2)
    kernel = eager(conv, topology, grid)
    out = kernel(conv, tokens(1, grid, 12))
    assert not kernel.state_dict()
    assert not list(kernel.parameters())
    restored = pickle.loads(pickle.dumps(kernel.propagate))
    assert restored._mask is None
    assert torch.equal(copy.deepcopy(kernel)(conv, tokens(1, grid, 12)).isfinite(), out.isfinite())


def test_kernels_do_not_use_up_each_others_compilations(monkeypatch):
    # Without CUDA: compiled, but by a backend that runs the same operations.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))
    monkeypatch.setattr(flex._Flex, "_check", lambda *_: None)
    conv = made("gat")
    with torch._dynamo.config.patch(recompile_limit=1), torch.no_grad():
        for grid in ((2, 2, 2), (3, 1, 2)):
            x = tokens(1, grid, 12)
            got, expected = (kernels.find(conv, parse("chain"), grid, impl)(conv, x) for impl in ("flex", "pyg"))
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
