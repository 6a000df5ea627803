"""The loop and the optimiser: learning rate, parameter groups, what a step and an epoch come to, named losses."""

import csv
import math

import pytest
import torch
from torch import nn

from taggnn import model as models
from taggnn.model import Recogniser
from taggnn.training import optim
from taggnn.training.losses import check_losses, loss_names, loss_weights
from taggnn.training.optim import rate
from taggnn.training.options import Optimisation, Training
from taggnn.types import TOKEN_AXES, BadClip, Batch, Features, InputSpec, Output


def test_cosine_starts_at_the_peak_is_half_in_the_middle_and_ends_at_zero():
    settings = Optimisation()
    assert rate(0, 10, settings) == 1
    assert rate(5, 10, settings) == pytest.approx(0.5)
    assert rate(2.5, 10, settings) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert rate(10, 10, settings) == pytest.approx(0, abs=1e-12)
    # One step too many must not begin a new wave.
    assert rate(10.3, 10, settings) == pytest.approx(0, abs=1e-12)


def test_a_multistep_rate_falls_after_each_milestone():
    settings = Optimisation(schedule="multistep", milestones=[3, 5], gamma=0.5, warmup_epochs=1)
    assert [rate(epoch, 8, settings) for epoch in (0.5, 1, 2.9, 3, 4.9, 5, 8)] == [0.5, 1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("options", [{"schedule": "multistep"}, {"milestones": [3]}], ids=["no milestones", "cosine"])
def test_milestones_are_those_of_multistep(options):
    with pytest.raises(ValueError, match=r"optim\.milestones"):
        Optimisation(**options)


def test_warm_up_rises_in_a_line_and_cosine_follows_without_a_jump():
    settings = Optimisation(warmup_epochs=2)
    assert rate(0, 10, settings) == 1e-3
    assert rate(0.5, 10, settings) == 0.25
    assert rate(1, 10, settings) == 0.5
    assert rate(2 - 1e-9, 10, settings) == pytest.approx(1)
    assert rate(2, 10, settings) == 1
    assert rate(6, 10, settings) == pytest.approx(0.5)
    assert rate(10, 10, settings) == pytest.approx(0, abs=1e-12)


def test_constant_stays_after_the_warm_up():
    settings = Optimisation(schedule="constant", warmup_epochs=1)
    assert [rate(e, 4, settings) for e in (0.5, 1, 3, 4)] == [0.5, 1, 1, 1]


def test_a_warm_up_of_all_epochs_does_not_divide_by_zero():
    settings = Optimisation(warmup_epochs=4)
    assert rate(2, 4, settings) == 0.5
    assert 0 <= rate(4, 4, settings) <= 1


def rates_of(setup, batches, fit, **options):
    """The learning rate of the head in each batch, before and after its step."""
    rates = [None]
    trainer = fit(
        setup, batches(5), batches(1), epochs=4, watch=lambda trainer: rates.append(trainer.step.rate), **options
    )
    rates[0] = setup.optimisation.lr * rate(0, 4, setup.optimisation)
    return [value / setup.optimisation.lr for value in rates], trainer


def test_the_rate_changes_after_each_step(build, batches, fit):
    rates, _ = rates_of(build(warmup_epochs=1, lr=0.5), batches, fit)
    assert rates == pytest.approx([rate(step / 5, 4, Optimisation(warmup_epochs=1)) for step in range(21)])
    assert rates[20] == pytest.approx(0, abs=1e-12)
    assert max(rates) == rates[5] == 1


def test_the_rate_changes_after_each_epoch_as_released(build, batches, fit):
    rates, trainer = rates_of(build(schedule_step="epoch"), batches, fit)
    expected = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert rates[1:] == pytest.approx([expected[batch // 5] for batch in range(20)], abs=1e-12)
    # The row of an epoch holds the rate of the next one.
    assert [row["lr"] / 0.01 for row in trainer.history.rows] == pytest.approx([*expected[1:], 0], abs=1e-12)


HEADS = [
    {"name": "tag", "dim": 16, "encoder_heads": 4},
    {"name": "tag", "dim": 32, "encoder_heads": 4, "position": "factorised", "conv": "gcn"},
    {"name": "tag_released", "ffn": 8},
    {"name": "pool"},
    {
        "name": "art",
        "dim": 16,
        "attention_heads": 4,
        "bank": {"prompts": ["a {}"], "channels": 5},
        "position": "factorised",
    },
]


@pytest.mark.parametrize("head", HEADS, ids=["tag", "factorised", "released", "pool", "art"])
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_every_parameter_is_in_one_group_and_only_weights_decay(build, head, optimiser):
    setup = build(architecture={"head": head}, optimiser=optimiser, weight_decay=0.3, lr=0.01, backbone_lr_scale=0.1)
    groups = optim.optimiser(setup.model, setup.optimisation).param_groups
    names = {id(parameter): name for name, parameter in setup.model.named_parameters()}
    listed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(names.values())
    norms = (nn.LayerNorm, nn.BatchNorm3d)
    of_norms = {
        f"{where}.{name}"
        for where, module in setup.model.named_modules()
        if isinstance(module, norms)
        for name, _ in module.named_parameters()
    }
    assert of_norms
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            spared = name in of_norms or name.endswith(("bias", "prompts", "agent")) or ".position.tables." in name
            assert group["weight_decay"] == (0 if spared else 0.3), name
            assert group["initial_lr"] == pytest.approx(0.001 if name.startswith("backbone.") else 0.01), name


def test_layer_wise_rates_reach_the_optimiser(build):
    backbone = {"name": "small", "width": 4, "layer_decay": 0.5, "freeze_stages": 1}
    setup = build(architecture={"backbone": backbone}, weight_decay=0.3, lr=0.01, backbone_lr_scale=0.2)
    groups = optim.optimiser(setup.model, setup.optimisation).param_groups
    names = {id(parameter): name for name, parameter in setup.model.named_parameters()}
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
    """Names and shapes of the position tables of the transformers of torchvision and timm."""

    def __init__(self):
        super().__init__()
        for name in (
            "relative_position_bias_table",
            "rel_pos_h",
            "class_token",
            "cls_token",
            "reg_token",
            "pos_embed",
            "time_embeddings",
            "weight",
        ):
            self.register_parameter(name, nn.Parameter(torch.zeros(2, 3)))


def test_position_tables_of_a_backbone_do_not_decay(build):
    setup = build(weight_decay=0.3)
    model = Recogniser(nn.Sequential(Tables()), nn.Linear(2, 2), setup.model.spec, (1, 1, 1))
    groups = optim.optimiser(model, setup.optimisation).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = [names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]]
    assert decayed == ["backbone.0.weight", "head.weight"]


def test_frozen_parameters_are_in_no_group(build):
    setup = build()
    setup.model.backbone.requires_grad_(False)
    groups = optim.optimiser(setup.model, setup.optimisation).param_groups
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in setup.model.head.parameters()}


def test_a_checkpoint_is_enough_to_build_the_model_again(build, batches, fit, tmp_path):
    fit(build(), batches(2), batches(1), epochs=1)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    again = models.build(content["architecture"])
    again.load_state_dict(content["model"])
    assert content["optimisation"]["lr"] == 0.01


def first_loss(setup, batch, fit, val):
    """The loss of the first batch, with the random draws of a training step."""
    found = []
    fit(setup, [batch], val, epochs=1, watch=lambda trainer: found.append(trainer.progress.losses))
    return found[0]["loss"][0] / len(batch)


def test_a_step_is_the_smoothed_cross_entropy_and_is_counted(build, batches, fit):
    setup, losses = build(label_smoothing=0.2, lr=0.0, weight_decay=0.0), []
    setup.model.eval()
    made = [batches(1, clips)[0] for clips in (2, 3)]
    for batch in made:
        logits = setup.model(batch.x).logits.log_softmax(-1)
        target = torch.full((len(batch), 3), 0.2 / 3)
        target[range(len(batch)), batch.label] += 0.8
        losses.append(float(-(target * logits).sum(1).mean()))
    (row,) = fit(setup, made, batches(1), epochs=1).history.rows
    assert row["train/loss"] == pytest.approx((2 * losses[0] + 3 * losses[1]) / 5, rel=1e-5)
    assert row["train/clips"] == 5


def test_training_accuracy_is_that_of_the_clips_as_they_are_trained(build, batches, fit, tmp_path):
    setup = build(label_smoothing=0.2, lr=0.0, weight_decay=0.0)
    setup.model.eval()
    made = [batches(1, clips)[0] for clips in (2, 3)]
    with torch.no_grad():
        hits = [int((setup.model(batch.x).logits.argmax(1) == batch.label).sum()) for batch in made]
        made[0].label = setup.model(made[0].x).logits.argmax(1)
    (row,) = fit(setup, made, batches(1), epochs=1).history.rows
    assert row["train/top1"] == pytest.approx((2 + hits[1]) / 5, rel=1e-6)
    with (tmp_path / "metrics.csv").open() as file:
        assert float(next(csv.DictReader(file))["train/top1"]) == pytest.approx(row["train/top1"], rel=1e-6)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0, "mix_prob": 0.1}])
