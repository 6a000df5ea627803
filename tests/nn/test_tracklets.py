"""The contrast and the aggregation of tracklets against loops over frames and regions."""

import math

import pytest
import torch

from taggnn.nn.tracklets import aggregate, spatial_contrast, temporal_contrast, tracklet_contrast

SHAPES = [(2, 4, 3, 5), (1, 1, 2, 3), (2, 3, 1, 4), (1, 1, 1, 2)]


def cosine(a, b):
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


def mean(values):
    return sum(values) / len(values) if values else torch.zeros((), dtype=torch.float64)


PENALTY = {"hinge": lambda x: x.clamp(min=0), "squared": lambda x: x * x}


def naive(responses, level, penalty="hinge", margin=0.6, over="mean"):
    found = []
    for clip in responses:
        frames, regions = clip.shape[:2]
        pairs = [(i, j) for i in range(regions) for j in range(i + 1, regions)]
        if level == "spatial":
            values = [PENALTY[penalty](cosine(clip[t, i], clip[t, j])) for t in range(frames) for i, j in pairs]
        elif level == "temporal":
            near = [cosine(clip[t, r], clip[t + 1, r]) for t in range(frames - 1) for r in range(regions)]
            values = [(margin - one).clamp(min=0) for one in near]
        else:
            whole = [clip[:, r].mean(0) if over == "mean" else clip[:, r].flatten() for r in range(regions)]
            values = [PENALTY[penalty](cosine(whole[i], whole[j])) for i, j in pairs]
        found.append(mean(values))
    return torch.stack(found)


LEVELS = {
    "spatial": (spatial_contrast, "spatial", {}),
    "spatial, squared": (spatial_contrast, "spatial", {"penalty": "squared"}),
    "temporal": (temporal_contrast, "temporal", {}),
    "temporal, margin 0.2": (temporal_contrast, "temporal", {"margin": 0.2}),
    "tracklet": (tracklet_contrast, "tracklet", {}),
    "tracklet, squared": (tracklet_contrast, "tracklet", {"penalty": "squared"}),
    "tracklet, frames": (tracklet_contrast, "tracklet", {"over": "frames"}),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_level_is_its_loop(level, shape):
    contrast, name, options = LEVELS[level]
    torch.manual_seed(1)
    one = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    found, expected = contrast(one, **options), naive(two, name, **options)
    torch.testing.assert_close(found, expected)
    if expected.requires_grad:
        weights = torch.arange(1.0, shape[0] + 1, dtype=torch.float64)
        (found * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(one.grad, two.grad)


def test_identical_responses_cost_one_and_orthogonal_ones_nothing():
    row = torch.randn(1, 3, 1, 4)
    torch.testing.assert_close(spatial_contrast(row.expand(1, 3, 2, 4)), torch.ones(1))
    torch.testing.assert_close(tracklet_contrast(row.expand(1, 3, 2, 4)), torch.ones(1))
    torch.testing.assert_close(spatial_contrast(torch.eye(4).expand(1, 3, 4, 4)), torch.zeros(1))
    # Opposite ones cost nothing with a hinge, and as much as identical ones with a square.
    both = torch.cat([row, -row], 2)
    assert spatial_contrast(both).item() == 0
    assert spatial_contrast(both, "squared").item() == pytest.approx(1)


@pytest.mark.parametrize(("near", "cost"), [(0.6, 0.0), (0.7, 0.0), (0.5, 0.1), (0.0, 0.6), (-1.0, 1.6)])
def test_neighbouring_frames_cost_nothing_once_they_reach_the_margin(near, cost):
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([near, math.sqrt(1 - near * near)])
    responses = torch.stack([first, second])[None, :, None]
    assert temporal_contrast(responses).item() == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("shared", [True, False], ids=["learnt vectors", "semantics of each clip"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_aggregation_is_its_loop(shape, shared):
    torch.manual_seed(2)
    clips, frames, regions, channels = shape
    responses = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    semantics = torch.randn(*([] if shared else [clips]), 2, channels, dtype=torch.float64)
    found, weights = aggregate(responses, semantics, 0.3)
    for b in range(clips):
        own = semantics if shared else semantics[b]
        for r in range(regions):
            each = []
            for s in own:
                exponents = [math.exp(cosine(responses[b, t, r], s).item() / 0.3) for t in range(frames)]
                each.append([one / sum(exponents) for one in exponents])
            expected = torch.tensor(each, dtype=torch.float64).mean(0)
            torch.testing.assert_close(weights[b, :, r], expected)
            torch.testing.assert_close(found[b, r], (expected[:, None] * responses[b, :, r]).sum(0))
    assert torch.autograd.gradcheck(lambda x: aggregate(x, semantics, 0.3)[0], [responses])
