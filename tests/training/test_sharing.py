"""Several processes against one: the same gradients from the same clips, the same figures, nothing lost.

One process has batches of 4, two have batches of 2. Double precision, no dropout.
"""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from taggnn.task import RecognitionTask
from torch import nn

from taggnn import processes
from taggnn.data.order import SharedBatches

SPEC = {
    "backbone": {"name": "small", "width": 4, "frozen_bn": True},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4, "dropout": 0.0},
    "clip": [2, 16, 32],
    "classes": ["a", "b", "c"],
}


def items(bad=(), length=7):
    """Clips as a loader's data set has them; None for those that cannot be read."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(length, 3, 2, 16, 32, generator=generator, dtype=torch.float64)
    return [None if index in bad else (clip, index % 3, index) for index, clip in enumerate(clips)]


def batch_of(found, keys):
    good = [found[key] for key in keys if found[key] is not None]
    return {
        "clip": torch.stack([clip for clip, _, _ in good]) if good else torch.empty(0, 3, 0, 0, 0),
        "label": torch.tensor([label for _, label, _ in good], dtype=torch.long),
        "index": torch.tensor([index for _, _, index in good], dtype=torch.long),
        "skipped": [(f"{key}.mp4", f"/x/{key}.mp4", "truncated") for key in keys if found[key] is None],
    }


def task(spec=SPEC, **optimisation):
    torch.manual_seed(0)
    built = RecognitionTask(spec, {}, {}, optimisation).double()
    built.log = lambda *_, **__: None
    built._trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(total_batch_idx=0), sanity_checking=False, max_epochs=1, accumulate_grad_batches=1
    )
    return built.train()


def replicated(built):
    """A step through DDP, as Lightning's strategy takes it."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.task = built

        def forward(self, batch):
            return self.task.training_step(batch, 0)

    return nn.parallel.DistributedDataParallel(Step()) if dist.is_initialized() else Step()


def trained(size, bad=(), together=1, clip=0.0, spec=SPEC):
    """Two epochs of seven clips: the gradients of each step, the figures of the epochs, the weights at the end."""
    built = task(spec, gradient_clip=clip)
    built.trainer.accumulate_grad_batches = together
    step, found = replicated(built), items(bad)
    optimiser = torch.optim.AdamW(built.parameters(), lr=0.01, weight_decay=0.1)
    gradients, figures = [], []
    for _ in range(2):
        built.on_train_epoch_start()
        batches = list(SharedBatches(range(len(found)), size))
        for number, keys in enumerate(batches):
            batch = batch_of(found, keys)
            built.on_train_batch_start(batch, number)
            loss = step(batch)
            if number % together == 0:
                optimiser.zero_grad()
            if loss is not None:
                (loss / together).backward()
            if (number + 1) % together == 0 or number + 1 == len(batches):
                built.on_before_optimizer_step(optimiser)
                gradients.append([None if p.grad is None else p.grad.clone() for p in built.parameters()])
                optimiser.step()
            built.on_train_batch_end(None, batch, number)
        figures.append((built.train_clips, built.train_loss))
    return gradients, figures, sorted(built.skipped), built.state_dict()


