"""Each convolution that knows the grid, node by node by its formula; what is earlier and later is not the same."""

import math

import pytest
import torch
from torch.nn import functional as F

from graphs import Chain, Clique, graph
from taggnn import kernels
from taggnn.kernels import IMPLS
from taggnn.nn import convs
from taggnn.nn.layers import GraphLayer

GRID = (4, 1, 3)
POSITIONS, NODES, C = 3, 12, 8
OURS = [name for name, row in convs.CONVS.items() if str(row.builder).startswith("taggnn.")]


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(NODES, C, dtype=torch.float64)


EDGES = graph(Clique() + Chain(reach=2), GRID).edge_index


def built(name, **options):
    torch.manual_seed(1)
    conv = convs.build(name, C, None, GRID, **options).double()
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return conv


def neighbours(node, relation):
    """The sources of the edges into a node from the same frame (0), an earlier (-1) or a later one (1)."""
    found = [s for s, t in EDGES.T.tolist() if t == node]
    return [s for s in found if (s // POSITIONS > node // POSITIONS) - (s // POSITIONS < node // POSITIONS) == relation]


@pytest.mark.parametrize("name", ["relational", "motion"])
def test_relations_have_weights_of_their_own(x, name):
    conv = built(name)
    weights = conv.relations.weight.split(C, 1)
    for node, got in enumerate(conv(x, EDGES)):
        want = conv.root(x[node])
        for weight, relation in zip(weights, (0, -1, 1), strict=True):
            near = neighbours(node, relation)
            if near:
                mean = x[near].mean(0) - (x[node] if name == "motion" and relation else 0)
                want = want + weight @ mean
        torch.testing.assert_close(got, want)


def test_attention_is_within_a_relation(x):
    conv = built("relational_attention", heads=2)
    lefts, rights = (part(x).view(NODES, 3, 2, C // 2) for part in (conv.left, conv.right))
    for node, got in enumerate(conv(x, EDGES)):
        want = conv.root(x[node])
        for number, relation in enumerate((0, -1, 1)):
            near = neighbours(node, relation)
            if near:
                left = lefts[near, number]
                score = (F.leaky_relu(left + rights[node, number], 0.2) * conv.att[number]).sum(-1)
                want = want + (score.softmax(0)[..., None] * left).sum(0).flatten()
        torch.testing.assert_close(got, want)


def test_taps_are_for_distance_and_direction(x):
    conv = built("temporal", reach=2)
    past, future = conv.taps
    for node, got in enumerate(conv(x, EDGES)):
        causal, anti = past[0] * x[node], future[0] * x[node]
        for distance in (1, 2):
            for step, weight in ((-distance, past), (distance, future)):
                other = node + step * POSITIONS
                if 0 <= other < NODES:
                    part = weight[distance] * x[other]
                    causal, anti = (causal + part, anti) if step < 0 else (causal, anti + part)
        same = conv.same * x[neighbours(node, 0)].mean(0)
        torch.testing.assert_close(got, conv.mix(torch.cat([causal, anti, same])))


def test_the_nearest_nodes_are_those_of_the_same_clip(x):
    conv = built("knn", k=3)
    both = torch.cat([x, x.flip(0) + 0.1])
    edges = torch.cat([EDGES, EDGES + NODES], 1)
    torch.testing.assert_close(conv(both, edges)[:NODES], conv(x, EDGES))
    none = built("knn", k=0)
    none.load_state_dict(conv.state_dict())
    for node, got in enumerate(conv(x, EDGES)):
        apart = (x - x[node]).norm(dim=1)
        near = [other for other in apart.argsort().tolist() if other != node][:3]
        want = none(x, EDGES)[node] + (conv.own(x[node]) + conv.other(x[near]).amax(0)).relu()
        torch.testing.assert_close(got, want)


def test_a_learned_matrix_is_added_to_the_fixed_one(x):
    conv = built("adaptive")
    fixed = torch.eye(NODES, dtype=torch.float64)
    fixed[EDGES[1], EDGES[0]] = 1
    scale = fixed.sum(1).rsqrt()
    matrix = scale[:, None] * fixed * scale + conv.adjacency
    torch.testing.assert_close(conv(x, EDGES), conv.linear(matrix @ x))
    conv.resize((2, 2, 3))
    with pytest.raises(ValueError, match="12 nodes"):
        conv.resize((2, 1, 3))


@pytest.mark.parametrize("name", ["relational", "motion", "relational_attention", "temporal"])
def test_a_clip_backwards_is_another_clip(name):
    """A plain GCN sums both directions and cannot tell them apart."""
    torch.manual_seed(0)
    clip = torch.randn(1, *GRID, C, dtype=torch.float64)
    ours, plain = (GraphLayer(C, Clique() + Chain(), GRID, one, norm=False).double().eval() for one in (name, "gcn"))
    apart = [(layer(clip.flip(1)).flip(1) - layer(clip)).abs().max() for layer in (ours, plain)]
    assert apart[0] > 1e-3
    assert apart[1] < 1e-12


@pytest.mark.parametrize("name", OURS)
def test_every_fast_implementation_refuses_it(name):
    conv = convs.build(name, C, None, GRID)
    assert kernels.find(conv, Clique(), GRID).impl == "pyg"
    for impl in set(IMPLS) - {"pyg"}:
        with pytest.raises(ValueError, match=f"impl {impl}"):
            kernels.find(conv, Clique(), GRID, impl)


@pytest.mark.parametrize("name", OURS)
def test_multiply_adds_are_counted(name):
    conv = convs.build(name, C, None, GRID)
    assert conv.graph_macs(NODES, 50, C) >= 50 * C


@pytest.mark.parametrize(
    ("name", "options"), [("temporal", {"reach": 0}), ("temporal", {"reach": True}), ("knn", {"k": -1})]
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        convs.build(name, C, None, GRID, **options)


@pytest.mark.parametrize("name", ["knn", "adaptive"])
def test_parts_of_clips_are_refused(name, x):
    with pytest.raises(ValueError, match="whole clips"):
        built(name)(x[:-1], EDGES[:, :0])


def test_another_grid_is_taken_over():
    layer = GraphLayer(C, Clique() + Chain(), GRID, "temporal")
    layer.resize((2, 2, 3))
    assert layer.conv.grid == (2, 2, 3)
    assert layer(torch.randn(1, 2, 2, 3, C)).shape[-1] == C
    assert math.prod(layer.grid) == NODES


@pytest.mark.parametrize("name", OURS)
def test_a_batch_equals_its_clips_one_by_one(name):
    torch.manual_seed(0)
    layer = GraphLayer(C, Clique() + Chain(), GRID, name).double().eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(3, *GRID, C, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.cat([layer(clip[None]) for clip in x]))
    assert layer(x[:0]).shape == (0, *GRID, C)
