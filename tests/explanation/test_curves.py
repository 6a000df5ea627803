"""Deletion and insertion curves against loops, and the comparison with random orders."""

import pytest
import torch
from torch import nn

from taggnn.explanation import HeadInput, Importance, Options, explain_tokens
from taggnn.explanation.chain import temporal_chain
from taggnn.explanation.curves import Curves, area, curves, verdict
from taggnn.types import Output

GRID = (2, 2, 3)


class Sum(nn.Module):
    """The first class has the sum of all tokens, each times its weight."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, tokens):
        first = (tokens.sum(-1) * self.weights).flatten(1).sum(1)
        return Output(torch.stack([first, torch.zeros_like(first)], 1))


def subject():
    weights = torch.arange(12.0).view(GRID) / 20
    tokens = torch.ones(1, *GRID, 2)
    head = Sum(weights)
    return HeadInput(head, tokens, None, tokens, head)


def probability(given, removed, baseline=0.0):
    tokens = given.tokens.clone()
    for index in removed:
        tokens.view(1, 12, 2)[0, index] = baseline
    return given.logits(tokens)[0].softmax(0)[0].item()


@pytest.mark.parametrize("batch", [1, 32])
def test_curves_of_tokens_are_those_of_a_loop(batch):
    given = subject()
    importance = explain_tokens(given, 0, "occlusion")
    found = curves(given, importance, Options(batch=batch), steps=4, draws=3)
    order = sorted(range(12), key=lambda index: -importance.values.flatten()[index])
    deletion = [probability(given, order[: 3 * step]) for step in range(5)]
    insertion = [probability(given, order[3 * step :]) for step in range(5)]
    assert found.deletion.tolist() == pytest.approx(deletion, abs=1e-6)
    assert found.insertion.tolist() == pytest.approx(insertion, abs=1e-6)
    wanted = sum((deletion[step] + deletion[step + 1]) / 2 / 4 for step in range(4))
    assert area(found.deletion).item() == pytest.approx(wanted, abs=1e-6)
    assert found.random_deletion.shape == found.random_insertion.shape == (3, 5)
    assert found.random_deletion[:, 0].tolist() == pytest.approx([deletion[0]] * 3)
    assert found.random_insertion[:, 0].tolist() == pytest.approx([insertion[0]] * 3)


def test_random_orders_of_another_map_are_those_that_it_would_have():
    given = subject()
    one, two = (explain_tokens(given, 0, method) for method in ("occlusion", "random"))
    alone, shared = (
        curves(given, two, steps=3, draws=2),
        curves(given, two, None, 3, 2, curves(given, one, steps=3, draws=2)),
    )
    for part in ("deletion", "insertion", "random_deletion", "random_insertion"):
        assert torch.equal(getattr(alone, part), getattr(shared, part))


def test_curves_of_frames_remove_whole_frames():
    given = subject()
    found = curves(given, explain_tokens(given, 0, "frame_occlusion"), steps=2, draws=1)
    deletion = [probability(given, removed) for removed in ([], range(6, 12), range(12))]
    assert found.deletion.tolist() == pytest.approx(deletion, abs=1e-6)


def test_the_true_order_is_better_than_random_and_its_reverse_and_a_constant_are_not():
    given = subject()
    values = given.head.weights
    maps = {"true": values, "reversed": -values, "constant": torch.ones(GRID)}
    found = {}
    for name, map_ in maps.items():
        found[name] = verdict([curves(given, Importance(map_, "occlusion", 0, True), draws=20)])
    assert {name: row.better for name, row in found.items()} == {"true": True, "reversed": False, "constant": False}
    assert found["true"].deletion.value < found["true"].deletion.low
    assert found["true"].insertion.value > found["true"].insertion.high
    assert found["true"].gain.value == pytest.approx(found["true"].insertion.value - found["true"].deletion.value)


def test_a_verdict_averages_over_clips_before_the_range_of_random_orders():
    flat = torch.zeros(3, 3)
    one = Curves(flat[0], torch.ones(3), flat, torch.tensor([[0.0], [0.2], [0.4]]).expand(3, 3))
    two = Curves(flat[0], torch.ones(3), flat, torch.tensor([[0.4], [0.2], [0.0]]).expand(3, 3))
    found = verdict([one, two])
    assert (found.clips, found.insertion.value) == (2, 1.0)
    assert found.insertion.low == pytest.approx(0.2)
    assert found.insertion.high == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no clips"):
        verdict([])


def test_equal_values_are_ordered_at_random():
    given = subject()
    same = Importance(torch.zeros(GRID), "occlusion", 0, True)
    orders = {tuple(curves(given, same, Options(seed=seed), steps=12, draws=1).deletion.tolist()) for seed in range(4)}
    assert len(orders) == 4


def test_the_chain_has_the_most_important_position_of_each_frame():
    values = torch.tensor([[[1.0, 5.0], [2.0, -9.0]], [[-1.0, -2.0], [-3.0, -4.0]], [[0.0, 0.0], [0.0, 2.0]]])
    links = temporal_chain(values)
    assert [link.position for link in links] == [(0, 1), (0, 0), (1, 1)]
    assert [link.share for link in links] == pytest.approx([0.5, 0.0, 0.2])
    assert [link.position for link in temporal_chain(torch.tensor([[0.0, 3.0, 1.0]]))] == [(1,)]
