"""FlexAttention under the mask of a topology equals PyG's message passing.

Here without CUDA: FlexAttention's plain form gives the values. It refuses gradients on the CPU ("FlexAttention does not support
backward on CPU"), so these are proven with FlexAttention replaced by what its documentation says, under ordinary autograd;
what remains untested is PyTorch's own kernel.
"""

import copy
import pickle
from dataclasses import dataclass
from math import prod

import pytest
import torch

from graphs import Topology, graph, parse
from taggnn import kernels
from taggnn.kernels import flex
from taggnn.nn import convs


@dataclass(frozen=True)
class Before(Topology):
    """A node hears all of the frame before; nobody hears the last frame, and the first hears nobody."""

    axes = ("frames", ...)

    def edges(self, grid, device="cpu"):
        frames, *plane = self.checked(grid)
        frame = torch.arange(frames).repeat_interleave(prod(plane))
        target, source = (frame[:, None] == frame + 1).nonzero(as_tuple=True)
        return torch.stack([source, target]).to(device), torch.ones_like(source, device=device)


CASES = {
    "gat": ("gat", {"heads": 2}),
    "gat-without-loops": ("gat", {"heads": 3, "add_self_loops": False, "concat": False}),
    "gat-wide": ("gat", {"heads": 1, "out_channels": 20}),
    "transformer": ("transformer", {"heads": 2, "beta": True}),
}
TOPOLOGIES = {name: parse(name) for name in ("clique+chain", "clique", "chain(reach=2)", "none")} | {"own": Before()}
# One frame, one place, fewer frames than the reach, more frames than it; one clip and three.
GRIDS = [((1, 2, 3), 3), ((4, 1, 1), 1), ((2, 1, 2), 3), ((4, 3, 2), 1), ((4,), 2), ((3, 5), 1), ((2, 2, 1, 3), 1)]


def build(case, dtype=torch.float64):
    torch.manual_seed(0)
    name, options = CASES[case]
    conv = convs.build(name, 12, **options).to(dtype)
    for parameter in conv.parameters():
        # As they start, biases are zero: one left out would not show.
        torch.nn.init.normal_(parameter, 0.1, 0.4)
    return conv


def tokens(clips, grid, dtype=torch.float64):
    """Features of a clip; the scores of two nodes are exactly 0."""
    x = torch.randn(clips, prod(grid), 12, dtype=torch.float64)
    x[:, :2] = 0
    return x.to(dtype).requires_grad_()


def results(kernel, conv, x):
    """What comes out, and the gradient of the input and of every weight."""
    out = kernel(conv, x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    inputs = [x, *conv.parameters()]
    slopes = torch.autograd.grad((out * weights).sum(), inputs, allow_unused=True)
    return [out.detach(), *(torch.zeros_like(i) if s is None else s for i, s in zip(inputs, slopes, strict=True))]


def eager(conv, topology, grid):
    kernel = kernels.find(conv, topology, grid, "flex")
    kernel.propagate.compiled = False
    return kernel


def written_out(q, k, v, score, mask, scale):
    """What FlexAttention computes, after its documentation."""
    scores = scale * q @ k.mT
    at = torch.meshgrid(*(torch.arange(size) for size in scores.shape), indexing="ij")
    scores = score(scores, *at) if score else scores
    hears = mask.mask_mod(*at).expand_as(scores)
    weights = scores.masked_fill(~hears & hears.any(-1, keepdim=True), float("-inf")).softmax(-1)
    return torch.where(hears.any(-1, keepdim=True), weights @ v, 0)


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("case", CASES)
def test_values_equal_message_passing_on_the_edge_list(case, topology):
    grid = (3, 1, 3)
    for dtype, precision in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        conv = build(case, dtype)
        x = tokens(2, grid, dtype).detach()
        with torch.no_grad():
            got, expected = eager(conv, topology, grid)(conv, x), kernels.find(conv, topology, grid, "pyg")(conv, x)
        torch.testing.assert_close(got, expected, rtol=0, atol=precision)


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_those_of_message_passing(case, topology, grid, clips, monkeypatch):
    monkeypatch.setattr(flex, "_plain", written_out)
    conv, x = build(case), tokens(clips, grid)
    got, expected = (
        results(k, conv, x) for k in (eager(conv, topology, grid), kernels.find(conv, topology, grid, "pyg"))
    )
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("self_loops", [False, True], ids=["without-loops", "with-loops"])
@pytest.mark.parametrize("topology", [*TOPOLOGIES.values(), parse("clique+chain(reach=3)")], ids=str)
@pytest.mark.parametrize("grid", [(1, 2, 3), (5, 1, 1), (5, 2, 3)], ids=str)
def test_the_rule_of_the_mask_is_the_topology(grid, topology, self_loops):
    node = torch.arange(prod(grid))
    hears = flex.rule(topology, grid, self_loops, torch.device("cpu"))
    expected = graph(topology, grid).mask | (torch.eye(len(node), dtype=torch.bool) & self_loops)
    assert torch.equal(hears(None, None, node[:, None], node).expand_as(expected), expected)


@pytest.mark.parametrize("case", ["gat", "transformer"])
def test_large_scores_neither_overflow_nor_differ(case):
    conv, topology, grid = build(case), parse("clique+chain"), (2, 2, 2)
    x = tokens(2, grid).detach()
    with torch.no_grad():
        for name, parameter in conv.named_parameters():
            if name.startswith(("att", "lin_query.weight")):
                parameter.mul_(1e4)
        got, expected = eager(conv, topology, grid)(conv, x), kernels.find(conv, topology, grid, "pyg")(conv, x)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        assert bool(eager(conv.float(), topology, grid)(conv, x.float()).isfinite().all())


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_under_autocast_is_close(case):
    conv, topology, grid = build(case, torch.float32), parse("clique+chain"), (2, 2, 3)
    x = tokens(2, grid, torch.float32).detach()
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
    conv, grid = build("gat"), (2, 2, 2)
    kernel = eager(conv, topology, grid)
    out = kernel(conv, tokens(1, grid))
    assert not kernel.state_dict()
    assert not list(kernel.parameters())
    restored = pickle.loads(pickle.dumps(kernel.propagate))
    assert restored._mask is None
    assert torch.equal(copy.deepcopy(kernel)(conv, tokens(1, grid)).isfinite(), out.isfinite())


def test_kernels_do_not_use_up_each_others_compilations(monkeypatch):
    # Without CUDA: compiled, but by a backend that runs the same operations.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))
    monkeypatch.setattr(flex._Flex, "_check", lambda *_: None)
    conv = build("gat")
    with torch._dynamo.config.patch(recompile_limit=1), torch.no_grad():
        for grid in ((2, 2, 2), (3, 1, 2)):
            x = tokens(1, grid).detach()
            got, expected = (kernels.find(conv, parse("chain"), grid, impl)(conv, x) for impl in ("flex", "pyg"))
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