def test_mixed_clips_have_no_training_accuracy(build, batches, fit, settings):
    (row,) = fit(build(**settings), batches(2), batches(1), epochs=1).history.rows
    assert "train/top1" not in row
    assert row["train/loss"] > 0


def test_clips_that_could_not_be_read_are_noted_once(build, batches, fit):
    bad, made = BadClip("a.mp4", "/x/a.mp4", "truncated"), batches(1)[0]
    empty = Batch(made.x[:0], made.label[:0], made.index[:0], [bad])
    seen = []
    with pytest.raises(ValueError, match=r"none of the training clips could be used; a\.mp4: truncated"):
        fit(build(), [empty, empty], [made], watch=lambda trainer: seen.append(dict(trainer.history.skipped)))
    assert [(clip.name, clip.split, clip.reason) for clip in seen[-1].values()] == [("a.mp4", "train", "truncated")]
    with pytest.raises(ValueError, match=r"none of the validation clips could be used"):
        fit(build(), [made, empty], [empty], watch=lambda trainer: seen.append(trainer.history.skipped))
    assert sorted(clip.split for clip in seen[-1].values()) == ["train", "val"]


def test_validation_measures_all_batches_together(build, batches, fit):
    setup = build(lr=0.0, weight_decay=0.0)
    setup.model.eval()
    made = [batches(1, 4)[0], batches(1, 1, first=1)[0]]
    (row,) = fit(setup, batches(1), made, epochs=1).history.rows
    with torch.no_grad():
        logits, labels = torch.cat([setup.model(b.x).logits for b in made]), torch.cat([b.label for b in made])
    hits = (logits.argmax(1) == labels).float()
    assert row["val/top1"] == pytest.approx(float(hits.mean()))
    assert row["val/mca"] == pytest.approx(float(sum(hits[labels == k].mean() for k in range(3)) / 3))
    assert row["val/loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert row["val/clips"] == 5


def test_random_draws_of_a_step_follow_from_the_seed_and_its_number(build, batches, fit):
    class Draws(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head, self.drawn = head, []

        def forward(self, tokens, targets=None):
            if self.training:
                self.drawn.append(float(torch.rand(())))
            return self.head(tokens)

    found = {}
    for seed in (0, 1, 0):
        setup = build()
        setup.model.head = Draws(setup.model.head)
        fit(setup, batches(2), batches(1), epochs=2, seed=seed)
        assert found.setdefault(seed, setup.model.head.drawn) == setup.model.head.drawn
    assert len({draw for drawn in found.values() for draw in drawn}) == 8


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "mix_prob": 0.8}])
def test_a_mixed_step_is_the_smoothed_cross_entropy_of_the_mixed_labels(build, batches, fit, settings):
    batch = batches(1, clips=5)[0]
    for seed in range(6):
        setup = build(label_smoothing=0.2, **settings)
        setup.model.eval()
        torch.manual_seed(seed * 1_000_003)
        x, target = setup.optimisation.mixing(batch.x, batch.label, 3, setup.model.spec)
        with torch.no_grad():
            expected = -((0.8 * target + 0.2 / 3) * setup.model(x).logits.log_softmax(-1)).sum(1).mean()
        (row,) = fit(setup, [batch], [batch], epochs=1, seed=seed).history.rows
        assert row["train/loss"] == pytest.approx(float(expected), rel=1e-5)


