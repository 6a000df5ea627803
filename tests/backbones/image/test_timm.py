"""Models of timm, tiny and with random weights: maps and tokens on their grid, sizes, weights, shift, offline rebuilds."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import taggnn
from taggnn import backbones, models
from taggnn.backbones import build, find, settled
from taggnn.backbones.image import timm_features, timm_models
from taggnn.io import checkpoint, exporters

timm = pytest.importorskip("timm")

# A map of channels first, one of channels last, and tokens with a class token, with register tokens, and with neither.
KINDS = {
    "test_resnet": (96, (3, 2)),
    "test_efficientnet": (256, (3, 2)),
    "test_convnext": (64, (3, 2)),
    "test_mambaout": (64, (3, 2)),
    "test_vit": (64, (6, 4)),
    "test_vit2": (64, (6, 4)),
    "test_vit3": (96, (6, 4)),
}
SIZE = (96, 64)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """The hub is never accessed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def model_of(name, **options):
    """A model of timm itself, every parameter random: scales and tokens start at zero."""
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_tokens_are_timms_own_at_their_positions(name, tmp_path):
    sized = {"img_size": SIZE} if "vit" in name else {}
    model = model_of(name, **sized)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    module = build(f"timm:{name}", tmp_path / "model.safetensors", clip=(3, *SIZE), config=sized).eval()
    channels, (height, width) = KINDS[name]
    clip = torch.randn(2, 3, 3, *SIZE)
    with torch.no_grad():
        found = module(clip)
        theirs = model.forward_features(clip.transpose(1, 2).flatten(0, 1))
    assert found.shape == (2, channels, 3, height, width)
    tokens = backbones.tokens_of(found)
    for clip_number, t, y, x in [(0, 0, 0, 0), (0, 2, 1, 1), (1, 1, height - 1, 0), (1, 2, height - 1, width - 1)]:
        image = theirs[clip_number * 3 + t]
        if image.ndim == 2:
            expected = image[model.num_prefix_tokens + y * width + x]
        else:
            expected = image[y, x] if name == "test_mambaout" else image[:, y, x]
        torch.testing.assert_close(tokens[clip_number, t, y, x], expected)


@pytest.mark.parametrize(("name", "prefix"), [("test_vit", 1), ("test_vit3", 0)])
def test_class_and_register_tokens_are_dropped(name, prefix):
    module = build(f"timm:{name}", config={"reg_tokens": 2})
    assert module.model.num_prefix_tokens == prefix + 2
    assert backbones.dry_run(module, backbones.video_spec(module, (2, 160, 160)))[1] == (2, 10, 10)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit2", "test_vit3"])
def test_every_parameter_gets_a_gradient(name):
    module = build(f"timm:{name}")
    module(torch.randn(1, 3, 2, 160, 160)).square().sum().backward()
    assert not [key for key, parameter in module.named_parameters() if parameter.grad is None]


def test_a_row_states_what_the_weights_expect():
    row, facts = find("timm:test_vit"), timm.get_pretrained_cfg("test_vit")
    assert (row.mean, row.std, row.clip[1:]) == (tuple(facts.mean), tuple(facts.std), facts.input_size[1:])
    assert find("timm:test_vit", {"img_size": [32, 48]}).clip[1:] == (32, 48)
    assert find("timm:test_vit.r160_in1k").name == "timm:test_vit.r160_in1k"


def test_positions_follow_the_size_of_the_clip():
    torch.manual_seed(0)
    module = build("timm:test_vit").eval()
    table = module.model.pos_embed.detach().clone()
    backbones.resize_positions(module, (5, 96, 64))
    assert module.model.pos_embed.shape == (1, 1 + 6 * 4, 64)
    assert module(torch.zeros(1, 3, 2, 96, 64)).shape == (1, 64, 2, 6, 4)
    # The class token has no position on the grid.
    assert torch.equal(module.model.pos_embed[:, 0], table[:, 0])
    backbones.resize_positions(module, (7, 96, 64))
    assert module(torch.zeros(1, 3, 7, 96, 64)).shape == (1, 64, 7, 6, 4)


