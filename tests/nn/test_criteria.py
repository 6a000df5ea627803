"""taggnn.nn.criteria: criteria by name, by dotted path and as they are."""

import pytest
import torch
from torch.nn import functional as F

from taggnn.nn import criteria
from taggnn.nn.criteria import CRITERIA, Row


def squared(logits, targets, label_smoothing):
    """One number a clip."""
    return (logits.softmax(1) - F.one_hot(targets, logits.shape[1])).square().sum(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_cross_entropy_is_pytorch_s_bit_by_bit(smoothing, kind):
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 7, generator=draw).to(kind).requires_grad_()
    shares = torch.rand(5, 7, generator=draw).softmax(1).to(kind)
    for targets in (torch.tensor([0, 6, 3, 3, 1]), shares):
        found = criteria.find("cross_entropy")(logits, targets, smoothing)
        expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        assert found.shape == ()
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(one, logits)[0] for one in (found, expected)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_its_formula(smoothing):
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mixed = torch.tensor([[0.3, 0.7, 0], [1, 0, 0], [0, 0.5, 0.5], [0.2, 0.2, 0.6]], dtype=torch.float64)
    for targets, shares in (
        (mixed, mixed),
        (torch.tensor([2, 0, 1, 1]), F.one_hot(torch.tensor([2, 0, 1, 1]), 3).double()),
    ):
        smoothed = (1 - smoothing) * shares + smoothing / 3
        expected = -(smoothed * logits.log_softmax(1)).sum() / 4
        assert criteria.cross_entropy(logits, targets, smoothing).item() == pytest.approx(expected.item(), rel=1e-12)


def test_gradients():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(3, 4, dtype=torch.float64).softmax(1)
    assert torch.autograd.gradcheck(lambda x: criteria.cross_entropy(x, targets, 0.1), logits)


def test_one_row_adds_a_criterion_and_a_path_needs_none(monkeypatch):
    monkeypatch.setitem(CRITERIA, "squared", Row(squared, "Brier", "https://doi.org/10.1175/1520-0493"))
    for given in ("squared", f"{__name__}.squared", squared):
        found = criteria.find(given)
        assert found(torch.zeros(2, 3), torch.tensor([0, 1]), 0.0).shape == (2,)
        assert criteria.name_of(given) == "squared"
    assert criteria.name_of("cross_entropy") == "cross_entropy"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cross_entrop", "cross_entropy"),
        ("nowhere.loss", "nowhere"),
        (f"{__name__}.__name__", "not a function"),
        (torch.nn.CrossEntropyLoss, "not a function"),
    ],
)
def test_what_is_no_criterion_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        criteria.find(given)


def test_every_row_says_what_it_is():
    assert all(row.summary and row.paper.startswith("https://") for row in CRITERIA.values())
