"""Every convolution on every implementation, topology and grid: the values and every gradient of PyG, in float64."""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch import nn

from graphs import SPATIAL, Topology, parse
from taggnn import kernels
from taggnn.nn import convs

CONVS = {
    "gcn": ("gcn", {}),
    "appnp": ("appnp", {"K": 3, "alpha": 0.2}),
    "sage-mean": ("sage", {"aggr": "mean"}),
    "sage-sum": ("sage", {"aggr": "sum"}),
    "sage-max": ("sage", {"aggr": "max"}),
    "gin": ("gin", {"train_eps": True, "eps": 0.3}),
    "graphconv": ("graphconv", {}),
    "gat": ("gat", {"heads": 2}),
    "gat-no-loops": ("gat", {"heads": 2, "add_self_loops": False, "concat": False}),
    "gatv2": ("gatv2", {"heads": 2}),
    "gatv2-no-loops": ("gatv2", {"heads": 2, "add_self_loops": False, "concat": False}),
    "transformer": ("transformer", {"heads": 2, "beta": True}),
    "transformer-mean": ("transformer", {"heads": 2, "concat": False}),
}
IMPLS = ["scatter", "dense", "structured"]
TOPOLOGIES = ["none", "clique", "chain", "chain(reach=2)", "clique+chain", "clique+chain(reach=2)"]
# Grid and clips: one frame, one place, height and width apart, fewer frames than the reach, one clip; and other ranks than
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
# Pairs that are refused, and a word of the reason.
REFUSED = {("sage-max", "scatter"): "equal neighbours"}


def results(kernel, conv, x, weight):
    """Output, gradient of the input, gradient of every parameter."""
    x = x.detach().requires_grad_()
    conv.zero_grad(set_to_none=True)
    out = kernel(conv, x)
    (out * weight).sum().backward()
    # Cloned, because a change of the convolution's precision changes the gradients it holds.
    slopes = {name: p.grad if p.grad is None else p.grad.clone() for name, p in conv.named_parameters()}
    return {"output": out.detach(), "input": x.grad, **slopes}


def filled(conv):
    """The convolution with no parameter left at the zero or one that it starts from."""
    for parameter in conv.parameters():
        nn.init.normal_(parameter, std=0.7)
    return conv.double()


def largest(parts):
    """What rounding is measured by: some gradients, such as that of a key's bias, are zero but for rounding."""
    return max(float(value.abs().max()) for value in parts.values())


def compare(impl, name, rule, grid, x):
    conv_name, options = CONVS[name]
    conv = filled(convs.build(conv_name, x.shape[-1], **options))
    if (name, impl) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name, impl]):
            kernels.find(conv, rule, grid, impl)
        return
    weight = torch.randn(x.shape, dtype=x.dtype)
    expected = results(kernels.find(conv, rule, grid, "pyg"), conv, x, weight)
    got = results(kernels.find(conv, rule, grid, impl), conv, x, weight)
    assert got.keys() == expected.keys()
    for part, value in expected.items():
        if value is None:
            assert got[part] is None, f"{part}: PyG gives no gradient"
            continue
        assert got[part] is not None, f"{part}: no gradient"
        torch.testing.assert_close(
            got[part], value, rtol=1e-8, atol=1e-9, msg=lambda text, part=part: f"{part}: {text}"
        )


@pytest.fixture(autouse=True)
def scatter_if_built(request):
    if request.node.callspec.params.get("impl") == "scatter":
        pytest.importorskip("torch_scatter")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_equal_to_pyg_in_values_and_every_gradient(name, impl, topology, grid):
    torch.manual_seed(0)
    shape, clips = GRIDS[grid]
    x = torch.randn(clips, prod(shape), 8, dtype=torch.float64)
    compare(impl, name, parse(topology), shape, x)


