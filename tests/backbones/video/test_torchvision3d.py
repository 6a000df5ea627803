import logging

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import video
from torchvision.models.video.mvit import MSBlockConfig

from taggnn.backbones import build, resize_positions, strip
from taggnn.backbones.video import torchvision3d

MVITS = [name for name in torchvision3d.NAMES if name.startswith("mvit")]


def tiny_mvit(relative, clip=(4, 32, 48)):
    """Two blocks, the second one halves height and width; quick to build and to run."""
    torch.manual_seed(0)
    blocks = [
        MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        MSBlockConfig(2, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    return video.MViT(
        spatial_size=clip[1:],
        temporal_size=clip[0],
        block_setting=blocks,
        residual_pool=relative,
        residual_with_cls_embed=False,
        rel_pos_embed=relative,
        proj_after_attn=relative,
        num_classes=5,
    ).eval()


@pytest.fixture(autouse=True)
def quick_initialisation(monkeypatch):
    """Most of the time goes into truncating, and into Linear's own start that every family overwrites."""
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda linear: None)
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda weight, std=1.0, **_: nn.init.normal_(weight, std=std))


@pytest.mark.parametrize("name", [name for name in torchvision3d.NAMES if name not in MVITS])
def test_features_through_the_model_s_own_head_are_its_logits(name):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=7).eval()
    if name == "s3d":
        # Its own window of 2x7x7 is the whole grid of a 16x224x224 clip, which takes long.
        model.avgpool = nn.AdaptiveAvgPool3d(1)
    clip = torch.randn(1, 3, 8, 32, 40)
    with torch.no_grad():
        features = strip(model)
        pooled, head = model.avgpool(features(clip)), getattr(model, features.removed[-1])
        logits = head(pooled).mean((2, 3, 4)) if name == "s3d" else head(pooled.flatten(1))
        torch.testing.assert_close(logits, model(clip))


@pytest.mark.parametrize("name", MVITS)
def test_class_token_through_mvit_s_own_head_is_its_logits(name):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=7).eval()
    features, clip = strip(model), torch.randn(1, 3, 3, 50, 72)
    resize_positions(features, clip.shape[2:])
    with torch.no_grad():
        tokens, grid = features.encode(clip)
        torch.testing.assert_close(model.head(tokens[:, 0]), model(clip))
        assert grid == (2, 2, 3)
        assert torch.equal(features(clip)[0, :, 1, 0, 2], tokens[0, 1 + 1 * 6 + 0 * 3 + 2])


@pytest.mark.parametrize("name", torchvision3d.NAMES)
def test_parameters_are_those_of_the_published_model(name):
    with torch.device("meta"):
        model = models.get_model(name, weights=None)
        features = strip(model)
    head = sum(p.numel() for p in getattr(model, features.removed[-1]).parameters())
    published = models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in features.parameters()) + head == published
    assert set(features.state_dict()) < set(model.state_dict())


def test_parameters_are_shared_and_the_model_still_runs():
    model = video.mc3_18(num_classes=3).eval()
    features = strip(model)
    assert all(p is model.get_parameter(name) for name, p in features.named_parameters())
    assert not features.training
    assert features.description == ["avgpool", "fc (512 -> 3)"]
    assert model(torch.zeros(1, 3, 1, 16, 24)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "removed"),
    [("s3d", ["avgpool", "classifier (1024 -> 400)"]), ("swin3d_t", ["avgpool", "head (768 -> 400)"])],
)
def test_description_names_pool_and_classifier(name, removed):
    with torch.device("meta"):
        assert build(name).description == removed


def test_a_replaced_classifier_is_removed_too():
    with torch.device("meta"):
        model = video.r3d_18()
        model.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    assert strip(model).description[-1] == "fc (512 -> 5)"


def test_an_unknown_module_is_returned_as_it_is():
    module = nn.Conv3d(3, 4, 1)
    assert strip(module) is module
    assert module.description == ["nothing removed: Conv3d is taken to yield features"]
    features = strip(tiny_mvit(relative=True))
    assert strip(features) is features
    assert features.description[0].startswith("class token")


def test_a_subclass_with_its_own_forward_is_not_taken_apart():
    class Odd(video.S3D):
        def forward(self, clip):
            return self.features(clip) * 2

    with torch.device("meta"):
        module = Odd()
    assert strip(module) is module


