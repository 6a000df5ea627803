"""The page of a check, from findings alone: it shows everything, stays small, and is self-contained."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from taggnn.data.audit.audit import audit
from taggnn.data.audit.probe import VideoInfo
from taggnn.data.clips import Clip, ClipList
from taggnn.data.video.inspection import VIDEO
from taggnn.reporting.check_page import ROWS, About, balance, check_page, totals, untrained

SOUND = VideoInfo(frames=50, seconds=2.0, size=10**6, width=64, height=48, codec="h264")
VOID = {"meta", "input", "link"}


class Tags(HTMLParser):
    """Collects the text, and fails for tags that do not pair off."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def made(classes=3, clips=12, bad=0, same=False):
    """Lists, facts and the audit of them: ``bad`` unreadable clips, ``same`` video for the first of train and of val."""
    names = tuple(f"class <{n}>" for n in range(classes))
    lists = {
        split: ClipList(tuple(Clip(f"{split}{n}", n % classes, f"{split}/{n}.mp4") for n in range(clips)), names, f"{split}.csv")
        for split in ("train", "val")
    }  # fmt: skip
    facts = {clip.path: replace(SOUND, fingerprint=clip.path) for each in lists.values() for clip in each}
    facts |= {f"train{n}": VideoInfo("unreadable", "a <b> reason") for n in range(bad)}
    if same:
        facts["train0"] = facts["val0"]
    return lists, facts, audit(lists, facts, [], 16)


def page_of(lists, facts, found, **changes):
    about = {
        "root": "/videos & more", "splits": lists, "frames": 16, "depth": "packets", "seconds": 75.0, "known": 3,
        "notes": ["a <note>"], "command": ["python", "-m", "taggnn.train", "--data.root", "/videos & more", "--data.x=1"],
        "folder": "runs/check/x", "files": [("train.csv", "the list")], "inspection": replace(VIDEO, reader=lambda: "PyAV 18"),
    }  # fmt: skip
    return check_page(found, facts, About(**about | changes))


@pytest.mark.parametrize(
    "options", [{}, {"bad": 12}, {"bad": 5, "same": True}, {"classes": 60}, {"classes": 1, "clips": 1}]
)
def test_the_page_is_well_formed_and_whole(options):
    page = page_of(*made(**options))
    text = "".join(Tags(page).text)
    assert "class <0>" in text
    assert "a <note>" in text
    assert not re.search(r"https?://|@import|url\(|<link|<img|src=", page)


def test_the_command_can_be_pasted():
    text = "".join(Tags(page_of(*made())).text)
    assert "python -m taggnn.train \\\n    --data.root '/videos & more' \\\n    --data.x=1" in text
    assert "nothing to train on" in page_of(*made(bad=12), command=[])


def test_a_leak_is_reported_at_the_top():
    page = page_of(*made(same=True))
    assert page.index("Leak, clips in two splits: 1") < page.index("What to do next")
    assert "Leak" not in page_of(*made())


def test_long_tables_are_cut_with_a_note():
    lists, facts, found = made(clips=3000, bad=2500)
    page = page_of(lists, facts, found)
    assert page.count("a &lt;b&gt; reason") == ROWS
    assert f"The first {ROWS} are shown; problems.csv has all" in page
    assert len(page) < 300_000


def test_classes_without_training_clips_are_distinguished():
    lists, facts, _ = made(classes=3, clips=3)
    train = replace(lists["train"], clips=lists["train"].clips[:2])
    facts["train0"] = VideoInfo("unreadable", "no")
    lists = lists | {"train": train}
    found = audit(lists, facts, [], 16)
    assert untrained(found) == (["class <0>"], ["class <2>"])
    page = page_of(lists, facts, found)
    assert "Classes that the train list has no clip of: class &lt;2&gt;." in page
    assert "all missing or left out: class &lt;0&gt;." in page


def test_balance_and_totals():
    names = ("many", "between", "few", "none")
    labels = [0] * 101 + [1] * 20 + [2] * 19
    clips = tuple(Clip(f"{n}", label, f"{n}") for n, label in enumerate(labels))
    lists = {"train": ClipList(clips, names, "list", ("gone",), (0,))}
    found = audit(lists, {clip.path: replace(SOUND, fingerprint=clip.path) for clip in clips}, [], 16)
    assert balance(found) == {"largest": 101, "smallest": 19, "many": 1, "medium": 1, "few": 1}
    assert totals(found) == (141, 140)
    assert balance(audit({"val": lists["train"]}, {clip.path: SOUND for clip in clips}, [], 16)) is None
