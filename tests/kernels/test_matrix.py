"""Every convolution on every implementation, topology and grid: the values and every gradient of PyG, in float64."""

import pytest
import torch
from torch import nn

from graphs import parse
from taggnn import convs, kernels

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
# Grid and clips: one frame, one place, height and width apart, fewer frames than the reach, one clip.
GRIDS = {
    "T1-2x3-B2": ((1, 2, 3), 2),
    "T4-1x1-B2": ((4, 1, 1), 2),
    "T1-1x1-B1": ((1, 1, 1), 1),
    "T3-2x3-B1": ((3, 2, 3), 1),
    "T2-3x1-B3": ((2, 3, 1), 3),
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


def compare(impl, name, topology, grid, x):
    conv_name, options = CONVS[name]
    conv = filled(convs.build(conv_name, x.shape[-1], **options))
    rule = parse(topology)
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
    x = torch.randn(clips, shape[0] * shape[1] * shape[2], 8, dtype=torch.float64)
    compare(impl, name, topology, shape, x)


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
    compare(impl, name, "clique+chain(reach=2)", shape, x)


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