def test_a_clip_of_another_size_than_the_positions_is_refused():
    with pytest.raises(ValueError, match=r"160, 160.*96, 64"):
        build("timm:test_vit")(torch.zeros(1, 3, 2, 96, 64))
    with pytest.raises(ValueError, match=r"ConVit.*img_size"):
        build("timm:convit_tiny", clip=(2, 96, 64))
    assert build("timm:convit_tiny", clip=(2, 64, 64), config={"img_size": 64}).grid == (4, 4)
    # A network of convolutions takes any.
    assert build("timm:test_resnet")(torch.zeros(1, 3, 2, 96, 64)).shape[3:] == (3, 2)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035", "test_convnext", "test_nfnet", "test_byobnet"])
def test_the_shift_lets_a_frame_see_its_neighbours(name):
    torch.manual_seed(0)
    module, plain = (build(f"timm:{name}", temporal_shift=share).eval() for share in (0.25, 0.0))
    for parameter in module.parameters():
        # The scale of a residual branch.
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    plain.load_state_dict(module.state_dict())
    clip = torch.randn(1, 3, 3, 64, 64)
    other = clip.clone()
    other[:, :, 2] += 1
    with torch.no_grad():
        assert torch.equal(plain(clip)[:, :, :2], plain(other)[:, :, :2])
        assert not torch.equal(module(clip)[:, :, 1], module(other)[:, :, 1])


def test_a_vit_takes_no_shift():
    with pytest.raises(ValueError, match=r"temporal_shift.*ResNet"):
        build("timm:test_vit", temporal_shift=0.25)


