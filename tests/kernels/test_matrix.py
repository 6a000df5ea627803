"""Every convolution on every implementation, topology and grid: the values and every gradient of PyG, in float64."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch_geometric.nn import TransformerConv

from graphs import SPATIAL, Topology, parse
from taggnn import kernels
from taggnn.nn import convs
from tests.kernels.conftest import PreviousFrame, assert_equal_to_pyg, build, largest, results, tokens

CONVS = {
    "gcn": ("gcn", {}),
    "gcn-unweighted": ("gcn", {"normalize": False}),
    "gcn-no-loops": ("gcn", {"add_self_loops": False}),
    "appnp": ("appnp", {"K": 3, "alpha": 0.2}),
    "sage-mean": ("sage", {"aggr": "mean"}),
    "sage-sum": ("sage", {"aggr": "sum"}),
    "sage-max": ("sage", {"aggr": "max"}),
    "gin": ("gin", {"train_eps": True, "eps": 0.3}),
    "gin-mean": ("gin", {"aggr": "mean"}),
    "graphconv": ("graphconv", {}),
    "gat": ("gat", {"heads": 2}),
    "gat-no-loops": ("gat", {"heads": 2, "add_self_loops": False, "concat": False}),
    "gatv2": ("gatv2", {"heads": 2}),
    "gatv2-no-loops": ("gatv2", {"heads": 2, "add_self_loops": False, "concat": False}),
    "gatv2-shared": ("gatv2", {"heads": 2, "add_self_loops": False, "share_weights": True}),
    "transformer": ("transformer", {"heads": 2, "beta": True}),
    "transformer-mean": ("transformer", {"heads": 2, "concat": False}),
}
ATTENTION = [name for name in CONVS if CONVS[name][0] in ("gat", "gatv2", "transformer")]
GRID = (3, 2, 3)
IMPLS = ["scatter", "dense", "structured"]
TOPOLOGIES = ["none", "clique", "chain", "chain(reach=2)", "clique+chain", "clique+chain(reach=2)"]
# Grid and clips: one frame, one position, height and width apart, fewer frames than the reach, one clip; and other ranks than
# video's: frames alone, frames and joints, four axes.
GRIDS = {
    "T1-2x3-B2": ((1, 2, 3), 2),
    "T4-1x1-B2": ((4, 1, 1), 2),
    "T1-1x1-B1": ((1, 1, 1), 1),
    "T3-2x3-B1": ((3, 2, 3), 1),
    "T2-3x1-B3": ((2, 3, 1), 3),
    "T5-B2": ((5,), 2),
    "T1-B1": ((1,), 1),
    "T3-V5-B2": ((3, 5), 2),
    "T2-3x1x2-B2": ((2, 3, 1, 2), 2),
}
BONES = {
    "coco-T1": ("bones(skeleton=coco)+chain", (1, 17)),
    "coco-T3": ("bones(skeleton=coco)+chain(reach=2)", (3, 17)),
    "hand-alone": ("bones(skeleton=hand)", (2, 21)),
    "ntu": ("bones(skeleton=ntu)+chain", (2, 25)),
}
# Pairs that are refused, and a word of the reason.
REFUSED = {("sage-max", "scatter"): "equal neighbours"}


def made(name):
    conv, options = CONVS[name]
    return build(conv, **options)


def compare(impl, name, rule, grid, x):
    conv = made(name)
    if (name, impl) not in REFUSED:
        assert_equal_to_pyg(impl, conv, rule, grid, x)
        return
    with pytest.raises(ValueError, match=REFUSED[name, impl]):
        kernels.find(conv, rule, grid, impl)


def covering():
    """Convolution, implementation, topology and grid, without the cross product of all.

    ``structured`` computes each part of a topology by itself, so that topology and grid act together: every pair of them with
    every second convolution, which of a family of variants are all, and with the maximum, a family of its own. The others
    compute any list of edges, to which a topology on a grid is a number of edges: every convolution with every topology and
    every grid, every topology with every grid.
    """
    for number, name in enumerate(CONVS):
        for row, topology in enumerate(TOPOLOGIES):
            for column, grid in enumerate(GRIDS):
                if name == "sage-max" or (number + row + column) % 2 == 0:
                    yield name, "structured", topology, grid
                if (number + column) % len(TOPOLOGIES) == row:
                    yield from ((name, impl, topology, grid) for impl in ("scatter", "dense"))


def test_every_pair_is_covered():
    for impl in IMPLS:
        names, topologies, grids = zip(
            *((name, rule, grid) for name, one, rule, grid in covering() if one == impl), strict=True
        )
        assert set(zip(names, topologies, strict=True)) == set(itertools.product(CONVS, TOPOLOGIES))
        assert set(zip(names, grids, strict=True)) == set(itertools.product(CONVS, GRIDS))
        assert set(zip(topologies, grids, strict=True)) == set(itertools.product(TOPOLOGIES, GRIDS))


@pytest.mark.parametrize(("name", "impl", "topology", "grid"), covering())
def test_equal_to_pyg_in_values_and_every_gradient(name, impl, topology, grid):
    shape, clips = GRIDS[grid]
    compare(impl, name, parse(topology), shape, tokens(clips, shape))


@pytest.mark.parametrize(("grid", "clips"), [((1, 2, 3), 3), ((4, 1, 1), 1), ((2, 1, 2), 3), ((4, 3, 2), 1)], ids=str)
@pytest.mark.parametrize("impl", ["scatter", "dense"])
@pytest.mark.parametrize("name", CONVS)
def test_equal_to_pyg_on_directed_edges(name, impl, grid, clips):
    compare(impl, name, PreviousFrame(), grid, tokens(clips, grid))


@dataclass(frozen=True)
class Limbs(Topology):
    """A rule of a user's own on two axes, for five joints only; directed, and the last joint has no neighbours."""

    axes = ("frames", "joints")
    edge_types = (SPATIAL,)

    def edges(self, grid, device="cpu"):
        frames, joints = self.checked(grid)
        if joints != 5:
            raise ValueError(f"five joints, given {joints}")
        # Sorted by target, then source.
        limbs = torch.tensor([(1, 0), (2, 0), (0, 1), (3, 1), (1, 3)], device=device)
        first = joints * torch.arange(frames, device=device)[:, None, None]
        edge_index = (limbs + first).flatten(0, 1).T.contiguous()
        return edge_index, torch.full_like(edge_index[0], SPATIAL)


