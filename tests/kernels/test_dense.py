"""Masked matrices equal PyG's message passing, in what comes out and in every gradient."""

import copy
import pickle
from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graphs import Topology, parse
from taggnn import kernels
from taggnn.kernels import dense
from taggnn.nn import convs


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
    "sage-max": ("sage", {"aggr": "max"}),
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


def build(case, dtype=torch.float64):
    torch.manual_seed(0)
    name, options = CASES[case]
    conv = convs.build(name, 12, **options).to(dtype)
    for parameter in conv.parameters():
        # As they start, biases are zero: one left out would not show.
        torch.nn.init.normal_(parameter, 0.1, 0.4)
    return conv


def tokens(clips, grid, dtype=torch.float64):
    """Features with equal values among them, and two nodes whose scores are exactly 0."""
    x = (torch.randn(clips, prod(grid), 12, dtype=torch.float64) * 2).round() / 2
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
    got = results(kernels.find(conv, topology, grid, "dense"), conv, x)
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


@pytest.mark.parametrize("case", ["sage-max", "gatv2", "gatv2-without-loops"])
@pytest.mark.parametrize("at_once", [1, 500], ids=["one-target", "some-targets"])
def test_equals_it_when_a_few_targets_are_worked_out_at_a_time(case, at_once, monkeypatch):
    monkeypatch.setitem(dense._AT_ONCE, "cpu", at_once)
    check_equal(build(case), tokens(2, (3, 2, 3)), Before(), (3, 2, 3))


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in tree_leaves(out):
            if isinstance(part, torch.Tensor):
                self.numbers = max(self.numbers, part.untyped_storage().nbytes() // part.itemsize)
        return out


@pytest.mark.parametrize("case", ["sage-max", "gatv2"])
def test_nothing_as_large_as_nodes_by_nodes_by_channels_is_made_or_kept(case, monkeypatch):
    nodes = 36
    monkeypatch.setitem(dense._AT_ONCE, "cpu", 4 * nodes * 12)
    conv, x = build(case), tokens(1, (4, 3, 3))
    kernel = kernels.find(conv, parse("clique+chain"), (4, 3, 3), "dense")
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        results(kernel, conv, x)
    assert largest.numbers <= max(4 * nodes * 12, nodes * nodes * 2)
    assert sum(kept.values()) < 8 * nodes * nodes * 12


@pytest.mark.parametrize("case", ["gat", "gatv2", "transformer"])
def test_large_scores_neither_overflow_nor_differ(case):
    conv, topology, grid = build(case), parse("clique+chain"), (2, 2, 2)
    with torch.no_grad():
        for name, parameter in conv.named_parameters():
            if name.startswith(("att", "lin_query.weight")):
                parameter.mul_(1e4)
    x = tokens(2, grid)
    check_equal(conv, x, topology, grid)
    single = results(kernels.find(conv, topology, grid, "dense"), conv.float(), x.detach().float().requires_grad_())
    assert all(bool(part.isfinite().all()) for part in single)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_under_autocast_is_close(case):
    conv, grid = build(case, torch.float32), (2, 2, 3)
    x = tokens(2, grid, torch.float32)
    expected = kernels.find(conv, parse("clique+chain"), grid, "pyg")(conv, x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        out = kernels.find(conv, parse("clique+chain"), grid, "dense")(conv, x)
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
        drawn = {impl: kernels.find(conv, parse("clique+chain"), grid, impl)(conv, x) for impl in ("dense", "pyg")}
    spread = drawn["pyg"].std(0)
    means = drawn["dense"].mean(0), drawn["pyg"].mean(0)
    torch.testing.assert_close(*means, rtol=0, atol=0.1 * float(spread.max()))
    torch.testing.assert_close(drawn["dense"].std(0), spread, rtol=0.08, atol=0.01)


@pytest.mark.parametrize(
    ("largest", "share"), [(7.0, 1 / 3), (0.0, 1 / 4)], ids=["any", "zero-which-pyg-counts-once-more"]
)
def test_equal_neighbours_share_the_gradient_of_their_maximum(largest, share):
    conv, grid = convs.build("sage", 1, aggr="max", root_weight=False, bias=False).double(), (1, 1, 5)
    conv.lin_l.weight.data.fill_(1)
    x = torch.tensor([5.0, largest, largest, largest, -1.0], dtype=torch.float64).reshape(1, 5, 1).requires_grad_()
    for impl in ("pyg", "dense"):
        out = kernels.find(conv, parse("clique"), grid, impl)(conv, x)
        slopes = torch.autograd.grad(out[0, 0, 0], x)[0].flatten().tolist()
        assert slopes == pytest.approx([0, share, share, share, 0])


def test_changes_of_precision_never_round_twice():
    conv, grid = build("gcn"), (3, 2, 2)
    kernel = kernels.find(conv, parse("clique+chain"), grid, "dense").half().double()
    exact = kernels.find(conv, parse("clique+chain"), grid, "pyg")
    x = tokens(1, grid)
    for same in (kernel, copy.deepcopy(kernel), kernel.float()):
        torch.testing.assert_close(same(conv, x), exact(conv, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_a_kernel_owns_and_saves_nothing(case):
    kernel = kernels.find(build(case), parse("clique+chain"), (2, 2, 2), "dense")
    assert not kernel.state_dict()
    assert not list(kernel.parameters())
    pickle.dumps(kernel.propagate)


def test_a_first_call_under_inference_mode_leaves_training_possible():
    conv, grid = build("gcn"), (2, 2, 2)
    kernel = kernels.find(conv, parse("clique"), grid, "dense")
    with torch.inference_mode():
        kernel(conv, tokens(1, grid))
    results(kernel, conv, tokens(1, grid))
