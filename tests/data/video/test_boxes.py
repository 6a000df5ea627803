"""Boxes as the model is fed them, against the bright square of a video in the very input."""

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.synthetic import write_video
from taggnn.data.video.boxes import boxes_of_input
from taggnn.data.video.source import VideoSource

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """A video of a bright square that wanders, and its boxes."""
    frames, boxes = np.full((12, HEIGHT, WIDTH, 3), 40, np.uint8), []
    for t in range(12):
        left, top, width, height = 30 + 2 * t, 20 + t, 16, 12
        frames[t, top : top + height, left : left + width] = 240
        boxes.append([left + width / 2, top + height / 2, width, height])
    path = tmp_path_factory.mktemp("square") / "square.mp4"
    write_video(path, frames)
    return path, torch.tensor(boxes)


def bright(pictures):
    """The box of the bright pixels of each picture. **Shapes:** (T, h, w, 3) -> (T, 4)"""
    found = []
    for picture in pictures:
        rows, columns = (picture.float().mean(-1) > 140).nonzero().unbind(-1)
        (top, bottom), (left, right) = ((one.min().item(), one.max().item() + 1) for one in (rows, columns))
        found.append([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    return torch.tensor(found)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 64, "short_side": 64},
        {"size": 56, "short_side": 64},
        {"size": [48, 72], "short_side": 56, "sampling": "segment"},
        {"size": 112, "short_side": 128},
        {"size": 96, "short_side": 64},
        {"size": 64, "short_side": None, "stretch": True},
        {"size": 48, "short_side": 96, "sampling": "dense"},
    ],
    ids=["whole height", "centre crop", "wide", "larger", "enlarged", "stretched", "dense, cut at the sides"],
)
def test_a_box_follows_its_square_into_the_input(square, options):
    path, boxes = square
    source = VideoSource(frames=5, flip=0.0, **options)
    sample = source(Clip(str(path), 0, "square"), None)
    found, (h, w) = boxes_of_input(boxes, WIDTH, HEIGHT, source), source.transform.size
    assert found.shape == (5, 4)
    # The part inside of the input is what is seen of it.
    edges = torch.stack([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2])
    low, high = edges.clamp(min=torch.zeros(2), max=torch.tensor([w, h]).double())
    expected = torch.cat([(low + high) / 2, high - low], 1)
    assert (bright(source.picture(sample.x)) - expected).abs().max() <= 1.5


def test_frames_are_those_that_the_model_sees(square):
    _, boxes = square
    source = VideoSource(frames=3, size=64, short_side=64)
    assert boxes_of_input(boxes, WIDTH, HEIGHT, source)[:, 1].tolist() == [26, 31, 37]
