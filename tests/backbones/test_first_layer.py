import pytest
import torch
from torch import nn

from taggnn import attach
from taggnn.backbones import BACKBONES, build
from taggnn.backbones.first_layer import first_layers, inflated, set_in_channels
from taggnn.types import VIDEO_AXES


@pytest.mark.parametrize(
    "name",
    ["small", "slow_r50_8x8", "slowfast_r50_8x8", "x3d_xs", "i3d_inception", "r2plus1d_18", "mvit_v1_b", "swin3d_t"],
)
def test_a_grey_clip_has_the_features_of_its_colour_twin(name):
    clip = (2, 32, 32)
    torch.manual_seed(0)
    colour = build(name, clip=clip).eval()
    torch.manual_seed(0)
    grey = build(name, clip=clip, in_channels=1).eval()
    frames = torch.randn(1, 1, *clip) if name != "i3d_inception" else torch.randn(1, 1, 9, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(frames), colour(frames.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, row in BACKBONES.items() if row.kind == "video"])
def test_the_first_layers_see_the_clip_and_no_other_does(name):
    with torch.device("meta"):
        module = build(name)
    seen = {
        part: layer.weight.shape[1] * layer.groups
        for part, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Conv3d)
    }
    assert {part for part, channels in seen.items() if channels == 3} == set(first_layers(module))


def test_a_file_of_colour_is_added_up_and_one_of_grey_taken_as_it_is(tmp_path, caplog):
    caplog.set_level("INFO")
    colour = build("small", width=4)
    torch.save(colour.state_dict(), tmp_path / "colour.pth")
    grey = build("small", width=4, in_channels=1, weights=tmp_path / "colour.pth")
    assert torch.equal(grey.stem[0].weight, colour.stem[0].weight.sum(1, keepdim=True))
    assert "stem.0.weight summed over red, green and blue" in caplog.text
    torch.save(grey.state_dict(), tmp_path / "grey.pth")
    again = build("small", width=4, in_channels=1, weights=tmp_path / "grey.pth")
    assert torch.equal(again.stem[0].weight, grey.stem[0].weight)
    with pytest.raises(ValueError, match=r"other shape: stem\.0\.weight file \(4, 1, 1, 5, 5\)"):
        build("small", width=4, weights=tmp_path / "grey.pth")


def test_a_head_is_attached_to_a_grey_backbone():
    model = attach("small", "tag", classes=2, clip=(4, 32, 32), backbone_options={"width": 4, "in_channels": 1})
    assert model(torch.randn(1, 1, 4, 32, 32)).logits.shape == (1, 2)
    assert (model.spec.axes, model.spec.shape) == (VIDEO_AXES, (1, 4, 32, 32))


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels(channels):
    with pytest.raises(ValueError, match=f"in_channels={channels}; possible are 1 and 3"):
        build("small", in_channels=channels)


def test_a_first_layer_that_is_not_of_colour():
    with pytest.raises(ValueError, match="Sequential: 0 takes 2 channels"):
        set_in_channels(nn.Sequential(nn.Conv3d(2, 4, 1)), 1)


def test_a_dry_run_takes_the_module_s_channels(dry_run):
    grey = nn.Sequential(nn.Conv3d(3, 4, 1))
    set_in_channels(grey, 1)
    assert dry_run(grey, (2, 3, 4)) == (4, (2, 3, 4))
    grey.append(nn.Linear(9, 1))
    with pytest.raises(ValueError, match=r"zeros \(1, 1, 2, 3, 4\), video \(channel 1, frame 2"):
        dry_run(grey, (2, 3, 4))


def test_a_module_s_own_word_in_channels_says_nothing_of_the_clip(dry_run):
    module = nn.Sequential(nn.Conv3d(3, 4, 1))
    module.in_channels = 64
    assert dry_run(module, (2, 3, 4)) == (4, (2, 3, 4))


def test_an_inflated_kernel_finds_in_a_still_clip_what_it_finds_in_its_image():
    weight, image = torch.randn(4, 3, 5, 5), torch.randn(1, 3, 9, 9)
    clip = image[:, :, None].expand(-1, -1, 7, -1, -1)
    found = nn.functional.conv3d(clip, inflated(weight, 3))
    expected = nn.functional.conv2d(image, weight)[:, :, None].expand_as(found)
    torch.testing.assert_close(found, expected)
