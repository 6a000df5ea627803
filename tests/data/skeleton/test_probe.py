"""What a check learns of skeleton files."""

from dataclasses import replace

import numpy as np
import pytest

from taggnn.data.audit.audit import audit, cuts_of
from taggnn.data.audit.facts import absolute, cut_key, file_key, is_current, member_of, path_of, read_scan, write_scan
from taggnn.data.audit.scan import scan
from taggnn.data.clips import Clip, ClipList
from taggnn.data.published import read_published
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.probe import SequenceFacts, inspection, probe
from tests.data.skeleton import trees


def saved(path, array):
    np.save(path, array)
    return str(path)


def test_facts_of_a_file(tmp_path):
    array = np.stack([trees.body(8), trees.body(8, seed=1)])
    array[0, :4, :5] = np.nan
    facts = probe(saved(tmp_path / "1.npy", array))
    assert (facts.kind, facts.frames, facts.seconds, facts.persons, facts.joints, facts.dimensions) == (
        "",
        8,
        8,
        2,
        25,
        3,
    )
    assert facts.missing == pytest.approx(0.1)
    assert facts.remark == ""
    assert facts.values() == {"Persons": "2", "Joints": "25 × 3 coordinates", "Formats": "npy"}
    assert list(facts.numbers()) == ["frames of a file", "persons", "missing joints of the main person, %"]


def test_much_that_is_missing_is_a_remark(tmp_path):
    array = trees.body(8)
    array[:, :10] = np.nan
    assert "40%" in probe(saved(tmp_path / "1.npy", array)).remark


def test_equal_coordinates_have_equal_fingerprints(tmp_path):
    array = trees.body(8)
    first = probe(saved(tmp_path / "1.npy", array)).fingerprint
    np.savez(tmp_path / "2.npz", coordinates=array[None].astype(np.float64))
    assert probe(str(tmp_path / "2.npz")).fingerprint == first
    assert probe(saved(tmp_path / "3.npy", array + 1)).fingerprint != first
    assert probe(saved(tmp_path / "4.npy", array.reshape(4, 50, 3))).fingerprint != first


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, "missing"), (b"", "unreadable"), (b"\x93NUMPY", "unreadable")],
    ids=["gone", "empty", "cut"],
)
def test_files_that_cannot_be_read(tmp_path, content, kind):
    if content is not None:
        (tmp_path / "1.npy").write_bytes(content)
    facts = probe(str(tmp_path / "1.npy"))
    assert facts.kind == kind
    assert facts.trouble


def test_cuts(tmp_path):
    array = trees.body(20)
    array[12:16] = 0
    cuts = [(0, 5, None), (10, 14, None), (12, 16, None), (18, 30, None), (20, 25, None), (4.0, None, None)]
    facts = probe(saved(tmp_path / "1.npy", array), cuts)
    assert dict(facts.cuts) == {
        cut_key(0, 5, None): [5, 0.0],
        cut_key(10, 14, None): [4, 0.0],
        cut_key(18, 30, None): [2, 0.0],
        cut_key(4, None, None): [16, 0.0],
    }
    assert set(facts.bad_cuts) == {cut_key(12, 16, None), cut_key(20, 25, None)}
    assert "no joint" in facts.bad_cuts[cut_key(12, 16, None)]


def test_clips_before_the_damage_of_a_recording(tmp_path):
    path = trees.write(tmp_path / "0002-L.txt", trees.pku_text([trees.body(20)]) + "damaged\n")
    facts = probe(str(path), [(0, 5, None), (15, 30, None)])
    assert (facts.kind, bool(facts.damage)) == ("", True)
    assert list(facts.cuts) == [cut_key(0, 5, None)]
    assert "line 21" in facts.bad_cuts[cut_key(15, 30, None)]
    clips = ClipList(tuple(Clip(str(path), 0, f"{cut}", *cut) for cut in ((0, 5), (15, 30))), ("run",), "list")
    found = audit({"train": clips}, {str(path): facts}, [], 4)
    assert [(one.kind, one.name) for one in found.findings] == [("unreadable", "(15, 30)"), ("damaged", "(0, 5)")]


