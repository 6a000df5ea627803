"""MixUp and CutMix by their formulas, on clips and on tokens."""

import pytest
import torch
from torch.nn import functional as F

from taggnn.training.mixing import Mixing, cutmix, mixup
from taggnn.types import SKELETON_AXES, TOKEN_AXES, VIDEO_AXES, InputSpec

# B 16 clips, K 16 classes: clip i is filled with i, and its label is i.
CLIP, TOKENS = InputSpec("video", VIDEO_AXES, (3, 2, 9, 14)), InputSpec("tokens", TOKEN_AXES, (2, 9, 14, 5))
LAYOUTS = pytest.mark.parametrize("spec", [CLIP, TOKENS], ids=["clip", "tokens"])


def numbered(spec, dtype=torch.float32):
    return torch.arange(16, dtype=dtype).view(-1, 1, 1, 1, 1).expand(16, *spec.shape).clone(), torch.arange(16)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixup_blends_clips_and_labels_with_the_same_share(spec, dtype):
    clip, labels = numbered(spec, dtype)
    blended, target = mixup(clip, labels, 0.5, 16)
    # Clip i has the value i everywhere: a blend has the value that the blended label has in the mean.
    expected = (target * torch.arange(16, dtype=dtype)).sum(1).view(-1, 1, 1, 1, 1).expand_as(blended)
    torch.testing.assert_close(blended, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(target.sum(1), torch.ones(16, dtype=dtype))
    assert (target.count_nonzero(1) == 2).sum() > 8
    assert len(target.amax(1).unique()) > 8, "one share for each clip"


@LAYOUTS
def test_cutmix_labels_count_by_the_exact_area(spec):
    for _ in range(30):
        clip, labels = numbered(spec)
        cut, target = cutmix(clip, labels, 1.0, 16, spec)
        for i in range(16):
            for j in range(16):
                assert float((cut[i] == j).float().mean()) == pytest.approx(float(target[i, j]), abs=1e-6)


@LAYOUTS
def test_cutmix_puts_one_box_through_all_frames(spec):
    clip, labels = numbered(spec)
    cut, _ = cutmix(clip, labels, 1.0, 16, spec)
    taken = (cut != clip).movedim(spec.positions("height", "width"), (1, 2)).flatten(3)
    assert torch.equal(taken.all(-1), taken.any(-1)), "all frames and channels alike"
    boxes = 0
    for picture in taken[..., 0]:
        rows, columns = picture.any(1), picture.any(0)
        assert picture.sum() == rows.sum() * columns.sum(), "a box"
        for side in (rows, columns):
            assert side.int().diff().ne(0).sum() <= 2, "without gaps"
        boxes += bool(rows.any())
    assert boxes > 8
    assert len({tuple(picture.flatten().tolist()) for picture in taken[..., 0]}) > 8, "one box for each clip"


def test_cutmix_reaches_every_place_and_every_area():
    counts, areas = torch.zeros(9, 14), []
    for _ in range(150):
        clip, labels = numbered(CLIP)
        cut, _ = cutmix(clip, labels, 1.0, 16, CLIP)
        taken = (cut != clip)[:, 0, 0].float()
        counts += taken.sum(0)
        areas += taken.mean((1, 2)).tolist()
    assert counts.min() > 0
    assert torch.allclose(counts, counts.flip(0, 1), rtol=0.35), "no side is favoured"
    assert max(areas) > 0.9
    assert min(areas) == 0


def test_cutmix_of_a_single_place_is_refused():
    with pytest.raises(ValueError, match=r"optim\.cutmix: a grid of 1 x 1"):
        cutmix(torch.rand(2, 3, 1, 1, 4), torch.tensor([0, 1]), 1.0, 2, TOKENS.resized(frame=3, height=1, width=1))


SKELETON = InputSpec("skeleton", SKELETON_AXES, (3, 4, 17, 2))


def test_inputs_without_height_and_width_are_blended_and_never_cut():
    x, labels = torch.rand(4, *SKELETON.shape), torch.arange(4)
    Mixing(mixup=0.8).check(SKELETON)
    mixed, target = Mixing(mixup=0.8)(x, labels, 4, SKELETON)
    torch.testing.assert_close(mixed, torch.einsum("bk,k...->b...", target, x))
    for mixing in (Mixing(cutmix=1.0), Mixing(0.8, 1.0), Mixing(0.8, 1.0, prob=0.1, switch=0.1)):
        with pytest.raises(ValueError, match=r"optim\.cutmix.*skeleton.*channel, frame, joint, person"):
            mixing.check(SKELETON)
    with pytest.raises(ValueError, match=r"optim\.cutmix.*joint"):
        Mixing(cutmix=1.0)(x, labels, 4, SKELETON)
    with pytest.raises(ValueError, match=r"optim\.cutmix: a grid of 1 x 1"):
        Mixing(cutmix=1.0).check(CLIP.resized(height=1, width=1))


def test_what_is_never_cut_is_not_refused():
    for mixing in (Mixing(), Mixing(0.8, 1.0, switch=0.0), Mixing(0.8, 1.0, prob=0.0), Mixing(mixup=0.8)):
        mixing.check(SKELETON)
    for spec in (CLIP, TOKENS, CLIP.resized(height=1), CLIP.resized(width=1)):
        Mixing(0.8, 1.0).check(spec)


SMALL = CLIP.resized(frame=2, height=3, width=4)
METHODS = pytest.mark.parametrize(("mix", "layout"), [(mixup, ()), (cutmix, (SMALL,))], ids=["mixup", "cutmix"])


@METHODS
def test_a_single_clip_stays_what_it_is(mix, layout):
    clip = torch.rand(1, 3, 2, 3, 4)
    mixed, target = mix(clip, torch.tensor([2]), 0.3, 5, *layout)
    torch.testing.assert_close(mixed, clip)
    torch.testing.assert_close(target, torch.eye(5)[[2]])


@METHODS
def test_half_precision_keeps_its_kind_and_its_labels_are_exact(mix, layout):
    mixed, target = mix(torch.rand(4, 3, 2, 3, 4).half(), torch.arange(4), 1.0, 4, *layout)
    assert mixed.dtype == torch.float16
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.sum(1), torch.ones(4))


