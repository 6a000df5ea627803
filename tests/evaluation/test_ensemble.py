"""taggnn.evaluation.ensemble: the average and the choice of weights, against plain loops."""

import itertools
import math

import pytest
import torch

from taggnn.evaluation import ensemble
from taggnn.evaluation.ensemble import choose, fused, shares
from taggnn.evaluation.metrics import METRICS


def tables(models=3, clips=30, classes=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (clips,), generator=draw)
    logits = torch.randn(models, clips, classes, generator=draw)
    logits[:, torch.arange(clips), labels] += torch.linspace(0.2, 1.5, models)[:, None]
    return list(logits.softmax(2)), labels, logits


@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 1, 1), (0, 3, 0), (0.25, 0.5, 7)], ids=str)
@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_the_average_is_that_of_plain_loops(weights, average):
    given, _, logits = tables()
    found = fused(given, weights, average)
    for clip, label in itertools.product(range(30), range(4)):
        if average == "probabilities":
            expected = sum(w * float(table[clip, label]) for w, table in zip(weights, given, strict=True)) / sum(
                weights
            )
        else:
            scores = [
                sum(w * float(table[clip, k]) for w, table in zip(weights, logits, strict=True)) for k in range(4)
            ]
            powers = [math.exp(score / sum(weights)) for score in scores]
            expected = powers[label] / sum(powers)
        assert float(found[clip, label]) == pytest.approx(expected, rel=1e-5)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(30))


def test_one_model_alone_is_unchanged():
    given, _, _ = tables()
    assert torch.equal(fused(given, [0, 1, 0]), given[1])


def test_a_probability_of_zero_rules_out_no_class():
    sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    found = fused([sure, unsure], [1, 1], "logits")
    assert found.isfinite().all()
    assert found[0, 1] > 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -1], "each must be a number of 0 or more"),
        ([1, math.nan], "each must be"),
        ([1, math.inf], "each must be"),
        ([0, 0], "at least one must be above 0"),
        ([1, 2, 3], "3 for 2 runs"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        shares(weights, 2)


def test_equal_weights_are_the_default():
    assert shares([], 4) == [0.25] * 4


@pytest.mark.parametrize("figure", ["top1", "mca", "loss", "ece"])
@pytest.mark.parametrize("models", [2, 3])
def test_no_other_multiple_of_a_tenth_is_better(models, figure):
    given, labels, _ = tables(models)
    found = choose(given, labels, figure)

    def value(weights):
        mean = sum(w * table.double() for w, table in zip(weights, given, strict=True)).float()
        if figure == "loss":
            return -sum(math.log(float(row[label])) for row, label in zip(mean, labels, strict=True)) / len(labels)
        return ensemble.mean_of(ensemble.measure(figure, mean, labels))

    grid = [[n / 10 for n in cut] for cut in itertools.product(range(11), repeat=models) if sum(cut) == 10]
    larger = figure != "loss" and METRICS[figure].larger_is_better
    best = (max if larger else min)(map(value, [*grid, [1 / models] * models]))
    assert found.value == pytest.approx(best, abs=1e-6)
    assert value(found.weights) == pytest.approx(best, abs=1e-6)
    assert found.equal == pytest.approx(value([1 / models] * models), abs=1e-6)
    assert found.tried == len(grid) + 1
    assert found.step == 0.1
    assert sum(found.weights) == pytest.approx(1)


def test_of_equally_good_weights_those_nearest_to_equal_ones_count():
    given, labels, _ = tables(1)
    assert choose(given * 3, labels).weights == [1 / 3] * 3
    # One of two is useless: it gets as much as it may have.
    labels = torch.zeros(5, dtype=torch.long)
    right, wrong = torch.tensor([[0.7, 0.3]] * 5), torch.tensor([[0.2, 0.8]] * 5)
    assert choose([right, wrong], labels).weights == [0.6, 0.4]
    assert choose([wrong, right], labels).weights == [0.4, 0.6]


@pytest.mark.parametrize("models", [1, 2, 4, 5, 9, 40])
def test_the_number_of_trials_is_bounded(models):
    given, labels, _ = tables(models, clips=4)
    found = choose(given, labels)
    assert found.tried <= ensemble.TRIED + 1
    assert sum(found.weights) == pytest.approx(1)


def test_an_unknown_figure_or_average_is_refused():
    given, labels, _ = tables()
    with pytest.raises(ValueError, match="top1"):
        choose(given, labels, "top2")
    with pytest.raises(ValueError, match="top5"):
        choose(given, labels, "top5")
    with pytest.raises(ValueError, match="probabilities, logits"):
        fused(given, [1, 1, 1], "votes")