class OnTokens:
    """Makes a trainer's batches stored tokens of a frozen backbone."""

    def __init__(self, setup, dtype):
        self.setup, self.dtype = setup, dtype
        self.spec = InputSpec("tokens", TOKEN_AXES, (*setup.model.grid, 32))

    def __call__(self, batch):
        with torch.no_grad():
            tokens = self.setup.model.features(batch.x).tokens
        return Batch(tokens.to(self.dtype), batch.label, batch.index)


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 1.0}])
def test_a_step_on_tokens_runs_the_head_alone(build, batches, fit, monkeypatch, settings):
    setup = build(architecture={"backbone": {"name": "small", "width": 4, "frozen": True}}, **settings)
    stored = OnTokens(setup, torch.float16)
    batch = stored(batches(1, clips=4)[0])
    torch.manual_seed(0)
    x, targets = batch.x.float(), batch.label
    if mixing := setup.optimisation.mixing:
        x, targets = mixing(x, targets, 3, stored.spec)
    setup.model.head.eval()
    with torch.no_grad():
        expected = float(nn.functional.cross_entropy(setup.model.head(x).logits, targets))
    monkeypatch.setattr(setup.model.backbone, "forward", None)

    found = fit(setup, [batch], [batch], epochs=1, data_spec=stored.spec)
    assert found.history.rows[0]["train/loss"] == expected


