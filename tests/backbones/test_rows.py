"""What a further backbone needs: one row of the table; or nothing but its class, by dotted path or as it is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import taggnn
from taggnn import backbones, models
from taggnn.backbones import BACKBONES
from taggnn.evaluation import counting
from taggnn.reporting import model_tables

PATH = f"{__name__}.Net"


class Net(nn.Module):
    clip = (4, 32, 48)
    std = (0.5, 0.25, 0.125)

    def __init__(self, width: int = 6, **more: int) -> None:
        super().__init__()
        self.conv, self.more = nn.Conv3d(3, width, (1, 8, 8), (1, 8, 8)), more

    def forward(self, clip):
        return self.conv(clip)


NUMBER = 3


def no_module():
    return NUMBER


@pytest.fixture
def mine(monkeypatch):
    row = replace(BACKBONES["small"], name="mine", builder=Net, clip=Net.clip, channels=6, grid=(4, 4, 6))
    monkeypatch.setitem(BACKBONES, "mine", row)
    return row


def test_a_row_is_all_that_a_further_backbone_needs(mine, program):
    assert backbones.find("mine") is mine
    assert backbones.build("mine", width=8)(torch.zeros(1, 3, 4, 32, 48)).shape == (1, 8, 4, 4, 6)
    assert counting.of_backbone("mine").channels == 6
    assert model_tables.backbone_table(["mine"])[1][0][:3] == ["mine", "4 x 32 x 48", "4 x 4 x 6 of 6"]
    assert "mine" in program(models, "--only", "[mine]").out.split()
    with pytest.raises(ValueError, match="mine") as refused:
        backbones.find("mime")
    assert "did you mean" in str(refused.value)
    found = taggnn.attach("mine", "pool", classes=2)
    assert found(torch.zeros(1, 3, 4, 32, 48)).logits.shape == (1, 2)


@pytest.mark.parametrize("given", [PATH, Net], ids=["dotted path", "class"])
def test_a_class_is_a_backbone_with_its_arguments_as_options(given):
    row = backbones.find(given)
    assert (row.name, row.clip, row.std) == (PATH, (4, 32, 48), (0.5, 0.25, 0.125))
    assert row.mean == BACKBONES["small"].mean
    module = backbones.build(given, width=5, other=2)
    assert isinstance(module, Net)
    assert (module.conv.out_channels, module.more) == (5, {"other": 2})
    assert module.training
    assert backbones.settled(given, {"width": 5}) == {"width": 5}


def test_a_function_is_one_too_and_its_options_are_known():
    def small(width: int = 8) -> nn.Module:
        return backbones.Small(width)

    assert backbones.build(small, width=4).channels == 32
    assert backbones.find(small).clip == BACKBONES["small"].clip
    with pytest.raises(ValueError, match="did you mean 'width'"):
        backbones.build(small, widht=4)


def test_what_follows_from_a_backbone_works_for_a_class():
    assert backbones.build(PATH, in_channels=1).conv.weight.shape[1] == 1
    module = backbones.build(PATH, drop_path=None, clip=(2, 16, 16), layer_decay=0.5)
    assert backbones.tuning_of(module).notes
    assert backbones.dry_run(module, backbones.video_spec(module, (2, 16, 16))) == (6, (2, 2, 2))
    assert taggnn.attach(PATH, "pool", classes=3).found["backbone"].startswith(PATH)


def test_weights_are_a_local_file_or_none(tmp_path):
    module = backbones.build(Net)
    torch.save(module.state_dict(), tmp_path / "mine.pth")
    again = backbones.build(PATH, weights=tmp_path / "mine.pth")
    assert torch.equal(again.conv.weight, module.conv.weight)
    with pytest.raises(ValueError, match="no published weights"):
        backbones.build(PATH, weights="default")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.at.All", "nowhere"),
        (f"{__name__}.Nett", "Net"),
        (f"{__name__}.NUMBER", "NUMBER.*class or a function"),
        (f"{__name__}.no_module", "no_module.*int, not a torch.nn.Module"),
        (nn.Identity(), "attach"),
    ],
)
def test_what_is_no_backbone_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(given)
