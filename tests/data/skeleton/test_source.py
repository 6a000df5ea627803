import math

import numpy as np
import pytest
import torch

from graphs.skeleton import find
from taggnn.data import sources
from taggnn.data.clips import Clip
from taggnn.data.lists.reading import read_clips
from taggnn.data.skeleton import formats, streams, transforms
from taggnn.data.skeleton.source import SkeletonSource
from taggnn.types import SKELETON_AXES, BadClip

NTU = find("ntu")


def write(path, persons=1, frames=20, joints=25, dimensions=3, seed=0, lost=(), **arrays):
    x = np.random.default_rng(seed).standard_normal((persons, frames, joints, dimensions)).astype(np.float32)
    for index in lost:
        x[index] = np.nan
    np.savez(path, coordinates=x, **arrays)
    return Clip(str(path), 3, path.name)


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "one.npz")


@pytest.mark.parametrize("sampling", ["resize", "random", "uniform", "segment", "dense"])
@pytest.mark.parametrize("frames", [1, 7, 64])
@pytest.mark.parametrize("length", [1, 20])
def test_a_sample_has_the_shape_of_the_spec(tmp_path, sampling, frames, length):
    source = SkeletonSource(frames=frames, sampling=sampling)
    clip = write(tmp_path / "one.npz", frames=length)
    assert source.spec.axes == SKELETON_AXES
    for seed in (None, 5):
        sample = source(clip, seed)
        assert tuple(sample.x.shape) == source.spec.shape == (3, frames, 25, 2)
        assert sample.label == 3
        assert sample.x.isfinite().all()
        # The second person is absent.
        assert not sample.x[..., 1].any()


def test_a_training_sample_depends_on_its_seed_alone(clip):
    source = SkeletonSource(sampling="random", rotation=(60, 60, 10), scale=(0.9, 1.1), flip=0.5)
    before = torch.random.get_rng_state()
    one, again, other = source(clip, 1).x, source(clip, 1).x, source(clip, 2).x
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_evaluation_draws_nothing(clip):
    plain = SkeletonSource(sampling="uniform")
    augmented = SkeletonSource(sampling="uniform", rotation=(60, 60, 10), scale=(0.5, 2), flip=1.0, crop=(0.1, 0.2))
    assert torch.equal(plain(clip, None).x, augmented(clip, None).x)


def test_a_sample_is_the_steps_in_their_order(clip):
    """The recipe of CTR-GCN for NW-UCLA, step by step, with the joint in the middle of the body."""
    source = SkeletonSource(frames=9, sampling="uniform", normalize="each_axis", stream="bone_motion", persons=1)
    x = torch.from_numpy(np.load(clip.path)["coordinates"])[0]
    x = x - x[0, 1]
    low, high = x.reshape(-1, 3).amin(0), x.reshape(-1, 3).amax(0)
    x = 2 * (x - low) / (high - low) - 1
    x = x[[int(t * 19 / 8) for t in range(9)]]
    bones = torch.zeros_like(x)
    for child, parent in NTU.bones:
        bones[:, child] = x[:, child] - x[:, parent]
    motion = torch.zeros_like(bones)
    motion[:-1] = bones[1:] - bones[:-1]
    assert torch.allclose(source(clip, None).x[..., 0], motion.permute(2, 0, 1), atol=1e-6)


def test_a_flip_exchanges_the_sides_and_is_reported(clip):
    source = SkeletonSource(sampling="uniform", flip=1.0)
    sample = source(clip, 7)
    assert sample.flipped
    plain = source(clip, None).x
    assert torch.allclose(sample.x[1], plain[1][:, list(NTU.mirrored)], atol=1e-6)
    assert torch.allclose(sample.x[0], -plain[0][:, list(NTU.mirrored)], atol=1e-6)


def test_a_rotation_keeps_distances_and_its_angles_are_bounded(clip):
    source = SkeletonSource(sampling="uniform", rotation=(0, 0, 30))
    turned, plain = source(clip, 3).x, source(clip, None).x
    assert torch.allclose(turned.norm(dim=0), plain.norm(dim=0), atol=1e-5)
    assert torch.allclose(turned[2], plain[2], atol=1e-6)
    cosine = (turned[:2, ..., 0] * plain[:2, ..., 0]).sum(0) / plain[:2, ..., 0].norm(dim=0).square().clamp(min=1e-9)
    assert cosine[plain[0, ..., 0] != 0].min() >= math.cos(math.radians(30)) - 1e-4


def test_missing_joints_have_no_confidence_and_interpolated_coordinates(tmp_path):
    clip = write(tmp_path / "one.npz", lost=[(0, 4, 7)])
    source = SkeletonSource(frames=20, sampling="uniform", confidence=True, center=None, persons=1)
    sample = source(clip, None).x
    assert source.spec.shape == (4, 20, 25, 1)
    assert sample[3, 4, 7, 0] == 0
    assert sample[3].sum() == 20 * 25 - 1
    assert torch.allclose(sample[:3, 4, 7], (sample[:3, 3, 7] + sample[:3, 5, 7]) / 2)


def test_a_person_that_comes_late_is_zero_before(tmp_path):
    clip = write(tmp_path / "two.npz", persons=2, lost=[(1, slice(0, 10))])
    sample = SkeletonSource(frames=20, sampling="uniform")(clip, None).x
    assert not sample[:, :10, :, 1].any()
    assert sample[:, 10:, :, 1].any()


