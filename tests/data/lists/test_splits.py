"""Where the three splits come from, and what is done when one is absent."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.splits import hold_out, read_splits

FOLDERS = {"train": "train", "val": "val", "test": "test"}
NO_LISTS = {"train": None, "val": None, "test": None}


def read(root, lists=None, folders=None, **options):
    return read_splits(root, NO_LISTS | (lists or {}), FOLDERS | (folders or {}), **options)


def names(clips):
    return [clip.name for clip in clips]


def many(*classes, count=10):
    return [f"{name}/{number}.mp4" for name in classes for number in range(count)]


def test_folders_of_class_folders(tmp_path, touch):
    touch("train/a/1.mp4", "train/b/1.mp4", "val/b/2.mp4", "test/a/3.mp4", "test/b/3.mp4")
    found = read(tmp_path)
    assert found.classes == ("a", "b")
    assert names(found.train) == ["train/a/1.mp4", "train/b/1.mp4"]
    assert [(clip.name, clip.label) for clip in found.val] == [("val/b/2.mp4", 1)]
    assert names(found.test) == ["test/a/3.mp4", "test/b/3.mp4"]
    assert found.notes == ()
    swapped = read(tmp_path, folders={"train": "train", "val": "test", "test": "val"})
    assert (swapped.val.clips, swapped.test.clips) == (found.test.clips, found.val.clips)


def test_lists_are_preferred_to_folders_and_found_outside_or_inside_the_root(tmp_path, touch):
    touch("1.mp4", "2.mp4", "3.mp4", "4.mp4", "val/a/9.mp4")
    (tmp_path / "lists").mkdir()
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        (tmp_path / "lists" / f"{split}.txt").write_text(f"{number}.mp4 0\n")
    (tmp_path / "lists/train.txt").write_text("1.mp4 0\n4.mp4 1\n")
    lists = {"train": str(tmp_path / "lists/train.txt"), "val": "lists/val.txt", "test": "lists/test.txt"}
    found = read(tmp_path, lists)
    assert [names(found.train), names(found.val), names(found.test)] == [["1.mp4", "4.mp4"], ["2.mp4"], ["3.mp4"]]
    with pytest.raises(FileNotFoundError, match=r"lists/none\.txt: no such list file, .*in the root as .+none\.txt"):
        read(tmp_path, lists | {"val": "lists/none.txt"})


def test_a_class_of_val_that_train_lacks_is_named(tmp_path, touch):
    touch("train/a/1.mp4", "val/a/2.mp4", "val/b/2.mp4")
    with pytest.raises(ValueError, match=r"val/b: unknown class 'b'"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["numbers", "csv", "classes"])
def test_a_class_without_a_training_clip_is_a_note(tmp_path, kind, touch):
    touch(*(f"{split}/{name}/1.mp4" for split in ("train", "val") for name in "ac"), "val/b/1.mp4")
    lists, options = {}, {}
    for split, rows in {"train": ("a0", "c2"), "val": ("a0", "b1", "c2")}.items():
        if kind == "numbers":
            (tmp_path / f"{split}.txt").write_text("".join(f"{split}/{row[0]}/1.mp4 {row[1]}\n" for row in rows))
            lists[split] = f"{split}.txt"
        elif kind == "csv":
            (tmp_path / f"{split}.csv").write_text(
                "FileName,Class,ClassEncoded\n" + "".join(f"{split}/{row[0]}/1.mp4,{row[0]},{row[1]}\n" for row in rows)
            )
            lists[split] = f"{split}.csv"
        else:
            options["classes"] = ["a", "b", "c"]
    found = read(tmp_path, lists, **options)
    name = "1" if kind == "numbers" else "b"
    assert found.classes == found.train.classes == found.val.classes
    assert found.classes[1] == name
    note, _ = found.notes
    assert note.startswith("val (")
    assert "has clips of a class without a training clip in " in note
    assert note.endswith(f": {name}")


def test_many_classes_without_a_training_clip_are_counted(tmp_path, touch):
    touch("train/a/1.mp4", "train/i/1.mp4", *(f"test/{name}/1.mp4" for name in "bcdefgh"), "val/a/2.mp4")
    (note,) = read(tmp_path, classes=list("abcdefghi")).notes
    assert "clips of 7 classes without" in note
    assert note.endswith(": b, c, d, e, f and 2 more")


@pytest.mark.parametrize(
    ("only", "given", "needed"),
    [
        ("test", ("train", "val", "test"), "test"),
        ("test", ("train", "val"), "val"),
        ("val", ("train", "test"), "train"),
        ("train", ("train", "val", "test"), "train"),
        ("val", ("test",), "test"),
    ],
)
def test_one_split_alone_reads_no_other(tmp_path, only, given, needed, touch):
    touch(*(f"{split}/{name}/{n}.mp4" for split in given for name in "ab" for n in range(3)))
    for split in set(given) - {needed}:
        touch(f"{split}/unknown/1.mp4")
    found = read(tmp_path, classes=["a", "b"], only=only)
    assert (getattr(found, only) is None) == (only not in given and needed == "test")
    whole = (getattr(found, split) for split in given if split != needed)
    assert all(clips is None or clips is found.val for clips in whole)


def test_without_test_val_serves_with_a_note(tmp_path, touch):
    touch("train/a/1.mp4", "train/b/1.mp4", "val/a/2.mp4")
    found = read(tmp_path)
    assert found.test is found.val
    assert found.notes == ("no test split was given: the val clips are reported as test too",)


def test_without_val_a_part_of_train_is_held_out_with_a_note(tmp_path, touch):
    touch(*many("train/a", "train/b"), "test/a/1.mp4")
    found = read(tmp_path, val_fraction=0.3)
    assert (found.train.counts, found.val.counts, found.test.counts) == ([7, 7], [3, 3], [1, 0])
    assert not set(found.train.clips) & set(found.val.clips)
    (note,) = found.notes
    assert note.startswith("no val split was given: 6 of the 20 clips of")
    assert "seed 0" in note


def test_an_unsplit_root_is_split_by_class(tmp_path, touch):
    touch(*many("a", "b"), "train/1.mp4", "train/2.mp4", "train/3.mp4")
    found = read(tmp_path)
    assert found.classes == ("a", "b", "train")
    assert (found.train.counts, found.val.counts, found.test.counts) == ([7, 7, 1], [1, 1, 1], [2, 2, 1])
    assert len({*found.train.clips, *found.val.clips, *found.test.clips}) == 23
    assert len(found.notes) == 2
    again = read(tmp_path)
    assert (again.train, again.val, again.test) == (found.train, found.val, found.test)
    assert read(tmp_path, seed=1).test != found.test
    untested = read(tmp_path, test_fraction=0.0)
    assert (untested.train.counts, untested.val.counts) == ([9, 9, 2], [1, 1, 1])
    assert untested.test is untested.val
    touch(*many("a", "b", count=30), root=tmp_path / "other")
    found = read(tmp_path / "other")
    counts = found.train.counts, found.val.counts, found.test.counts
    assert counts == ([21, 21], [3, 3], [6, 6]), "both are parts of the whole"


@pytest.mark.parametrize("only", ["train", "val", "test"])
def test_one_part_of_an_unsplit_root_alone_is_the_same_part(tmp_path, only, touch):
    touch(*many("a", "b"))
    for options in ({}, {"classes": ["a", "b"]}, {"test_fraction": 0.0}):
        assert getattr(read(tmp_path, only=only, **options), only) == getattr(read(tmp_path, **options), only)


def test_evaluation_alone_needs_the_classes(tmp_path, touch):
    touch("b/1.mp4")
    with pytest.raises(ValueError, match="the classes are not known"):
        read(tmp_path, folders={"test": "."})
    found = read(tmp_path, folders={"test": "."}, classes=["a", "b"])
    assert (found.train, found.val) == (None, None)
    assert [(clip.name, clip.label) for clip in found.test] == [("b/1.mp4", 1)]


def test_missing_files_are_passed_on(tmp_path, touch):
    touch("1.mp4", "3.mp4")
    (tmp_path / "train.txt").write_text("1.mp4 0\n2.mp4 0\n3.mp4 1\n")
    (tmp_path / "val.txt").write_text("1.mp4 0\n")
    lists = {"train": "train.txt", "val": "val.txt"}
    with pytest.raises(FileNotFoundError, match="1 of 3 listed files"):
        read(tmp_path, lists)
    assert read(tmp_path, lists, missing="skip").train.missing == ("2.mp4",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/dives/back/1.mp4", "train/dives/front/2.mp4", "val/dives/back/3.mp4"],
            r"train: only one .*dives.*back, front",
        ),
        (["jump/1.mp4", "jump/2.mp4"], "only one class folder with videos, 'jump'"),
        (["UCF11/jump/1.mp4", "UCF11/run/2.mp4"], r"only one class folder .*'UCF11'.*UCF11, such as jump, run"),
    ],
)
def test_one_single_class_is_refused_and_the_level_named(tmp_path, touch, names, message):
    touch(*names)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, problems=[])


def test_one_single_class_of_a_list_is_refused(tmp_path, touch):
    touch("1.mp4", "2.mp4", "train.txt", "val.txt")
    (tmp_path / "train.txt").write_text("1.mp4 0\n")
    (tmp_path / "val.txt").write_text("2.mp4 0\n")
    with pytest.raises(ValueError, match=r"train\.txt: every clip has the same class"):
        read(tmp_path, {"train": "train.txt", "val": "val.txt"})


def test_classes_that_differ_only_in_case_are_a_note(tmp_path, touch):
    touch(*many("Jump", "jump", "run"))
    found = read(tmp_path)
    assert found.classes == ("Jump", "jump", "run")
    (note,) = [note for note in found.notes if "only in case" in note]
    assert "'Jump' and 'jump'" in note
    assert "run" not in note


def test_folders_next_to_the_splits_are_named(tmp_path, touch):
    touch("train/a/1.mp4", "train/b/1.mp4", "validation/a/2.mp4", "test/a/3.mp4", "notes.txt")
    found = read(touch("train/a/4.mp4"))
    assert any("validation" in note and "not used" in note for note in found.notes)


def test_what_was_left_out_of_a_split_is_a_note_and_a_dead_link_is_missing(tmp_path, touch):
    touch("train/a/1.mp4", "train/b/1.mp4", "train/b/readme.txt", "val/a/2.mp4", "test/a/3.mp4")
    (tmp_path / "train/b/2.mp4").symlink_to("gone.mp4")
    found = read(tmp_path)
    assert (found.train.missing, found.train.missing_labels) == (("train/b/2.mp4",), (1,))
    (note,) = found.notes
    assert ".txt 1" in note


def test_a_name_that_is_no_utf8_can_be_held_out(tmp_path, touch):
    touch(*many("a", "b"))
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    for number in range(10):
        with open(os.fsencode(tmp_path) + b"/caf\xe9/%d.mp4" % number, "w"):
            pass
    found = read(tmp_path)
    assert found.classes == ("a", "b", "caf\udce9")
    assert found.train.counts == [7, 7, 7]


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        read(tmp_path / "none", {"val": "val.txt"})


@pytest.mark.parametrize("options", [{"val_fraction": 0.0}, {"val_fraction": 1.0}, {"test_fraction": 0.95}])
def test_impossible_parts_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="expected parts between 0 and 1"):
        read(tmp_path, **options)


def clip_list(counts):
    rows = [Clip(f"{k}/{n}", k, f"{k}/{n}") for k, count in enumerate(counts) for n in range(count)]
    return ClipList(tuple(rows), tuple(map(str, range(len(counts)))), "list")


def test_holding_out_leaves_one_and_takes_one_where_it_can():
    stay, held = hold_out(clip_list([1, 2, 3, 20]), 0.1, seed=0)
    assert (stay.counts, held.counts) == ([1, 1, 2, 18], [0, 1, 1, 2])
    stay, held = hold_out(clip_list([2]), 0.99, seed=0)
    assert (stay.counts, held.counts) == ([1], [1])
    with pytest.raises(ValueError, match="list: too few clips"):
        hold_out(clip_list([1, 1]), 0.5, seed=0)


@given(st.sets(st.integers(0, 59)), st.integers(0, 5))
def test_clips_that_are_missing_are_parted_as_if_they_were_there(gone, seed):
    whole = clip_list([40, 20])
    absent = [clip for number, clip in enumerate(whole) if number in gone]
    partial = replace(
        whole,
        clips=tuple(clip for number, clip in enumerate(whole) if number not in gone),
        missing=tuple(clip.name for clip in absent),
        missing_labels=tuple(clip.label for clip in absent),
    )
    if max(partial.counts) < 2:
        return
    parts, whole_parts = hold_out(partial, 0.25, seed), hold_out(whole, 0.25, seed)
    assert sum(part.listed for part in parts) == 60
    for part, full in zip(parts, whole_parts, strict=True):
        assert set(part.missing) <= {clip.name for clip in full}
        assert list(part.missing_labels) == [int(name.split("/")[0]) for name in part.missing]
    # A clip changes sides only where its class would have none there at all.
    for label, here in enumerate(partial.counts):
        kept = {clip for clip in partial if clip.label == label}
        if here > 1 and all(kept & set(full) for full in whole_parts):
            assert {clip for clip in parts[1] if clip.label == label} == kept & set(whole_parts[1].clips)
        assert (here < 2) or all(kept & set(part) for part in parts)


def test_a_val_held_out_of_a_partial_list_says_what_it_lacks():
    whole = replace(clip_list([4]), missing=tuple(f"gone {n}" for n in range(12)), missing_labels=(0,) * 12)
    stay, held = hold_out(whole, 0.5, seed=0)
    assert (stay.listed, held.listed) == (8, 8)
    assert stay.missing
    assert held.missing


def test_holding_out_changes_little_when_a_clip_is_lost():
    whole = clip_list([20])
    _, held = hold_out(whole, 0.25, seed=0)
    lost = next(clip for clip in whole if clip not in held.clips)
    fewer = ClipList(tuple(clip for clip in whole if clip != lost), whole.classes, "list")
    assert hold_out(fewer, 0.25, seed=0)[1].clips == held.clips
