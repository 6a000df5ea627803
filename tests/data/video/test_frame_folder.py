"""Folders of images as clips: order, gaps and damage; in lists, class folders and published sets; through the programs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import taggnn.check
import taggnn.predict
from taggnn.data.audit.probe import probe
from taggnn.data.clips import Clip
from taggnn.data.image_folders import is_clip, is_frame_folder, state_of
from taggnn.data.lists.reading import read_clips
from taggnn.data.video.frame_folder import frame_files
from taggnn.data.video.reading import VideoError, frame_times, iterate_frames, read_frames, read_views
from taggnn.data.video.source import VideoSource
from taggnn.types import BadClip


def frame(number, size=(12, 8)):
    """A picture whose gray is its number, so that a frame is known by its pixels."""
    return np.full((size[1], size[0], 3), 10 * number, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """``folder(names, ...)``: images with the gray of their position in the list."""

    def made(*names, at="clip", sizes=None):
        where = tmp_path / at
        where.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            Image.fromarray(frame(number, (sizes or {}).get(name, (12, 8)))).save(where / name)
        return where

    return made


def grays(frames):
    return [round(float(one.float().mean()) / 10) for one in frames]


def every(n):
    return range(n)


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{k:05}.png" for k in range(1, 13)],
        # Without zeros the order of names is another.
        [f"frame{k}.png" for k in range(1, 13)],
        [f"{k:03}.png" for k in range(0, 24, 2)],
        ["a.png", "b.png", "c.png"],
        ["cam2_7.png"],
    ],
    ids=["zeros", "no zeros", "every second", "no numbers", "one"],
)
def test_frames_come_in_the_order_of_their_numbers(folder, names):
    path = folder(*names)
    assert [file.name for file in frame_files(path)] == names
    assert grays(read_frames(path, every)) == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (
            ["img_1.png", "img_2.png", "img_4.png", "img_5.png"],
            "1 of 5 frames are missing in its numbers: after img_2.png",
        ),
        ([f"{k:03}.png" for k in (0, 2, 4, 10, 12)], "2 of 7 frames are missing"),
        (["img_1.png", "img_01.png"], "frame 1 is there twice: img_01.png and img_1.png"),
        (["img_1.png", "flow_1.png"], "2 sequences"),
        (["img_1.png", "cover.png"], "2 sequences"),
    ],
    ids=["gap", "gap of every second", "twice", "flow", "cover"],
)
def test_gaps_and_mixtures_are_named(folder, names, part):
    with pytest.raises(VideoError, match=part.replace(".", r"\.")):
        frame_files(folder(*names))


def test_a_damaged_image_is_named_where_it_is_read(folder):
    path = folder(*(f"img_{k}.png" for k in range(4)))
    whole = (path / "img_2.png").read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        (path / "img_2.png").write_bytes(content)
        with pytest.raises(VideoError, match=r"img_2\.png"):
            read_frames(path, every)
        assert probe(str(path)).kind == "unreadable"
        assert "img_2.png" in probe(str(path)).trouble
    assert grays(read_frames(path, lambda n: [0, 3])) == [0, 3]


def test_images_of_another_size_are_refused(folder):
    path = folder("1.png", "2.png", sizes={"2.png": (8, 8)})
    with pytest.raises(VideoError, match=r"2\.png has 8 x 8"):
        read_frames(path, every)
    assert "2.png" in probe(str(path)).trouble


def test_views_cuts_and_times_follow_the_stated_rate(folder):
    path = folder(*(f"img_{k}.png" for k in range(10)))
    first, second = read_views(path, [lambda n: [0, n - 1, 0], lambda n: [5]])
    assert grays(first) == [0, 9, 0]
    assert grays(second) == [5]
    assert grays(read_frames(path, every, start=0.4, stop=0.8, frame_rate=5)) == [2, 3]
    # Cut from 2.1 s of an original on: its first frame is that of 2.2 s.
    assert grays(read_frames(path, every, start=2.4, stop=2.8, origin=2.1, frame_rate=5)) == [1, 2]
    assert frame_times(path, 5).times == tuple(k / 5 for k in range(10))
    found = list(iterate_frames(path, frame_rate=5))
    assert [time for time, _ in found] == [k / 5 for k in range(10)]
    assert grays([torch.from_numpy(np.array(picture)) for _, picture in found]) == list(range(10))
    with pytest.raises(VideoError, match="frame_rate"):
        read_frames(path, every, start=0.4)


def test_pictures_are_scaled_as_those_of_videos_and_turned_upright(tmp_path):
    image = Image.fromarray(np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3))
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "1.png", exif=image.getexif())
    assert read_frames(tmp_path, every).shape == (1, 24, 16, 3)
    assert read_frames(tmp_path, every, short_side=8).shape == (1, 12, 8, 3)


def test_a_source_reads_them_and_reports_bad_ones(folder):
    source = VideoSource(frames=4, size=8, short_side=8, frame_rate=5.0)
    path = folder(*(f"img_{k}.png" for k in range(8)))
    sample = source(Clip(str(path), 1, "clip"), None)
    assert sample.x.shape == (3, 4, 8, 8)
    assert VideoSource.from_spec(source.spec).frame_rate == 5.0
    assert "frame_rate" not in VideoSource(frames=4).spec.options
    (path / "img_3.png").unlink()
    bad = source(Clip(str(path), 1, "clip"), None)
    assert isinstance(bad, BadClip)
    assert "after img_2.png" in bad.reason
    with pytest.raises(ValueError, match="frame_rate"):
        VideoSource(frame_rate=0)


def test_a_change_of_an_image_changes_the_state(folder):
    path = folder("1.png", "2.png")
    before = state_of(path)
    (path / "2.png").write_bytes((path / "1.png").read_bytes() + b" ")
    assert state_of(path) != before
    assert is_clip(path)
    assert is_clip(path / "1.png")
    assert not is_frame_folder(path / "1.png")
    assert not is_clip(path / "none")


def test_class_folders_and_lists_hold_them(folder, tmp_path):
    folder("1.png", "2.png", at="v/run/a")
    folder("1.png", "2.png", at="v/run/b/frames")
    folder("1.png", "2.png", at="v/jump/a")
    # One image alone may be a preview.
    folder("cover.png", at="v/jump/c")
    found = read_clips(tmp_path / "v")
    assert [clip.name for clip in found] == ["jump/a", "run/a", "run/b/frames"]
    assert any("folders of images: 3" in note for note in found.notes)
    (tmp_path / "list.txt").write_text("v/run/a 0\nv/jump/c 1\n")
    assert [clip.name for clip in read_clips(tmp_path, tmp_path / "list.txt")] == ["v/run/a", "v/jump/c"]


def test_check_and_predict_take_them(folder, program, trained, tmp_path):
    root = tmp_path / "set"
    for split in ("train", "val"):
        for number, label in enumerate(("left", "right")):
            for k in range(2):
                at = f"set/{split}/{label}/{split}{number}{k}"
                path = folder(*(f"img_{i}.png" for i in range(k + 6)), at=at)
                Image.fromarray(frame(number + 2 * k)).save(path / "img_0.png")
    (root / "val" / "left" / "val00" / "img_2.png").unlink()
    ended = program(taggnn.check, "--data.root", root, "--out", tmp_path / "check", "--workers", 1)
    assert ended.code == 1, ended.err
    problems = (tmp_path / "check" / "problems.csv").read_text()
    assert "val00" in problems
    assert "after img_1.png" in problems
    ended = program(
        taggnn.predict, root / "train" / "left" / "train00", root / "val", "--checkpoint", trained[0], "--json"
    )
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert len(rows) == 5, ended.err
    assert [row["file"].rsplit("/", 1)[-1] for row in rows if "error" in row] == ["val00"]
