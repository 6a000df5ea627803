"""Stages frozen, slowed, computed again; blocks left out: each changes nothing else."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.models.video import SwinTransformer3d, mvit
from torchvision.ops import StochasticDepth

import taggnn
from taggnn.backbones import FrozenBatchNorm, build, set_drop_path, stages, strip, tune


def swin():
    return strip(SwinTransformer3d([2, 4, 4], 8, [1, 2], [2, 2], [2, 2, 2], dropout=0.2, stochastic_depth_prob=0.4))


def transformer():
    blocks = [mvit.MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 1, 1]) for _ in range(3)]
    return strip(mvit.MViT((32, 32), 4, blocks, False, False, False, False, dropout=0.2, stochastic_depth_prob=0.5))


def residual():
    return build("small", width=4, depth=2, drop=0.3)


MAKERS = {"small": residual, "swin": swin, "mvit": transformer}
CLIP = (4, 32, 32)


def step(module, seed=3):
    """Loss, gradients and buffers of a training step."""
    module.train()
    torch.manual_seed(seed)
    loss = module(torch.randn(2, 3, *CLIP)).square().mean()
    loss.backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    return loss.detach(), gradients, {name: value.clone() for name, value in module.named_buffers()}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("frozen", [0, 1], ids=["all", "first frozen"])
def test_checkpointing_changes_no_gradient_and_no_statistic(kind, frozen):
    torch.manual_seed(0)
    plain = MAKERS[kind]()
    again = copy.deepcopy(plain)
    tune(plain, freeze_stages=frozen)
    tune(again, freeze_stages=frozen, checkpointing=True)
    # Twice: state left by the first step shows in the second.
    for seed in (3, 4):
        (loss, grads, buffers), (other, regrads, rebuffers) = step(plain, seed), step(again, seed)
        assert torch.equal(loss, other)
        assert all(torch.equal(value, rebuffers[name]) for name, value in buffers.items())
        for name, value in grads.items():
            assert (value is None) == (regrads[name] is None)
            if value is not None:
                torch.testing.assert_close(value, regrads[name])
    assert any(value is not None for value in grads.values())


def test_checkpointing_keeps_less():
    def saved(module):
        """Numbers that a forward pass saves for the backward pass; of recomputed stages their inputs."""
        sizes = []
        if module.tuning.notes:
            for stage in stages(module):
                part = module.get_submodule(stage.parts[0])
                part.register_forward_pre_hook(lambda _part, inputs: sizes.append(inputs[0].numel()))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            module(torch.randn(2, 3, *CLIP))
        return sum(sizes)

    assert saved(build("small", depth=2, checkpointing=True)) < saved(build("small", depth=2)) / 3


def test_checkpointing_survives_copies_and_evaluation():
    module = residual()
    tune(module, checkpointing=True)
    clip = torch.randn(1, 3, *CLIP)
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with torch.no_grad():
            # Another's weights: the copy computes with its own.
            for parameter in copied.parameters():
                parameter.zero_()
            assert copied.eval()(clip).abs().max() == 0
    with torch.no_grad():
        assert module.eval()(clip).abs().max() > 0
    assert list(module.state_dict()) == list(residual().state_dict())


def test_a_stage_that_changes_its_input_is_refused():
    class Greedy(nn.Sequential):
        def forward(self, x):
            return super().forward(x.add_(1))

    module = nn.Sequential(nn.Conv3d(3, 2, 1), Greedy(nn.Conv3d(2, 2, 1)))
    module.cut = (("0",), ("1",))
    tune(module, checkpointing=True)
    with pytest.raises(ValueError, match="a Greedy changes its own input and cannot be computed again"):
        module(torch.randn(1, 3, 2, 2, 2))


@pytest.mark.parametrize("kind", MAKERS)
def test_frozen_stages_get_no_gradient_and_keep_their_statistics(kind):
    module = MAKERS[kind]()
    found = stages(module)
    tune(module, freeze_stages=2)
    inside = {name for stage in found[:2] for name in stage.parameters}
    before = {name: value.clone() for name, value in module.named_buffers()}
    _, grads, after = step(module)
    assert {name for name, value in grads.items() if value is None} == inside
    parts = tuple(part for stage in found[:2] for part in stage.parts)
    for name, value in after.items():
        if "running" in name or "batches" in name:
            assert torch.equal(value, before[name]) == name.startswith(parts)
    if kind == "small":
        frozen = [name for name, part in module.named_modules() if isinstance(part, FrozenBatchNorm)]
        assert frozen
        assert all(name.startswith(parts) for name in frozen)


def test_with_a_head_a_frozen_stage_has_no_dropout():
    options = {"width": 4, "drop": 0.5}
    model = taggnn.attach(
        "small", "pool", 2, clip=CLIP, backbone_options={**options, "freeze_stages": ["stages.0", "stem"]}
    )
    for _ in range(2):
        assert [
            part.training for part in (model.backbone.stem, model.backbone.stages[0][0], model.backbone.stages[1][0])
        ] == [
            False,
            False,
            True,
        ]
        model.eval().train()
    assert model.backbone.training
    assert "training  stem, stages.0.0 of 4 stages frozen" in model.describe()


def test_layer_wise_rates_fall_towards_the_clip():
    with torch.device("meta"):
        module = build("r2plus1d_18", layer_decay=0.5)
    scales = module.tuning.scales
    assert scales.keys() == dict(module.named_parameters()).keys()
    expected = {"stem": 1 / 32, "layer1": 1 / 16, "layer2": 1 / 8, "layer3": 1 / 4, "layer4": 1 / 2}
    assert {(name.split(".")[0], scale) for name, scale in scales.items()} == set(expected.items())
    assert module.tuning.notes == ("learning rate x 0.5 a stage, 0.0312 (stem) to 0.5 (layer4)",)


@pytest.mark.parametrize("kind", ["swin", "mvit"])
def test_drop_path_is_that_of_the_original(kind):
    ours, theirs = MAKERS[kind](), MAKERS[kind]()
    last = [part for part in theirs.modules() if isinstance(part, StochasticDepth)][-1].p
    set_drop_path(ours, 0.9)
    set_drop_path(ours, last)
    rates = [[part.p for part in module.modules() if isinstance(part, StochasticDepth)] for module in (ours, theirs)]
    assert rates[0] == pytest.approx(rates[1])
    assert len(rates[0]) == 3
    assert rates[0][-1] > 0.3


@pytest.mark.parametrize("kind", ["timesformer", "vjepa2"])
def test_drop_path_of_hugging_face_s_models_that_have_it(kind):
    pytest.importorskip("transformers")
    config = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    config |= {"crop_size": 32, "frames_per_clip": 2} if kind == "vjepa2" else {"image_size": 32, "num_frames": 2}
    module = build(f"hf:{kind}", config=config, drop_path=0.5)
    rates = [part.p for part in module.modules() if isinstance(part, StochasticDepth)]
    assert rates == [0.0, 0.25, 0.5]
    # transformers 5 takes TimeSformer's rate for a whole number.
    if kind == "vjepa2":
        theirs = build(f"hf:{kind}", config={**config, "drop_path_rate": 0.5})
        assert rates == [part.drop_prob for part in theirs.modules() if hasattr(part, "drop_prob")]
    clip = torch.randn(2, 3, *module.clip)
    assert module.eval()(clip).shape == module.train()(clip).shape


def test_drop_path_of_a_rate_leaves_blocks_out():
    module = transformer()
    set_drop_path(module, 0.999)
    tokens = torch.randn(64, 65, 8)
    with torch.no_grad():
        whole = module.blocks[2].eval()(tokens, (1, 8, 8))[0]
        dropped = module.blocks[2].train()(tokens, (1, 8, 8))[0]
    assert (whole != tokens).any((1, 2)).all()
    assert (dropped == tokens).all((1, 2)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0}, r"layer_decay must lie in \(0, 1\], got 0"),
        ({"layer_decay": 1.5}, r"layer_decay must lie in"),
        ({"drop_path": 1.0}, r"drop_path must lie in \[0, 1\), got 1.0"),
        ({"drop_path": 0.1}, r"drop_path=0.1: Small has no drop path in its original"),
        ({"freeze_stages": 4}, r"freeze_stages: 4 of 4 stages cannot be taken"),
        ({"freeze_stages": -1}, r"freeze_stages: -1 of 4 stages"),
        ({"freeze_stages": ["stem", "stages"]}, r"names all stages .* for all of them there is frozen"),
        ({"freeze_stages": True}, r"freeze_stages must be .*, got True"),
        ({"freeze_stages": None}, r"freeze_stages must be .*, got None"),
        ({"freeze_stages": 1.5}, r"freeze_stages must be .*, got 1.5"),
        ({"freeze_stages": [1]}, r"freeze_stages must be .*, got \[1\]"),
        ({"layer_decay": "0.5"}, r"layer_decay must be a number or None, got '0.5'"),
        ({"bn_momentum": "x"}, r"bn_momentum must be a number or None, got 'x'"),
        ({"drop_path": "x"}, r"drop_path must be a number or None, got 'x'"),
        ({"drop_path": True}, r"drop_path must be a number or None, got True"),
        ({"checkpointing": "no"}, r"checkpointing must be True or False, got 'no'"),
        ({"frozen_bn": 3}, r"frozen_bn must be True or False, got 3"),
        ({"freeze_stages": ["layer1"]}, r"no stage 'layer1'; possible: stem, stages.0.0"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_reported(options, message):
    with pytest.raises(ValueError, match=message):
        build("small", width=2, **options)


@pytest.mark.parametrize("kind", ["swin", "mvit"])
def test_a_frozen_part_drops_no_block_before_train_is_called(kind):
    module = taggnn.attach(
        MAKERS[kind](), "pool", 3, clip=CLIP, backbone_options={"freeze_stages": 2, "drop_path": 0.5}
    ).backbone
    assert module.tuning.frozen
    for name in module.tuning.frozen:
        assert not [part for part in module.get_submodule(name).modules() if part.training]
    assert any(part.training for part in module.modules() if isinstance(part, StochasticDepth))


@pytest.mark.parametrize("options", [{"layer_decay": 0.5}, {"freeze_stages": 1}, {"checkpointing": True}], ids=str)
def test_a_module_without_parameters_has_no_stages(options):
    with pytest.raises(ValueError, match="AvgPool3d has no parameters"):
        taggnn.attach(nn.AvgPool3d(2), "pool", 2, clip=(4, 8, 8), backbone_options=options)
    taggnn.attach(nn.AvgPool3d(2), "pool", 2, clip=(4, 8, 8), backbone_options={"frozen_bn": True})


def test_batchnorm_options_are_reported():
    assert build("small", width=2, frozen_bn=True).tuning.notes == ("BatchNorm statistics frozen",)
    assert build("small", width=2, bn_momentum=0.2).tuning.notes == ("BatchNorm momentum 0.2",)
