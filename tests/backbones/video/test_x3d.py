import pytest
import torch

from taggnn.backbones import build
from taggnn.backbones.video.x3d import Excitation


@pytest.mark.parametrize(("name", "depths"), [("x3d_m", [3, 5, 11, 7]), ("x3d_l", [5, 10, 25, 15])])
def test_depths(name, depths):
    with torch.device("meta"):
        module = build(name)
    assert [len(module.blocks[index].res_blocks) for index in (1, 2, 3, 4)] == depths


def test_every_second_block_weighs_its_channels():
    with torch.device("meta"):
        blocks = build("x3d_s").blocks[2].res_blocks
    assert [isinstance(block.branch2.norm_b[1], Excitation) for block in blocks] == [True, False, True, False, True]


def test_time_is_kept_and_odd_sizes_are_rounded_up(dry_run):
    with torch.device("meta"):
        assert dry_run(build("x3d_xs"), (3, 33, 70)) == (432, (3, 2, 3))


def test_features_end_before_the_pool():
    with torch.device("meta"):
        module = build("x3d_s")
    assert [key for key in module.state_dict() if key.startswith("blocks.5") and key.endswith("weight")] == [
        "blocks.5.pool.pre_conv.weight",
        "blocks.5.pool.pre_norm.weight",
    ]
    assert module.description == ["blocks.5.pool (pool and projection)", "blocks.5.proj"]


def test_excitation_is_its_formula():
    module, x = Excitation(4, 2), torch.randn(2, 4, 3, 5, 5)
    first, last = module.block[0], module.block[2]
    mean = x.mean((2, 3, 4))
    inner = (mean @ first.weight.flatten(1).T + first.bias).relu()
    gate = (inner @ last.weight.flatten(1).T + last.bias).sigmoid()
    torch.testing.assert_close(module(x), x * gate[:, :, None, None, None])


def test_a_depth_without_end_is_refused():
    with pytest.raises(ValueError, match="backbone x3d_s cannot be built with depth=inf"):
        build("x3d_s", depth=float("inf"))
