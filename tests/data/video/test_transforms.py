"""Crops, augmentation and normalisation: one draw for all frames, and from the seed alone."""

import json

import pytest
import torch
from torchvision.transforms import v2

from taggnn.data.video.transforms import Transform, stretched

EVERYTHING = {"randaugment": 2, "magnitude_std": 0.5, "color_jitter": 0.4, "random_erasing": 1.0, "grayscale": True}


def frames(count=3, height=40, width=56, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def ramps(height=40, width=60):
    """Red grows by 3 a pixel to the right, green by 3 a pixel downwards."""
    picture = torch.zeros(1, height, width, 3)
    picture[..., 0] = 3 * torch.arange(width)
    picture[..., 1] = 3 * torch.arange(height)[:, None]
    return picture.to(torch.uint8)


def test_at_test_the_centre_is_cut_out_and_normalised_as_released():
    given = frames(2, 8, 11)
    out = Transform(size=4)(given)
    expected = (given[:, 2:6, 4:8].permute(3, 0, 1, 2) / 255 - 0.45) / 0.225
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, expected)
    assert torch.equal(Transform(size=4)(given.numpy()), out)


def test_mean_and_deviation_of_each_channel():
    given = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    out = Transform(size=4, mean=[0, 0.5, 1], std=[1, 2, 4])(given)
    torch.testing.assert_close(out[:, 0, 0, 0], torch.tensor([1.0, 0.25, 0.0]))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("count", "height", "width"), [(1, 9, 9), (3, 7, 70), (2, 70, 7), (1, 1, 1), (5, 40, 64)])
@pytest.mark.parametrize("size", [12, (10, 17)])
def test_every_frame_size_gives_the_requested_size(train, count, height, width, size):
    out = Transform(size=size, train=train)(frames(count, height, width), seed=3)
    assert out.shape == (3, count, *(size if isinstance(size, tuple) else (size, size)))
    assert out.is_contiguous()
    assert out.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(3, 40), (40, 3), (5, 5), (11, 12)])
def test_frames_smaller_than_the_crop_are_enlarged_and_never_padded(height, width):
    white = torch.full((1, height, width, 3), 255, dtype=torch.uint8)
    assert (Transform(size=12)(white) > 2).all()


@pytest.mark.parametrize("seed", range(6))
def test_one_draw_serves_all_frames(seed):
    still = frames(1).expand(4, -1, -1, -1)
    out = Transform(size=(16, 24), train=True, **EVERYTHING)(still, seed)
    for t in range(1, 4):
        torch.testing.assert_close(out[:, t], out[:, 0], rtol=0, atol=0)


