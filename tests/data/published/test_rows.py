"""What a further data set needs: a reader, and one row of the table."""

import re
from pathlib import Path

import pytest

import taggnn.evaluate
from taggnn.data.clips import Row
from taggnn.data.lists.splits import read_splits
from taggnn.data.published import PUBLISHED, read_published
from taggnn.data.published.listing import Listing, Lists, Published

ROOT = Path(__file__).parents[3]


def read(request):
    rows = [Row(line, name, line - 1, (request.index.clip(name),), name=name) for line, name in enumerate("ab", 1)]
    return Lists(
        ("up", "down"), {split: Listing(request.index.root / f"{split}.txt", rows) for split in request.splits}
    )


@pytest.fixture
def mine(monkeypatch):
    row = Published("Mine", "https://example.org", ("v1", "v2"), ("train", "test"), read, classes={"v1": 2})
    monkeypatch.setitem(PUBLISHED, "mine", row)


def test_a_row_is_all_that_a_further_data_set_needs(mine, touch, program):
    root = touch("a.mp4", "b.mp4")
    found, notes = read_published("mine", root)
    assert list(found) == ["train", "test"]
    assert [clip.label for clip in found["train"]] == [0, 1]
    assert notes[0].startswith("mine v1: ")
    splits = read_splits(root, {}, {}, dataset="mine", version="2", only="test")
    assert splits.classes == ("up", "down")
    assert "mine" in program(taggnn.evaluate, "--help-all").out
    for raised in (lambda: read_published("mime", root), lambda: read_splits(root, {}, {}, dataset="mime")):
        with pytest.raises(ValueError, match="'mine'"):
            raised()
    with pytest.raises(ValueError, match="v1, v2"):
        read_published("mine", root, version="v3")


def test_every_row_says_what_it_is_and_readme_names_it():
    assert all(row.title and row.paper.startswith("https://") for row in PUBLISHED.values())
    names = (ROOT / "docs" / "data.md").read_text().partition("`--data.dataset` knows")[2].partition(";")[0]
    assert re.findall(r"`(\w+)`", names) == list(PUBLISHED)
