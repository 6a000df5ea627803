"""Sums, products and softmax over pairs of rows, against loops over the edges; their derivatives of both orders."""

import copy
import pickle

import pytest
import torch

from graphs import parse
from taggnn.kernels.kernel import frames_and_chain
from taggnn.kernels.structured import edges
from taggnn.kernels.structured.edges import Edges

# Two bones and a joint without neighbours; the second edge leads one way only.
BONES = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
ONE_WAY = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
ALONE = torch.zeros(1, 1, dtype=torch.bool)
# adjacency, reach, frames, self-loops, clips, heads
GRAPHS = {
    "one-frame": (BONES, 0, 1, False, 1, 1),
    "one-way": (ONE_WAY, 1, 3, False, 2, 2),
    "one-way-loops": (ONE_WAY, 1, 3, True, 2, 2),
    "reach-beyond-the-clip": (BONES, 9, 3, True, 1, 3),
    "one-joint": (ALONE, 1, 2, False, 2, 1),
    "one-joint-one-frame": (ALONE, 0, 1, True, 1, 2),
}
graphs = pytest.mark.parametrize("graph", GRAPHS)


def listed(graph):
    """Source and target row of every pair, by the definition, sorted by target row and then by head and edge alone."""
    adjacency, reach, frames, self_loops, clips, heads = GRAPHS[graph]
    joints = len(adjacency)
    found = []
    for clip in range(clips):
        for i in range(frames * joints):
            for j in range(frames * joints):
                apart = abs(i // joints - j // joints)
                bone = apart == 0 and adjacency[i % joints, j % joints]
                in_time = i % joints == j % joints and 1 <= apart <= reach
                if bone or in_time or (self_loops and i == j):
                    nodes = frames * joints * clip
                    found += [((nodes + i) * heads + head, (nodes + j) * heads + head) for head in range(heads)]
    return found, clips * frames * joints * heads


def made(graph):
    """The pairs, and the index of each pair in the definition's list."""
    *rule, clips, heads = GRAPHS[graph]
    pairs = Edges(*rule).pairs(clips, heads)
    expected, rows = listed(graph)
    return pairs, list(zip(pairs.target.tolist(), pairs.source.tolist(), strict=True)), expected, rows


@graphs
def test_every_edge_of_every_head_once_and_sorted(graph):
    pairs, got, expected, rows = made(graph)
    assert sorted(got) == sorted(expected)
    assert pairs.target.tolist() == sorted(pairs.target.tolist())
    start = pairs.start.tolist()
    assert [pairs.target[start[i] : start[i + 1]].unique().tolist() for i in range(rows)] == [
        [i] if start[i + 1] > start[i] else [] for i in range(rows)
    ]
    assert pairs.source[pairs.order.long()].tolist() == sorted(pairs.source.tolist())
    assert pairs.start[-1] == pairs.back_start[-1] == len(expected)


@graphs
def test_the_number_of_an_edge_is_that_of_clip_edge_and_head(graph):
    *rule, clips, heads = GRAPHS[graph]
    one = Edges(*rule)
    pairs, count = one.pairs(clips, heads), len(one.source)
    edge, head = pairs.edge.long() // heads, pairs.edge.long() % heads
    clip = edge // count * one.nodes
    assert ((one.target[edge % count] + clip) * heads + head).equal(pairs.target.long())
    assert ((one.source[edge % count] + clip) * heads + head).equal(pairs.source.long())


@graphs
def test_sums_products_and_softmax_equal_loops(graph):
    pairs, got, _, rows = made(graph)
    torch.manual_seed(0)
    weights = torch.randn(len(got), dtype=torch.float64)
    x, y = torch.randn(2, rows, 3, dtype=torch.float64)
    summed, back = torch.zeros_like(x), torch.zeros_like(x)
    for (i, j), weight in zip(got, weights, strict=True):
        summed[i] += weight * x[j]
        back[j] += weight * x[i]
    torch.testing.assert_close(edges.weighted(pairs, weights, x), summed)
    torch.testing.assert_close(edges.summed(pairs, True, weights, x), back)
    torch.testing.assert_close(edges.dots(pairs, x, y), torch.stack([x[i] @ y[j] for i, j in got]))
    total = torch.zeros(rows, dtype=torch.float64)
    for (i, _), weight in zip(got, weights, strict=True):
        total[i] += weight.exp()
    expected = torch.stack([weight.exp() / total[i] for (i, _), weight in zip(got, weights, strict=True)])
    torch.testing.assert_close(edges.softmax(pairs, weights), expected)


@graphs
def test_derivatives_of_both_orders(graph):
    pairs, got, _, rows = made(graph)
    torch.manual_seed(0)
    weights = torch.randn(len(got), dtype=torch.float64, requires_grad=True)
    x, y = (torch.randn(rows, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for function, inputs in ((edges.weighted, (weights, x)), (edges.dots, (x, y)), (edges.softmax, (weights,))):
        assert torch.autograd.gradcheck(lambda *parts, f=function: f(pairs, *parts), inputs)
        assert torch.autograd.gradgradcheck(lambda *parts, f=function: f(pairs, *parts), inputs)


def test_scores_of_any_size_give_weights_without_an_overflow():
    pairs, got, _, _ = made("one-way")
    weights = edges.softmax(pairs, torch.linspace(-1e30, 1e30, len(got)))
    assert weights.isfinite().all()
    total = torch.zeros(len(pairs.start) - 1).index_add(0, pairs.target, weights)
    torch.testing.assert_close(total, (pairs.start.diff() > 0).float())


def test_a_batch_of_another_size_gets_its_own_pairs():
    graph = Edges(BONES, 1, 2, False)
    assert graph.pairs(3, 1) is graph.pairs(3, 1)
    assert [len(graph.pairs(clips, 2).source) for clips in (1, 2, 5, 2)] == [20, 40, 100, 40]


def test_pairs_made_for_inference_serve_training():
    graph, x = Edges(BONES, 1, 2, False), torch.randn(6, 2, requires_grad=True)
    with torch.inference_mode():
        edges.dots(graph.pairs(1, 1), x, x)
    edges.dots(graph.pairs(1, 1), x, x).sum().backward()
    assert x.grad.isfinite().all()


def test_copies_and_pickles_leave_the_batch_out():
    graph = Edges(BONES, 1, 2, False)
    graph.pairs(1000, 1)
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert other._batch is None
        assert other.pairs(2, 1).source.equal(graph.pairs(2, 1).source)


def test_the_chain_is_that_of_the_topology():
    rule, grid = parse("bones(skeleton=coco)+chain(reach=2)"), (4, 17)
    found = frames_and_chain(rule, grid)
    graph = Edges(found.adjacency, found.reach, 4, False)
    listed = {tuple(edge) for edge in rule.edges(grid)[0].T.tolist()}
    assert set(zip(graph.source.tolist(), graph.target.tolist(), strict=True)) == listed
    assert len(graph.source) == rule.num_edges(grid)
