"""What a skeleton network is built for, and the kinds of input that are refused."""

import pytest

import taggnn
from taggnn.backbones import BACKBONES, build
from taggnn.backbones.skeleton.inputs import body_of
from taggnn.types import SKELETON_AXES, VIDEO_AXES, InputSpec

POSES = InputSpec("skeleton", SKELETON_AXES, (2, 8, 17, 3), {"skeleton": "coco"})
VIDEO = InputSpec("video", VIDEO_AXES, (3, 8, 32, 32))


def test_sizes_come_from_the_input():
    body = body_of(POSES)
    assert (body.channels, body.joints, body.persons, body.skeleton.name) == (2, 17, 3, "coco")


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (VIDEO, "joint"),
        (InputSpec("skeleton", SKELETON_AXES, (3, 8, 17, 1)), "coco"),
        (InputSpec("skeleton", SKELETON_AXES, (3, 8, 17, 1), {"skeleton": "coca"}), "did you mean 'coco'"),
        (InputSpec("skeleton", SKELETON_AXES, (3, 8, 17, 1), {"skeleton": "ntu"}), "25"),
    ],
    ids=["video", "no skeleton", "unknown skeleton", "other joints"],
)
def test_what_a_skeleton_network_cannot_take(spec, key):
    with pytest.raises(ValueError, match=key):
        body_of(spec)


def test_the_other_kind_of_input_is_refused_with_what_is_possible():
    with pytest.raises(ValueError, match=r"backbone small is for video.*possible for it: .*ctr_gcn"):
        taggnn.attach("small", "pool", 2, input=POSES)
    with pytest.raises(ValueError, match=r"backbone ctr_gcn is for skeletons.*possible for it: small"):
        taggnn.attach("ctr_gcn", "pool", 2, input=VIDEO)


@pytest.mark.parametrize("option", [{"clip": (8, 32, 32)}, {"in_channels": 1}], ids=str)
def test_options_of_video(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        build("ctr_gcn", **option)


def test_without_an_input_it_is_that_of_the_row():
    model = taggnn.attach("ctr_gcn", "pool", 2, backbone_options={"width": 8, "depths": [1]})
    assert model.spec == BACKBONES["ctr_gcn"].spec
    assert model.grid == (64, 25)
