import math

import pytest
import torch

from graphs.skeleton import SKELETONS, find
from taggnn.data.skeleton import transforms
from taggnn.data.skeleton.body import axes_of, center_of
from taggnn.data.skeleton.streams import STREAMS, joints_of, stream

NTU = find("ntu")


def sequence(persons=1, frames=6, joints=25, dimensions=3, seed=0):
    return torch.randn(persons, frames, joints, dimensions, generator=torch.Generator().manual_seed(seed))


def naive_filled(x):
    """Joint by joint and frame by frame, by the definition."""
    out = x.clone()
    for m in range(x.shape[0]):
        for v in range(x.shape[2]):
            there = [t for t in range(x.shape[1]) if x[m, t, v].isfinite().all()]
            for t in range(x.shape[1]):
                if t in there:
                    continue
                if not any(x[m, t, w].isfinite().all() for w in range(x.shape[2])):
                    out[m, t, v] = math.nan
                    continue
                if not there:
                    rest = [x[m, t, w] for w in range(x.shape[2]) if x[m, t, w].isfinite().all()]
                    out[m, t, v] = torch.stack(rest).mean(0)
                    continue
                before = [one for one in there if one < t]
                after = [one for one in there if one > t]
                if not before or not after:
                    out[m, t, v] = x[m, (before[-1:] or after[:1])[0], v]
                    continue
                a, b = before[-1], after[0]
                out[m, t, v] = x[m, a, v] + (t - a) / (b - a) * (x[m, b, v] - x[m, a, v])
    return out


