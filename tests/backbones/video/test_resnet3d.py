import pytest
import torch

from taggnn.backbones import build
from taggnn.backbones.video.resnet3d import DESIGNS, initialised, resnet3d, stage


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("slow_r50_8x8", (5, 2, 3)),
        ("i3d_r50_8x8", (2, 2, 3)),
        ("c2d_r50_8x8", (2, 2, 3)),
        ("r2plus1d_r50_16x4", (2, 2, 3)),
        ("csn_r101_32x2", (1, 2, 3)),
    ],
)
def test_grid_of_an_odd_clip(name, grid, dry_run):
    with torch.device("meta"):
        assert dry_run(build(name), (5, 50, 70)) == (2048, grid)


def test_kernels_over_time_alternate_in_i3d():
    with torch.device("meta"):
        blocks = resnet3d("i3d").blocks
    kernels = [[block.branch2.conv_a.kernel_size[0] for block in blocks[index].res_blocks] for index in (1, 3, 4, 5)]
    assert kernels == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]


def test_csn_convolves_channels_one_by_one():
    with torch.device("meta"):
        conv = resnet3d("csn", 101).blocks[3].res_blocks[22].branch2.conv_b
    assert (conv.groups, conv.kernel_size) == (256, (3, 3, 3))


def test_a_new_block_is_its_shortcut():
    module = initialised(stage(DESIGNS["slow"], 0, 2, 256)).eval()
    x = torch.rand(1, 256, 2, 3, 3)
    with torch.no_grad():
        assert torch.equal(module(x), x)


def test_what_was_left_out_is_described():
    with torch.device("meta"):
        assert build("slow_r50_8x8").description == ["blocks.5 (pool and projection)"]
        assert build("i3d_r50_8x8").description == ["blocks.6 (pool and projection)"]


@pytest.mark.parametrize(("name", "option"), [("slow_r50_8x8", {"depth": 34}), ("x3d_s", {"depth": 0})])
def test_options_out_of_range(name, option):
    with pytest.raises(ValueError, match=f"backbone {name} cannot be built with depth="):
        build(name, **option)


def test_an_unknown_design():
    with pytest.raises(ValueError, match="unknown 3D ResNet 'slw'; did you mean 'slow'"):
        resnet3d("slw")
