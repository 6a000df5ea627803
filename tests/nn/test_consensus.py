import math

import pytest
import torch
from torch.nn import functional as F

from taggnn.nn.consensus import AVERAGES, Consensus


@pytest.fixture
def logits():
    return torch.randn(9, 5, generator=torch.Generator().manual_seed(0)) * 3


def consensus_of(average, *parts):
    consensus = Consensus(average)
    for part in parts:
        consensus.add(part)
    return consensus


def test_probabilities_are_averaged(logits):
    found = consensus_of("probabilities", logits)
    mean = logits.double().softmax(-1).mean(0)
    torch.testing.assert_close(found.probabilities, mean.float())
    assert found.loss(2) == pytest.approx(-math.log(mean[2]))


def test_logits_are_averaged(logits):
    found = consensus_of("logits", logits)
    mean = logits.mean(0)
    torch.testing.assert_close(found.probabilities, mean.softmax(-1))
    assert found.loss(2) == pytest.approx(float(F.cross_entropy(mean, torch.tensor(2))))
    assert not torch.allclose(found.probabilities, consensus_of("probabilities", logits).probabilities, atol=1e-3)


@pytest.mark.parametrize("average", AVERAGES)
def test_one_view_is_its_softmax_and_its_cross_entropy_to_the_last_bit(average, logits):
    for view in logits:
        found = consensus_of(average, view[None])
        assert torch.equal(found.probabilities, view.softmax(-1))
        for label in range(5):
            assert found.loss(label) == float(F.cross_entropy(view, torch.tensor(label)))


@pytest.mark.parametrize("average", AVERAGES)
def test_the_batch_changes_nothing(average, logits):
    whole = consensus_of(average, logits)
    for size in (1, 2, 4):
        parts = consensus_of(average, *logits.split(size))
        assert parts.views == whole.views == 9
        assert torch.equal(parts.probabilities, whole.probabilities)
        assert parts.loss(1) == whole.loss(1)


@pytest.mark.parametrize("average", AVERAGES)
def test_a_certain_mistake_has_a_finite_loss(average):
    found = consensus_of(average, torch.tensor([[0.0, 200.0], [0.0, 300.0]]))
    assert 199 < found.loss(0) < 301


def test_an_unknown_average():
    with pytest.raises(ValueError, match="unknown average 'logit'; did you mean 'logits'"):
        Consensus("logit")
