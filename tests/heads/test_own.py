"""Heads of a user's own: by class, by dotted path, as a module; with targets, losses and state that follows the weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taggnn import heads, names
from taggnn.heads import HEADS, PoolHead, Row, TagHead, build
from taggnn.types import Head, Output


class Prototypes(nn.Module):
    """Classes by their nearest prototype, with a loss of each clip, a loss of the batch, and a slow copy of the prototypes."""

    loss_weights = {"spread": 0.1}  # noqa: RUF012

    def __init__(self, dim, shape, count, temperature: float = 1.0, *, rate: float = 0.5):
        super().__init__()
        self.grid, self.temperature, self.rate = tuple(shape), temperature, rate
        self.prototypes = nn.Parameter(torch.randn(count, dim))
        self.register_buffer("slow", self.prototypes.detach().clone())

    def forward(self, tokens, targets=None):
        pooled = tokens.flatten(1, -2).mean(1)
        logits = -torch.cdist(pooled, self.prototypes) / self.temperature
        if targets is None:
            return Output(logits, {"pooled": pooled})
        shares = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[1]).to(logits)
        losses = {"pull": (torch.cdist(pooled, self.slow) * shares).sum(1), "spread": self.prototypes.square().mean()}
        return Output(logits, {"pooled": pooled}, losses)

    @torch.no_grad()
    def after_step(self):
        self.slow.lerp_(self.prototypes, self.rate)


def made(channels, grid, classes, *, hidden=8):
    return nn.Sequential(nn.Flatten(1, -2), nn.Linear(channels, hidden), nn.Linear(hidden, classes))


def nothing(channels, grid, classes):
    return None


CHOSEN = {
    "class": Prototypes,
    "path": f"{__name__}.Prototypes",
    "instance": Prototypes(6, (3, 4), 5),
    "row": "prototypes",
    "function": lambda channels, grid, classes: Prototypes(channels, grid, classes),
}


@pytest.fixture(autouse=True)
def _row(monkeypatch):
    monkeypatch.setitem(HEADS, "prototypes", Row(Prototypes, "classes by their nearest prototype"))


@pytest.mark.parametrize("given", CHOSEN.values(), ids=CHOSEN)
def test_losses_come_out_where_targets_go_in(given):
    torch.manual_seed(0)
    head = build(given, 6, (3, 4), 5)
    assert isinstance(head, Prototypes)
    assert isinstance(head, Head)
    tokens = torch.randn(2, 3, 4, 6)
    assert head(tokens).losses == {}
    answer = head(tokens, torch.tensor([1, 4]))
    assert answer.losses["pull"].shape == (2,)
    assert answer.losses["spread"].shape == ()
    mixed = head(tokens, F.one_hot(torch.tensor([1, 4]), 5).float()).losses["pull"]
    torch.testing.assert_close(mixed, answer.losses["pull"])
    logits, extras = answer
    assert logits.shape == (2, 5)
    assert extras["pooled"].shape == (2, 6)
    (logits.sum() + sum(loss.mean() for loss in answer.losses.values())).backward()
    assert head.prototypes.grad.abs().sum() > 0


def test_the_hook_after_a_step_moves_what_follows_the_weights():
    head = Prototypes(4, (2,), 3)
    head.prototypes.data += 1
    before = head.slow.clone()
    head.after_step()
    torch.testing.assert_close(head.slow, before + 0.5)
    assert "slow" in head.state_dict()


def test_options_are_the_parameters_after_channels_grid_and_classes():
    head = build("prototypes", 6, (3, 4), 5, temperature=2.0, rate=0.1)
    assert (head.temperature, head.rate) == (2.0, 0.1)
    with pytest.raises(
        ValueError, match=r"unknown option of head prototypes 'tempreature'; did you mean 'temperature'"
    ):
        build("prototypes", 6, (3, 4), 5, tempreature=2.0)
    with pytest.raises(ValueError, match=r"unknown option of head .*Prototypes 'dim'.*Possible: temperature, rate"):
        build(Prototypes, 6, (3, 4), 5, dim=2)
    assert build(f"{__name__}.made", 6, (3, 4), 5, hidden=2)[1].out_features == 2
    assert heads.filled_in(Prototypes, "own") == ["dim", "shape", "count"]


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (f"{__name__}.Prototype", {}, ["unknown head in", "did you mean 'Prototypes'"]),
        ("missing_module.Head", {}, ["missing_module.Head", "No module named 'missing_module'"]),
        ("prototype", {}, ["unknown head 'prototype'", "did you mean 'prototypes'", "dotted path"]),
        (f"{__name__}.CHOSEN", {}, ["no class, callable or module"]),
        (f"{__name__}.nothing", {}, ["must give a torch.nn.Module", "None"]),
        (nn.Dropout, {}, ["channels, grid, classes"]),
        (lambda channels, grid: None, {}, ["channels, grid, classes", "channels, grid)"]),
        (Prototypes(6, (3, 4), 5), {"rate": 1}, ["built already", "rate"]),
        (7, {}, ["no class, callable or module"]),
    ],
    ids=["path", "module", "name", "table", "none", "class-of-two", "two-arguments", "built", "number"],
)
def test_what_is_no_head_is_refused(given, options, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        build(given, 6, (3, 4), 5, **options)
    assert [word for word in words if word not in str(raised.value)] == []


def test_every_builder_of_the_table_has_a_dotted_path_that_a_file_can_hold():
    for row in HEADS.values():
        assert names.imported(names.path_of(row.builder)) == row.builder


@pytest.mark.parametrize("name", ["tag", "pool"])
def test_the_heads_here_compute_no_losses(name):
    head = build(name, 8, (2, 2), 3)
    answer = head(torch.randn(2, 2, 2, 8), torch.tensor([0, 2]))
    assert isinstance(answer, Output)
    assert isinstance(head, TagHead | PoolHead)
    assert answer.losses == {}
