"""torch-scatter's segments equal PyG's message passing, in what comes out and in every gradient."""

import pickle
import sys
from dataclasses import dataclass
from math import prod

import pytest
import torch

from graphs import Topology, parse
from taggnn import kernels
from taggnn.nn import convs

pytest.importorskip("torch_scatter")


@dataclass(frozen=True)
class Before(Topology):
    """A node hears all of the frame before; nobody hears the last frame, and the first hears nobody."""

    def edges(self, grid, device="cpu"):
        frames, *plane = self.checked(grid)
        frame = torch.arange(frames).repeat_interleave(prod(plane))
        target, source = (frame[:, None] == frame + 1).nonzero(as_tuple=True)
        return torch.stack([source, target]).to(device), torch.ones_like(source, device=device)


CASES = {
    "gcn": ("gcn", {}),
    "gcn-unweighted": ("gcn", {"normalize": False}),
    "gcn-without-loops": ("gcn", {"add_self_loops": False}),
    "appnp": ("appnp", {"K": 3}),
    "sage": ("sage", {}),
    "graphconv": ("graphconv", {}),
    "gin-mean": ("gin", {"aggr": "mean"}),
    "gat": ("gat", {"heads": 2}),
    "gat-without-loops": ("gat", {"heads": 3, "add_self_loops": False, "concat": False}),
    "gatv2": ("gatv2", {"heads": 2}),
    "gatv2-without-loops": ("gatv2", {"heads": 2, "add_self_loops": False, "share_weights": True}),
    "transformer": ("transformer", {"heads": 2, "beta": True}),
}
TOPOLOGIES = {name: parse(name) for name in ("clique+chain", "clique", "chain(reach=2)", "none")} | {"own": Before()}
# One frame, one place, fewer frames than the reach, more frames than it; one clip and three.
GRIDS = [((1, 2, 3), 3), ((4, 1, 1), 1), ((2, 1, 2), 3), ((4, 3, 2), 1)]


@pytest.fixture(autouse=True)
def _unwritten_memory_is_nan():
    """Memory that nobody wrote holds NaN instead of what may be zeros by chance."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


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


def check_equal(conv, x, topology, grid, precision=1e-10):
    got = results(kernels.find(conv, topology, grid, "scatter"), conv, x)
    expected = results(kernels.find(conv, topology, grid, "pyg"), conv, x)
    for ours, theirs in zip(got, expected, strict=True):
        assert bool(ours.isfinite().all())
        size = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=precision * size)


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("case", CASES)
def test_equals_message_passing_on_the_edge_list(case, topology, grid, clips):
    check_equal(build(case), tokens(clips, grid), topology, grid)


@pytest.mark.parametrize("case", ["gat", "gatv2", "transformer"])
def test_large_scores_neither_overflow_nor_differ(case):
    conv, topology, grid = build(case), parse("clique+chain"), (2, 2, 2)
    with torch.no_grad():
        for name, parameter in conv.named_parameters():
            if name.startswith(("att", "lin_query.weight")):
                parameter.mul_(1e4)
    x = tokens(2, grid)
    check_equal(conv, x, topology, grid)
    single = results(kernels.find(conv, topology, grid, "scatter"), conv.float(), x.detach().float().requires_grad_())
    assert all(bool(part.isfinite().all()) for part in single)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_under_autocast_is_close(case):
    conv, grid = build(case, torch.float32), (2, 2, 3)
    x = tokens(2, grid, torch.float32)
    expected = kernels.find(conv, parse("clique+chain"), grid, "pyg")(conv, x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        out = kernels.find(conv, parse("clique+chain"), grid, "scatter")(conv, x)
    slope = torch.autograd.grad(out.float().square().sum(), x)[0]
    assert bool(slope.isfinite().all())
    torch.testing.assert_close(out.detach().float(), expected, rtol=0, atol=0.03 * float(expected.abs().max()))


@pytest.mark.parametrize("case", ["gat", "gatv2", "transformer"])
def test_dropped_weights_are_distributed_as_pygs(case):
    name, options = CASES[case]
    torch.manual_seed(0)
    conv = convs.build(name, 12, **options, dropout=0.4).train()
    # Equal clips are independent draws.
    x, grid = torch.randn(1, 6, 12).expand(6000, -1, -1), (3, 2, 1)
    with torch.no_grad():
        drawn = {impl: kernels.find(conv, parse("clique+chain"), grid, impl)(conv, x) for impl in ("scatter", "pyg")}
    spread = drawn["pyg"].std(0)
    means = drawn["scatter"].mean(0), drawn["pyg"].mean(0)
    torch.testing.assert_close(*means, rtol=0, atol=0.1 * float(spread.max()))
    torch.testing.assert_close(drawn["scatter"].std(0), spread, rtol=0.08, atol=0.01)


def test_a_maximum_is_refused_because_its_gradients_differ():
    with pytest.raises(
        ValueError, match=r"^impl scatter: torch-scatter's maximum gives the gradient .* possible: pyg, dense"
    ):
        kernels.find(convs.build("sage", 12, aggr="max"), parse("clique"), (1, 2, 2), "scatter")


def test_without_the_package_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ValueError, match="impl scatter needs the package torch-scatter"):
        kernels.find(build("gat"), parse("clique"), (1, 2, 2), "scatter")


def test_the_edges_are_those_of_one_clip_whatever_the_batch():
    conv, grid = build("gat"), (3, 2, 2)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "scatter")
    sizes = {name: buffer.shape for name, buffer in kernel.named_buffers()}
    for clips in (1, 5):
        kernel(conv, tokens(clips, grid))
    assert {name: buffer.shape for name, buffer in kernel.named_buffers()} == sizes
    assert sizes["propagate.source"] == (parse("clique+chain").num_edges(grid) + 12,)


@pytest.mark.parametrize("case", CASES)
def test_a_kernel_owns_and_saves_nothing(case):
    kernel = kernels.find(build(case), parse("clique+chain"), (2, 2, 2), "scatter")
    assert not kernel.state_dict()
    assert not list(kernel.parameters())
    pickle.dumps(kernel.propagate)
