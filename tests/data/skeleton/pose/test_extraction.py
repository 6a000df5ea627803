"""taggnn.data.skeleton.pose.extraction: a video with a landmarker that the test makes up."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from graphs.skeleton import find
from taggnn.data.skeleton.pose import extraction, overlay
from taggnn.data.skeleton.pose.extraction import Settings
from taggnn.data.skeleton.pose.landmarker import Poses
from taggnn.data.skeleton.pose.mapping import kinect_axes, mapped
from taggnn.data.video.reading import VideoError, read_frames

av = pytest.importorskip("av")

SETTINGS = Settings("ntu", "metres", 2, 0.5, False, None, "0" * 64)
# x of each person of each frame; None: nobody.
FRAMES = [[10], [10, 40], [], [41, 11], [12], [42, 12]]


def poses(where):
    shape = torch.rand(33, 2, generator=torch.Generator().manual_seed(0)) * 12
    space = torch.rand(33, 3, generator=torch.Generator().manual_seed(1))
    pixels = [shape + torch.tensor([x, 5.0]) for x in where]
    return Poses(
        torch.stack(pixels) if pixels else torch.empty(0, 33, 2),
        torch.stack([space + x for x in where]) if where else torch.empty(0, 33, 3),
        torch.stack([torch.full((33,), x / 100) for x in where]) if where else torch.empty(0, 33),
    )


def landmarker(frames, times=None):
    @contextmanager
    def opened():
        rows = iter(frames)

        def find(picture, milliseconds):
            if times is not None:
                times.append(milliseconds)
            return poses(next(rows))

        yield find

    return opened


@pytest.fixture
def video(write_video, tmp_path):
    return write_video(tmp_path / "clip.mp4", frames=6)


def test_persons_are_followed_and_missing_frames_are_marked(video):
    times = []
    found = extraction.skeletons_of(video, landmarker(FRAMES, times), SETTINGS)
    x, sure = found.sequence.coordinates, found.sequence.confidence
    assert x.shape == (2, 6, 25, 3)
    assert times == [0, 100, 200, 300, 400, 500]
    assert found.fps == 10
    assert (found.frames, found.with_body, found.picture) == ([5, 3], 5, (48, 64))
    order = [[10, 10, None, 11, 12, 12], [None, 40, None, 41, None, 42]]
    for person, row in enumerate(order):
        for number, at in enumerate(row):
            if at is None:
                assert x[person, number].isnan().all()
                assert (sure[person, number] == 0).all()
            else:
                assert torch.allclose(x[person, number], mapped(kinect_axes(poses([at]).metres[0]), "ntu"))
                assert torch.allclose(sure[person, number], torch.tensor(at / 100))


def test_coordinates_in_the_picture(video):
    found = extraction.skeletons_of(video, landmarker(FRAMES), replace(SETTINGS, skeleton="coco", coordinates="pixels"))
    assert found.sequence.coordinates.shape == (2, 6, 17, 2)
    assert torch.allclose(found.sequence.coordinates[0, 0], mapped(poses([10]).pixels[0], "coco"))


def test_a_second_finding_of_a_person_is_left_out_unless_wanted(video):
    twice = [[10, 11]] * 6
    assert extraction.skeletons_of(video, landmarker(twice), SETTINGS).frames == [6]
    assert extraction.skeletons_of(video, landmarker(twice), replace(SETTINGS, overlapping=True)).frames == [6, 6]


def test_nobody_is_an_error_and_leaves_no_overlay(video, tmp_path):
    with pytest.raises(extraction.NoBody, match="6 frames"):
        extraction.skeletons_of(video, landmarker([[]] * 6), SETTINGS, tmp_path / "out" / "drawn.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_one_frame_one_person(write_video, tmp_path):
    video = write_video(tmp_path / "one.mp4", frames=1)
    found = extraction.skeletons_of(video, landmarker([[10]]), replace(SETTINGS, persons=1))
    assert found.sequence.coordinates.shape == (1, 1, 25, 3)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (37, 51)])
def test_the_overlay_has_every_frame_and_the_skeletons(write_video, tmp_path, height, width):
    even = {} if height % 2 == 0 else {"pix_fmt": "yuv444p"}
    video = write_video(tmp_path / "clip.mp4", frames=6, height=height, width=width, **even)
    extraction.skeletons_of(video, landmarker(FRAMES), SETTINGS, tmp_path / "out" / "drawn.mp4")
    drawn, plain = (read_frames(path, range).float() for path in (tmp_path / "out" / "drawn.mp4", video))
    assert drawn.shape[:3] == (6, height + height % 2, width + width % 2)
    change = (drawn[:, :height, :width] - plain).abs().mean((1, 2, 3))
    # The third frame has no body.
    assert change.argmin() == 2
    assert (change[[0, 1, 3, 4, 5]] > 1.5 * change[2]).all()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drawn.mp4"]


def test_bones_and_joints_are_drawn_where_they_are():
    picture = np.zeros((40, 40, 3), np.uint8)
    joints = torch.full((25, 2), 30.0)
    joints[0], joints[1] = torch.tensor([5.0, 5.0]), torch.tensor([5.0, 25.0])
    drawn = overlay.draw(picture, ((0, 1),), {1: joints})
    assert tuple(drawn[15, 5]) == overlay.COLOURS[1]
    assert not drawn[15, 20].any()
    assert not picture.any()
    assert find("ntu").bones


def test_a_file_is_whole_and_knows_what_it_was_made_from(video, tmp_path):
    found = extraction.skeletons_of(video, landmarker(FRAMES), SETTINGS)
    path = tmp_path / "out" / "clip.npz"
    assert not extraction.is_done(path, SETTINGS, video)
    extraction.write(path, found, SETTINGS, video)
    with np.load(path, allow_pickle=False) as held:
        assert np.array_equal(held["coordinates"], found.sequence.coordinates.numpy(), equal_nan=True)
        assert np.array_equal(held["confidence"], found.sequence.confidence.numpy())
        assert (held["fps"], tuple(held["picture"])) == (10, (48, 64))
    assert extraction.is_done(path, SETTINGS, video)
    content = path.read_bytes()
    extraction.write(path, found, SETTINGS, video)
    assert path.read_bytes() == content
    with pytest.raises(ValueError, match="persons 2, now 1"):
        extraction.is_done(path, replace(SETTINGS, persons=1), video)
    # A damaged one, and one of a video that has changed, is made again.
    path.write_bytes(content[: len(content) // 2])
    assert not extraction.is_done(path, SETTINGS, video)
    path.write_bytes(content)
    video.write_bytes(video.read_bytes() + b"\0")
    assert not extraction.is_done(path, SETTINGS, video)


def test_a_file_of_something_else_is_not_overwritten(video, tmp_path):
    np.savez(tmp_path / "clip.npz", coordinates=np.zeros((1, 2, 25, 3)))
    with pytest.raises(ValueError, match="not written by this program"):
        extraction.is_done(tmp_path / "clip.npz", SETTINGS, video)


def test_a_damaged_video_is_an_error(video):
    video.write_bytes(video.read_bytes()[:-500])
    with pytest.raises(VideoError):
        extraction.skeletons_of(video, landmarker(FRAMES), SETTINGS)


def test_a_failure_before_the_first_frame_leaves_no_overlay(video, tmp_path):
    @contextmanager
    def failing():
        def find(picture, milliseconds):
            raise VideoError("clip.mp4", "no picture")

        yield find

    with pytest.raises(VideoError, match="no picture"):
        extraction.skeletons_of(video, failing, SETTINGS, tmp_path / "out" / "drawn.mp4")
    assert list((tmp_path / "out").iterdir()) == []
