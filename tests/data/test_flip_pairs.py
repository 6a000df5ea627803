"""Labels that follow a flip."""

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset, collate
from taggnn.data.flip_pairs import flipped_labels, likely_flip_pairs
from taggnn.data.synthetic import ATTRIBUTES, FLIP_PAIRS, MOTIONS, draw, states, write_video
from taggnn.data.video.source import VideoSource

CLASSES = ("jump", "left turn", "right turn", "roll left", "roll right")


@pytest.mark.parametrize(
    "pairs",
    [
        {"left turn": "right turn", "roll right": "roll left"},
        {"right turn": "left turn", "left turn": "right turn", "roll left": "roll right"},
    ],
    ids=["one-side", "both-sides"],
)
def test_partners_swap_and_the_rest_stays(pairs):
    assert flipped_labels(pairs, CLASSES) == [0, 2, 1, 4, 3]


def test_without_pairs_nothing_changes():
    assert flipped_labels({}, CLASSES) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"left trun": "right turn"}, r"data\.flip_pairs: unknown class 'left trun'; did you mean 'left turn'"),
        ({"left turn": "right"}, r"data\.flip_pairs: unknown class 'right'"),
        ({"jump": "jump"}, "class 'jump' is paired with itself; a class in no pair keeps its label"),
        (
            {"jump": "left turn", "roll left": "left turn"},
            "class 'left turn' is paired with 'jump' and with 'roll left'",
        ),
    ],
    ids=["unknown", "unknown-partner", "itself", "two-partners"],
)
def test_pairs_that_cannot_be_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        flipped_labels(pairs, CLASSES)


def test_names_that_differ_in_their_side_only_are_found():
    pairs = {
        "Pushing [something] from left to right": "Pushing [something] from right to left",
        "turn_left": "turn_right",
        "LeftHook": None,
        "Left Hook": "right hook",
        "spin clockwise": "spin counter-clockwise",
        "twist ccw": "twist cw",
        "roll anticlockwise": "roll clockwise",
        "left and right": None,
        "kick left": None,
        "bright light": None,
        "copyright": None,
    }
    classes = [name for pair in pairs.items() for name in pair if name is not None]
    assert likely_flip_pairs(classes) == {one: other for one, other in pairs.items() if other}
    assert likely_flip_pairs([]) == {}
    assert likely_flip_pairs(list(MOTIONS)) == FLIP_PAIRS


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """One synthetic clip of each class, small and without much noise to tell apart."""
    folder = tmp_path_factory.mktemp("mirror")
    names = tuple(MOTIONS)
    for label, name in enumerate(names):
        pictures = draw(states(name, np.full(4, 0.3), 1.0, 8), 32, np.random.default_rng(label))
        write_video(folder / f"{name}.mp4", pictures)
    return ClipList(tuple(Clip(str(folder / f"{name}.mp4"), k, name) for k, name in enumerate(names)), names, "")


def test_the_label_follows_exactly_the_clips_that_are_flipped(clips):
    flipped = flipped_labels(FLIP_PAIRS, clips.classes)
    source = VideoSource(8, size=32, flip=0.5, scale=(1.0, 1.0), short_side=None)
    dataset = ClipDataset(clips, source, train=True, flipped_labels=flipped)
    assert [clips.classes[k] for k in flipped[:2]] == ["right", "left"]
    for index in range(len(clips)):
        upright = ClipDataset(clips, source)[index, 0].x
        seen = set()
        for seed in range(12):
            item = dataset[index, seed]
            flip = torch.equal(item.x, upright.flip(-1))
            assert flip or torch.equal(item.x, upright)
            assert item.flipped == flip
            assert item.label == (flipped[index] if flip else index)
            seen.add(flip)
        assert seen == {False, True}
    assert collate([dataset[0, 0]], source.spec).label.tolist() == [dataset[0, 0].label]


@pytest.mark.parametrize("name", MOTIONS)
def test_a_flipped_synthetic_clip_is_one_of_the_named_partner(name):
    """The mirror of a motion is the partner's motion from mirrored starts, on a ground without texture."""

    class Plain:
        """A generator without chance: no texture, no noise."""

        def uniform(self, low=0.0, high=1.0, size=None):
            return np.full(size, (low + high) / 2) if size else (low + high) / 2

        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype)

    partner = {**FLIP_PAIRS, **{b: a for a, b in FLIP_PAIRS.items()}}.get(name, name)
    start = np.array([0.3, 0.6, 0.15, 0.4])
    mirrored = start.copy()
    mirrored[ATTRIBUTES.index("x")] = 1 - start[ATTRIBUTES.index("x")]
    mirrored[ATTRIBUTES.index("angle")] = 0.5 - start[ATTRIBUTES.index("angle")]
    shown = draw(states(name, start, 1.0, 8), 32, Plain())[:, :, ::-1].astype(int)
    expected = draw(states(partner, mirrored, 1.0, 8), 32, Plain()).astype(int)
    assert abs(shown - expected).max() <= 2
    if partner != name:
        assert abs(shown - draw(states(name, mirrored, 1.0, 8), 32, Plain())).max() > 50


def test_names_that_differ_only_in_case_are_no_mirror_images():
    assert likely_flip_pairs(["Jump", "jump", "left turn", "Right turn", "Left and right"]) == {
        "left turn": "Right turn"
    }
