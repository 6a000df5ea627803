"""Degree-matched random edges, and the edges of one type."""

from math import prod

import pytest
import torch

from graphs import SPATIAL, TEMPORAL, Bones, Chain, Clique, NoEdges, Only, Rewired, Union, graph, of_type, parse
from taggnn import kernels
from taggnn.nn import convs

CASES = [
    (Clique() + Chain(2), (4, 3, 2)),
    (Chain(), (5, 2, 3)),
    (Bones("coco") + Chain(), (3, 17)),
    (NoEdges(), (2, 2, 2)),
]


def degrees(rule, grid, kind, row):
    edge_index, edge_type = rule.edges(grid)
    return torch.bincount(edge_index[row][edge_type == kind], minlength=prod(grid))


@pytest.mark.parametrize(("rule", "grid"), CASES, ids=str)
def test_every_node_keeps_its_number_of_edges_of_each_type_in_and_out(rule, grid):
    other = Rewired(rule, 5)
    for kind in (SPATIAL, TEMPORAL):
        for row in (0, 1):
            assert torch.equal(degrees(other, grid, kind, row), degrees(rule, grid, kind, row))
    source, target = other.edges(grid)[0]
    keys = (target * prod(grid) + source).tolist()
    assert keys == sorted(set(keys))
    assert not (source == target).any()
    mask = graph(other, grid).mask
    assert torch.equal(mask, mask.T)


def test_one_directed_edge_each_keeps_degrees_too():
    class Ring(Chain):
        def edges(self, grid, device="cpu"):
            node = torch.arange(prod(grid))
            return torch.stack([(node - 1) % len(node), node]), torch.full_like(node, TEMPORAL)

        def num_edges(self, grid):
            return prod(grid)

    found = Rewired(Ring(), 1).edges((3, 3, 3))[0]
    assert torch.equal(torch.bincount(found[0], minlength=27), torch.ones(27, dtype=torch.long))
    assert torch.equal(torch.bincount(found[1], minlength=27), torch.ones(27, dtype=torch.long))


def test_a_seed_is_a_graph_and_another_seed_another():
    rule, grid = Clique() + Chain(), (4, 3, 3)
    first, again, other = (Rewired(rule, seed).edges(grid)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # A fifth of all pairs are edges here: about so many of the random ones are old ones.
    assert 0.1 < Rewired(rule, 0).kept(grid) < 0.5
    assert Rewired(Clique(), 0).kept((1, 3, 3)) == 1


@pytest.mark.parametrize("rule", [Rewired(Clique() + Chain(2), 7), Only(Bones("coco") + Chain(), TEMPORAL)])
def test_they_are_read_back_from_their_text(rule):
    assert parse(str(rule)) == rule
    assert parse("rewired(of=chain)", reach=3) == Rewired(Chain(3))


@pytest.mark.parametrize("seed", [-1, 0.5, True])
def test_a_seed_that_is_no_number_is_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        Rewired(Chain(), seed)


def test_of_type_takes_the_rule_of_that_type_where_there_is_one():
    assert of_type(Clique() + Chain(2), SPATIAL) == Clique()
    assert of_type(Clique() + Chain(2), TEMPORAL) == Chain(2)
    assert of_type(Chain(), SPATIAL) == NoEdges()


@pytest.mark.parametrize("rule", [Rewired(Clique() + Chain(), 3), Union((Rewired(Clique() + Chain(), 3), Clique()))])
@pytest.mark.parametrize("kind", [SPATIAL, TEMPORAL])
def test_of_type_takes_the_edges_apart_where_types_are_mixed(rule, kind):
    grid = (3, 2, 2)
    edge_index, edge_type = rule.edges(grid)
    found, kinds = of_type(rule, kind).edges(grid)
    assert torch.equal(found, edge_index[:, edge_type == kind])
    assert kinds.eq(kind).all()


@pytest.mark.parametrize("conv", ["gcn", "gatv2", "appnp"])
def test_kernels_compute_random_edges_alike_or_refuse_them(conv):
    rule, grid = Rewired(Clique() + Chain(), 2), (3, 2, 2)
    torch.manual_seed(0)
    built = convs.build(conv, 8)
    x = torch.randn(2, 12, 8)
    wanted = kernels.find(built, rule, grid, "pyg")(built, x)
    torch.testing.assert_close(kernels.find(built, rule, grid, "dense")(built, x), wanted)
    with pytest.raises(ValueError, match="rewired"):
        kernels.find(built, rule, grid, "structured")
    assert kernels.find(built, rule, grid).impl == "pyg"