def kinds(mixing, rounds=300):
    """How many batches were left alone, blended and cut."""
    clip, labels = numbered(CLIP)
    found = {"alone": 0, "blended": 0, "cut": 0}
    for _ in range(rounds):
        mixed, _ = mixing(clip, labels, 16, CLIP)
        whole = bool((mixed == mixed.round()).all())
        found["alone" if torch.equal(mixed, clip) else "cut" if whole else "blended"] += 1
    return found


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [
        (Mixing(), (300, 0, 0)),
        (Mixing(mixup=0.8), (0, 300, 0)),
        (Mixing(cutmix=1.0), (0, 0, 300)),
        (Mixing(0.8, 1.0), (0, 150, 150)),
        (Mixing(0.8, 1.0, switch=0.0), (0, 300, 0)),
        (Mixing(0.8, 1.0, switch=1.0), (0, 0, 300)),
        (Mixing(0.8, 1.0, prob=0.5, switch=0.2), (150, 120, 30)),
        (Mixing(0.8, 1.0, prob=0.0), (300, 0, 0)),
    ],
    ids=["off", "mixup", "cutmix", "both", "never-cut", "always-cut", "half", "prob-0"],
)
def test_one_method_is_chosen_for_each_batch(mixing, expected):
    found = kinds(mixing)
    for kind, count in zip(found, expected, strict=True):
        assert abs(found[kind] - count) <= (0 if count in (0, 300) else 35), found


def test_the_draws_follow_from_the_global_stream_alone():
    clip, labels = numbered(CLIP)
    mixing = Mixing(0.8, 1.0, prob=0.9)
    torch.manual_seed(7)
    first = [mixing(clip, labels, 16, CLIP)[1] for _ in range(5)]
    torch.manual_seed(7)
    again = [mixing(clip, labels, 16, CLIP)[1] for _ in range(5)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_switched_off_nothing_is_drawn():
    state = torch.get_rng_state()
    assert not Mixing()
    Mixing()(*numbered(CLIP), 16, CLIP)
    assert torch.equal(torch.get_rng_state(), state)


def test_smoothing_a_mixed_label_spreads_its_share_over_all_classes():
    _, target = mixup(*numbered(CLIP), 1.0, 16)
    logits = torch.randn(16, 16)
    expected = -((0.9 * target + 0.1 / 16) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(F.cross_entropy(logits, target, label_smoothing=0.1), expected)
