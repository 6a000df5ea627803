"""The temporal shift against loops over frames, where it is put, and what refuses it."""

import pytest
import torch
from torch import nn

from taggnn.backbones.image.frames import FrameFeatures
from taggnn.backbones.image.temporal_shift import shifted


class BasicBlock(nn.Module):
    """A residual block in the names of timm's."""

    def __init__(self, channels, has_skip=True):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.has_skip = has_skip

    def forward(self, x):
        return x + self.conv1(x) if self.has_skip else self.conv1(x)


class Net(FrameFeatures):
    def __init__(self, share=0.0, has_skip=True, block=BasicBlock):
        super().__init__()
        self.block = block(8, has_skip) if block is BasicBlock else block()
        self.shift(share)

    def images(self, images):
        return self.block(images)


def by_loops(x, frames, share):
    """Channel by channel and frame by frame."""
    out, count = torch.zeros_like(x), int(share * x.shape[1] / 2)
    for row in range(len(x)):
        frame = row % frames
        for channel in range(x.shape[1]):
            step = 1 if channel < count else -1 if channel < 2 * count else 0
            if 0 <= frame + step < frames:
                out[row, channel] = x[row + step, channel]
    return out


@pytest.mark.parametrize("share", [0.0, 0.25, 0.4, 1.0])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_channels_come_from_the_frames_on_both_sides(frames, share):
    x = torch.randn(2 * frames, 8, 3, 2)
    assert torch.equal(shifted(x, frames, share), by_loops(x, frames, share))


def test_only_the_residual_branch_is_shifted():
    plain, net = Net(), Net(0.25)
    net.load_state_dict(plain.state_dict())
    clip = torch.randn(2, 8, 5, 3, 4)
    images = clip.transpose(1, 2).flatten(0, 1)
    expected = images + plain.block.conv1(by_loops(images, 5, 0.25))
    found = net(clip)
    torch.testing.assert_close(found.transpose(1, 2).flatten(0, 1), expected)
    assert not torch.allclose(found, plain(clip))


def test_a_clip_does_not_see_its_neighbour_in_the_batch():
    net, clips = Net(1.0), torch.randn(2, 8, 3, 2, 2)
    torch.testing.assert_close(net(clips)[1:], net(clips[1:]))


def test_without_a_shift_frames_are_independent():
    net, clip = Net(0.0), torch.randn(1, 8, 4, 2, 2)
    torch.testing.assert_close(net(clip)[:, :, 2:3], net(clip[:, :, 2:3]))


@pytest.mark.parametrize("share", [-0.1, 1.5, True, "0.25"])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="temporal_shift"):
        Net(share)


@pytest.mark.parametrize("options", [{"has_skip": False}, {"block": nn.Identity}], ids=["no shortcut", "no block"])
def test_a_network_without_residual_blocks_is_refused(options):
    with pytest.raises(ValueError, match=r"temporal_shift.*ResNet"):
        Net(0.25, **options)
