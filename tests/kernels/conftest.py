"""What the tests of kernels share: convolutions without special weights, a directed topology, the comparison with PyG."""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch import nn

from graphs import Topology, parse
from taggnn import kernels
from taggnn.nn import convs


@dataclass(frozen=True)
class PreviousFrame(Topology):
    """Directed edges from every node of a frame to every node of the next; the first frame's nodes have no neighbours."""

    axes = ("frames", ...)

    def edges(self, grid, device="cpu"):
        frames, *plane = self.checked(grid)
        frame = torch.arange(frames).repeat_interleave(prod(plane))
        target, source = (frame[:, None] == frame + 1).nonzero(as_tuple=True)
        return torch.stack([source, target]).to(device), torch.ones_like(source, device=device)


TOPOLOGIES = {name: parse(name) for name in ("clique+chain", "clique", "chain(reach=2)", "none")}
TOPOLOGIES["directed"] = PreviousFrame()


def build(name, channels=8, dtype=torch.float64, std=0.7, **options):
    """A convolution with no parameter left at the zero or one that it starts from: one left out would not show."""
    torch.manual_seed(0)
    conv = convs.build(name, channels, **options)
    for parameter in conv.parameters():
        nn.init.normal_(parameter, std=std)
    return conv.to(dtype)


def tokens(clips, grid, channels=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(clips, prod(grid), channels, generator=generator, dtype=torch.float64).to(dtype)


def results(kernel, conv, x):
    """Output, gradient of the input, gradient of every parameter; None where there is none."""
    x = x.detach().clone().requires_grad_()
    conv.zero_grad(set_to_none=True)
    out = kernel(conv, x)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out.dtype)
    (out * weight).sum().backward()
    # Cloned, because a change of the convolution's precision changes the gradients it holds.
    slopes = {name: p.grad if p.grad is None else p.grad.clone() for name, p in conv.named_parameters()}
    return {"output": out.detach(), "input": x.grad, **slopes}


def largest(parts):
    """What rounding is measured by: some gradients, such as that of a key's bias, are zero but for rounding."""
    return max(float(value.abs().max()) for value in parts.values() if value is not None)


def assert_equal_to_pyg(impl, conv, topology, grid, x, rtol=1e-8, atol=1e-9):
    """Output and every gradient equal those of PyG on the edge list, and are missing where PyG's are; returns them."""
    topology = parse(topology) if isinstance(topology, str) else topology
    expected = results(kernels.find(conv, topology, grid, "pyg"), conv, x)
    got = results(kernels.find(conv, topology, grid, impl), conv, x)
    assert got.keys() == expected.keys()
    for part, value in expected.items():
        if value is None:
            assert got[part] is None, f"{part}: PyG gives no gradient"
            continue
        assert got[part] is not None, f"{part}: no gradient"
        torch.testing.assert_close(
            got[part], value, rtol=rtol, atol=atol, msg=lambda text, part=part: f"{part}: {text}"
        )
    return got


@pytest.fixture(autouse=True)
def scatter_if_installed(request):
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("impl") == "scatter":
        pytest.importorskip("torch_scatter")
