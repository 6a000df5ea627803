"""Importance of edges: the same logits on explicit edges, gradients against finite differences, and what is refused."""

import pytest
import torch

from graphs import graph
from taggnn import heads
from taggnn.explanation import HeadInput, Options, explain_tokens
from taggnn.explanation.curves import curves
from taggnn.explanation.edges import ExplicitHead

GRID = (3, 2, 2)


def subject(conv="gatv2", topology="clique+chain", head="tag", **options):
    torch.manual_seed(0)
    if head == "tag":
        options |= {"encoder_layers": 0, "conv": conv, "topology": topology, "dim": 8}
    built = heads.build(head, 8, GRID, 3, **options).double().eval()
    tokens = torch.randn(1, *GRID, 8, dtype=torch.double)
    return HeadInput(built, tokens, None, tokens, built)


@pytest.mark.parametrize("conv", ["gatv2", "gcn", "appnp", "transformer"])
def test_explicit_edges_have_the_same_logits_and_a_mask_of_zeros_is_no_message(conv):
    given = subject(conv)
    head = ExplicitHead(given)
    assert given.head.propagation[0].kernel.impl != head.layers[0].kernel.impl == "pyg"
    assert torch.allclose(head(given.tokens), given.logits(given.tokens), atol=1e-9)
    both = head.masked_logits(given.tokens, torch.tensor([[False], [True]]).expand(2, head.num_edges), Options())
    assert torch.allclose(both[:1], given.logits(given.tokens), atol=1e-9)
    assert not torch.allclose(both[0], both[1], atol=1e-6)
    assert torch.allclose(head(given.tokens), both[:1], atol=1e-9)


def test_the_gradient_of_an_edge_is_a_finite_difference():
    given = subject()
    found = explain_tokens(given, 1, "edge_gradient")
    head, wanted = ExplicitHead(given), []
    for edge in range(0, head.num_edges, 5):
        ends = []
        for change in (-1e-4, 1e-4):
            mask = torch.ones(head.num_edges, dtype=torch.double)
            mask[edge] += change
            with head.masked(mask), torch.no_grad():
                ends.append(head(given.tokens)[0, 1].item())
        wanted.append((ends[1] - ends[0]) / 2e-4)
    assert found.edges[::5].tolist() == pytest.approx(wanted, abs=1e-6)
    assert max(map(abs, wanted)) > 1e-4
    assert torch.equal(found.edge_index, graph(given.head.topology, GRID).edge_index)
    leaving = [found.edges[found.edge_index[0] == node].sum().item() for node in range(12)]
    assert found.values.flatten().tolist() == pytest.approx(leaving, abs=1e-6)
    assert (found.unit, found.signed) == ("edge", True)


def test_gnn_explainer_is_that_of_pyg_and_follows_its_seed():
    given = subject()
    state = torch.random.get_rng_state()
    one, again = (explain_tokens(given, 1, "gnn_explainer", epochs=3, seed=1) for _ in range(2))
    assert torch.equal(one.edges, again.edges)
    assert torch.equal(state, torch.random.get_rng_state())
    assert one.edges.shape == (given.head.topology.num_edges(GRID),)
    assert 0 <= one.edges.min() <= one.edges.max() <= 1


def test_curves_of_edges_remove_edges():
    given = subject("gcn")
    importance = explain_tokens(given, 1, "edge_gradient")
    found = curves(given, importance, steps=2, draws=2)
    head, order = ExplicitHead(given), importance.edges.argsort(descending=True)
    half = torch.zeros(1, head.num_edges, dtype=torch.bool)
    half[0, order[: round(head.num_edges / 2)]] = True
    wanted = head.masked_logits(given.tokens, half, Options())[0].softmax(0)[1].item()
    assert found.deletion[1].item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"head": "pool"}, "PoolHead has no graph on the tokens"),
        ({"topology": "none"}, "has no edges"),
        ({"head": "art", "dim": 8, "regions": 2, "attention_heads": 2}, "ArtHead has no graph on the tokens"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_heads_without_edges_between_tokens_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        explain_tokens(subject(**options), 0, "edge_gradient")
