"""A text bank that gradients do not reach, and its agent, which losses train and the bank follows."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.modules.module import register_module_parameter_registration_hook

from taggnn.nn.semantics import SemanticBank

PROMPTS, CLASSES, CHANNELS = 3, 4, 5


@pytest.fixture
def bank():
    torch.manual_seed(0)
    return SemanticBank(3 * torch.randn(PROMPTS, CLASSES, CHANNELS), momentum=0.9, temperature=0.1).double()


def cosines(video, vectors):
    """(N, K) for one video."""
    return torch.stack([torch.stack([F.cosine_similarity(video, one, dim=0) for one in row]) for row in vectors])


def test_it_starts_from_vectors_of_length_one(bank):
    torch.testing.assert_close(bank.bank.norm(dim=-1), torch.ones(PROMPTS, CLASSES).double())
    assert torch.equal(bank.bank, bank.agent)


@pytest.mark.parametrize("choice", ["classes", "entries"])
def test_the_nearest_semantics_come_first(bank, choice):
    video = torch.randn(6, CHANNELS).double()
    found = bank.nearest(video, 3, choice)
    for row, one in zip(found.tolist(), video, strict=True):
        near = cosines(one, bank.bank).flatten().tolist()
        if choice == "entries":
            expected = sorted(range(len(near)), key=near.__getitem__, reverse=True)[:3]
        else:
            best = [max(range(k, len(near), CLASSES), key=near.__getitem__) for k in range(CLASSES)]
            expected = sorted(best, key=near.__getitem__, reverse=True)[:3]
            assert len({index % CLASSES for index in row}) == 3
        assert row == expected
    vectors = bank.vectors(found)
    torch.testing.assert_close(vectors[2, 1], bank.bank.flatten(0, 1)[found[2, 1]])


@pytest.mark.parametrize("shares", [False, True], ids=["classes", "shares"])
def test_a_video_s_class_is_the_maximum_over_prompts(bank, shares):
    bank.agent.data.add_(torch.randn_like(bank.agent))
    video = torch.randn(4, CHANNELS, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 1, 1])
    given = F.one_hot(targets, CLASSES).double() * 0.7 + 0.3 / CLASSES if shares else targets
    expected = []
    for b in range(4):
        logits = cosines(video[b], bank.agent).max(0).values / 0.1
        logarithm = logits - logits.exp().sum().log()
        expected.append(-(given[b] * logarithm).sum() if shares else -logarithm[targets[b]])
    torch.testing.assert_close(bank.video_loss(video, given), torch.stack(expected))
    bank.video_loss(video, given).sum().backward()
    assert bank.agent.grad.abs().sum() > 0
    assert video.grad.abs().sum() > 0


def test_rows_of_a_classifier_belong_to_their_own_class(bank):
    rows = torch.randn(CLASSES, CHANNELS, dtype=torch.float64)
    logits = torch.stack([cosines(row, bank.agent).max(0).values / 0.1 for row in rows])
    torch.testing.assert_close(bank.classifier_loss(rows), -logits.log_softmax(1).diagonal().mean())
    # Rows that are the text of their class itself cost least.
    assert bank.classifier_loss(bank.agent[0].detach()) < bank.classifier_loss(bank.agent[0].detach().roll(1, 0))


def test_the_bank_follows_its_agent_at_the_momentum(bank):
    start = bank.bank.clone()
    with torch.no_grad():
        bank.agent.add_(torch.randn_like(bank.agent))
    bank.after_step()
    torch.testing.assert_close(bank.bank, 0.9 * start + 0.1 * bank.agent)
    bank.after_step()
    torch.testing.assert_close(bank.bank, 0.81 * start + 0.19 * bank.agent)


def test_no_gradient_reaches_the_bank(bank):
    assert not bank.bank.requires_grad
    assert [name for name, _ in bank.named_parameters()] == ["agent"]
    assert not bank.vectors(bank.nearest(torch.randn(2, CHANNELS).double(), 2)).requires_grad


def test_a_limit_on_the_size_of_a_model_stops_it_before_memory_is_filled(monkeypatch):
    monkeypatch.setattr(F, "normalize", lambda *_, **__: pytest.fail("the vectors were touched"))

    def refuse(module, name, parameter):
        raise ValueError(f"{name} of {parameter.numel()}")

    hook = register_module_parameter_registration_hook(refuse)
    try:
        with pytest.raises(ValueError, match="agent of 4000000"):
            SemanticBank(torch.zeros(1).expand(100, 200, 200))
    finally:
        hook.remove()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, "bank_momentum 1.5"),
        ({"temperature": 0.0}, "bank_temperature 0.0"),
        ({"vectors": torch.ones(2, 3)}, r"\(2, 3\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SemanticBank(**{"vectors": torch.ones(1, 2, 3), **options})
