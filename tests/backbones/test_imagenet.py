import logging

import pytest
import torch
from torch import nn
from torchvision import models

from taggnn.backbones import BACKBONES, build, weights


@pytest.fixture(autouse=True)
def without_initialisation(monkeypatch):
    """Random initialisation is slow and changes nothing here."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)


def images():
    """torchvision's ResNet-50 with weights that show everywhere, and its state dict in a form that a file holds."""
    torch.manual_seed(0)
    model = models.resnet50().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1)
            nn.init.uniform_(part.running_mean, -0.1, 0.1)
    return model


def test_a_still_clip_has_the_features_of_its_image(tmp_path, caplog):
    model = images()
    torch.save(model.state_dict(), tmp_path / "resnet50.pth")
    caplog.set_level(logging.INFO)
    module = build("c2d_r50_8x8", weights=tmp_path / "resnet50.pth").eval()
    assert "classifier fc of 1000 classes dropped" in caplog.text
    assert "mean (0.485, 0.456, 0.406)" in caplog.text
    image = torch.randn(1, 3, 64, 80)
    with torch.no_grad():
        expected = nn.Sequential(*list(model.children())[:-2])(image)
        found = module(image[:, :, None].expand(-1, -1, 4, -1, -1))
    assert found.shape == (1, 2048, 2, 2, 3)
    torch.testing.assert_close(found, expected[:, :, None].expand_as(found), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in BACKBONES if "imagenet (" in BACKBONES[name].weights])
def test_kernels_over_time_add_up_to_those_of_images(tmp_path, monkeypatch, name):
    with torch.device("meta"):
        shapes = models.resnet50().state_dict()
    state = {
        key: torch.tensor(i % 100 + 1.0).to(value.dtype).expand(value.shape)
        for i, (key, value) in enumerate(shapes.items())
    }
    torch.save(state, tmp_path / "resnet50.pth")
    fetched = []
    monkeypatch.setattr(weights, "fetch", lambda file: fetched.append(file.name) or tmp_path / "resnet50.pth")
    loaded = build(name, weights="imagenet").state_dict()
    assert fetched == ["resnet50-0676ba61.pth"]
    sums = sorted(float(value.sum(2).flatten()[0]) for value in loaded.values() if value.dim() == 5)
    expected = sorted(float(value.flatten()[0]) for value in state.values() if value.dim() == 4)
    assert sums == pytest.approx(expected)


def test_the_table_says_who_takes_images():
    takers = {name for name in BACKBONES if "imagenet (" in BACKBONES[name].weights}
    assert takers == {"slow_r50_4x16", "slow_r50_8x8", "i3d_r50_8x8", "c2d_r50_8x8"}


def test_another_image_network_does_not_fit(tmp_path):
    with torch.device("meta"):
        shapes = models.resnet18().state_dict()
    torch.save({key: torch.tensor(1.0).expand(value.shape) for key, value in shapes.items()}, tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match=r"resnet18\.pth does not fit Blocks"), torch.device("meta"):
        build("slow_r50_8x8", weights=tmp_path / "resnet18.pth")