@pytest.mark.parametrize("rule", [Limbs(), Limbs() + parse("chain(reach=2)"), Limbs() + parse("clique+chain")], ids=str)
@pytest.mark.parametrize("impl", [*IMPLS, "auto"])
@pytest.mark.parametrize("name", CONVS)
def test_a_rule_of_ones_own_on_two_axes_is_equal_or_refused(name, impl, rule):
    fixed = "clique" not in str(rule)
    if impl == "structured" and name == "sage-max" and fixed:
        with pytest.raises(ValueError, match="maximum"):
            kernels.find(made(name), rule, (3, 5), impl)
        return
    compare(impl, name, rule, (3, 5), tokens(2, (3, 5)))
    if impl == "auto":
        expected = "pyg" if name == "sage-max" and fixed else "structured"
        assert kernels.find(made(name), rule, (3, 5), impl).impl == expected


@pytest.mark.parametrize(("topology", "grid"), BONES.values(), ids=BONES)
@pytest.mark.parametrize("name", [name for name in CONVS if name != "sage-max"])
def test_bones_are_equal_to_pyg(name, topology, grid):
    compare("structured", name, parse(topology), grid, tokens(2, grid))


@pytest.mark.parametrize("name", [name for name in CONVS if name != "sage-max"])
def test_second_derivatives_over_bones_equal_those_of_pyg(name):
    conv, grid, topology = made(name), (2, 17), parse("bones(skeleton=coco)+chain")
    x = tokens(1, grid)
    reference, kernel = (kernels.find(conv, topology, grid, one) for one in ("pyg", "structured"))
    assert_equal_second_derivatives(second_derivatives(reference, conv, x), second_derivatives(kernel, conv, x))


@dataclass(frozen=True)
class Wandering(Topology):
    """Other edges in every frame: position 0 to position t."""

    axes = ("frames", "joints")

    def edges(self, grid, device="cpu"):
        frames, joints = self.checked(grid)
        frame = torch.arange(1, min(frames, joints))
        return torch.stack([frame * joints, frame * joints + frame]), torch.full_like(frame, SPATIAL)


@pytest.mark.parametrize("rule", [Wandering(), PreviousFrame(), Limbs() + PreviousFrame()], ids=str)
def test_frames_with_different_edges_and_other_edges_in_time_are_refused(rule):
    with pytest.raises(ValueError, match="other edges than clique, chain and those of equal frames"):
        kernels.find(made("gat"), rule, (3, 5), "structured")


@pytest.mark.parametrize("impl", ["scatter", "dense", "structured", "flex", "triton", "pyg", "auto"])
def test_a_rule_on_two_axes_refuses_another_rank_whatever_the_implementation(impl):
    with pytest.raises(ValueError, match=r"2 positive integers \(frames, joints\), given \(3, 5, 1\)"):
        kernels.find(made("gat"), Limbs(), (3, 5, 1), impl)