def test_two_coordinates_are_the_first_of_three(clip):
    three = SkeletonSource(sampling="uniform")(clip, None).x
    assert torch.equal(SkeletonSource(sampling="uniform", dimensions=2)(clip, None).x, three[:2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joints": 20}, "nw_ucla"),
        ({"dimensions": 2}, "dimensions"),
        ({"lost": [(slice(None),)]}, "no joint"),
    ],
    ids=["joints", "dimensions", "empty"],
)
def test_a_file_that_does_not_fit_is_a_bad_clip_with_its_reason(tmp_path, options, words):
    clip = write(tmp_path / "bad.npz", **options)
    found = SkeletonSource()(clip, None)
    assert isinstance(found, BadClip)
    assert found.name == "bad.npz"
    assert words in found.reason


def test_a_missing_file_is_a_bad_clip(tmp_path):
    assert isinstance(SkeletonSource()(Clip(str(tmp_path / "none.npz"), 0, "none"), None), BadClip)


@pytest.mark.parametrize(
    "options",
    [
        {"skeleton": "dog"},
        {"frames": 0},
        {"persons": 0},
        {"sampling": "backwards"},
        {"stream": "muscle"},
        {"center": "nose"},
        {"normalize": "sometimes"},
        {"crop": (0.0, 1.0)},
        {"scale": (2.0, 1.0)},
        {"rotation": (0, 0, 200)},
        {"flip": 2.0},
        {"align": True, "dimensions": 2},
        {"align": True, "skeleton": "hand"},
        {"stride": 0, "sampling": "dense"},
    ],
    ids=lambda options: "-".join(options),
)
def test_an_option_out_of_range_is_refused_by_its_key(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        sources.build("skeleton", options)


@pytest.mark.parametrize("stream", streams.STREAMS)
def test_the_source_of_a_spec_makes_the_same_samples(clip, stream):
    source = SkeletonSource(
        frames=13,
        sampling="dense",
        stride=2,
        persons=1,
        stream=stream,
        align=True,
        normalize="extent",
        rotation=(9, 9, 9),
    )
    again = sources.of(source.spec)
    assert again.spec == source.spec
    assert torch.equal(again(clip, None).x, source(clip, None).x)


def test_views_show_other_frames(clip):
    source = SkeletonSource(frames=4, sampling="dense")
    source.check_views(3, 1)
    views = source.evaluation_views(clip, [(0, 0), (1, 0), (2, 0)], 3, 1)
    assert [tuple(view.x.shape) for view in views] == [source.spec.shape] * 3
    assert not torch.equal(views[0].x, views[1].x)


@pytest.mark.parametrize(("sampling", "views", "crops"), [("resize", 2, 1), ("dense", 1, 3)])
def test_impossible_views_are_refused(sampling, views, crops):
    with pytest.raises(ValueError, match="possible is 1"):
        SkeletonSource(sampling=sampling).check_views(views, crops)


@pytest.mark.parametrize("stream", ["joint", "bone"])
def test_pictures_are_drawn_of_joints_and_bones(clip, stream):
    source = SkeletonSource(stream=stream, frames=5)
    picture = source.picture(source(clip, None).x)
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == 5
    assert picture.shape[-1] == 3
    assert picture.float().std() > 0


def test_motion_has_no_pictures():
    assert SkeletonSource(stream="joint_motion").picture is None


def test_reading_and_transforms_agree_on_missing_values(tmp_path):
    clip = write(tmp_path / "one.npz", persons=2, lost=[(0, 3, 2, 1)])
    read = formats.read(clip)
    assert transforms.present(read.coordinates).all()


def test_a_note_in_a_class_folder_is_no_clip(tmp_path):
    for name in ("wave", "kick"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "one.npz")
        (tmp_path / name / "notes.txt").write_text("made in spring")
    clips = read_clips(tmp_path, endings=SkeletonSource().endings)
    assert [clip.name for clip in clips] == ["kick/one.npz", "wave/one.npz"]


def test_a_file_without_the_size_of_its_picture_cannot_be_scaled_by_it(tmp_path):
    clip = write(tmp_path / "flat.npz", dimensions=2)
    found = SkeletonSource(dimensions=2, normalize="picture")(clip, None)
    assert isinstance(found, BadClip)
    assert "skeleton.normalize" in found.reason


def test_pixels_are_scaled_by_the_picture_of_the_file(tmp_path):
    path = tmp_path / "flat.npz"
    np.savez(path, coordinates=np.full((1, 4, 17, 2), [1920.0, 540.0], np.float32), picture=np.array([1080, 1920]))
    source = SkeletonSource(
        "coco", frames=4, sampling="uniform", persons=1, dimensions=2, center=None, normalize="picture"
    )
    sample = source(Clip(str(path), 0, path.name), None).x
    assert torch.equal(sample[0], torch.ones(4, 17, 1))
    assert torch.equal(sample[1], torch.zeros(4, 17, 1))


@pytest.mark.parametrize("picture", [[1080], [0, 1920], [1.5, 2.5]], ids=["one", "zero", "parts"])
def test_a_picture_of_no_size_is_a_bad_clip(tmp_path, picture):
    clip = write(tmp_path / "flat.npz", dimensions=2, picture=np.array(picture))
    assert "picture" in SkeletonSource(dimensions=2)(clip, None).reason