def test_weights_of_a_folder_and_of_a_run(tmp_path):
    model = model_of("test_vit2", depth=3)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    facts = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "input_size": [3, 160, 160]}
    content = {"architecture": "test_vit2", "pretrained_cfg": facts, "model_args": {"depth": 3}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    name = f"timm:{tmp_path}"
    assert find(name).mean == (0.5, 0.4, 0.3)
    options = settled(name, {}, True)
    assert options["config"]["depth"] == 3
    module = build(name, "default", **options)
    assert torch.equal(module.model.blocks[2].mlp.fc1.weight, model.blocks[2].mlp.fc1.weight)
    # As in the file of a run, below a prefix and without the classifier.
    torch.save({f"backbone.{key}": value for key, value in module.state_dict().items()}, tmp_path / "run.pth")
    (tmp_path / "config.json").unlink()
    again = build(name, tmp_path / "run.pth", **options)
    assert torch.equal(again.model.pos_embed, module.model.pos_embed)


def test_a_file_that_does_not_fit_is_listed(tmp_path):
    state = model_of("test_vit").state_dict()
    torch.save({key: value for key, value in state.items() if key != "blocks.1.norm1.bias"}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"blocks\.1\.norm1\.bias"):
        build("timm:test_vit", tmp_path / "x.pth")


def test_grayscale_clips_sum_the_first_kernels(tmp_path):
    save_file(model_of("test_resnet").state_dict(), tmp_path / "x.safetensors")
    gray, rgb = (build("timm:test_resnet", tmp_path / "x.safetensors", in_channels=n).eval() for n in (1, 3))
    clip = torch.randn(1, 1, 2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(gray(clip), rgb(clip.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_stages_freeze_slow_down_and_are_computed_again(name):
    options = {"freeze_stages": 2, "layer_decay": 0.5, "checkpointing": True, "drop_path": 0.1}
    module = build(f"timm:{name}", clip=(2, 64, 64), **options)
    found = backbones.stages(module)
    assert len(found) > 4
    parameters = dict(module.named_parameters())
    assert sorted(parameters) == sorted(key for stage in found for key in stage.parameters)
    assert not any(parameters[key].requires_grad for stage in found[:2] for key in stage.parameters)
    rates = backbones.tuning_of(module).scales
    assert rates[found[-1].parameters[0]] == 2 * rates[found[-2].parameters[0]]
    module.train()(torch.randn(2, 3, 2, 64, 64)).sum().backward()
    assert all(parameters[key].grad is not None for stage in found[2:] for key in stage.parameters)


@pytest.mark.parametrize(
    ("name", "config", "error", "message"),
    [
        ("timm:", {}, ValueError, "names no model"),
        ("timm:resnet5", {}, ValueError, "resnet50"),
        ("timm:test_vit.r999", {}, ValueError, r"r160_in1k"),
        ("timm:nobody/nothing", {}, FileNotFoundError, "model.safetensors"),
        ("timm:test_vit", {"pretrained": True}, ValueError, "pretrained"),
        ("timm:test_vit", {"mean": 3}, ValueError, "mean"),
        ("timm:test_vit", {"architecture": "hf-hub:a/b"}, ValueError, "architecture"),
        ("timm:test_vit", {"img_size": -3}, ValueError, "img_size"),
        ("timm:test_vit", {"depht": 3}, ValueError, "depht"),
        ("timm:test_vit", [1], ValueError, "config"),
        ("timm:crossvit_tiny_240", {}, ValueError, "CrossVit"),
    ],
)
def test_what_cannot_be_built_is_named(name, config, error, message):
    with pytest.raises(error, match=message):
        build(name, config=config)


def test_published_weights_that_cannot_be_had_name_the_file():
    with pytest.raises(
        FileNotFoundError, match=r"model.safetensors of https://huggingface.co/timm/test_vit\.r160_in1k"
    ):
        build("timm:test_vit", "default")
    for name, weights in [("test_vit", "imagenet"), ("test_maxvit", "default")]:
        with pytest.raises(ValueError, match="path of a file"):
            build(f"timm:{name}", weights)


def test_without_timm_the_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ImportError, match="pip install timm"):
        find("timm:test_vit")
    # A complete configuration is read without it.
    config = {"architecture": "test_vit", "input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}
    assert find("timm:test_vit", config).clip == (16, 32, 32)


def test_tokens_without_a_known_grid_are_refused():
    class Strange(nn.Module):
        num_features, num_prefix_tokens = 4, 0

        def __init__(self):
            super().__init__()
            self.proj = nn.Conv2d(3, 4, 7, 7)

        def forward_features(self, x):
            return self.proj(x).flatten(2).transpose(1, 2)

    with pytest.raises(ValueError, match="grid"):
        timm_features.TimmFeatures(Strange(), (28, 28))


def test_a_checkpoint_is_rebuilt_without_hub_or_folder_and_exported(tmp_path, checkpoint_of):
    name, options = "timm:test_resnet", {"temporal_shift": 0.25}
    spec = {"frames": 2, "size": [64, 64], "sampling": "uniform"}
    architecture = {
        "backbone": {"name": name, **settled(name, options)},
        "head": {"name": "pool"},
        "input": taggnn.types.InputSpec("video", taggnn.types.VIDEO_AXES, (3, 2, 64, 64), spec).plain(),
        "classes": ["a", "b"],
    }
    built, content = checkpoint_of(architecture)
    checkpoint.save(tmp_path / "best.ckpt", content)
    loaded = taggnn.load(tmp_path / "best.ckpt")
    clip = torch.randn(3, 3, 2, 64, 64)
    with torch.no_grad():
        expected = built(clip).logits
        assert torch.equal(loaded.model(clip).logits, expected)
    written, failed = exporters.export(loaded, clip[0], tmp_path / "out", ["torch"])
    assert not failed
    exported = taggnn.load(tmp_path / "out" / written["torch"].file)
    torch.testing.assert_close(exported.logits(clip), expected)


def test_it_is_listed(program):
    listed = program(models, "--only", "[timm:test_resnet]").out
    assert "timm:test_resnet" in listed.split()
    shown = program(models, "--backbone", "timm:test_resnet").out
    assert "model.layer1" in shown
    assert timm_models.PREFIX in program(models, "--only", "[small]").out


def test_the_class_token_of_a_clip_is_the_mean_of_those_of_its_frames():
    config = {"img_size": SIZE}
    torch.manual_seed(0)
    module = build("timm:test_vit", clip=(3, *SIZE), config=config, class_token=True).eval()
    clip = torch.randn(2, 3, 3, *SIZE)
    with torch.no_grad():
        found = module(clip)
        theirs = module.model.forward_features(clip.transpose(1, 2).flatten(0, 1))
        module.class_token = False
        plain = module(clip)
    torch.testing.assert_close(found.class_token, theirs[:, 0].unflatten(0, (2, 3)).mean(1))
    assert torch.equal(found.tokens, backbones.tokens_of(plain))
    model = taggnn.attach(
        "timm:test_vit",
        "art",
        classes=3,
        clip=(3, *SIZE),
        backbone_options={"config": config, "class_token": True},
        dim=16,
    )
    assert model(clip).extras["pooled"].shape == (2, 64)


def test_a_network_without_class_token_refuses_it():
    with pytest.raises(ValueError, match="class_token"):
        build("timm:test_resnet", class_token=True)
