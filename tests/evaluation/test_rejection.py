import itertools

import pytest
import torch

from taggnn.evaluation.rejection import at_threshold, risk_coverage, threshold_for


def naive_aurc(confidence, right):
    """The mean over all orders of clips with equal confidence."""
    clips = list(zip(confidence, right, strict=True))
    areas = []
    for order in itertools.permutations(clips):
        if [c for c, _ in order] == sorted(confidence, reverse=True):
            risks = [sum(not ok for _, ok in order[:k]) / k for k in range(1, len(order) + 1)]
            areas.append(sum(risks) / len(risks))
    return sum(areas) / len(areas)


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_naive_curve(seed):
    generator = torch.Generator().manual_seed(seed)
    # Few different values, so that there are ties.
    confidence = torch.randint(1, 5, (6,), generator=generator) / 5
    right = torch.rand(6, generator=generator) < 0.6
    curve = risk_coverage(confidence, right)
    values = sorted(set(confidence.tolist()), reverse=True)
    assert curve.thresholds.tolist() == values
    for threshold, coverage, risk in zip(values, curve.coverage.tolist(), curve.risk.tolist(), strict=True):
        kept = [ok for c, ok in zip(confidence.tolist(), right.tolist(), strict=True) if c >= threshold]
        assert coverage == pytest.approx(len(kept) / 6)
        assert risk == pytest.approx(kept.count(False) / len(kept))
        assert at_threshold(confidence, right, threshold) == pytest.approx((coverage, risk))
    assert curve.aurc == pytest.approx(naive_aurc(confidence.tolist(), right.tolist()))


def test_the_threshold_keeps_as_many_clips_as_the_risk_permits():
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    right = torch.tensor([True, True, False, True, True])
    curve = risk_coverage(confidence, right)
    assert threshold_for(curve, 0.2) == pytest.approx(0.5)
    assert threshold_for(curve, 0.1) == pytest.approx(0.8)
    # The clip that it was taken from is kept, in float32 too.
    assert at_threshold(confidence, right, threshold_for(curve, 0.1)) == (0.4, 0.0)


def test_a_risk_that_cannot_be_reached():
    curve = risk_coverage(torch.tensor([0.9, 0.8]), torch.tensor([False, True]))
    assert threshold_for(curve, 0.1) is None
    assert at_threshold(torch.tensor([0.5]), torch.tensor([True]), 0.6) == (0.0, None)


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match=r"^confidence"):
        risk_coverage(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"^risk"):
        threshold_for(risk_coverage(torch.ones(1), torch.ones(1).bool()), 2)
