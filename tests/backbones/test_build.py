import pytest
import torch

from taggnn.backbones import BACKBONES, FrozenBatchNorm, build
from taggnn.backbones.trial import dry_run as tried
from taggnn.backbones.video import torchvision3d

VIDEO = [name for name, row in BACKBONES.items() if row.kind == "video"]


def test_every_torchvision_builder_is_in_the_table():
    assert set(torchvision3d.NAMES) < set(BACKBONES)
    assert len(torchvision3d.NAMES) >= 9


@pytest.mark.parametrize("name", BACKBONES)
def test_rows_are_complete(name):
    row = BACKBONES[name]
    assert row.name == name
    assert all(isinstance(n, int) for n in row.clip)
    assert len(row.clip) == 3
    assert len(row.mean) == len(row.std) == (3 if row.kind == "video" else 0)
    assert row.spec.shape == (3, *row.clip)
    assert all(0 < value < 1 for value in row.mean + row.std)
    assert row.source
    assert row.paper
    assert row.weights


@pytest.mark.parametrize("name", BACKBONES)
def test_the_table_states_channels_and_grid(name):
    with torch.device("meta"):
        module = build(name)
    assert tried(module, BACKBONES[name].spec) == (BACKBONES[name].channels, BACKBONES[name].grid)


@pytest.mark.parametrize("name", VIDEO)
def test_time_height_and_width_keep_their_order(name, dry_run):
    frames, side, _ = BACKBONES[name].clip
    clip = (frames, side, side // 2 + 16)
    with torch.device("meta"):
        module = build(name, clip=clip)
    time, height, width = dry_run(module, clip)[1]
    assert (time, height) == BACKBONES[name].grid[:2]
    assert width == -(-clip[2] * height // side)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown backbone 'swin3dt'; did you mean 'swin3d_t'"):
        build("swin3dt")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="unknown option of backbone mc3_18 'width'"):
        build("mc3_18", width=3)


@pytest.mark.parametrize("width", ["8", -4, None])
def test_a_value_that_the_builder_refuses(width):
    with pytest.raises(ValueError, match=f"backbone small cannot be built with width={width!r}: "):
        build("small", width=width)


def test_options_reach_the_builder(dry_run):
    assert dry_run(build("small", width=4, time_stride=2), (5, 17, 33)) == (32, (3, 2, 3))


def test_small_loads_a_file_of_its_own_and_no_published_name(tmp_path):
    small = build("small", width=2)
    torch.save(small.state_dict(), tmp_path / "small.pth")
    again = build("small", width=2, weights=tmp_path / "small.pth")
    assert all(torch.equal(value, small.state_dict()[key]) for key, value in again.state_dict().items())
    with pytest.raises(ValueError, match="no published weights 'default'"):
        build("small", weights="default")


def test_a_clip_size_moves_mvit_s_positions(dry_run):
    with torch.device("meta"):
        module = build("mvit_v1_b", clip=(2, 32, 40))
    assert dry_run(module, (2, 32, 40)) == (768, (1, 1, 2))


@pytest.mark.parametrize("name", ["mc3_18", "small"])
def test_frozen_statistics_survive_train_and_the_affine_part_learns(name):
    module = build(name, frozen_bn=True).train()
    before = {key: value.clone() for key, value in module.named_buffers()}
    module(torch.randn(2, 3, 2, 32, 32)).sum().backward()
    assert before
    assert all(torch.equal(value, before[key]) for key, value in module.named_buffers())
    norms = [m for m in module.modules() if isinstance(m, FrozenBatchNorm)]
    assert all(norm.weight.requires_grad and norm.weight.grad is not None for norm in norms)


def test_momentum_is_passed_on():
    with torch.device("meta"):
        module = build("r2plus1d_34_8_ig65m", bn_momentum=0.1)
    assert {m.momentum for m in module.modules() if isinstance(m, torch.nn.BatchNorm3d)} == {0.1}
