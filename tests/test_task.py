"""The training task: learning rate, parameter groups, and what is logged after an epoch."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from taggnn.model import Recogniser
from taggnn.task import Optimisation, RecognitionTask, rate
from taggnn.types import TOKEN_AXES, VIDEO_AXES, InputSpec

SPEC = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "clip": [2, 16, 32],
    "classes": ["a", "b", "c"],
}


class Trainer:
    """As much of Lightning's as the task asks."""

    max_epochs = 4
    estimated_stepping_batches = 20
    sanity_checking = False
    global_step = 0
    accumulate_grad_batches = 1
    precision_plugin = None


def task(spec=None, **optimisation):
    built = RecognitionTask({**SPEC, **(spec or {})}, {}, {}, optimisation)
    built._trainer = Trainer()
    return built


def shares(optimisation, steps=20):
    """The learning rate of the head after each step, as share of its peak, by the scheduler itself."""
    found = task(**optimisation).configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps + 1):
        rates.append(optimiser.param_groups[-1]["lr"] / optimisation.get("lr", 1e-3))
        optimiser.step()
        schedule.step()
    return found["lr_scheduler"]["interval"], rates


def test_cosine_starts_at_the_peak_is_half_in_the_middle_and_ends_at_zero():
    settings = Optimisation()
    assert rate(0, 10, settings) == 1
    assert rate(5, 10, settings) == pytest.approx(0.5)
    assert rate(2.5, 10, settings) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert rate(10, 10, settings) == pytest.approx(0, abs=1e-12)
    # One step too many, as a scheduler takes behind the last epoch, must not begin a new wave.
    assert rate(10.3, 10, settings) == pytest.approx(0, abs=1e-12)


def test_warm_up_rises_in_a_line_and_cosine_follows_without_a_jump():
    settings = Optimisation(warmup_epochs=2)
    assert rate(0, 10, settings) == 1e-3
    assert rate(0.5, 10, settings) == 0.25
    assert rate(1, 10, settings) == 0.5
    assert rate(2 - 1e-9, 10, settings) == pytest.approx(1)
    assert rate(2, 10, settings) == 1
    assert rate(6, 10, settings) == pytest.approx(0.5)
    assert rate(10, 10, settings) == pytest.approx(0, abs=1e-12)


def test_constant_stays_behind_the_warm_up():
    settings = Optimisation(schedule="constant", warmup_epochs=1)
    assert [rate(e, 4, settings) for e in (0.5, 1, 3, 4)] == [0.5, 1, 1, 1]


def test_a_warm_up_of_all_epochs_does_not_divide_by_zero():
    settings = Optimisation(warmup_epochs=4)
    assert rate(2, 4, settings) == 0.5
    assert 0 <= rate(4, 4, settings) <= 1


def test_the_rate_changes_after_each_step():
    interval, rates = shares({"warmup_epochs": 1, "lr": 0.5})
    assert interval == "step"
    expected = [rate(step / 5, 4, Optimisation(warmup_epochs=1)) for step in range(21)]
    assert rates == pytest.approx(expected)
    assert rates[20] == pytest.approx(0, abs=1e-12)
    assert max(rates) == rates[5] == 1


def test_the_rate_changes_after_each_epoch_as_released():
    interval, rates = shares({"schedule_step": "epoch"}, steps=4)
    assert interval == "epoch"
    assert rates == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0], abs=1e-12)


HEADS = [
    {"name": "tag", "dim": 16, "encoder_heads": 4},
    {"name": "tag", "dim": 32, "encoder_heads": 4, "position": "factorised", "conv": "gcn"},
    {"name": "tag_released", "ffn": 8},
    {"name": "pool"},
]


@pytest.mark.parametrize("head", HEADS, ids=["tag", "factorised", "released", "pool"])
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_every_parameter_is_in_one_group_and_only_weights_decay(head, optimiser):
    built = task({"head": head}, optimiser=optimiser, weight_decay=0.3, lr=0.01, backbone_lr_scale=0.1)
    groups = built.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in built.model.named_parameters()}
    listed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(names.values())
    norms = (nn.LayerNorm, nn.BatchNorm3d)
    of_norms = {
        f"{where}.{name}"
        for where, module in built.model.named_modules()
        if isinstance(module, norms)
        for name, _ in module.named_parameters()
    }
    assert of_norms
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            spared = name in of_norms or name.endswith("bias") or ".position.tables." in name
            assert group["weight_decay"] == (0 if spared else 0.3), name
            assert group["initial_lr"] == pytest.approx(0.001 if name.startswith("backbone.") else 0.01), name


