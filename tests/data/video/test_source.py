"""The short side of decoded frames follows the size of the model's input."""

import logging

import pytest

from taggnn.cli import config, resolve
from taggnn.data.video import source
from taggnn.data.video.source import VideoSource


@pytest.mark.parametrize(
    ("size", "short_side"), [(112, 128), (224, 256), (64, 73), ([40, 64], 46), ([128, 224], 146), (1, 1)]
)
def test_the_short_side_follows_the_size(size, short_side):
    made = VideoSource(size=size)
    assert (made.short_side, made.spec.options["short_side"]) == (short_side, short_side)
    assert VideoSource.from_spec(made.spec).short_side == short_side


@pytest.mark.parametrize("given", [None, 1, 96, 300])
def test_a_given_short_side_stays(given):
    assert VideoSource(size=96, short_side=given).spec.options["short_side"] == given


@pytest.mark.parametrize("given", [0, -3])
def test_an_impossible_one_is_refused(given):
    with pytest.raises(ValueError, match=f"short_side {given}: possible"):
        VideoSource(short_side=given)


def test_a_smaller_one_is_logged_once(caplog):
    source._log_small.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            VideoSource(size=224, short_side=128)
        VideoSource(size=[40, 64], short_side=64)
    (record,) = caplog.records
    assert record.args == (128, 224, 256)


@pytest.mark.parametrize(
    ("words", "short_side"),
    [
        (["--config", "folder"], 128),
        (["--config", "folder", "--video.size", "224"], 256),
        (["--config", "folder", "--video.size", "224", "--video.short_side", "240"], 240),
        (["--config", "gym99"], 128),
        (["--config", "demo"], 64),
    ],
)
def test_recipes_and_the_command_line(words, short_side):
    settings = config.parse([*words, "--data.root", ".", "--backbone.name", "small", "--backbone.weights", "null"])
    resolve.fill(settings)
    assert settings.video.short_side == short_side
