"""Sets of relations: the class is of both colours together, a linear model of ordered frames is at chance, no token sees both."""

import numpy as np
import pytest
import torch

from taggnn.backbones.video.small import Small
from taggnn.data.synthetic_relations import (
    CLASSES,
    EARLY,
    EDGE,
    HEIGHT,
    LATE,
    MOMENT,
    RADIUS,
    RUNGS,
    colours,
    make_clip,
    make_relations,
)
from taggnn.data.video.source import VideoSource

TINY = {"train": 1, "test": 1}


@pytest.fixture(params=RUNGS)
def rung(request):
    return request.param


def seen(shown):
    """The colours of a clip, the first one first: by time, and in one frame from left to right."""
    frame, disc = np.nonzero(shown >= 0)
    order = np.lexsort((disc, frame))
    both = shown[frame[order], disc[order]]
    return int(both[0]), int(shown[0, 1] if len(frame) == shown.size else both[-1])


def test_two_colours_are_shown(rung):
    rng = np.random.default_rng(0)
    for first in range(3):
        for second in range(3):
            shown = colours(rung, first, second, 16, rng)
            assert seen(shown) == (first, second)
            if rung != "relation":
                early, late = shown[:8], shown[8:]
                discs = [int(np.nonzero((part >= 0).any(0))[0][0]) for part in (early, late)]
                assert (discs[0] == discs[1]) == (rung == "order")
                assert [(part >= 0).sum() for part in (early, late)] == [3, 3]
                assert np.nonzero((late >= 0).any(1))[0][0] + 8 - np.nonzero((early >= 0).any(1))[0][-1] > 6


def test_a_linear_model_of_ordered_frames_is_at_chance_and_one_of_pairs_is_right(rung):
    """Ridge regression on the colour of each side in each frame, an easier input than any backbone gives."""
    rng = np.random.default_rng(1)
    draws = [(int(rng.integers(3)), name) for _ in range(700) for name in CLASSES]
    clips = [colours(rung, first, (first + CLASSES[name]) % 3, 16, rng) for first, name in draws]
    labels = np.array([CLASSES[name] for _, name in draws])
    ordered = np.stack([np.eye(4)[clip].ravel() for clip in clips])
    pairs = np.stack([np.outer(*(np.eye(3)[colour] for colour in seen(clip))).ravel() for clip in clips])
    assert accuracy(ordered, labels) < 0.42
    assert accuracy(pairs, labels) == 1


def accuracy(features, labels, train=1500):
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    given, wanted = features[:train], np.eye(3)[labels[:train]]
    weights = np.linalg.solve(given.T @ given + np.eye(given.shape[1]), given.T @ wanted)
    return ((features[train:] @ weights).argmax(1) == labels[train:]).mean()


def test_no_token_of_the_small_backbone_sees_both():
    """The receptive field is 33 pixels and 7 frames; what is compared is farther apart, wherever it is drawn."""
    torch.manual_seed(0)
    net, clip = Small(width=2).eval(), torch.randn(1, 3, 16, 64, 64, requires_grad=True)
    tokens = net(clip)
    reached = []
    for frame, column in ((8, 1), (8, 2)):
        (grad,) = torch.autograd.grad(tokens[0, :, frame, 2, column].sum(), clip, retain_graph=True)
        where = grad[0].abs().sum(0).nonzero()
        reached.append((where.amax(0) - where.amin(0) + 1).tolist())
    frames, _, width = np.max(reached, 0)
    between = 64 * (1 - 2 * (EDGE[1] + RADIUS[1]))
    assert width < between
    assert frames <= 16 * (LATE[0] - EARLY[1] - MOMENT) + 1
    assert min(HEIGHT[0], 1 - HEIGHT[1]) > RADIUS[1]


def test_clips_show_what_was_drawn():
    rng = np.random.default_rng(2)
    clip = make_clip("relation", "next", 16, 64, rng)
    assert (clip.shape, clip.dtype) == ((16, 64, 64, 3), np.uint8)
    strongest = [int((half.reshape(-1, 3).max(0)).argmax()) for half in (clip[0, :, :14], clip[0, :, 50:])]
    assert (strongest[1] - strongest[0]) % 3 == 1


def test_a_set_is_made_once(tmp_path, rung):
    made = VideoSource.synthetic[rung].make(tmp_path / "set", clips_per_class=TINY, frames=16, size=32, progress=False)
    files = sorted(made.glob("*/*/*.mp4"))
    assert len(files) == 6
    before = [path.stat().st_mtime_ns for path in files]
    make_relations(made, TINY, 16, 32, progress=False, rung=rung)
    assert [path.stat().st_mtime_ns for path in files] == before
    with pytest.raises(ValueError, match=r"synthetic\.json"):
        make_relations(made, TINY, 16, 32, seed=1, progress=False, rung=rung)


@pytest.mark.parametrize(
    ("options", "match"), [({"rung": "colour"}, "order"), ({"frames": 8}, "frames"), ({"size": 33}, "size")]
)
def test_wrong_settings_are_refused(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        make_relations(tmp_path, TINY, **options)
