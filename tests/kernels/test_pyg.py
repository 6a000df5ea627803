"""The reference kernel: every convolution over a batch equals PyG's class on one clip after the other."""

import pickle

import pytest
import torch
from torch import nn
from torch_geometric.nn import FAConv, RGCNConv

from graphs import parse
from taggnn import kernels
from taggnn.kernels.pyg import EdgeList
from taggnn.nn import convs
from tests.convolutions import OF_PYG

GRIDS = [((1, 3, 2), 2), ((3, 2, 1), 2), ((2, 2, 3), 1)]


def expected(conv, x, edges, **options):
    """Clip by clip, over edges from plain loops."""
    return torch.stack([conv(clip, edges[0], **options) for clip in x])


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
@pytest.mark.parametrize("name", OF_PYG)
def test_a_batch_equals_its_clips_one_by_one(name, grid, clips, naive_edges):
    torch.manual_seed(0)
    conv = convs.build(name, 8).double().eval()
    topology = parse("clique+chain")
    x = torch.randn(clips, grid[0] * grid[1] * grid[2], 8, dtype=torch.float64)
    got = kernels.find(conv, topology, grid, "pyg")(conv, x)
    torch.testing.assert_close(got, expected(conv, x, naive_edges(grid)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("topology", "spatial", "reach"), [("clique", True, 0), ("chain(reach=2)", False, 2), ("none", False, 0)]
)
def test_the_topology_decides_the_edges(topology, spatial, reach, naive_edges):
    torch.manual_seed(0)
    grid, conv = (4, 1, 3), convs.build("gatv2", 8).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    got = kernels.find(conv, parse(topology), grid, "pyg")(conv, x)
    torch.testing.assert_close(got, expected(conv, x, naive_edges(grid, spatial, reach)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
def test_a_convolution_that_tells_edges_apart_gets_their_types(grid, clips, naive_edges):
    torch.manual_seed(0)
    conv = RGCNConv(8, 8, num_relations=2).double()
    topology = parse("clique+chain")
    x = torch.randn(clips, grid[0] * grid[1] * grid[2], 8, dtype=torch.float64)
    got = EdgeList(conv, topology, grid)(conv, x)
    edge_index, edge_type = naive_edges(grid)
    torch.testing.assert_close(got, expected(conv, x, (edge_index,), edge_type=edge_type), rtol=1e-10, atol=1e-10)
    if grid[0] > 1:
        one_kind = expected(conv, x, (edge_index,), edge_type=torch.zeros_like(edge_type))
        assert not torch.allclose(got, one_kind, atol=1e-3)


def test_gradients_reach_the_input_and_every_weight():
    torch.manual_seed(0)
    topology, conv = parse("clique+chain"), convs.build("gat", 8)
    x = torch.randn(2, 6, 8, requires_grad=True)
    EdgeList(conv, topology, (2, 3, 1))(conv, x).square().sum().backward()
    assert bool((x.grad != 0).all())
    assert all(bool(p.grad.abs().sum() > 0) for p in conv.parameters())


class NoEdgeIndex(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (FAConv(8), r"FAConv\.forward takes \(x, x_0, edge_index.*wrap it"),
        (NoEdgeIndex(), r"NoEdgeIndex\.forward takes \(x\).*x, edge_index, edge_type and edge_attr only"),
    ],
    ids=["needs-more", "takes-no-edges"],
)
def test_a_convolution_that_needs_something_else_is_refused(conv, message):
    with pytest.raises(ValueError, match=message):
        EdgeList(conv, parse("clique"), (2, 1, 2))


@pytest.mark.parametrize("name", ["gcn", "appnp"])
def test_a_convolution_that_would_remember_another_graph_is_refused(name):
    # PyG keeps the normalised edges of the first call: with another batch size they are the wrong ones, in silence.
    with pytest.raises(ValueError, match=r"cached=True\) keeps the edges of its first call"):
        kernels.find(convs.build(name, 8, cached=True), parse("clique+chain"), (2, 1, 2))


def test_batches_of_other_sizes_follow_one_another():
    torch.manual_seed(0)
    conv, grid = convs.build("gcn", 4), (2, 1, 3)
    kernel = EdgeList(conv, parse("clique+chain"), grid)
    x = torch.randn(3, 6, 4)
    whole = kernel(conv, x)
    for clips in (1, 3, 2):
        torch.testing.assert_close(kernel(conv, x[:clips]), whole[:clips])


def test_edges_first_made_in_inference_serve_training():
    conv, grid = convs.build("gcn", 4), (2, 1, 3)
    kernel = EdgeList(conv, parse("clique+chain"), grid)
    x = torch.randn(2, 6, 4)
    with torch.inference_mode():
        kernel(conv, x)
    kernel(conv, x).sum().backward()
    assert conv.lin.weight.grad is not None


def test_nothing_of_the_edges_is_saved_or_copied():
    conv = convs.build("gat", 8)
    kernel = EdgeList(conv, parse("clique+chain"), (2, 2, 3))
    kernel(conv, torch.randn(2, 12, 8))
    assert kernel.state_dict() == {}
    assert list(kernel.parameters()) == []
    again = pickle.loads(pickle.dumps(kernel))
    x = torch.randn(2, 12, 8)
    torch.testing.assert_close(again(conv, x), kernel(conv, x))