def test_clips_of_one_file(tmp_path):
    rows = [trees.annotation(name, 0, frames=frames) for name, frames in (("a", 5), ("b", 9))]
    rows.append({**trees.annotation("c", 1), "keypoint": None})
    path = trees.pyskl(tmp_path / "set.pkl", {}, rows)
    clips = [Clip(str(path), 0, name, member=name) for name in "abcd"]
    keys = [file_key(clip) for clip in clips]
    assert list(cuts_of(clips)) == keys
    assert [(path_of(key), member_of(key)) for key in keys] == [(str(path), name) for name in "abcd"]
    assert [probe(key).frames for key in keys] == [5, 9, 0, 0]
    assert [probe(key).kind for key in keys] == ["", "", "unreadable", "unreadable"]
    assert probe(keys[0]).fingerprint != probe(keys[1]).fingerprint
    assert absolute(keys[0]) == keys[0]


def test_a_scan_in_processes_gives_the_same_and_is_stored(tmp_path):
    path = trees.pyskl(tmp_path / "set.pkl", {}, [trees.annotation("a", 0), trees.annotation("b", 0)])
    clips = [Clip(str(path), 0, name, member=name) for name in "abc"] + [Clip(str(path), 0, "cut", 0, 3, member="a")]
    looks = inspection(25, 3)
    found = dict(scan(cuts_of(clips), workers=2, command=looks.command, kind=looks.facts))
    assert found == {key: replace(probe(key, cuts), corrupt=[]) for key, cuts in cuts_of(clips).items()}
    write_scan(tmp_path / "known.json", found, looks.reader())
    known = read_scan(tmp_path / "known.json", looks.reader(), SequenceFacts)
    assert set(known) == {key for key, facts in found.items() if not facts.kind}
    assert all(is_current(facts, key, cuts_of(clips)[key], "packets") for key, facts in known.items())
    assert not is_current(known[file_key(clips[0])], file_key(clips[0]), [(0, 4, None)], "packets")


def test_another_skeleton_does_not_fit(tmp_path):
    facts = probe(saved(tmp_path / "1.npy", trees.body(8, 20)))
    assert inspection(20, 3).unfit(facts) == ""
    assert "20 joints" in inspection(25, 3).unfit(facts)
    assert "2 coordinates" in inspection(20, 3).unfit(probe(saved(tmp_path / "2.npy", trees.body(8, 20, axes=2))))
    clips = ClipList((Clip(str(tmp_path / "1.npy"), 0, "1.npy"),), ("run",), "list")
    found = audit({"train": clips}, {str(tmp_path / "1.npy"): facts}, [], 4, inspection(25, 3).unfit)
    assert [one.kind for one in found.findings] == ["unfit"]
    assert not found.kept["train"].clips


TREES = {
    "ntu60": trees.ntu,
    "nw_ucla": trees.nw_ucla,
    "pku_mmd": trees.pku,
    "gym99_skeleton": trees.gym99_skeleton,
    "diving48_skeleton": trees.diving48_skeleton,
}


@pytest.mark.parametrize("name", TREES)
def test_every_published_set_is_sound(tmp_path, name):
    found, _ = read_published(name, TREES[name](tmp_path))
    facts = {key: probe(key, cuts) for key, cuts in cuts_of(clip for clips in found.values() for clip in clips).items()}
    assert all(not one.kind and not one.bad_cuts for one in facts.values())
    judged = audit(found, facts, [], 4)
    assert {one.kind for one in judged.findings} <= {"one frame"}
    assert judged.kept == found
    for split, clips in found.items():
        assert judged.frames[split] == [formats.read(clip).coordinates.shape[1] for clip in clips]