@dataclass(frozen=True)
class Limbs(Topology):
    """A rule of a user's own on two axes, for five joints only; directed, and the last joint hears nobody."""

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
    torch.manual_seed(0)
    x = torch.randn(2, 15, 8, dtype=torch.float64)
    if impl == "structured":
        with pytest.raises(ValueError, match="is not made of clique and chain"):
            kernels.find(convs.build(CONVS[name][0], 8), rule, (3, 5), impl)
        return
    compare(impl, name, rule, (3, 5), x)
    if impl == "auto":
        assert kernels.find(convs.build(CONVS[name][0], 8), rule, (3, 5), impl).impl == "pyg"


@pytest.mark.parametrize("impl", ["scatter", "dense", "structured", "flex", "triton", "pyg", "auto"])
def test_a_rule_on_two_axes_refuses_another_rank_whatever_the_implementation(impl):
    with pytest.raises(ValueError, match=r"2 positive integers \(frames, joints\), given \(3, 5, 1\)"):
        kernels.find(convs.build("gat", 8), Limbs(), (3, 5, 1), impl)


@pytest.mark.parametrize("kind", ["zeros", "equal-nodes", "rectified-integers"])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_equal_to_pyg_where_values_tie(name, impl, kind):
    # Kinks and ties: every LeakyReLU at zero, every maximum shared.
    torch.manual_seed(0)
    shape = (3, 2, 3)
    x = torch.randn(2, 18, 8, dtype=torch.float64)
    x = {"zeros": torch.zeros_like(x), "equal-nodes": x[:, :1].expand_as(x), "rectified-integers": x.round().relu()}[
        kind
    ]
    compare(impl, name, parse("clique+chain(reach=2)"), shape, x)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", [name for name in CONVS if CONVS[name][0] in ("gat", "gatv2", "transformer")])
def test_scores_of_ten_thousand_are_equal_to_pyg(name, impl):
    torch.manual_seed(0)
    conv_name, options = CONVS[name]
    conv, shape = filled(convs.build(conv_name, 8, **options)), (3, 2, 3)
    x = torch.randn(2, 18, 8, dtype=torch.float64) * (100 if conv_name == "transformer" else 1e4)
    expected = results(kernels.find(conv, parse("clique+chain"), shape, "pyg"), conv, x, torch.ones_like(x))
    got = results(kernels.find(conv, parse("clique+chain"), shape, impl), conv, x, torch.ones_like(x))
    for part, value in expected.items():
        assert bool(got[part].isfinite().all()), part
        torch.testing.assert_close(got[part], value, rtol=1e-6, atol=1e-9 * largest(expected))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_float32_is_as_close_as_float32_can_be(name, impl):
    torch.manual_seed(0)
    conv_name, options = CONVS[name]
    if (name, impl) in REFUSED:
        pytest.skip("refused")
    conv, shape, rule = filled(convs.build(conv_name, 8, **options)), (3, 2, 3), parse("clique+chain")
    x = torch.randn(2, 18, 8, dtype=torch.float64)
    expected = results(kernels.find(conv, rule, shape, "pyg"), conv, x, torch.ones_like(x))
    got = results(kernels.find(conv, rule, shape, impl), conv.float(), x.float(), torch.ones_like(x).float())
    for part, value in expected.items():
        assert got[part].dtype == torch.float32
        torch.testing.assert_close(got[part].double(), value, rtol=1e-4, atol=2e-6 * largest(expected))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", CONVS)
def test_autocast_runs_forward_and_backward(name, impl, dtype):
    torch.manual_seed(0)
    conv_name, options = CONVS[name]
    if (name, impl) in REFUSED:
        pytest.skip("refused")
    conv, shape, rule = filled(convs.build(conv_name, 8, **options)).float(), (3, 2, 3), parse("clique+chain")
    x = torch.randn(2, 18, 8)
    expected = results(kernels.find(conv, rule, shape, "pyg"), conv, x, torch.ones_like(x))
    with torch.autocast("cpu", dtype):
        got = results(kernels.find(conv, rule, shape, impl), conv, x, torch.ones_like(x))
    for part, value in expected.items():
        assert got[part].dtype in (torch.float32, dtype), part
        assert float((got[part].float() - value).abs().max()) <= 0.05 * largest(expected), part