CASES = {
    "uneven-last-batch": {},
    "a-bad-clip": {"bad": (1,)},
    "one-has-no-clip": {"bad": (1, 3, 5)},
    "nobody-has-one": {"bad": (0, 1, 2, 3)},
    "accumulated": {"together": 2, "bad": (4,)},
    "clipped": {"clip": 0.05, "bad": (2,)},
    "one-process-has-all": {"bad": (0, 2, 4)},
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_gradients_of_one(case, of_two):
    of_two = [found["steps"] for found in of_two]
    gradients, figures, skipped, weights = trained(4, **CASES[case])
    assert figures[0][0] == 7 - len(CASES[case].get("bad", ()))
    for one in of_two:
        found = one[case]
        assert len(found[0]) == len(gradients)
        for ours, theirs in zip(found[0], gradients, strict=True):
            for mine, other in zip(ours, theirs, strict=True):
                assert (mine is None) == (other is None)
                if mine is not None:
                    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)
        assert [clips for clips, _ in found[1]] == [clips for clips, _ in figures]
        assert [loss for _, loss in found[1]] == pytest.approx([loss for _, loss in figures], rel=1e-12)
        assert found[2] == skipped
        for key, value in weights.items():
            torch.testing.assert_close(found[3][key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bad", [(), (4,), (0, 1, 2, 3), (4, 5, 6)], ids=["all", "one", "first-batch", "last-batch"])
@pytest.mark.parametrize(("size", "batches"), [(4, 2), (2, 4), (2, 3)])
def test_batches_accumulated_have_the_gradients_of_one_large_batch(bad, size, batches):
    few, _, _, _ = trained(size, bad, batches, clip=0.05)
    large, _, _, _ = trained(size * batches, bad, clip=0.05)
    assert len(few) == len(large) == 2 * -(-7 // (size * batches))
    for ours, theirs in zip(few, large, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)


def validated(size, bad=()):
    built, found, logged = task().eval(), items(bad, length=8), {}
    built.log = lambda name, value, **_: logged.update({name: float(value)})
    built.on_validation_epoch_start()
    with torch.no_grad():
        for keys in SharedBatches(range(len(found)), size):
            built.validation_step(batch_of(found, keys), 0)
    built.on_validation_epoch_end()
    return logged, sorted(built.skipped)


def validations():
    return [validated(3, (2, 7)), validated(1, (1, 3, 5, 7))]


def test_every_process_measures_every_validation_clip_once(of_two):
    expected = [validated(1, (2, 7)), validated(1, (1, 3, 5, 7))]
    assert [logged["val/clips"] for logged, _ in expected] == [6, 4]
    for found in of_two:
        for (logged, skipped), (theirs, others) in zip(found["validations"], expected, strict=True):
            assert logged == pytest.approx(theirs, rel=1e-12)
            assert skipped == others


def none_read():
    built = task()
    built.on_validation_epoch_start()
    built.validation_step(batch_of(items(range(7)), [processes.rank()]), 0)
    try:
        built.on_validation_epoch_end()
    except ValueError as error:
        return str(error)


def test_where_no_clip_can_be_used_every_process_says_so(of_two):
    said = [found["none read"] for found in of_two]
    assert said[0] == said[1] == ("none of the validation clips could be used; 0.mp4: truncated; 1.mp4: truncated")


def batchnorm():
    """Statistics of BatchNorm behind a step in which the second process has no clip, and one in which it has."""
    spec = {**SPEC, "backbone": {"name": "small", "width": 4}}
    built, found = task(spec), items()
    statistics = []
    for keys in ([[0], []], [[1], [2]]):
        batch = batch_of(found, keys[processes.rank()])
        built.on_train_batch_start(batch, 0)
        built.training_step(batch, 0).backward()
        built.on_train_batch_end(None, batch, 0)
        statistics.append([value.clone() for name, value in built.named_buffers() if "running" in name])
    return statistics, all(part.training for part in built.modules())


def test_a_process_without_clips_leaves_its_statistics_alone(of_two):
    (first, _), (second, training) = [found["batchnorm"] for found in of_two]
    fresh = [
        value
        for name, value in task({**SPEC, "backbone": {"name": "small", "width": 4}}).named_buffers()
        if "running" in name
    ]
    assert fresh
    for value, one, other in zip(fresh, first[0], second[0], strict=True):
        assert torch.equal(other, value)
        assert not torch.equal(one, value)
    assert not any(torch.equal(value, other) for value, other in zip(fresh, second[1], strict=True))
    assert training


def drawn():
    built = task()
    draws = []
    for number in (0, 1):
        built.trainer.fit_loop.total_batch_idx = number
        built.on_train_batch_start({"label": [0]}, number)
        draws.append(float(torch.rand(())))
    return draws


def test_every_process_draws_for_itself_and_the_first_as_one_alone(of_two):
    draws = [found["drawn"] for found in of_two]
    assert draws[0] == drawn()
    assert len({draw for one in draws for draw in one}) == 4


def everything():
    return {
        "steps": {name: trained(2, **case) for name, case in CASES.items()},
        "validations": [validated(3, (2, 7)), validated(1, (1, 3, 5, 7))],
        "none read": none_read(),
        "batchnorm": batchnorm(),
        "drawn": drawn(),
    }


@pytest.fixture(scope="module")
def of_two(together):
    """What each of two processes finds; one group for all of it."""
    return together(2, everything)
