"""A training step in parts leaves nothing behind, and the timed loop is Lightning's own."""

from contextlib import nullcontext

import pytest
import steps
import torch
from taggnn.task import RecognitionTask

from taggnn import config
from taggnn.types import Batch

SPEC = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "clip": [2, 16, 32],
    "classes": ["a", "b", "c"],
}


@pytest.fixture
def task():
    torch.manual_seed(0)
    return RecognitionTask(SPEC, {}, {})


@pytest.fixture
def batch():
    return Batch(torch.randn(3, 3, 2, 16, 32), torch.arange(3), torch.arange(3))


@pytest.mark.parametrize("frozen", [False, True], ids=["trained-backbone", "frozen-backbone"])
def test_each_part_goes_forward_and_backward_and_leaves_no_gradient(task, batch, frozen):
    task.model.backbone.requires_grad_(not frozen)
    seen = {"backbone": [], "head": []}
    for name, found in seen.items():
        part = getattr(task.model, name)
        part.register_forward_hook(lambda *_, found=found: found.append("forward"))
        for parameter in list(part.parameters())[:1]:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda _, found=found: found.append("backward"))
    calls = steps.parts(task, batch, 2, torch.device("cpu"), nullcontext)
    seen["backbone"].clear()
    for call in calls.values():
        call()
    assert seen["head"] == ["forward", "backward"] * 2
    assert seen["backbone"] == (["forward"] * 2 if frozen else ["forward", "backward"] * 2)
    assert all(parameter.grad is None for parameter in task.model.parameters())


def test_a_batch_in_memory_stands_for_a_loader(batch):
    loader = steps.Repeated(batch, 3)
    assert len(loader) == 3
    assert [id(given) for given in loader] == [id(batch)] * 3 == [id(given) for given in loader]


def test_every_epoch_but_the_first_is_timed(task, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.parse(["--config", "demo", "--trainer.accelerator", "cpu"])
    before = {key: value.clone() for key, value in task.model.named_parameters()}
    stepped, step = [], task.training_step
    monkeypatch.setattr(task, "training_step", lambda *given: stepped.append(1) or step(*given))
    seconds, waited = steps.train(settings, task, steps.Repeated(batch, 3), 2)
    assert len(stepped) == 3 * 3
    assert len(seconds) == len(waited) == 2
    assert all(0 <= share < 1 for share in waited)
    assert any(not torch.equal(before[key], value) for key, value in task.model.named_parameters())
    assert settings.train.epochs == 16
    assert not list(tmp_path.iterdir())


def test_an_interrupt_in_the_loop_is_one_of_ours(task, batch, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    settings = config.parse(["--config", "demo", "--trainer.accelerator", "cpu"])
    monkeypatch.setattr(task, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        steps.train(settings, task, steps.Repeated(batch, 1), 1)