class Losing(nn.Module):
    """A head with a loss of each clip and one of the batch, the mean over its clips; both need the targets."""

    loss_weights = {"spread": 0.5}  # noqa: RUF012

    def __init__(self, channels, grid, classes):
        super().__init__()
        self.classifier, self.aside = nn.Linear(channels, classes), nn.Linear(channels, 1)
        self.calls = []

    def forward(self, tokens, targets=None):
        pooled = tokens.flatten(1, -2).mean(1)
        self.calls.append(targets is not None)
        losses = {}
        if targets is not None:
            shares = targets if targets.ndim == 2 else nn.functional.one_hot(targets, 3)
            each = (self.aside(pooled)[:, 0] - shares.argmax(1)).square()
            losses = {"aside": each, "spread": pooled.square().sum(1).mean()}
        return Output(self.classifier(pooled), {"pooled": pooled}, losses)


class LosingBackbone(nn.Module):
    """Features with a loss, in training mode only."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        tokens = self.inner(x).movedim(1, -1)
        return Features(tokens, {"size": tokens.flatten(1).abs().mean(1)} if self.training else {})


@pytest.fixture
def losing(build):
    """A model whose backbone and head return losses."""

    def made(**optimisation):
        setup = build(**optimisation)
        torch.manual_seed(5)
        setup.model.head = Losing(32, setup.model.grid, 3)
        setup.model.backbone = LosingBackbone(setup.model.backbone)
        return setup

    return made


def test_named_losses_are_weighted_logged_and_trained(losing, batches, fit, tmp_path):
    setup = losing(losses={"aside": 0.3}, lr=0.0, weight_decay=0.0)
    setup.model.backbone.inner.eval()
    made = batches(3)
    made[2] = Batch(made[2].x[:1], made[2].label[:1], made[2].index[:1])
    (row,) = fit(setup, made, batches(1), epochs=1).history.rows
    with torch.no_grad():
        parts = []
        for batch in made:
            output = setup.model(batch.x, batch.label)
            main = nn.functional.cross_entropy(output.logits, batch.label)
            parts.append([main, *(output.losses[name].mean() for name in ("size", "aside", "spread"))])
    counts = torch.tensor([3.0, 3.0, 1.0])
    main, size, aside, spread = (float((counts * torch.stack(column)).sum() / 7) for column in zip(*parts, strict=True))
    for name, value in {"cross_entropy": main, "size": size, "aside": aside, "spread": spread}.items():
        assert row[f"train/{name}"] == pytest.approx(value, rel=1e-5), name
    assert row["train/loss"] == pytest.approx(main + size + 0.3 * aside + 0.5 * spread, rel=1e-5)
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    named = ["train/cross_entropy", "train/size", "train/aside", "train/spread"]
    assert header[:7] == ["epoch", "train/loss", *named, "train/clips"]


def test_no_named_loss_is_computed_in_evaluation(losing, batches, fit):
    setup = losing()
    fit(setup, batches(2), batches(3), epochs=1)
    assert setup.model.head.calls == [True, True, False, False, False]
    assert setup.model(batches(1)[0].x).losses == {}


def test_a_loss_moves_the_weights_that_only_it_sees(losing, batches, fit):
    setup = losing()
    before = setup.weights()
    fit(setup, batches(2), batches(1), epochs=1)
    assert not torch.equal(setup.model.head.aside.weight, before["head.aside.weight"])
    still = losing(losses={"aside": 0.0}, weight_decay=0.0)
    fit(still, batches(2), batches(1), epochs=1)
    assert torch.equal(still.model.head.aside.weight, before["head.aside.weight"])


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_mixed_targets_reach_the_head(losing, batches, fit, settings):
    setup, seen = losing(**settings), []
    forward = setup.model.head.forward
    setup.model.head.forward = lambda tokens, targets=None: seen.append(targets) or forward(tokens, targets)
    fit(setup, batches(2), batches(1), epochs=1)
    assert [tuple(targets.shape) for targets in seen[:2]] == [(3, 3), (3, 3)]
    torch.testing.assert_close(seen[0].sum(1), torch.ones(3))


def test_names_of_losses_are_found_without_a_trace(losing):
    setup = losing()
    before, state = setup.weights(), torch.get_rng_state()
    assert loss_names(setup.model, setup.model.spec, 3) == ["size", "aside", "spread"]
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert setup.model.head.calls == []


def test_weights_are_as_given_or_the_module_s_default(losing):
    names = ["size", "aside", "spread"]
    assert loss_weights(losing().model, {"aside": 2, "of_another_head": 3}, names) == {
        "size": 1,
        "aside": 2,
        "spread": 0.5,
    }


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        ({"asid": 2}, ["size", "aside"], r"optim\.losses.*'asid'.*did you mean 'aside'"),
        ({}, ["size", "loss"], "'loss'"),
        ({}, ["cross_entropy"], "'cross_entropy'"),
    ],
    ids=["unknown", "taken", "the-criterion"],
)
def test_names_of_losses_that_cannot_be_are_refused(given, names, message):
    check_losses({"aside": 2}, ["size", "aside", "size"], "cross_entropy")
    with pytest.raises(ValueError, match=message):
        check_losses(given, names, "cross_entropy")


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 7), (3, 3), (20, 7), (0.5, 3), (1.0, 7), (0, 0)], ids=lambda value: str(value)
)
def test_batches_of_an_epoch_can_be_limited(limit, expected):
    assert Training(limit_batches=limit).limited(7) == expected


def test_a_limited_epoch_resumes_within_its_limit(build, batches, fit, tmp_path):
    keep = {"batches": [3], "epochs": [1]}
    whole = build()
    fit(whole, batches(5), batches(1), keep=keep, limit_batches=2)
    again = build(seed=1)
    seen = []
    fit(again, batches(5), batches(1), limit_batches=2, resume=tmp_path / "batch_3.ckpt", watch=seen.append)
    assert len(seen) == 1
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