@pytest.mark.parametrize("persons", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_filled_equals_the_definition(persons, frames):
    x = sequence(persons, frames, joints=5)
    lost = torch.rand(persons, frames, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    lost[:, :, 4] = True
    x[lost] = math.nan
    x[0, frames // 2] = math.nan
    assert torch.allclose(transforms.filled(x), naive_filled(x), equal_nan=True, atol=1e-6)


def test_a_joint_with_one_missing_coordinate_is_missing():
    x = sequence(frames=3, joints=2)
    x[0, 1, 0, 2] = math.nan
    assert torch.allclose(transforms.filled(x)[0, 1, 0], (x[0, 0, 0] + x[0, 2, 0]) / 2)


@pytest.mark.parametrize(
    ("name", "joints"),
    [("ntu", ["spine middle"]), ("nw_ucla", ["spine"]), ("coco", ["left hip", "right hip"]), ("hand", ["wrist"])],
)
def test_the_centre_of_a_skeleton(name, joints):
    skeleton = find(name)
    assert [skeleton.joints[joint] for joint in center_of(skeleton)] == joints


def test_the_centre_of_the_first_frame_with_the_main_person_is_subtracted():
    x = sequence(persons=2)
    x[0, 0] = math.nan
    moved = transforms.centered(x, NTU)
    assert torch.allclose(moved[0, 1, 1], torch.zeros(3))
    assert torch.allclose(moved[1, 0], x[1, 0] - x[0, 1, 1])


def test_the_centre_of_every_frame_is_subtracted_from_all_persons():
    x = sequence(persons=2)
    x[0, 2] = math.nan
    moved = transforms.centered(x, NTU, every_frame=True)
    assert torch.allclose(moved[0, [0, 1, 3, 4, 5], 1], torch.zeros(5, 3))
    assert torch.allclose(moved[1, 3], x[1, 3] - x[0, 3, 1])
    # The latest centre before a frame without the main person.
    assert torch.allclose(moved[1, 2], x[1, 2] - x[0, 1, 1])


def test_an_aligned_body_stands_along_y_with_its_shoulders_along_x():
    x = transforms.aligned(sequence(persons=2), axes_of(NTU))
    index = {name: number for number, name in enumerate(NTU.joints)}
    middle = {
        part: (x[0, 0, index[f"left {part}"]] + x[0, 0, index[f"right {part}"]]) / 2 for part in ("hip", "shoulder")
    }
    up = middle["shoulder"] - middle["hip"]
    across = x[0, 0, index["left shoulder"]] - x[0, 0, index["right shoulder"]]
    assert up[1] > 0
    assert torch.allclose(up[[0, 2]], torch.zeros(2), atol=1e-5)
    assert across[0] > 0
    assert abs(across[2]) < 1e-5
    # A rotation changes no distance.
    assert torch.allclose(x.norm(dim=-1), sequence(persons=2).norm(dim=-1), atol=1e-5)


def test_hands_cannot_be_aligned():
    with pytest.raises(ValueError, match="hand"):
        axes_of(find("hand"))


@pytest.mark.parametrize("axis", [0, 1, 2], ids="xyz")
def test_a_rotation_of_ninety_degrees_turns_one_axis_into_the_next(axis):
    degrees = [0.0, 0.0, 0.0]
    degrees[axis] = 90.0
    one, two = ((axis + 1) % 3, (axis + 2) % 3)
    turned = transforms.rotated(torch.eye(3)[one].view(1, 1, 1, 3), degrees).flatten()
    assert torch.allclose(turned.abs(), torch.eye(3)[two], atol=1e-6)
    assert torch.allclose(
        transforms.rotated(torch.eye(3)[axis].view(1, 1, 1, 3), degrees).flatten(), torch.eye(3)[axis], atol=1e-6
    )


def test_two_dimensions_turn_about_z_only():
    x = sequence(dimensions=2)
    assert torch.equal(transforms.rotated(x, [50.0, 60.0, 0.0]), x)
    assert torch.allclose(transforms.rotated(x, [0.0, 0.0, 180.0]), -x, atol=1e-5)


@pytest.mark.parametrize("name", list(SKELETONS))
def test_mirrored_twice_is_the_same(name):
    skeleton = find(name)
    x = sequence(joints=len(skeleton))
    once = transforms.mirrored(x, skeleton)
    assert torch.equal(transforms.mirrored(once, skeleton), x)
    for left, right in skeleton.pairs:
        assert torch.equal(once[:, :, left, 0], -x[:, :, right, 0])


def test_each_axis_is_fitted_by_itself():
    fitted = transforms.fitted(sequence(persons=2), each_axis=True).reshape(-1, 3)
    assert torch.allclose(fitted.amin(0), -torch.ones(3))
    assert torch.allclose(fitted.amax(0), torch.ones(3))


def test_one_extent_keeps_the_aspect_ratio():
    x = sequence() * torch.tensor([1.0, 2.0, 5.0])
    fitted = transforms.fitted(x, each_axis=False)
    extents = [one.reshape(-1, 3).amax(0) - one.reshape(-1, 3).amin(0) for one in (x, fitted)]
    assert torch.allclose(extents[1], 2 * extents[0] / extents[0].max(), atol=1e-5)


@pytest.mark.parametrize("each_axis", [True, False], ids=["each_axis", "extent"])
def test_a_still_point_becomes_zero(each_axis):
    assert torch.equal(transforms.fitted(torch.full((1, 1, 1, 3), 7.0), each_axis), torch.zeros(1, 1, 1, 3))


@pytest.mark.parametrize(("n", "frames"), [(1, 4), (5, 5), (7, 3), (3, 8)])
def test_resized_is_linear_interpolation(n, frames):
    x = sequence(frames=n, joints=2)
    expected = []
    for t in range(frames):
        position = min(max((t + 0.5) * n / frames - 0.5, 0), n - 1)
        low = int(position)
        high = min(low + 1, n - 1)
        expected.append(x[:, low] + (position - low) * (x[:, high] - x[:, low]))
    assert torch.allclose(transforms.resized(x, frames), torch.stack(expected, 1), atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_crops_lie_in_the_sequence(n):
    for part in (0.01, 0.5, 1.0):
        for start in (0.0, 0.5, 1.0):
            first, length = transforms.crop(n, part, start)
            assert first >= 0
            assert length >= 1
            assert first + length <= n


@pytest.mark.parametrize("name", STREAMS)
def test_streams_equal_the_definition(name):
    x = sequence(persons=2)
    expected = x.clone()
    if name.startswith("bone"):
        parents = dict(NTU.bones)
        for joint in range(25):
            expected[:, :, joint] = x[:, :, joint] - x[:, :, parents[joint]] if joint in parents else 0
    if name.endswith("motion"):
        before = expected.clone()
        for t in range(6):
            expected[:, t] = before[:, t + 1] - before[:, t] if t < 5 else 0
    assert torch.equal(stream(x, name, NTU), expected)


def test_joints_follow_from_bones_up_to_a_shift():
    x = sequence()
    bones = stream(x, "bone", NTU).permute(3, 1, 2, 0)
    joints = joints_of(bones, NTU).permute(3, 1, 2, 0)
    assert torch.allclose(joints, x - x[:, :, [NTU.root]], atol=1e-5)


def test_pixels_are_scaled_by_the_picture():
    x = torch.tensor([[0.0, 0.0], [1920.0, 1080.0], [960.0, 540.0]]).view(1, 1, 3, 2)
    assert torch.equal(transforms.in_picture(x, (1080, 1920)).flatten(0, 2), torch.tensor([[-1.0, -1], [1, 1], [0, 0]]))
