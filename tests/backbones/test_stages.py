"""A backbone as ordered stages: every parameter in one of them, in the order of the clip's way."""

import pytest
import torch
from torch import nn

from taggnn.backbones import BACKBONES, build, stages
from taggnn.backbones.first_layer import set_in_channels
from taggnn.backbones.outputs import Adapted
from taggnn.backbones.stages import chosen


def names(module):
    return [stage.name for stage in stages(module)]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_is_in_one_stage(name):
    with torch.device("meta"):
        module = build(name)
    found = stages(module)
    listed = [parameter for stage in found for parameter in stage.parameters]
    assert sorted(listed) == sorted(parameter for parameter, _ in module.named_parameters())
    assert len(found) >= 4
    # Dotted names of submodules that are there, none of them in two stages.
    parts = [part for stage in found for part in stage.parts]
    assert len(set(parts)) == len(parts)
    assert set(parts) <= set(dict(module.named_modules()))


ORDERED = [
    "small",
    "r2plus1d_18",
    "mc3_18",
    "s3d",
    "swin3d_t",
    "mvit_v2_s",
    "slowfast_r50_8x8",
    "x3d_s",
    "i3d_inception",
]


@pytest.mark.parametrize("name", ORDERED)
def test_the_stages_are_in_the_order_of_computation(name):
    """Each stage's first convolution or linear layer runs before the next one's."""
    clip = {"s3d": (16, 32, 32), "slowfast_r50_8x8": (32, 32, 32)}.get(name, (2, 32, 32))
    module = build(name, clip=clip).eval()
    ran = []
    found = stages(module)
    for number, stage in enumerate(found):
        module.get_submodule(stage.parts[0]).register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad():
        module(torch.zeros(1, 3, *clip))
    assert ran == list(range(len(found)))


def test_known_cuts():
    with torch.device("meta"):
        assert names(build("r2plus1d_18")) == ["stem", "layer1", "layer2", "layer3", "layer4"]
        swin, mvit = stages(build("swin3d_t")), stages(build("mvit_v1_b"))
        assert names(build("slowfast_r101_8x8")) == [f"blocks.{number}" for number in range(5)]
    assert [stage.name for stage in swin[:5]] == [
        "patch_embed",
        "features.0.0",
        "features.0.1",
        "features.1",
        "features.2.0",
    ]
    assert swin[-1].parts == ("features.6.1", "norm")
    assert mvit[0].parts == ("conv_proj", "pos_encoding")
    assert mvit[-1].parts == ("blocks.15", "norm")
    assert "pos_encoding.class_token" in mvit[0].parameters


class Vit(nn.Module):
    """A wrapper, its own token and table, a list of blocks, a norm."""

    def __init__(self):
        super().__init__()
        inner = nn.Module()
        inner.table = nn.Parameter(torch.zeros(4, 2))
        inner.early = nn.LayerNorm(2)
        inner.patch = nn.Conv3d(3, 2, 1)
        inner.encoder = nn.Module()
        inner.encoder.layer = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)) for _ in range(2)
        )
        inner.norm = nn.LayerNorm(2)
        self.inner = inner


def test_a_module_never_seen_is_cut_by_its_children():
    found = stages(Vit())
    assert [stage.parts for stage in found] == [
        ("inner.patch", "inner.early"),
        ("inner.encoder.layer.0",),
        ("inner.encoder.layer.1", "inner.norm"),
    ]
    assert found[0].parameters == (
        "inner.table",
        "inner.early.weight",
        "inner.early.bias",
        "inner.patch.weight",
        "inner.patch.bias",
    )


def test_a_module_of_one_layer_is_one_stage():
    assert [stage.parameters for stage in stages(nn.Conv3d(3, 2, 1))] == [("weight", "bias")]
    assert names(nn.Sequential(nn.Conv3d(3, 2, 1), nn.ReLU())) == ["0"]
    assert stages(nn.ReLU()) == []


def test_a_module_may_state_its_cut():
    module = Vit()
    module.cut = (("inner.encoder",), ("inner.patch", "inner.norm"))
    found = stages(module)
    assert [stage.name for stage in found] == ["inner.encoder", "inner.patch"]
    assert "inner.table" in found[0].parameters
    module.cut = (("inner.stem",),)
    with pytest.raises(ValueError, match=r"Vit.cut names 'inner.stem', which is no part of it"):
        stages(module)


def test_stages_are_chosen_by_number_and_by_name():
    with torch.device("meta"):
        found = stages(build("swin3d_t"))

    def taken(wanted):
        return [stage.name for stage in chosen(found, wanted, "freeze_stages")]

    assert taken(0) == []
    assert taken(2) == ["patch_embed", "features.0.0"]
    assert taken(["features.0", "patch_embed"]) == ["patch_embed", "features.0.0", "features.0.1"]
    assert taken("features.1") == ["features.1"]
    with pytest.raises(
        ValueError,
        match=r"freeze_stages: 16 of 16 stages .* 0 to 15 of patch_embed, .*; for all of them there is frozen",
    ):
        taken(16)
    with pytest.raises(ValueError, match=r"freeze_stages: no stage 'layer1'; possible: patch_embed"):
        taken(["patch_embed", "layer1"])


def test_an_adapted_module_keeps_its_cut_and_its_channels(dry_run):
    module = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 1))
    set_in_channels(module, 1)
    module.cut = (("1",), ("0",))
    adapted = Adapted(module)
    assert names(adapted) == ["module.1", "module.0"]
    assert dry_run(adapted, (2, 3, 4)) == (4, (2, 3, 4))
