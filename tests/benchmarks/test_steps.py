"""A training step in parts leaves nothing behind, and the timed loop is that of training."""

from contextlib import nullcontext

import pytest
import torch

import taggnn
from benchmarks import steps
from taggnn.cli import config
from taggnn.training.loop import Trainer
from taggnn.types import Batch


@pytest.fixture
def model():
    torch.manual_seed(0)
    options = {"dim": 16, "encoder_heads": 4}
    return taggnn.attach("small", "tag", 3, clip=(2, 16, 32), backbone_options={"width": 4}, **options)


@pytest.fixture
def batch():
    return Batch(torch.randn(3, 3, 2, 16, 32), torch.arange(3), torch.arange(3))


@pytest.mark.parametrize("frozen", [False, True], ids=["trained-backbone", "frozen-backbone"])
def test_each_part_goes_forward_and_backward_and_leaves_no_gradient(model, batch, frozen):
    model.backbone.requires_grad_(not frozen)
    seen = {"backbone": [], "head": []}
    for name, found in seen.items():
        part = getattr(model, name)
        part.register_forward_hook(lambda *_, found=found: found.append("forward"))
        for parameter in list(part.parameters())[:1]:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda _, found=found: found.append("backward"))
    calls = steps.parts(model, batch, 2, torch.device("cpu"), nullcontext)
    seen["backbone"].clear()
    for call in calls.values():
        call()
    assert seen["head"] == ["forward", "backward"] * 2
    assert seen["backbone"] == (["forward"] * 2 if frozen else ["forward", "backward"] * 2)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_batch_in_memory_stands_for_a_loader(batch):
    loader = steps.Repeated(batch, 3)
    assert (loader.batches(), loader.batches(2), loader.clips) == (3, 1, 3)
    assert [id(given) for given in loader.epoch(0)] == [id(batch)] * 3
    assert len(list(loader.epoch(1, 2))) == 1


def test_every_epoch_but_the_first_is_timed(model, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.parse(["--config", "demo", "--device", "cpu"])
    before = {key: value.clone() for key, value in model.named_parameters()}
    stepped, losses = [], Trainer.losses
    monkeypatch.setattr(Trainer, "losses", lambda *given: stepped.append(1) or losses(*given))
    seconds, waited = steps.train(settings, model, 3, steps.Repeated(batch, 3), 2)
    assert len(stepped) == 3 * 3
    assert len(seconds) == len(waited) == 2
    assert all(0 <= share < 1 for share in waited)
    assert any(not torch.equal(before[key], value) for key, value in model.named_parameters())
    assert settings.train.epochs == 16
    assert not list(tmp_path.iterdir())


def test_an_interrupt_in_the_loop_is_one_of_ours(model, batch, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    settings = config.parse(["--config", "demo", "--device", "cpu"])
    monkeypatch.setattr(Trainer, "losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        steps.train(settings, model, 3, steps.Repeated(batch, 1), 1)