def test_layer_wise_rates_reach_the_optimiser():
    spec = {"backbone": {"name": "small", "width": 4, "layer_decay": 0.5, "freeze_stages": 1}}
    built = task(spec, weight_decay=0.3, lr=0.01, backbone_lr_scale=0.2)
    groups = built.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in built.model.named_parameters()}
    listed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(name for name in names.values() if not name.startswith("backbone.stem"))
    rates = {
        "backbone.stages.0": 0.002 / 8,
        "backbone.stages.1": 0.002 / 4,
        "backbone.stages.2": 0.002 / 2,
        "head": 0.01,
    }
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            expected = next(value for start, value in rates.items() if name.startswith(start))
            assert group["initial_lr"] == pytest.approx(expected), name
            # Weights of norms are vectors.
            assert (group["weight_decay"] == 0.3) == (parameter.ndim > 1 and ".position.tables." not in name), name


class Tables(nn.Module):
    """Names and shapes of the position tables of torchvision's transformers."""

    def __init__(self):
        super().__init__()
        for name in (
            "relative_position_bias_table",
            "rel_pos_h",
            "class_token",
            "cls_token",
            "time_embeddings",
            "weight",
        ):
            self.register_parameter(name, nn.Parameter(torch.zeros(2, 3)))


def test_position_tables_of_a_backbone_do_not_decay():
    built = task(weight_decay=0.3)
    built.model = Recogniser(nn.Sequential(Tables()), nn.Linear(2, 2), (1, 1, 1), (1, 1, 1))
    groups = built.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in built.model.named_parameters()}
    decayed = [names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]]
    assert decayed == ["backbone.0.weight", "head.weight"]


def test_frozen_parameters_are_in_no_group():
    built = task()
    built.model.backbone.requires_grad_(False)
    groups = built.configure_optimizers()["optimizer"].param_groups
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in built.model.head.parameters()}


def test_the_hyper_parameters_are_plain_types_and_enough_to_build_it_again():
    torch.manual_seed(0)
    built = RecognitionTask(SPEC, {"frames": 2}, {"seed": 1}, {"lr": 0.5}, seed=3)
    hyper = dict(built.hparams)
    assert set(hyper) == {"spec", "preprocess", "split_options", "optimisation", "seed", "trained_on"}
    assert hyper["optimisation"]["lr"] == 0.5
    torch.manual_seed(0)
    again = RecognitionTask(**hyper)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in built.state_dict().items())


def batch(clips, skipped=()):
    return {
        "clip": torch.randn(clips, 3, 2, 16, 32, generator=torch.Generator().manual_seed(clips)),
        "label": torch.arange(clips) % 3,
        "skipped": list(skipped),
    }


def test_a_step_is_the_smoothed_cross_entropy_and_is_counted(monkeypatch):
    built = task(label_smoothing=0.2).eval()
    monkeypatch.setattr(built, "log", lambda *_, **__: None)
    built.on_train_epoch_start()
    losses = []
    for clips in (2, 3):
        logits = built(batch(clips)["clip"]).log_softmax(-1)
        target = torch.full((clips, 3), 0.2 / 3)
        target[range(clips), batch(clips)["label"]] += 0.8
        losses.append(float(-(target * logits).sum(1).mean()))
        assert float(built.training_step(batch(clips), 0).detach()) == pytest.approx(losses[-1], rel=1e-5)
    assert built.train_loss == pytest.approx((2 * losses[0] + 3 * losses[1]) / 5, rel=1e-5)


