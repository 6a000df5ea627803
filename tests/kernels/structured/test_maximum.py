"""Maxima in closed form: shared gradients, infinities; the matrix of tests does the rest."""

import pytest
import torch

from graphs import parse
from taggnn import kernels
from taggnn.kernels.operators import Max
from taggnn.kernels.structured.maximum import StructuredMax
from taggnn.nn import convs


def plain(x, clique, reach, frames, positions):
    """The largest neighbour by loops."""
    out = torch.zeros_like(x)
    for i in range(frames * positions):
        neighbours = [
            x[:, j]
            for j in range(frames * positions)
            if (clique and i // positions == j // positions and i != j)
            or (i % positions == j % positions and 1 <= abs(i // positions - j // positions) <= reach)
        ]
        if neighbours:
            out[:, i] = torch.stack(neighbours).amax(0)
    return out


@pytest.mark.parametrize("positions", [1, 2, 5])
@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("reach", [0, 1, 9])
@pytest.mark.parametrize("clique", [True, False], ids=["clique", "apart"])
def test_by_its_definition(clique, reach, frames, positions):
    torch.manual_seed(0)
    x = torch.randn(2, frames * positions, 3)
    got = StructuredMax(Max(), clique, reach, frames, positions)(x)
    assert torch.equal(got, plain(x, clique, reach, frames, positions))


@pytest.mark.parametrize("low", [0, 1], ids=["with-zeros", "without-zeros"])
def test_equal_values_share_the_gradient_as_pyg_shares_it(low):
    # Few distinct values: shared maxima in nearly every neighbourhood, of the frame, of the chain and of both.
    torch.manual_seed(0)
    topology, grid = parse("clique+chain(reach=2)"), (4, 2, 2)
    conv = convs.build("graphconv", 6, aggr="max").double()
    for draw in range(20):
        values = torch.randint(low, low + 3, (2, 16, 6)).double()
        slopes = []
        for impl in ("pyg", "structured"):
            x = values.clone().requires_grad_()
            out = kernels.find(conv, topology, grid, impl)(conv, x)
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
            slopes.append(x.grad)
        torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-9, atol=1e-9, msg=f"draw {draw}")


def test_a_gradient_reaches_every_node_that_is_a_maximum_by_itself():
    torch.manual_seed(0)
    kernel = StructuredMax(Max(), True, 1, 3, 3)
    x = torch.randn(1, 9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kernel, (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_16_bits_choose_the_same(dtype):
    torch.manual_seed(0)
    x = torch.randn(1, 12, 2).to(dtype)
    assert torch.equal(StructuredMax(Max(), True, 1, 3, 4)(x).float(), plain(x.float(), True, 1, 3, 4))
