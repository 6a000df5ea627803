"""Facts about one file: what is counted, when two videos are the same, and how facts are kept."""

import math
import os
from dataclasses import replace

import pytest

from taggnn.data.facts import Facts, cut_key, examine, read_known, still_holds, write_known


@pytest.fixture(scope="module")
def video(write_video, tmp_path_factory):
    return str(write_video(tmp_path_factory.mktemp("facts") / "v.mp4"))


def remux(source, target, title):
    """The same packets in another container with another title."""
    av = pytest.importorskip("av")
    with av.open(source) as old, av.open(str(target), "w") as new:
        new.metadata["title"] = title
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return str(target)


@pytest.mark.parametrize("depth", ["packets", "decode"])
def test_a_sound_video(video, depth):
    facts = examine(video, [(None, None), (0.2, 0.5), (1.1, 5.0), (3.0, 4.0)], depth)
    assert (facts.kind, facts.trouble, facts.damage, facts.sound_until) == ("", "", "", math.inf)
    assert (facts.codec, facts.width, facts.height, facts.frames) == ("h264", 64, 48, 12)
    assert facts.seconds == pytest.approx(1.2)
    assert facts.rate == pytest.approx(10)
    assert facts.size == os.path.getsize(video)
    assert list(facts.cuts.values()) == [12, 3, 1, 0]


def test_the_same_video_in_another_container_has_the_same_fingerprint(video, tmp_path):
    files = [remux(video, tmp_path / "titled.mp4", "a title"), remux(video, tmp_path / "other.mkv", "")]
    assert {examine(file).fingerprint for file in files} == {examine(video).fingerprint}
    assert len({os.path.getsize(file) for file in [*files, video]}) == 3


def test_another_video_has_another_fingerprint(video, write_video, tmp_path):
    other = write_video(tmp_path / "w.mp4", frames=11)
    assert examine(str(other)).fingerprint != examine(video).fingerprint


def test_reading_twice_does_not_change_the_fingerprint(video, monkeypatch):
    before = examine(video, depth="decode").fingerprint
    monkeypatch.setattr("taggnn.data.container.MAX_KEPT_BYTES", 0)
    assert examine(video, depth="decode").fingerprint == before == examine(video).fingerprint


@pytest.mark.parametrize(
    ("content", "kind", "trouble"),
    [
        (None, "missing", "cannot be opened (No such file or directory)"),
        (b"", "unreadable", "the file is empty (0 bytes)"),
        (b"no video at all\n" * 9, "unreadable", "not a video"),
    ],
    ids=["missing", "empty", "text"],
)
def test_a_file_that_cannot_be_used(tmp_path, content, kind, trouble):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    facts = examine(str(path))
    assert facts.kind == kind
    assert trouble in facts.trouble


def test_a_video_without_pictures(video, write_video, tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, container_options={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert examine(str(path)).kind == "zero-frame"


def test_a_truncated_video_is_sound_up_to_a_second(write_video, tmp_path):
    path = write_video(tmp_path / "v.mp4", container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    facts = examine(str(path))
    assert facts.kind == ""
    assert "truncated" in facts.damage
    assert 0 < facts.sound_until < 1.2


def test_a_damaged_picture_is_found_by_decoding_alone(write_video, tmp_path):
    path = write_video(tmp_path / "v.avi", codec="mpeg4", frames=30)
    data = bytearray(path.read_bytes())
    # Behind the header of a picture in the middle: its start code stays.
    place = data.index(b"\x00\x00\x01\xb6", len(data) // 2) + 12
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    assert not examine(str(path)).corrupt
    facts = examine(str(path), depth="decode")
    assert facts.corrupt or facts.damage
    assert facts.frames == 30


def test_facts_are_kept_and_read_back(tmp_path):
    known = {"a\udcff.mp4": Facts(size=3, fingerprint="f", sound_until=math.inf, cuts={cut_key(0.5, None): 7})}
    write_known(tmp_path / "known.json", known | {"b.mp4": Facts("unreadable", "away")}, "av 1")
    assert read_known(tmp_path / "known.json", "av 1") == {
        name: replace(one, corrupt=[]) for name, one in known.items()
    }
    assert read_known(tmp_path / "known.json", "av 2") == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"form": 1, "decoder": "d", "files": {"a": {"new": 1}}}', "\xff"])
def test_a_kept_file_that_makes_no_sense_is_made_anew(tmp_path, text):
    (tmp_path / "known.json").write_text(text, encoding="latin-1")
    assert read_known(tmp_path / "known.json", "d") == {}


def test_facts_hold_until_the_file_changes(video):
    facts = examine(video, [(0.0, 1.0)])
    assert still_holds(facts, video, [(0.0, 1.0)], "packets")
    assert not still_holds(facts, video, [(0.0, 0.5)], "packets")
    assert not still_holds(facts, video, [], "decode")
    assert still_holds(examine(video, depth="decode"), video, [], "packets")
    assert not still_holds(replace(facts, size=1), video, [], "packets")
    assert not still_holds(replace(facts, changed=1), video, [], "packets")
    assert not still_holds(facts, video + ".gone", [], "packets")
