import pytest
import torch

from taggnn.backbones import build
from taggnn.backbones.video.slowfast import Fusion, Pathways, slow_frames


@pytest.mark.parametrize("alpha", [2, 4, 8])
@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32])
def test_slow_frames_are_those_of_pytorchvideo(alpha, count):
    frames = alpha * count
    assert slow_frames(frames, alpha) == torch.linspace(0, frames - 1, frames // alpha).long().tolist()


@pytest.mark.parametrize(("frames", "expected"), [(1, [0]), (3, [0]), (5, [0, 4]), (32, [0, 4, 8, 13, 17, 22, 26, 31])])
def test_slow_frames_of_any_clip(frames, expected):
    assert slow_frames(frames, 4) == expected


@pytest.mark.parametrize("frames", [1, 2, 4, 7, 9])
@pytest.mark.parametrize("name", ["slowfast_r50_4x16", "slowfast_r50_8x8"])
def test_any_number_of_frames(name, frames, dry_run):
    alpha = 8 if name.endswith("4x16") else 4
    with torch.device("meta"):
        assert dry_run(build(name), (frames, 40, 70)) == (2304, (-(-frames // alpha), 2, 3))


def test_both_pathways_keep_their_order_in_time():
    module = build("slowfast_r50_8x8").eval()

    class Mark(torch.nn.Module):
        def forward(self, slow, fast):
            return slow[:, :1], fast[:, :1]

    module.blocks = torch.nn.ModuleList([Mark()])
    clip = torch.arange(8.0)[None, None, :, None, None].expand(1, 3, 8, 2, 2)
    slow, fast = module(clip)[0, :, :, 0, 0].tolist()
    assert slow == [0, 7]
    assert fast == [1.5, 5.5]


def test_the_fast_pathway_is_fused_into_the_slow_one():
    block = Pathways(torch.nn.Identity(), torch.nn.Identity(), Fusion(2, kernel=5, alpha=4))
    slow, fast = block(torch.zeros(1, 6, 2, 3, 3), torch.rand(1, 2, 8, 3, 3))
    assert slow.shape == (1, 10, 2, 3, 3)
    assert slow[:, :6].abs().sum() == 0
    assert slow[:, 6:].abs().sum() > 0
    assert fast.shape == (1, 2, 8, 3, 3)


def test_kernels_over_time_of_the_16x8_variant():
    with torch.device("meta"):
        module = build("slowfast_r101_16x8")
    for pathway in (0, 1):
        kernels = [
            block.branch2.conv_a.kernel_size[0] for block in module.blocks[3].multipathway_blocks[pathway].res_blocks
        ]
        assert kernels == [3] * 6 + [1] * 17


@pytest.mark.parametrize(
    "option", [{"alpha": 0}, {"alpha": 2.5}, {"timed": 1.5}, {"kernel": 4}, {"timed": 7}, {"depth": 18}], ids=str
)
def test_options_out_of_range(option):
    with pytest.raises(ValueError, match="backbone slowfast_r50_8x8 cannot be built with"):
        build("slowfast_r50_8x8", **option)
