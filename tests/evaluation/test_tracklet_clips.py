"""Which clips have their tracklets drawn, and what the model gives for them."""

from collections import Counter

import pytest
import torch
from torch import nn

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.tracklet_clips import choose, collect
from taggnn.types import SKELETON_AXES, TOKEN_AXES, VIDEO_AXES, BadClip, InputSpec, Output, Sample

SPECS = {
    "video": InputSpec("video", VIDEO_AXES, (3, 4, 8, 6)),
    "tokens": InputSpec("tokens", TOKEN_AXES, (4, 3, 2, 5)),
    "skeleton": InputSpec("skeleton", SKELETON_AXES, (3, 4, 5, 2)),
}


def predictions(right, classes=3):
    """A clip for each of ``right``, labels in turn."""
    labels = torch.arange(len(right)) % classes
    given = torch.where(torch.tensor(right), labels, (labels + 1) % classes)
    names = [f"clip {index}" for index in range(len(right))]
    return Predictions(
        names, names, labels, torch.eye(classes)[given] * 0.5 + 0.1, [f"class {k}" for k in range(classes)]
    )


@pytest.mark.parametrize("number", [0, 1, 2, 5, 6, 40])
@pytest.mark.parametrize("wrong", [0, 1, 4, 20, 30])
def test_half_are_right_and_half_wrong_as_far_as_there_are_such(number, wrong):
    generator = torch.Generator().manual_seed(wrong)
    right = (torch.randperm(30, generator=generator) >= wrong).tolist()
    chosen = choose(predictions(right), number)
    rights = [index for index in chosen if right[index]]
    assert chosen == choose(predictions(right), number)
    assert len(chosen) == len(set(chosen)) == min(number, 30)
    assert chosen == [*sorted(rights), *sorted(set(chosen) - set(rights))]
    most = {True: 30 - wrong, False: wrong}
    for side, count in ((True, len(rights)), (False, len(chosen) - len(rights))):
        assert count >= min(most[side], number // 2)


def test_classes_differ_as_far_as_possible():
    chosen = choose(predictions([True] * 60 + [False] * 60, classes=20), 10)
    assert len({index % 20 for index in chosen}) == 10
    assert max(Counter(index % 3 for index in choose(predictions([True] * 9), 6)).values()) == 2
    # Of one class the first ones of the list.
    assert choose(predictions([True] * 9, classes=1), 3) == [0, 1, 2]


class Reader:
    """A source of zeros; clip 1 cannot be read again."""

    def __init__(self, kind):
        self.spec = SPECS[kind]
        if kind == "video":
            self.picture = lambda x: torch.full((4, 8, 6, 3), 9, dtype=torch.uint8)
        if kind == "skeleton":
            self.position_names = tuple("abcde")

    def __call__(self, clip, seed):
        assert seed is None
        return (
            BadClip(clip.name, clip.path, "gone") if clip.name == "clip 1" else Sample(torch.zeros(self.spec.shape), 0)
        )


class Fixed(nn.Module):
    """Answers with the given extras."""

    def __init__(self, head=None, **extras):
        super().__init__()
        self.head, self.extras = head, extras

    def forward(self, x, targets=None):
        return Output(torch.zeros(len(x), 3), self.extras)


def collected(kind, model):
    names = [f"clip {index}" for index in (2, 1, 0)]
    clips = ClipList(tuple(Clip(f"/{name}", 0, name) for name in names), ("class 0", "class 1", "class 2"), "list")
    return collect(model, ClipDataset(clips, Reader(kind)), predictions([True, True, False]), [0, 1, 2])


REGIONS = torch.rand(1, 4, 2, 3, 2)


def test_a_clip_is_what_evaluation_sees_and_an_unreadable_one_is_named():
    weights = torch.rand(1, 4, 2)
    found, notes = collected("video", Fixed(regions=REGIONS, frame_weights=weights).train())
    assert [each.name for each in found] == ["clip 0", "clip 2"]
    assert [(each.truth, each.predicted) for each in found] == [("class 0", "class 0"), ("class 2", "class 0")]
    assert found[0].probability == pytest.approx(0.6)
    assert torch.equal(found[0].regions, REGIONS[0])
    assert torch.equal(found[0].weights, weights[0])
    assert found[0].pictures.shape == (4, 8, 6, 3)
    assert found[0].texts == []
    assert len(notes) == 1
    assert "clip 1" in notes[0]
    assert "gone" in notes[0]


def test_positions_are_rows_and_columns_only_where_the_input_has_them():
    (of_tokens, *_), _ = collected("tokens", Fixed(regions=REGIONS))
    assert of_tokens.spatial
    assert of_tokens.pictures is None
    (of_joints, *_), _ = collected("skeleton", Fixed(regions=torch.rand(1, 4, 2, 5)))
    assert not of_joints.spatial
    assert of_joints.positions == tuple("abcde")
    (flat, *_), _ = collected("skeleton", Fixed(regions=REGIONS))
    assert torch.equal(flat.regions, REGIONS[0].flatten(2))


class Named(nn.Module):
    def semantic_names(self):
        return ["zero", "one", "two", "three"]


@pytest.mark.parametrize(
    ("head", "semantics", "texts"),
    [
        (None, [[4, 0]], ["class 1, prompt 2", "class 0, prompt 1"]),
        (Named(), [[3, 1]], ["three", "one"]),
        (Named(), [[4, -1]], ["semantic 4", "semantic -1"]),
        (None, [3, 1], []),
    ],
    ids=["classes", "names", "unknown", "shape"],
)
def test_regions_answer_to_texts(head, semantics, texts):
    (found, *_), _ = collected("video", Fixed(head, regions=REGIONS, semantics=torch.tensor(semantics)))
    assert found.texts == texts


@pytest.mark.parametrize(
    "extras",
    [
        {"regions": torch.rand(1, 4, 2)},
        {"regions": torch.rand(2, 4, 2, 3)},
        {"regions": torch.ones(1, 4, 2, 3, dtype=torch.long)},
        {"regions": torch.full((1, 4, 2, 3), torch.nan)},
        {"regions": [1]},
        {},
        {"regions": REGIONS, "frame_weights": torch.rand(1, 2, 4)},
        {"regions": REGIONS, "semantics": torch.zeros(1, 3, dtype=torch.long)},
    ],
    ids=["rank", "clips", "long", "nan", "list", "none", "weights", "semantics"],
)
def test_extras_of_another_form_are_reported_and_stop_nothing(extras):
    found, notes = collected("video", Fixed(**extras))
    assert found == []
    assert [f"clip {index}" in note for index, note in enumerate(notes)] == [True] * 3
