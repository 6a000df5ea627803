import re
from pathlib import Path

import numpy as np
import pytest
import torch

from taggnn.data.video.streaming import Frame
from taggnn.data.video.windows import Plan
from taggnn.evaluation.segments import Rule, Segment
from taggnn.evaluation.timeline import Columns, Timeline
from taggnn.io.loaded import Loaded
from taggnn.reporting.timeline_page import LANES, OTHERS, clock, timeline_page, video_link
from taggnn.reporting.timeline_video import BAND, _Band, _sized

HOSTILE = "<script>alert(1)</script>"


def timeline(classes, segments, seconds=60.0):
    found = Timeline(
        Plan(10.0, 20, 5), Rule(), Columns(0.5), seconds, 600, 117, 120, 3, segments, ["tokens", "damaged"]
    )
    for row in torch.rand(120, classes, generator=torch.Generator().manual_seed(0)).softmax(1):
        found.columns.add(row)
    return found


class Model:
    spec = None


def page_of(names, segments, tmp_path):
    loaded = Loaded(Model(), tuple(names), {}, "model.ckpt")
    return timeline_page(timeline(len(names), segments), str(tmp_path / "v.mp4"), tmp_path / "out", loaded)


def test_names_of_strangers_are_text(tmp_path):
    page = page_of([HOSTILE, "b"], [Segment(1, 2, 0, 0.9)], tmp_path)
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "damaged" in page


def test_rare_classes_share_a_lane(tmp_path):
    count = LANES + 5
    segments = [Segment(2 * k, 2 * k + 1 + k / 100, k, 0.9) for k in range(count)]
    page = page_of([f"class{k}" for k in range(count)], segments, tmp_path)
    assert page.count("<svg") == LANES
    assert OTHERS in page
    assert len(re.findall("<rect", page)) == count


def test_a_page_without_segments(tmp_path):
    page = page_of(["a", "b"], [], tmp_path)
    assert "No segment" in page
    assert "<svg" not in page


def test_the_area_has_every_column(tmp_path):
    page = page_of(["a", "b"], [Segment(1, 2, 0, 0.9)], tmp_path)
    (path,) = re.findall(r'<path transform="scale\(0.5 1\)" d="([^"]+)"', page)
    assert path.count("H") == 120


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-", None),
        ("rtsp://camera/1", None),
        ("https://host/v.mp4", "https://host/v.mp4"),
        ("videos/a b#1.mp4", "../videos/a%20b%231.mp4"),
    ],
    ids=["pipe", "rtsp", "https", "file"],
)
def test_links(source, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert video_link(source, Path("out")) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (83.42, "1:23.4"), (3723.4, "1:02:03.4")], ids=str
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_the_band_follows_the_segments():
    found = timeline(2, [Segment(10, 20, 0, 0.9), Segment(30, 40, 1, 0.8)])
    band = _Band(found, ["a", "b"], 320)
    texts = []
    for time in (5.0, 10.0, 19.9, 20.0, 35.0, 59.0):
        assert band.at(time).shape == (BAND, 320, 3)
        texts.append(band._text[1].split()[0])
    assert texts == ["none", "a", "a", "none", "b", "none"]


@pytest.mark.parametrize("size", [(64, 64), (33, 51), (2160, 3840)], ids=str)
def test_pictures_have_even_sides(size):
    frame = Frame(0.0, np.zeros((*size, 3), np.uint8))
    height, width = _sized(frame.picture).shape[:2]
    assert height % 2 == width % 2 == 0
    assert max(height, width) <= 1280
    assert width / height == pytest.approx(size[1] / size[0], rel=0.02)
