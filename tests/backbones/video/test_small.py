import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from taggnn.backbones.video.small import Small


def shape(clip, **options):
    with torch.no_grad():
        return tuple(Small(**options).eval()(torch.zeros(clip)).shape)


@pytest.mark.parametrize(
    ("clip", "options", "expected"),
    [
        ((1, 3, 4, 48, 80), {}, (1, 192, 4, 3, 5)),
        ((2, 3, 1, 17, 33), {}, (2, 192, 1, 2, 3)),
        ((1, 3, 1, 1, 1), {}, (1, 192, 1, 1, 1)),
        ((1, 3, 5, 33, 16), {"width": 4, "time_stride": 2}, (1, 32, 3, 3, 1)),
        ((1, 3, 5, 16, 16), {"width": 4, "time_stride": 4, "depth": 2}, (1, 32, 2, 1, 1)),
        ((1, 3, 1, 16, 16), {"width": 4, "time_stride": 4}, (1, 32, 1, 1, 1)),
        ((1, 3, 2, 33, 16), {"width": 4, "space_stride": 8}, (1, 32, 2, 5, 2)),
        ((1, 3, 1, 16, 16), {"width": 4, "input": "both"}, (1, 32, 1, 1, 1)),
    ],
    ids=[
        "defaults",
        "one frame, odd sides",
        "one pixel",
        "time halved",
        "time quartered, deeper",
        "one frame, quartered",
        "finer grid",
        "one frame and no difference",
    ],
)
def test_shape_is_the_stated_formula(clip, options, expected):
    assert shape(clip, **options) == expected
    assert Small(**options).channels == expected[1]


@pytest.mark.parametrize(
    ("width", "parameters", "multiply_adds"), [(24, 390_936, (127, 784)), (16, 174_608, (60, 368))], ids=["24", "16"]
)
def test_parameters_and_multiply_adds_are_those_stated(width, parameters, multiply_adds):
    model = Small(width).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    for size, stated in zip([(12, 40, 64), (16, 112, 112)], multiply_adds, strict=True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, *size))
        assert round(counter.get_total_flops() / 2e6) == stated


def test_order_of_frames_reaches_the_features():
    torch.manual_seed(0)
    model, clip = Small(width=4).eval(), torch.randn(1, 3, 6, 32, 32)
    with torch.no_grad():
        forward, backward = model(clip), model(clip.flip(2))
    assert not torch.allclose(forward.mean(2), backward.mean(2), atol=1e-3)


@pytest.mark.parametrize("input", ["rgb", "difference", "both"])
def test_a_still_background_reaches_the_features_unless_only_differences_are_seen(input):
    torch.manual_seed(0)
    model, clip = Small(width=4, input=input).eval(), torch.randn(1, 3, 6, 32, 32)
    with torch.no_grad():
        same = torch.allclose(model(clip), model(clip + torch.randn(1, 3, 1, 32, 32)), atol=1e-5)
    assert same == (input == "difference")


def test_stem_sees_frames_then_what_changed_since_the_frame_before():
    torch.manual_seed(0)
    clip, seen = torch.randn(2, 3, 4, 8, 8), []
    model = Small(width=4, input="both")
    model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(clip)
    expected = [clip[:, :, t] - clip[:, :, t - 1] if t else torch.zeros(2, 3, 8, 8) for t in range(4)]
    torch.testing.assert_close(seen[0], torch.cat([clip, torch.stack(expected, 2)], 1))


def test_clips_of_a_batch_do_not_mix_in_evaluation():
    torch.manual_seed(0)
    model, clips = Small(width=4).eval(), torch.randn(2, 3, 4, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(model(clips)[1:], model(clips[1:]))


def test_every_parameter_gets_a_gradient_and_any_memory_layout_is_taken():
    torch.manual_seed(0)
    model = Small(width=4, depth=2, drop=0.1)
    clip = torch.randn(2, 4, 32, 32, 3).movedim(-1, 1).requires_grad_()
    model(clip).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert clip.grad is not None


def test_drop_acts_in_training_only():
    torch.manual_seed(0)
    model, clip = Small(width=4, drop=0.5), torch.randn(2, 3, 2, 16, 16)
    assert not torch.equal(model(clip), model(clip))
    model.eval()
    assert torch.equal(model(clip), model(clip))


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"depth": 0}, {"time_stride": 3}, {"space_stride": 4}, {"input": "flow"}], ids=str
)
def test_option_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Small(**options)