def test_clips_that_could_not_be_read_are_noted_once(monkeypatch):
    built = task()
    monkeypatch.setattr(built, "log", lambda *_, **__: None)
    built.on_train_epoch_start()
    bad = ("a.mp4", "/x/a.mp4", "truncated")
    assert built.training_step(batch(0, [bad]), 0) is None
    assert built.training_step(batch(0, [bad]), 1) is None
    assert [(clip.name, clip.split, clip.reason) for clip in built.skipped.values()] == [
        ("a.mp4", "train", "truncated")
    ]
    with pytest.raises(ValueError, match=r"none of the training clips could be used; a\.mp4: truncated"):
        built.on_train_epoch_end()
    built.on_validation_epoch_start()
    built.validation_step(batch(0, [bad]), 0)
    with pytest.raises(ValueError, match=r"none of the validation clips could be used"):
        built.on_validation_epoch_end()
    assert sorted(clip.split for clip in built.skipped.values()) == ["train", "val"]


def test_validation_measures_all_batches_together(monkeypatch):
    built, logged = task().eval(), {}
    monkeypatch.setattr(built, "log", lambda name, value, **_: logged.update({name: float(value)}))
    built.on_validation_epoch_start()
    with torch.no_grad():
        for clips in (4, 1):
            built.validation_step(batch(clips), 0)
        built.on_validation_epoch_end()
        logits = torch.cat([built(batch(clips)["clip"]) for clips in (4, 1)])
    labels = torch.tensor([0, 1, 2, 0, 0])
    hits = (logits.argmax(1) == labels).float()
    assert logged["val/top1"] == pytest.approx(float(hits.mean()))
    assert logged["val/mca"] == pytest.approx(float(sum(hits[labels == k].mean() for k in range(3)) / 3))
    assert logged["val/loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)


def test_random_draws_of_a_step_follow_from_the_seed_and_its_number():
    draws = {}
    for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0)):
        built = task()
        built.seed = seed
        built._trainer.fit_loop = SimpleNamespace(total_batch_idx=step)
        built.on_train_batch_start({}, 0)
        draw = float(torch.rand(()))
        assert draws.setdefault((seed, step), draw) == draw
    assert len(set(draws.values())) == 3


@pytest.mark.parametrize(("limit", "expected"), [(0.5, 0.5), (0.0, 20.0)], ids=["clipped", "left-alone"])
def test_gradient_clip(limit, expected):
    built = task(gradient_clip=limit)
    for parameter in built.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.model.head.classifier.bias.grad[0] = 20.0
    built.on_before_optimizer_step(None)
    assert float(built.model.head.classifier.bias.grad[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "mix_prob": 0.8}])
def test_a_mixed_step_is_the_smoothed_cross_entropy_of_the_mixed_labels(settings, monkeypatch):
    built = task(label_smoothing=0.2, **settings).eval()
    monkeypatch.setattr(built, "log", lambda *_, **__: None)
    built.on_train_epoch_start()
    for seed in range(6):
        torch.manual_seed(seed)
        clip, target = built.optimisation.mixing(
            batch(5)["clip"], batch(5)["label"], 3, InputSpec("video", VIDEO_AXES, tuple(batch(5)["clip"].shape[1:]))
        )
        expected = -((0.8 * target + 0.2 / 3) * built(clip).log_softmax(-1)).sum(1).mean()
        torch.manual_seed(seed)
        assert float(built.training_step(batch(5), 0).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 1.0}])
def test_a_step_on_tokens_runs_the_head_alone(monkeypatch, settings):
    built = task({"backbone": {"name": "small", "width": 4, "frozen": True}}, **settings)
    monkeypatch.setattr(built, "log", lambda *args, **options: None)
    clip, label = torch.randn(4, 3, 2, 16, 32), torch.tensor([0, 1, 2, 1])
    tokens = built.model.tokens(clip).half()
    batch = {"tokens": tokens, "label": label, "skipped": []}
    monkeypatch.setattr(built.model.backbone, "forward", None)
    torch.manual_seed(3)
    loss = built.training_step(batch, 0)
    torch.manual_seed(3)
    fed, target, mixing = tokens.float(), label, built.optimisation.mixing
    if mixing:
        fed, target = mixing(fed, target, 3, InputSpec("tokens", TOKEN_AXES, tuple(fed.shape[1:])))
    assert torch.equal(loss, nn.functional.cross_entropy(built.model.head(fed).logits, target))
    loss.backward()
