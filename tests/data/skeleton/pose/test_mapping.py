"""taggnn.data.skeleton.pose.mapping: the joints of published skeletons from MediaPipe's landmarks."""

import pytest
import torch

from graphs.skeleton import find
from taggnn.data.skeleton.pose.mapping import (
    AVERAGES,
    COORDINATES,
    USUAL,
    confidence_of,
    kinect_axes,
    landmarks_of,
    mapped,
)

LANDMARKS = find("mediapipe").joints


@pytest.mark.parametrize("skeleton", AVERAGES)
def test_every_joint_is_a_mean_of_landmarks(skeleton):
    table = landmarks_of(skeleton)
    assert tuple(table) == find(skeleton).joints
    # No row stands for a joint that the skeleton does not have.
    assert AVERAGES[skeleton].keys() <= table.keys()
    x, visibility = torch.randn(2, 5, 33, 3), torch.rand(2, 5, 33)
    found, sure = mapped(x, skeleton), confidence_of(visibility, skeleton)
    assert found.shape == (2, 5, len(table), 3)
    for joint, names in enumerate(table.values()):
        rows = [LANDMARKS.index(name) for name in names]
        assert torch.allclose(found[:, :, joint], sum(x[:, :, row] for row in rows) / len(rows), atol=1e-6)
        assert torch.equal(sure[:, :, joint], torch.stack([visibility[:, :, row] for row in rows]).min(0).values)


@pytest.mark.parametrize("skeleton", AVERAGES)
def test_a_mirrored_body_has_mirrored_joints(skeleton):
    x = torch.randn(33, 2)
    mirror, own = list(find("mediapipe").mirrored), list(find(skeleton).mirrored)
    assert torch.allclose(mapped(x[mirror], skeleton), mapped(x, skeleton)[own], atol=1e-6)


def test_landmarks_are_themselves():
    x = torch.randn(33, 3)
    assert torch.equal(mapped(x, "mediapipe"), x)


def test_the_bones_of_a_drawn_body_stay_short():
    """A body in the layout of the drawing: mapped bones are about as long as those of the skeleton's own drawing."""
    body = torch.tensor(find("mediapipe").layout)
    for skeleton in ("ntu", "nw_ucla", "coco"):
        joints = mapped(body, skeleton)
        assert all((joints[a] - joints[b]).norm() < 2.5 for a, b in find(skeleton).bones), skeleton


def test_kinects_axes_are_a_half_turn():
    x = torch.randn(4, 3)
    turned = kinect_axes(x)
    assert torch.equal(turned, x * torch.tensor([-1.0, -1.0, 1.0]))
    # No mirror: a right hand stays one.
    assert torch.linalg.det(kinect_axes(torch.eye(3))) == 1


def test_a_hand_is_no_body():
    with pytest.raises(ValueError, match="ntu"):
        landmarks_of("hand")


def test_every_skeleton_has_its_usual_coordinates():
    assert USUAL.keys() == AVERAGES.keys()
    assert set(USUAL.values()) <= set(COORDINATES)