@pytest.mark.parametrize("kind", ["zeros", "equal-nodes", "rectified-integers"])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_equal_to_pyg_where_values_tie(name, impl, kind):
    # Kinks and ties: every LeakyReLU at zero, every maximum shared.
    x = tokens(2, GRID)
    x = {"zeros": 0 * x, "equal-nodes": x[:, :1].expand_as(x), "rectified-integers": x.round().relu()}[kind]
    compare(impl, name, parse("clique+chain(reach=2)"), GRID, x)


def second_derivatives(kernel, conv, x):
    """Gradients of a gradient's square, of an input that reaches the loss past the convolution too."""
    x = x.detach().clone().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = (kernel(conv, x).square() * weight).sum() + x.pow(3).sum()
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    parameters = dict(conv.named_parameters())
    found = torch.autograd.grad(slope.square().sum(), [x, *parameters.values()], allow_unused=True)
    return dict(zip(["input", *parameters], found, strict=True))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_second_derivatives_equal_those_of_pyg(name, impl):
    conv, x = made(name), tokens(2, (2, 2, 3))
    if (name, impl) in REFUSED:
        pytest.skip("refused")
    reference, kernel = (kernels.find(conv, parse("clique+chain"), (2, 2, 3), one) for one in ("pyg", impl))
    if impl == "dense" and isinstance(conv, TransformerConv):
        # PyTorch's fused attention for CPU.
        with pytest.raises(RuntimeError, match="derivative"):
            second_derivatives(kernel, conv, x)
        return
    assert_equal_second_derivatives(second_derivatives(reference, conv, x), second_derivatives(kernel, conv, x))


def assert_equal_second_derivatives(expected, got):
    for part, value in expected.items():
        # A parameter that drops out of a second derivative: no gradient, or one of zeros.
        torch.testing.assert_close(
            *(torch.zeros(()) if one is None or not one.any() else one for one in (got[part], value)),
            rtol=1e-7,
            atol=1e-7,
        )


def both(name, impl):
    """The kernels of PyG and of the implementation on clique + chain, and the convolution."""
    if (name, impl) in REFUSED:
        pytest.skip("refused")
    conv = made(name)
    return *(kernels.find(conv, parse("clique+chain"), GRID, one) for one in ("pyg", impl)), conv


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", ATTENTION)
def test_scores_of_ten_thousand_are_equal_to_pyg(name, impl):
    reference, kernel, conv = both(name, impl)
    x = tokens(2, GRID) * (100 if name.startswith("transformer") else 1e4)
    expected, got = results(reference, conv, x), results(kernel, conv, x)
    for part, value in expected.items():
        torch.testing.assert_close(got[part], value, rtol=1e-6, atol=1e-9 * largest(expected))
    # In float32 a score is known to 1e-7 of itself only; nothing may overflow.
    got |= {f"{part} in float32": value for part, value in results(kernel, conv.float(), x.float()).items()}
    assert [part for part, value in got.items() if not value.isfinite().all()] == []


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_float32_is_as_close_as_float32_can_be(name, impl):
    reference, kernel, conv = both(name, impl)
    x = tokens(2, GRID)
    expected, got = results(reference, conv, x), results(kernel, conv.float(), x.float())
    for part, value in expected.items():
        assert got[part].dtype == torch.float32
        torch.testing.assert_close(got[part].double(), value, rtol=1e-4, atol=2e-6 * largest(expected))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_autocast_runs_forward_and_backward(name, impl, dtype):
    reference, kernel, conv = both(name, impl)
    x = tokens(2, GRID, dtype=torch.float32)
    expected = results(reference, conv.float(), x)
    with torch.autocast("cpu", dtype):
        got = results(kernel, conv, x)
    for part, value in expected.items():
        assert got[part].dtype in (torch.float32, dtype), part
        assert float((got[part].float() - value).abs().max()) <= 0.05 * largest(expected), part
    assert float((got["output"].float() - expected["output"]).abs().max()) <= 0.03 * float(
        expected["output"].abs().max()
    )


@pytest.mark.parametrize("impl", ["scatter", "dense"])
@pytest.mark.parametrize("name", ["gat", "gatv2", "transformer"])
def test_dropped_weights_are_distributed_as_pygs(name, impl):
    conv = convs.build(name, 12, heads=2, dropout=0.4).train()
    # Equal clips are independent draws.
    x, grid = tokens(1, (3, 2, 1), 12, torch.float32).expand(6000, -1, -1), (3, 2, 1)
    torch.manual_seed(0)
    with torch.no_grad():
        got, expected = (kernels.find(conv, parse("clique+chain"), grid, one)(conv, x) for one in (impl, "pyg"))
    spread = expected.std(0)
    torch.testing.assert_close(got.mean(0), expected.mean(0), rtol=0, atol=0.1 * float(spread.max()))
    torch.testing.assert_close(got.std(0), spread, rtol=0.08, atol=0.01)
