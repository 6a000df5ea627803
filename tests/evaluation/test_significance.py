"""taggnn.evaluation.significance against closed forms, sums by hand and plain loops."""

import math
from itertools import product

import pytest
import torch

from taggnn.evaluation.intervals import Answers, answers, interval, resample
from taggnn.evaluation.metrics import METRICS, summarise
from taggnn.evaluation.significance import differences, holm, mcnemar, recalls, top1_difference, top1_test, verdict


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
        (4, 3, 1.0),
    ],
)
def test_mcnemar_equals_sums_by_hand(b, c, p):
    assert mcnemar(b, c).p == pytest.approx(p, abs=1e-15)
    assert mcnemar(c, b).p == mcnemar(b, c).p


@pytest.mark.parametrize(("b", "c"), [(1, 6), (2, 5), (4, 4)])
def test_mcnemar_counts_every_way_the_clips_could_have_parted(b, c):
    gap = abs(b - c)
    ways = [sum(one) for one in product((0, 1), repeat=b + c)]
    assert mcnemar(b, c).p == pytest.approx(sum(abs(b + c - 2 * won) >= gap for won in ways) / len(ways))


def test_mcnemar_of_many_clips_is_near_its_normal_limit():
    b, c = 5200, 5000
    limit = math.erfc((abs(b - c) - 1) / math.sqrt(2 * (b + c)))
    assert mcnemar(b, c).p == pytest.approx(limit, rel=0.01)
    assert mcnemar(13_000, 0).p == 0.0


def test_holm_equals_its_steps():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def case(clips, classes, seed, better=1.0):
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (clips,), generator=draw)
    own = torch.Generator().manual_seed(seed)
    scores = torch.randn(clips, classes, generator=own)
    scores[torch.arange(clips), labels] += better
    return scores.softmax(1), labels


def test_the_same_model_twice_differs_in_nothing():
    given = case(50, 7, 1)
    model, scores = answers(*given), summarise(*given)
    assert top1_test(model, model).p == 1.0
    for figure in differences([model, model], [scores, scores])[0].values():
        assert (figure.value, figure.low, figure.high) == (0, 0, 0)


def test_differences_are_paired():
    one, two = case(200, 5, 1), case(200, 5, 1)
    two[0][:10] = two[0][:10].flip(1)
    models, scores = [answers(*one), answers(*two)], [summarise(*one), summarise(*two)]
    found = differences(models, scores)[0]
    assert list(found) == [name for name, row in METRICS.items() if row.compared]
    assert found["top1"].value == scores[1].top1 - scores[0].top1
    # Ten clips differ, so that the difference cannot move as far as either accuracy does.
    assert found["top1"].high - found["top1"].low < 0.07
    for figure in found.values():
        assert figure.low <= figure.value <= figure.high
    first, second = resample(models)
    low, high = interval(second["ece"] - first["ece"])
    # What resampling adds to calibration errors is taken off.
    value = found["ece"].value
    assert (found["ece"].low, found["ece"].high) == (2 * value - high, 2 * value - low)


def test_the_interval_of_a_difference_is_that_of_three_shares():
    # Only how many clips each model alone has right counts: a normal limit of the difference of paired shares.
    b, c, n = 60, 90, 1000
    right = [torch.arange(n) < b, (torch.arange(n) >= b) & (torch.arange(n) < b + c)]
    labels = torch.zeros(n, dtype=torch.long)
    models = [Answers(labels, (~hits).long(), None, 2) for hits in right]
    scores = [summarise(torch.stack([hits.float(), (~hits).float()], dim=1), labels) for hits in right]
    found = differences(models, scores, resamples=5000)[0]
    half = 1.96 * math.sqrt(b + c - (c - b) ** 2 / n) / n
    assert (found["top1"].low, found["top1"].high) == pytest.approx(((c - b) / n - half, (c - b) / n + half), abs=0.002)
    assert "ece" not in found
    test = top1_test(*models)
    assert (test.only_first, test.only_second) == (b, c)


def test_an_accuracy_s_difference_is_drawn_from_three_counts():
    one, two = answers(*case(400, 5, 1)), answers(*case(400, 5, 2, better=1.4))
    drawn = resample([one, two], resamples=20_000)
    low, high = interval(drawn[1]["top1"] - drawn[0]["top1"])
    found, test = top1_difference(one, two, resamples=20_000)
    assert found.value == pytest.approx(float(two.right.double().mean() - one.right.double().mean()))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)
    assert test == top1_test(one, two)
    same, _ = top1_difference(one, one)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "p", "said"),
    [
        ((0, 0), 1.0, "x and y have the same clips right."),
        ((1, 0), 1.0, "No difference is shown: of 1 clip that only one of them has right, x has 1 and y 0"),
        ((2, 1200), 1e-9, "y has 1,198 more clips right than x; chance alone would hardly do that."),
        ((9, 0), 0.004, "x has 9 more clips right than y"),
        ((9, 0), 0.05, "No difference is shown"),
    ],
)
def test_a_verdict_names_the_better_one_only_where_the_test_does(counts, p, said):
    assert verdict(mcnemar(*counts), p, "x", "y").startswith(said)


def test_intervals_and_tests_hold_under_no_difference():
    rounds, covered, refused = 150, 0, 0
    for seed in range(rounds):
        both = [case(120, 4, 2 * seed + part + 1) for part in (0, 1)]
        models, scores = [answers(*one) for one in both], [summarise(*one) for one in both]
        top1 = differences(models, scores, resamples=200, seed=seed)[0]["top1"]
        covered += top1.low <= 0 <= top1.high
        refused += top1_test(*models).p < 0.05
    assert 0.88 <= covered / rounds <= 0.99
    # The exact test refuses at most as often as it says.
    assert refused / rounds <= 0.09


def test_recalls_are_counts_of_each_class():
    labels, predicted = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 1, 2, 2, 0])
    support, correct = recalls(Answers(labels, predicted, None, 4))
    assert support.tolist() == [2, 0, 3, 0]
    assert correct.tolist() == [1, 0, 2, 0]
