"""Several processes against one: the same gradients from the same clips, the same figures, nothing lost.

One process has batches of 4, two have batches of 2. Double precision, no dropout.
"""

import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from taggnn import model
from taggnn.data.samplers import SharedBatches
from taggnn.runtime import distributed
from taggnn.training.history import History
from taggnn.training.loop import Trainer
from taggnn.training.options import Optimisation, Training
from taggnn.types import VIDEO_AXES, BadClip, Features, InputSpec, Output, Sample, collate

INPUT = InputSpec("video", VIDEO_AXES, (3, 2, 16, 32), {"frames": 2})
ARCHITECTURE = {
    "backbone": {"name": "small", "width": 4, "frozen_bn": True},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4, "dropout": 0.0},
    "input": INPUT.plain(),
    "classes": ["a", "b", "c"],
}


class Losing(nn.Module):
    """A head with a loss of each clip, and one of the batch that is a mean over its clips."""

    def __init__(self, channels, classes):
        super().__init__()
        self.classifier, self.aside = nn.Linear(channels, classes), nn.Linear(channels, 1)

    def forward(self, tokens, targets=None):
        pooled = tokens.flatten(1, -2).mean(1)
        losses = {}
        if targets is not None:
            losses = {"aside": self.aside(pooled)[:, 0].square() + targets, "size": pooled.square().sum(1).mean()}
        return Output(self.classifier(pooled), {}, losses)


