"""GAT in closed form equals PyG's over the edge list: outputs, every gradient, hard scores, dropout in distribution."""

import pytest
import torch
from torch_geometric.nn import GATConv

from graphs import parse
from taggnn.kernels import operators
from taggnn.kernels.kernel import Kernel
from taggnn.kernels.pyg import EdgeList
from taggnn.kernels.structured import gat

TOPOLOGIES = {
    "clique": (True, 0),
    "chain": (False, 1),
    "chain(reach=2)": (False, 2),
    "clique+chain": (True, 1),
    "clique+chain(reach=9)": (True, 9),
    "none": (False, 0),
}
GRIDS = [(3, 2, 4), (1, 3, 3), (4, 1, 1), (1, 1, 1), (2, 1, 2), (2, 5, 7)]


@pytest.fixture(params=[True, False], ids=["sorted", "blocks"])
def sorts(request, monkeypatch):
    """Both forms at every size."""
    monkeypatch.setattr(gat, "_SORTED_FROM", 1 if request.param else 10**9)


def build(conv, topology, grid):
    operator = operators.read(conv)
    clique, reach = TOPOLOGIES[topology]
    frames, height, width = grid
    return Kernel("structured", operator, gat.StructuredGAT(operator.family, clique, reach, frames, height * width))


def gradients(kernel, conv, x, back):
    x = x.clone().requires_grad_()
    out = kernel(conv, x)
    return out, *torch.autograd.grad((out * back).sum(), [x, *conv.parameters()], materialize_grads=True)


def check(conv, topology, grid, x, **tolerance):
    back = torch.randn(*x.shape[:2], conv.heads * conv.out_channels, dtype=x.dtype)
    got = gradients(build(conv, topology, grid), conv, x, back)
    expected = gradients(EdgeList(conv, parse(topology), grid), conv, x, back)
    torch.testing.assert_close(got, expected, **({"rtol": 1e-10, "atol": 1e-10} | tolerance))
    return got


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_outputs_and_gradients_equal_pyg(grid, topology, loops, sorts):
    torch.manual_seed(0)
    conv = GATConv(6, 5, heads=3, add_self_loops=loops).double()
    nodes = grid[0] * grid[1] * grid[2]
    check(conv, topology, grid, torch.randn(2, nodes, 6, dtype=torch.float64))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no-loops"])
def test_any_slope_and_scores_of_exactly_zero(slope, loops, sorts):
    torch.manual_seed(0)
    grid = (3, 2, 4)
    conv = GATConv(6, 5, heads=2, negative_slope=slope, add_self_loops=loops).double()
    x = torch.randn(2, 24, 6, dtype=torch.float64)
    x[:, ::3] = 0
    check(conv, "clique+chain", grid, x)
    check(conv, "clique+chain", grid, torch.zeros_like(x))
