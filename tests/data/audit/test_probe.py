"""The properties of one file: what is counted, when two videos are the same, and how they are stored."""

import math
import os
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taggnn.data.audit.audit import audit, cuts_of
from taggnn.data.audit.facts import cut_key, is_current, read_scan, write_scan
from taggnn.data.audit.probe import VideoInfo, probe
from taggnn.data.clips import Clip, ClipList
from taggnn.data.video.reading import VideoError, read_frames


@pytest.fixture(scope="module")
def video(write_video, tmp_path_factory):
    return str(write_video(tmp_path_factory.mktemp("info") / "v.mp4"))


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
    info = probe(video, [(None, None, None), (0.2, 0.5, None), (1.1, 5.0, None), (3.0, 4.0, None)], depth)
    assert (info.kind, info.trouble, info.damage, info.sound_until) == ("", "", "", math.inf)
    assert (info.codec, info.width, info.height, info.frames) == ("h264", 64, 48, 12)
    assert info.seconds == pytest.approx(1.2)
    assert info.rate == pytest.approx(10)
    assert info.size == os.path.getsize(video)
    assert [shown for shown, _ in info.cuts.values()] == [12, 3, 1, 0]


@pytest.fixture(scope="module")
def uneven(write_video, tmp_path_factory):
    """30000 / 1001 frames a second, of which most lie between the ticks of a list's decimals."""
    return str(write_video(tmp_path_factory.mktemp("info") / "u.mp4", frames=60, rate=Fraction(30000, 1001)))


def trained_on(path, start, stop, origin):
    """Number of frames that training has to choose from; 0 where it refuses the cut."""
    counted = []
    try:
        read_frames(path, lambda n: counted.append(n) or [0], start=start, stop=stop, origin=origin)
    except VideoError:
        return 0
    return counted[-1]


@settings(max_examples=60)
@given(
    even=st.booleans(),
    origin=st.none() | st.integers(0, 300_000),
    start=st.none() | st.integers(0, 200),
    length=st.none() | st.integers(1, 60),
    nudge=st.sampled_from([0.0, 3e-7, -3e-7]),
)
def test_a_cut_is_counted_as_training_counts_it(video, uneven, even, origin, start, length, nudge):
    begin = (origin or 0) / 100
    first = None if start is None else round(begin + start / 100, 6)
    last = None if length is None else round(begin + ((start or 0) + length) / 100, 6) + nudge
    cut = (first, last, None if origin is None else begin)
    path = video if even else uneven
    assert probe(path, [cut]).cuts[cut_key(*cut)][0] == trained_on(path, *cut)


def test_a_cut_that_ends_where_the_damage_begins_is_read_by_training_too(write_video, tmp_path):
    path = str(write_video(tmp_path / "v.mp4", container_options={"movflags": "faststart"}))
    os.truncate(path, os.path.getsize(path) - 200)
    until = probe(path).sound_until
    assert 0 < until < 1.2
    for stop, kinds in ((until, ["damaged"]), (until + 1e-3, ["unreadable"]), (None, ["unreadable"])):
        clips = {"train": ClipList((Clip(path, 0, "v", 0.0, stop),), ("a",), "list")}
        info = {path: probe(path, cuts) for path, cuts in cuts_of(clips["train"]).items()}
        found = audit(clips, info, [], 1)
        assert [one.kind for one in found.findings] == kinds
        assert bool(trained_on(path, 0.0, stop, None)) == (kinds == ["damaged"])


def test_the_same_video_in_another_container_has_the_same_fingerprint(video, tmp_path):
    files = [remux(video, tmp_path / "titled.mp4", "a title"), remux(video, tmp_path / "other.mkv", "")]
    assert {probe(file).fingerprint for file in files} == {probe(video).fingerprint}
    assert len({os.path.getsize(file) for file in [*files, video]}) == 3


def test_another_video_has_another_fingerprint(video, write_video, tmp_path):
    other = write_video(tmp_path / "w.mp4", frames=11)
    assert probe(str(other)).fingerprint != probe(video).fingerprint


def test_reading_twice_does_not_change_the_fingerprint(video, monkeypatch):
    before = probe(video, depth="decode").fingerprint
    monkeypatch.setattr("taggnn.data.video.container.MAX_BUFFER_BYTES", 0)
    assert probe(video, depth="decode").fingerprint == before == probe(video).fingerprint


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
    info = probe(str(path))
    assert info.kind == kind
    assert trouble in info.trouble


def test_a_video_without_pictures(video, write_video, tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, container_options={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert probe(str(path)).kind == "zero-frame"


def test_a_truncated_video_is_sound_up_to_a_second(write_video, tmp_path):
    path = write_video(tmp_path / "v.mp4", container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    info = probe(str(path))
    assert info.kind == ""
    assert "truncated" in info.damage
    assert 0 < info.sound_until < 1.2


def test_a_damaged_picture_is_found_by_decoding_alone(write_video, tmp_path):
    path = write_video(tmp_path / "v.avi", codec="mpeg4", frames=30)
    data = bytearray(path.read_bytes())
    # Behind the header of a picture in the middle: its start code stays.
    place = data.index(b"\x00\x00\x01\xb6", len(data) // 2) + 12
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    assert not probe(str(path)).corrupt
    info = probe(str(path), depth="decode")
    assert info.corrupt or info.damage
    assert info.frames == 30


def test_results_are_stored_and_read_back(tmp_path):
    known = {
        "a\udcff.mp4": VideoInfo(
            size=3, fingerprint="f", sound_until=math.inf, cuts={cut_key(0.5, None, 2.0): [7, 2.0]}
        )
    }
    write_scan(tmp_path / "known.json", known | {"b.mp4": VideoInfo("unreadable", "away")}, "av 1")
    assert read_scan(tmp_path / "known.json", "av 1", VideoInfo) == {
        name: replace(one, corrupt=[]) for name, one in known.items()
    }
    assert read_scan(tmp_path / "known.json", "av 2", VideoInfo) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"form": 1, "decoder": "d", "files": {"a": {"new": 1}}}', "\xff"])
def test_a_stored_file_that_makes_no_sense_is_made_anew(tmp_path, text):
    (tmp_path / "known.json").write_text(text, encoding="latin-1")
    assert read_scan(tmp_path / "known.json", "d", VideoInfo) == {}


def test_facts_hold_until_the_file_changes(video):
    info = probe(video, [(0.0, 1.0, None)])
    assert is_current(info, video, [(0.0, 1.0, None)], "packets")
    assert not is_current(info, video, [(0.0, 0.5, None)], "packets")
    assert not is_current(info, video, [(0.0, 1.0, 0.0)], "packets")
    assert not is_current(info, video, [], "decode")
    assert is_current(probe(video, depth="decode"), video, [], "packets")
    assert not is_current(replace(info, size=1), video, [], "packets")
    assert not is_current(replace(info, changed=1), video, [], "packets")
    assert not is_current(info, video + ".gone", [], "packets")