def test_the_draw_follows_from_the_seed_and_leaves_the_global_stream_alone():
    transform = Transform(size=16, train=True, **EVERYTHING)
    before = torch.get_rng_state()
    first = transform(frames(), seed=2**62 + 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(transform(frames(), seed=2**62 + 1), first)
    assert len({transform(frames(), seed).sum().item() for seed in range(8)}) == 8


def test_evaluation_draws_nothing():
    transform = Transform(size=16, **EVERYTHING)
    assert torch.equal(transform(frames(), seed=1), transform(frames(), seed=2))
    assert transform(frames()).min() > -2.01


@pytest.mark.parametrize(("flip", "sign"), [(0.0, 1), (1.0, -1)])
def test_flip_mirrors_left_and_right_only(flip, sign):
    for seed in range(4):
        red, green, _ = Transform(size=20, train=True, flip=flip)(ramps(), seed)[:, 0]
        assert (sign * red.diff(dim=1)).mean() > 0
        assert green.diff(dim=0).mean() > 0


def test_a_draw_reports_its_flip_and_half_of_the_clips_are_flipped():
    transform = Transform(size=20, train=True, flip=0.5)
    count = 0
    for seed in range(60):
        clip, flipped = transform.draw(ramps(), seed)
        assert flipped == bool(clip[0, 0].diff(dim=1).mean() < 0)
        assert torch.equal(clip, transform(ramps(), seed))
        count += flipped
    assert 15 < count < 45
    assert not any(Transform(size=8, train=True, flip=0.0).draw(ramps(), seed)[1] for seed in range(9))
    assert Transform(size=8, flip=1.0).draw(ramps())[1] is False


@pytest.mark.parametrize("deviation", [0.0, 6.0])
def test_randaugment_draws_a_magnitude_for_each_operation(deviation, monkeypatch):
    used = []
    forward = v2.RandAugment.forward
    monkeypatch.setattr(v2.RandAugment, "forward", lambda self, x: used.append(self.magnitude) or forward(self, x))
    transform = Transform(size=12, train=True, randaugment=3, magnitude=28, magnitude_std=deviation)
    for seed in range(20):
        transform(frames(), seed)
    assert len(used) == 60
    assert max(used) == (30 if deviation else 28)
    assert min(used) < 22 if deviation else min(used) == 28
    assert len(set(used[:3])) > 1 if deviation else True


def test_randaugment_fills_with_the_mean():
    white = torch.full((1, 24, 24, 3), 255, dtype=torch.uint8)
    least = {
        round(
            float(Transform(size=24, train=True, randaugment=1, magnitude=30, mean=0.45, std=1.0)(white, seed).min()), 3
        )
        for seed in range(60)
    }
    # Moved pictures show 115 / 255 at the border; solarised ones are black, and others stay bright.
    assert round(115 / 255 - 0.45, 3) in least


@pytest.mark.parametrize("size", [(20, 20), (10, 30), (30, 10)])
def test_a_crop_of_ratio_one_distorts_nothing(size):
    for seed in range(5):
        red, green, _ = Transform(size=size, train=True, flip=0.0, scale=(0.1, 0.2))(ramps(), seed)[:, 0]
        inner = slice(2, -2)
        across, down = red[inner, inner].diff(dim=1).mean(), green[inner, inner].diff(dim=0).mean()
        assert across / down == pytest.approx(1, rel=0.2)


def test_a_crop_covers_the_given_share_of_the_area():
    transform = Transform(size=20, train=True, flip=0.0, scale=(0.25, 0.25))
    for seed in range(5):
        red = transform(ramps(40, 40), seed)[0, 0]
        assert (red.max() - red.min()) * 0.225 * 255 == pytest.approx(3 * 20, abs=6)


def test_erasing_sets_one_rectangle_to_the_mean_in_all_frames():
    white = torch.full((3, 20, 20, 3), 255, dtype=torch.uint8)
    out = Transform(size=20, train=True, random_erasing=1.0)(white, seed=0)
    gone = out == 0
    assert torch.equal(gone, gone[:1, :1].expand_as(gone))
    rows, columns = gone[0, 0].any(1), gone[0, 0].any(0)
    assert gone[0, 0].sum() == rows.sum() * columns.sum()
    assert 0.01 < gone.float().mean() < 0.4


@pytest.mark.parametrize("train", [False, True])
def test_grey_makes_the_channels_equal(train):
    out = Transform(size=8, train=train, grayscale=True)(frames())
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


def test_options_survive_a_file():
    transform = Transform(size=[40, 64], train=True, scale=[0.8, 1], randaugment=1, mean=0.5)
    again = Transform(**json.loads(json.dumps(transform.options)))
    assert again == transform
    assert again.size == (40, 64)
    assert again.mean == (0.5, 0.5, 0.5)
    assert torch.equal(again(frames(), 5), transform(frames(), 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (1, 2, 3)}, "^size .*expected 2 numbers"),
        ({"size": 0}, "^size .*at least 1 pixel"),
        ({"flip": 1.5}, "^flip 1.5: possible are 0 to 1"),
        ({"scale": (0.9, 0.5)}, "^scale .*expected 0 < smallest"),
        ({"scale": (0.0, 0.5)}, "^scale .*expected 0 < smallest"),
        ({"ratio": (2.0, 1.0)}, "^ratio .*expected 0 < smallest"),
        ({"randaugment": -1}, "^randaugment -1: expected a number"),
        ({"magnitude": 31}, "^magnitude 31: possible are 0 to 30"),
        ({"magnitude_std": -1.0}, "^magnitude_std -1.0: must be 0"),
        ({"std": 0.0}, "^std .*must be above 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Transform(**options)


@pytest.mark.parametrize(
    "given",
    [torch.zeros(2, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(0, 8, 8, 3, dtype=torch.uint8)],
)
def test_other_than_decoded_frames_are_refused(given):
    with pytest.raises(ValueError, match="expected uint8"):
        Transform(size=4)(given)


def test_stretch_shows_the_whole_frame_at_test():
    frames = torch.zeros(2, 20, 60, 3, dtype=torch.uint8)
    frames[:, :, :30] = 255
    clip = Transform(size=(10, 12), stretch=True, mean=0.0, std=1.0)(frames)
    assert clip.shape == (3, 2, 10, 12)
    assert clip[..., :5].min() > 0.99
    assert clip[..., 7:].max() < 0.01


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (7, 9)], ids=["wide", "tall", "small"])
def test_stretch_keeps_what_resolution_both_sides_have(height, width):
    frames = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    kept = stretched(frames, (10, 10), keep=True)
    k = max(1, min(height / 10, width / 10))
    assert kept.shape == (1, 3, round(10 * k), round(10 * k))
    assert stretched(frames, (10, 10), keep=False).shape == (1, 3, 10, 10)
    assert Transform(size=10, train=True, stretch=True)(frames.permute(0, 2, 3, 1), seed=3).shape == (3, 1, 10, 10)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_a_clip_normalised_by_itself_does_not_show_its_lighting(train):
    frames = torch.randint(60, 120, (4, 16, 16, 3), dtype=torch.uint8)
    transform = Transform(size=16, train=train, per_clip_norm=True)
    clip = transform(frames, seed=1)
    assert abs(float(clip.mean())) < 1e-4
    assert abs(float(clip.std()) - 1) < 1e-2
    torch.testing.assert_close(transform(frames + 100, seed=1), clip, atol=2e-2, rtol=0)
    assert transform(torch.full_like(frames, 200)).abs().max() < 1e-3, "a clip of one colour"


def _where(clip):
    """First row and column that a crop of ``_ramp`` shows."""
    return (clip[0, 0, 0, 0] * 255).round().int().item(), (clip[1, 0, 0, 0] * 255).round().int().item()


def _ramp(height, width):
    """Red counts rows, green counts columns."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, rows], -1).to(torch.uint8)[None]


@pytest.mark.parametrize(
    ("height", "width", "size", "crops", "expected"),
    [
        (20, 41, 16, 3, [(2, 0), (2, 12), (2, 25)]),
        (41, 20, 16, 3, [(0, 2), (12, 2), (25, 2)]),
        (20, 20, 16, 3, [(2, 0), (2, 2), (2, 4)]),
        (20, 41, 16, 2, [(2, 0), (2, 25)]),
        (20, 41, 16, 1, [(2, 12)]),
        # Wider than the output, though higher than wide.
        (20, 18, (16, 8), 3, [(2, 0), (2, 5), (2, 10)]),
        # Exactly the output: nothing to move.
        (16, 16, 16, 3, [(0, 0)] * 3),
        (20, 50, 16, 5, [(2, 0), (2, 8), (2, 17), (2, 26), (2, 34)]),
    ],
)
def test_crops_lie_evenly_along_the_longer_side(height, width, size, crops, expected):
    transform = Transform(size=size, mean=0.0, std=1.0)
    found = [transform.crop(_ramp(height, width), number, crops) for number in range(crops)]
    assert [_where(clip) for clip in found] == expected
    assert {clip.shape[2:] for clip in found} == {transform.size}


@pytest.mark.parametrize(("height", "width"), [(20, 33), (33, 20), (21, 38), (7, 9), (9, 6), (24, 24)])
@pytest.mark.parametrize("crops", [1, 3, 5])
def test_the_middle_crop_is_the_one_of_evaluation(height, width, crops):
    frames = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    transform = Transform(size=(16, 14), grayscale=True, per_clip_norm=True)
    assert torch.equal(transform.crop(frames, crops // 2, crops), transform(frames))


@pytest.mark.parametrize(
    ("options", "crops", "message"),
    [
        ({}, 0, "crops must be 1 or more, not 0"),
        ({"stretch": True}, 3, "crops 3: the model sees whole frames, stretched to its input"),
        ({"train": True}, 1, "crops 1: for evaluation"),
    ],
)
def test_impossible_crops_are_refused(options, crops, message):
    with pytest.raises(ValueError, match=message):
        Transform(size=8, **options).crop(torch.zeros(1, 9, 9, 3, dtype=torch.uint8), 0, crops)
    assert Transform(size=8, stretch=True).crop(torch.zeros(1, 9, 9, 3, dtype=torch.uint8), 0, 1).shape == (3, 1, 8, 8)