def test_a_family_that_came_later_is_refused(monkeypatch):
    monkeypatch.setattr(models, "get_model", lambda name, weights: nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"r3d_18 is a Linear.*VideoResNet, S3D"):
        torchvision3d.features("r3d_18")


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_mvit_tokens_keep_their_position(relative):
    model = tiny_mvit(relative)
    model.blocks = nn.ModuleList()
    model.norm = nn.Identity()
    model.pos_encoding.requires_grad_(False)
    for table in (model.pos_encoding.spatial_pos, model.pos_encoding.temporal_pos):
        if table is not None:
            table.zero_()
    clip = torch.randn(2, 3, 4, 32, 48)
    torch.testing.assert_close(strip(model)(clip), model.conv_proj(clip))


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("clip", [(4, 48, 32), (4, 32, 32), (2, 32, 48)], ids=str)
def test_mvit_refuses_another_size_and_names_its_own(relative, clip):
    features = strip(tiny_mvit(relative))
    with pytest.raises(ValueError, match=r"built for clips of \(T, H, W\) = \(4, 32, 48\)") as caught:
        features(torch.zeros(1, 3, *clip))
    assert f"got {clip}" in str(caught.value)


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize(("clip", "grid"), [((1, 32, 32), (1, 4, 4)), ((5, 30, 70), (3, 4, 9))], ids=str)
def test_resized_mvit_takes_the_new_size_and_trains(relative, clip, grid, dry_run):
    model = tiny_mvit(relative)
    features = strip(model)
    resize_positions(features, clip)
    out = features(torch.randn(2, 3, *clip))
    assert out.shape == (2, 16, *grid)
    assert dry_run(features, features.clip) == (16, grid)
    out.square().mean().backward()
    assert all(p.grad is not None for p in features.pos_encoding.parameters())
    assert model(torch.randn(1, 3, *clip)).shape == (1, 5)


def test_resizing_interpolates_and_a_round_trip_of_a_smooth_table_returns():
    features = strip(tiny_mvit(relative=False))
    positions = features.pos_encoding
    with torch.no_grad():
        positions.spatial_pos.copy_(torch.arange(12.0).repeat_interleave(8)[:, None].expand(96, 8))
        positions.temporal_pos.copy_(torch.tensor([[1.0], [3.0]]).expand(2, 8))
    resize_positions(features, (6, 32, 48))
    assert positions.spatial_pos[:, 0].tolist() == torch.arange(12.0).repeat_interleave(8).tolist()
    assert positions.temporal_pos[:, 0].tolist() == pytest.approx([1, 2, 3])


def test_resizing_to_the_same_size_keeps_the_parameters():
    features = strip(tiny_mvit(relative=False))
    before = features.pos_encoding.spatial_pos
    resize_positions(features, (4, 32, 48))
    assert features.pos_encoding.spatial_pos is before


def small_state(classes=5):
    with torch.device("meta"):
        shapes = video.mc3_18(num_classes=classes).state_dict()
    return {key: torch.full(value.shape, 0.5, dtype=value.dtype) for key, value in shapes.items()}


def test_a_local_state_dict_loads_and_its_classifier_is_dropped(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    torch.save(small_state(), tmp_path / "k.pth")
    module = build("mc3_18", weights=tmp_path / "k.pth")
    assert all((p == 0.5).all() for p in module.parameters())
    assert "classifier fc of 5 classes dropped" in caplog.text


def test_a_state_dict_of_another_model_is_refused(tmp_path):
    state = small_state()
    state["layer5.0.weight"] = state.pop("layer4.0.conv1.0.weight")
    state["stem.0.weight"] = torch.zeros(64, 1, 3, 7, 7)
    torch.save(state, tmp_path / "k.pth")
    with pytest.raises(ValueError, match=r"k\.pth does not fit ResNetFeatures \(3 of") as caught:
        build("mc3_18", weights=str(tmp_path / "k.pth"))
    assert "not in the file: layer4.0.conv1.0.weight (512, 256, 1, 3, 3)" in str(caught.value)
    assert "not in the model: layer5.0.weight" in str(caught.value)
    assert "other shape: stem.0.weight file (64, 1, 3, 7, 7), model (64, 3, 3, 7, 7)" in str(caught.value)


@pytest.mark.parametrize("word", ["default", "KINETICS400_V1", "MC3_18_Weights.KINETICS400_V1"])
def test_official_weights_by_name(monkeypatch, tmp_path, word):
    torch.save(small_state(400), tmp_path / "official.pth")
    fetched = []
    monkeypatch.setattr(torchvision3d, "fetch", lambda file: fetched.append(file) or tmp_path / "official.pth")
    module = build("mc3_18", weights=word)
    assert [(file.url, file.sha256) for file in fetched] == [(video.MC3_18_Weights.KINETICS400_V1.url, "a90a0ba3")]
    assert (module.stem[0].weight == 0.5).all()


def test_unknown_weights_list_the_possible():
    with pytest.raises(ValueError, match=r"weights of mc3_18 'KINETICS_V1'; did you mean 'KINETICS400_V1'"):
        build("mc3_18", weights="KINETICS_V1")