class LosingBackbone(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        tokens = self.inner(x).movedim(1, -1)
        return Features(tokens, {"flat": tokens.flatten(1).var(1)} if self.training else {})


def items(bad=(), length=7):
    """Clips as a loader's data set has them."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(length, *INPUT.shape, generator=generator, dtype=torch.float64)
    return [
        BadClip(f"{index}.mp4", f"/x/{index}.mp4", "truncated") if index in bad else Sample(clip, index % 3, index)
        for index, clip in enumerate(clips)
    ]


class Loader:
    """Batches of items, shared out by the processes."""

    def __init__(self, found, size):
        self.found, self.shared, self.clips = found, SharedBatches(range(len(found)), size), len(found)

    @property
    def step(self):
        return self.shared.step

    def batches(self, position=0):
        return self.shared.count(self.clips - position)

    def epoch(self, number, position=0):
        return iter(self)

    def __len__(self):
        return self.batches()

    def __iter__(self):
        return (collate([self.found[key] for key in keys], INPUT) for keys in self.shared)


class Recorded(Trainer):
    """Notes the gradients of each step."""

    def fit(self):
        self.gradients, take = [], self.step.take
        self.step.optimiser.register_step_pre_hook(lambda *_: self.gradients.append(self._now()))

        def taken():
            before = len(self.gradients)
            answer = take()
            if len(self.gradients) == before:
                self.gradients.append([None for _ in self.recogniser.parameters()])
            return answer

        self.step.take = taken
        return super().fit()

    def _now(self):
        return [None if p.grad is None else p.grad.clone() for p in self.recogniser.parameters()]


def trainer(size, val=None, bad=(), together=1, clip=0.0, losing=False, architecture=ARCHITECTURE, epochs=2, **options):
    torch.manual_seed(0)
    built = model.build(architecture)
    if losing:
        built.head, built.backbone = Losing(32, 3), LosingBackbone(built.backbone)
    built.double()
    optimisation = Optimisation(lr=0.01, weight_decay=0.1, schedule="constant", gradient_clip=clip, **options)
    folder, header = Path(tempfile.mkdtemp()), {"architecture": architecture}
    training = Training(epochs=epochs, accumulate=together)
    loaders = Loader(items(bad), size), val or Loader(items(), size)
    return Recorded(built, INPUT, *loaders, optimisation, training, History(folder), header)


def trained(size, **options):
    """Two epochs of seven clips: the gradients of each step, the figures of the epochs, the weights at the end."""
    run = trainer(size, **options)
    rows = run.fit()
    kept = [{key: value for key, value in row.items() if key not in ("seconds", "clips/s")} for row in rows]
    return run.gradients, kept, sorted(run.history.skipped), run.recogniser.state_dict()


CASES = {
    "uneven-last-batch": {},
    "a-bad-clip": {"bad": (1,)},
    "one-has-no-clip": {"bad": (1, 3, 5)},
    "nobody-has-one": {"bad": (0, 1, 2, 3)},
    "accumulated": {"together": 2, "bad": (4,)},
    "clipped": {"clip": 0.05, "bad": (2,)},
    "one-process-has-all": {"bad": (0, 2, 4)},
    "named-losses": {"losing": True, "losses": {"aside": 0.3, "size": 2.0}},
    "named-losses-uneven": {"losing": True, "losses": {"aside": 0.3}, "bad": (1, 3, 5)},
    "named-losses-accumulated": {"losing": True, "losses": {"size": 0.3}, "bad": (4,), "together": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_gradients_of_one(case, of_two):
    of_two = [found["steps"] for found in of_two]
    gradients, figures, skipped, weights = trained(4, **CASES[case])
    assert figures[0]["train/clips"] == 7 - len(CASES[case].get("bad", ()))
    assert ("train/aside" in figures[0]) == case.startswith("named")
    for one in of_two:
        found = one[case]
        assert len(found[0]) == len(gradients)
        for ours, theirs in zip(found[0], gradients, strict=True):
            for mine, other in zip(ours, theirs, strict=True):
                assert (mine is None) == (other is None)
                if mine is not None:
                    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)
        for mine, theirs in zip(found[1], figures, strict=True):
            assert mine.keys() == theirs.keys()
            assert mine["train/clips"] == theirs["train/clips"]
            assert mine == pytest.approx(theirs, rel=1e-9)
        assert found[1][0]["train/loss"] == pytest.approx(figures[0]["train/loss"], rel=1e-12)
        assert found[2] == skipped
        for key, value in weights.items():
            torch.testing.assert_close(found[3][key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("losing", [False, True], ids=["plain", "named-losses"])
@pytest.mark.parametrize("bad", [(), (4,), (0, 1, 2, 3), (4, 5, 6)], ids=["all", "one", "first-batch", "last-batch"])
@pytest.mark.parametrize(("size", "batches"), [(4, 2), (2, 4), (2, 3)])
def test_batches_accumulated_have_the_gradients_of_one_large_batch(bad, size, batches, losing):
    few, rows, _, _ = trained(size, bad=bad, together=batches, clip=0.05, losing=losing)
    large, others, _, _ = trained(size * batches, bad=bad, clip=0.05, losing=losing)
    assert len(few) == len(large) == 2 * -(-7 // (size * batches))
    for ours, theirs in zip(few, large, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)
    for mine, theirs in zip(rows, others, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)


def validated(size, bad=()):
    run = trainer(size, Loader(items(bad, length=8), size))
    return run.validate(), sorted(run.history.skipped)


def test_every_process_measures_every_validation_clip_once(of_two):
    expected = [validated(1, (2, 7)), validated(1, (1, 3, 5, 7))]
    assert [figures["val/clips"] for figures, _ in expected] == [6, 4]
    for found in of_two:
        for (figures, skipped), (theirs, others) in zip(found["validations"], expected, strict=True):
            assert figures == pytest.approx(theirs, rel=1e-12)
            assert skipped == others


def none_read():
    try:
        trainer(1, Loader(items(range(2), length=2), 1)).validate()
    except ValueError as error:
        return str(error)


def test_where_no_clip_can_be_used_every_process_says_so(of_two):
    messages = [found["none read"] for found in of_two]
    assert (
        messages[0] == messages[1] == ("none of the validation clips could be used; 0.mp4: truncated; 1.mp4: truncated")
    )


MOVING = {**ARCHITECTURE, "backbone": {"name": "small", "width": 4}}


def batchnorm():
    """Statistics of BatchNorm after a step in which the second process has no clip, and one in which it has."""
    run, found = trainer(1, architecture=MOVING), items()
    statistics = []
    for number, keys in enumerate(([[0], []], [[1], [2]])):
        run.train_batch(number, collate([found[key] for key in keys[distributed.rank()]], INPUT))
        statistics.append([value.clone() for name, value in run.recogniser.named_buffers() if "running" in name])
    return statistics, all(part.training for part in run.recogniser.modules())


def test_a_process_without_clips_leaves_its_statistics_alone(of_two):
    (first, _), (second, training) = [found["batchnorm"] for found in of_two]
    run = trainer(1, architecture=MOVING)
    fresh = [value for name, value in run.recogniser.named_buffers() if "running" in name]
    assert fresh
    for value, one, other in zip(fresh, first[0], second[0], strict=True):
        assert torch.equal(other, value)
        assert not torch.equal(one, value)
    assert not any(torch.equal(value, other) for value, other in zip(fresh, second[1], strict=True))
    assert training


class Draws(nn.Module):
    """A head that notes a random draw of each training step."""

    def __init__(self):
        super().__init__()
        self.classifier, self.drawn = nn.Linear(32, 3), []

    def forward(self, tokens, targets=None):
        if targets is not None:
            self.drawn.append(float(torch.rand(())))
        return Output(self.classifier(tokens.flatten(1, -2).mean(1)))


def drawn():
    run, found = trainer(4), items()
    head = run.recogniser.head = Draws().double()
    run.parallel = run.recogniser
    for number in (0, 1):
        run.train_batch(number, collate([found[number]], INPUT))
    return head.drawn


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
        "grouped": dist.is_initialized(),
    }


@pytest.fixture(scope="module")
def of_two(together):
    """What each of two processes finds; one group for all of it."""
    return together(2, everything)
