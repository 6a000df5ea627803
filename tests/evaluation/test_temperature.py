import pytest
import torch
from torch.nn import functional as F

from taggnn.evaluation.temperature import HIGHEST, fit_temperature


def drawn(temperature, clips=4000, classes=5):
    """Labels that follow softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(clips, classes, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator).flatten()
    return logits, labels


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_finds_the_temperature_that_the_labels_were_drawn_with(true):
    assert fit_temperature(*drawn(true)) == pytest.approx(true, rel=0.08)


def test_is_the_best_of_a_grid():
    logits, labels = drawn(1.7, clips=300)
    found = fit_temperature(logits, labels)

    def loss(temperature):
        return F.cross_entropy(logits.double() / temperature, labels).item()

    assert loss(found) <= min(loss(0.1 + 0.01 * k) for k in range(500)) + 1e-12
    assert loss(found) <= min(loss(found * 1.001), loss(found / 1.001))


def test_logits_that_are_worse_than_chance_end_at_the_limit():
    assert fit_temperature(torch.eye(3), torch.tensor([1, 2, 0])) == pytest.approx(HIGHEST, rel=0.5)


def test_does_not_depend_on_grad_mode_and_keeps_the_logits():
    logits, labels = drawn(2.0, clips=100)
    before = logits.clone()
    with torch.no_grad():
        found = fit_temperature(logits, labels)
    assert found == fit_temperature(logits, labels)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)),
        (torch.zeros(2, 3), torch.zeros(1, dtype=torch.long)),
        (torch.tensor([[0.0, float("nan")]]), torch.zeros(1, dtype=torch.long)),
        (torch.eye(3), torch.arange(3)),
    ],
    ids=["no-clip", "fewer-labels", "nan", "all-right"],
)
def test_impossible_logits_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"^logits"):
        fit_temperature(logits, labels)
