"""Values and scores shifted in time equal plain loops over frames, gradients included."""

import pytest
import torch

from taggnn.kernels.structured import temporal


@pytest.mark.parametrize(
    ("frames", "reach", "itself", "expected"),
    [
        (5, 2, False, (-2, -1, 1, 2)),
        (5, 1, True, (-1, 0, 1)),
        (2, 9, False, (-1, 1)),
        (1, 3, False, ()),
        (1, 3, True, (0,)),
    ],
    ids=str,
)
def test_offsets_stay_inside_the_clip(frames, reach, itself, expected):
    assert temporal.offsets(frames, reach, itself) == expected


@pytest.fixture(params=[(4, 1, False), (4, 2, True), (3, 2, False), (2, 1, True)], ids=str)
def case(request):
    torch.manual_seed(0)
    frames, reach, itself = request.param
    steps = temporal.offsets(frames, reach, itself)
    x = torch.randn(2, frames, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, frames, 3, 2, len(steps), dtype=torch.float64, requires_grad=True)
    pairs = [(i, t, t + o) for i, o in enumerate(steps) for t in range(frames) if 0 <= t + o < frames]
    return steps, pairs, weights, x


def test_shifted_finds_the_frames_around_and_fills_the_rest(case):
    steps, pairs, _, x = case
    got = temporal.shifted(x, steps, -7.0)
    expected = torch.full_like(got, -7.0)
    for i, here, there in pairs:
        expected[:, here, ..., i] = x[:, there]
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_weighted_equals_a_loop(case):
    steps, pairs, weights, x = case
    expected = torch.zeros_like(x)
    for i, here, there in pairs:
        expected[:, here] += weights[:, here, ..., i, None] * x[:, there]
    torch.testing.assert_close(temporal.weighted(weights, x, steps), expected)
    assert torch.autograd.gradcheck(lambda *parts: temporal.weighted(*parts, steps), (weights, x))
