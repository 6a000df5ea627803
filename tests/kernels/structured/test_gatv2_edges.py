"""The scores of GATv2 edge by edge, against their formula: any cut into pieces, gradients, second derivatives, ties."""

import pytest
import torch

from taggnn.kernels.structured import gatv2_edges
from taggnn.kernels.structured.edges import Edges
from tests.kernels.structured.test_edges import GRAPHS, graphs

pieces = pytest.mark.parametrize("at_once", [1, 12, 2**17])


def operands(graph, std=1.0):
    """The edges, and l, r, a in float64."""
    adjacency, reach, frames, self_loops, clips, heads = GRAPHS[graph]
    torch.manual_seed(0)
    size = (clips, frames * len(adjacency), heads, 3)
    shapes = (size, size, size[2:])
    parts = [(std * torch.randn(shape, dtype=torch.float64)).requires_grad_() for shape in shapes]
    return Edges(adjacency, reach, frames, self_loops), parts


def by_formula(graph, pairs, slope, l, r, a):  # noqa: E741
    heads, width = a.shape
    l, r = l.reshape(-1, width), r.reshape(-1, width)  # noqa: E741
    z = torch.stack([l[j] + r[i] for i, j in zip(pairs.target.tolist(), pairs.source.tolist(), strict=True)])
    return (torch.where(z > 0, z, slope * z) * a[pairs.source.long() % heads]).sum(-1)


@graphs
@pieces
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_scores_and_gradients_equal_the_formula(graph, at_once, slope, monkeypatch):
    monkeypatch.setattr(gatv2_edges, "_AT_ONCE", at_once)
    edges, parts = operands(graph)
    with torch.no_grad():
        # A tie at the kink: the gradient is that of the negative side.
        parts[0][0, 0] = 0
        parts[1][0] = parts[1][0] * (torch.arange(len(parts[1][0])) > 0)[:, None, None]
    pairs = edges.pairs(len(parts[0]), len(parts[2]))
    (got, handed), expected = gatv2_edges.scores(edges, slope, *parts), by_formula(edges, pairs, slope, *parts)
    torch.testing.assert_close(got, expected)
    assert handed.equal(parts[0])
    upstream, further = torch.randn_like(expected), torch.randn_like(handed)
    slopes = torch.autograd.grad((got, handed), parts, (upstream, further), retain_graph=True)
    torch.testing.assert_close(slopes, torch.autograd.grad((expected, parts[0]), parts, (upstream, further)))
    # An upstream gradient of one number for all pairs, and none for what is handed through.
    alone = torch.autograd.grad(got.sum(), parts)
    torch.testing.assert_close(alone, torch.autograd.grad(by_formula(edges, pairs, slope, *parts).sum(), parts))


@graphs
def test_derivatives_of_both_orders(graph):
    edges, parts = operands(graph)
    assert torch.autograd.gradcheck(lambda *given: gatv2_edges.scores(edges, 0.2, *given), parts)
    assert torch.autograd.gradgradcheck(lambda *given: gatv2_edges.scores(edges, 0.2, *given), parts)


def test_sources_that_are_the_targets_too():
    edges, (x, _, a) = operands("one-way")
    pairs = edges.pairs(*x.shape[::2])
    got, expected = gatv2_edges.scores(edges, 0.2, x, x, a)[0], by_formula(edges, pairs, 0.2, x, x, a)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), (x, a)) for out in (got, expected)))


def test_no_message_is_stored():
    edges, parts = operands("one-way-loops")
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        gatv2_edges.scores(edges, 0.2, *parts)
    assert sorted(saved) == sorted(part.numel() for part in parts)
