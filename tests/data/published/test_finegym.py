"""Gym99 and Gym288: the published lists and their counts, and the best of what lies on the disk for each row."""

import csv
import json
import re

import pytest
from PIL import Image

import taggnn.check
from taggnn.data.lists.splits import read_splits
from taggnn.data.problems import Problem
from taggnn.data.published import PUBLISHED, read_published

FOLDERS = {"train": "train", "val": "val", "test": "test"}
VIDEO = "-_LtLS9wROr"
EVENT = f"{VIDEO}_E_002407_002435"
# Action of the JSON -> its stages, in seconds of the event.
STAGES = {
    "A_0003_0005": [[3.45, 5.64]],
    "A_0007_0007": [[7.1, 7.9]],
    "A_0010_0015": [[10.2, 11.0], [11.0, 12.5], [12.5, 15.4]],
}
TRAIN = [f"{EVENT}_{action}" for action in STAGES]


@pytest.fixture
def gym(tmp_path, touch):
    """Lists of a Gym99 of 4 training clips and one of val, and the JSON; no video yet."""
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "gym99_train_element_v1.1.txt").write_text("".join(f"{name} {k}\n" for k, name in enumerate(TRAIN)))
    (lists / "gym99_val_element.txt").write_text("0LtLS9wROrk_E_000001_000009_A_0001_0002 98\n")
    (lists / "gym99_categories.txt").write_text(
        "".join(f"Clabel: {k:3}; set:  {k % 2}; Glabel: {k}; (VT) element {k // 2 * 2}\n" for k in range(99))
    )
    segments = {action: {"stages": len(stages), "timestamps": stages} for action, stages in STAGES.items()}
    info = {
        VIDEO: {
            "E_002407_002435": {"event": 4, "segments": segments, "timestamps": [[2407.32, 2435.28]]},
            "E_000100_000120": {"event": 1, "segments": None, "timestamps": [[100.5, 120.25]]},
        }
    }
    (lists / "finegym_annotation_info_v1.1.json").write_text(json.dumps(info))
    touch("val/0LtLS9wROrk_E_000001_000009_A_0001_0002.mp4")
    return tmp_path


def cuts(clips):
    return [(clip.name[len(EVENT) + 1 :], clip.start, clip.stop, clip.origin) for clip in clips]


def test_each_row_takes_the_best_of_a_mixed_disk(gym, touch):
    touch(f"deep/er/{VIDEO}.webm", f"{TRAIN[0]}.MKV", root=gym)
    found, notes = read_published("gym99", gym)
    assert cuts(found["train"]) == [
        ("A_0003_0005", None, None, None),
        ("A_0007_0007", 2414.42, 2415.22, None),
        # A vault from the start of its first stage to the end of its last.
        ("A_0010_0015", 2417.52, 2422.72, None),
    ]
    assert "train: clips come from cut actions (1), uncut videos (2)" in notes
    touch(f"events/{EVENT}.mp4", root=gym)
    found, notes = read_published("gym99", gym)
    assert cuts(found["train"])[1:] == [
        ("A_0007_0007", 2414.42, 2415.22, 2407.32),
        ("A_0010_0015", 2417.52, 2422.72, 2407.32),
    ]
    assert [clip.label for clip in found["train"]] == [0, 1, 2]
    assert "train: clips come from cut actions (1), event clips (2)" in notes


def test_version_and_coverage_are_stated_and_another_number_of_rows_is_a_note(gym, touch):
    touch(f"{TRAIN[1]}.mp4", root=gym)
    found, notes = read_published("gym99", gym, version="1.1")
    assert notes[0] == (
        "gym99 v1.1: train 3 listed of 26,320 published, 1 found (33 %); val 1 listed of 8,521 published, 1 found (100 %)"
    )
    assert found["train"].missing == (TRAIN[0], TRAIN[2])
    lists = gym / "lists"
    assert f"{lists / 'gym99_train_element_v1.1.txt'} lists 3 clips; gym99 v1.1 has 26,320 in train" in notes


def test_elements_of_two_sets_with_the_same_name_stay_different(gym, touch):
    touch(f"{VIDEO}.mp4", root=gym)
    names = read_published("gym99", gym)[0]["val"].classes
    assert names[:2] == ("(VT) element 0 (set 0)", "(VT) element 0 (set 1)")
    assert names[98] == "(VT) element 98"
    assert len(set(names)) == 99


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        (f"{VIDEO}_E_000200_000220_A_0001_0002 5", "its event is not in finegym_annotation_info_v1.1.json"),
        (f"{VIDEO}_E_002407_002435_A_0001_0002 5", "its action is not in finegym_annotation_info_v1.1.json"),
        (f"{VIDEO}_E_000100_000120_A_0001_0002 5", "its action is not in finegym_annotation_info_v1.1.json"),
    ],
    ids=["no-event", "no-action", "segments-null"],
)
def test_a_row_that_the_json_does_not_know_is_named(gym, line, lacks, touch):
    touch(f"{VIDEO}.mp4", root=gym)
    (gym / "lists" / "gym99_train_element_v1.1.txt").open("a").write(line + "\n")
    found, notes = read_published("gym99", gym)
    name = line.split()[0]
    assert (len(found["train"]), found["train"].missing) == (3, (name,))
    (note,) = [note for note in notes if "cannot be cut" in note]
    assert note.startswith(f"train: clips that cannot be cut out of an existing video: 1 ({name}). ")
    assert note.endswith(lacks)
    problems = []
    read_published("gym99", gym, problems=problems)
    assert [(problem.kind, problem.line, problem.name) for problem in problems] == [("missing", 4, name)]
    assert problems[0].message.endswith(lacks)
    with pytest.raises(FileNotFoundError, match="1 of 4 listed files do not exist"):
        read_published("gym99", gym, missing="error")


@pytest.mark.parametrize(
    "stages", [None, [], [[1.0]], [["a", 2.0]], [[3.0, 3.0]], [[-9999.0, 1.0]], 5, [[float("nan"), 1.0]]]
)
def test_seconds_that_are_none_are_no_crash(gym, stages, touch):
    file = gym / "lists" / "finegym_annotation_info_v1.1.json"
    info = json.loads(file.read_text())
    info[VIDEO]["E_002407_002435"]["segments"]["A_0003_0005"]["timestamps"] = stages
    file.write_text(json.dumps(info))
    touch(f"{VIDEO}.mp4", root=gym)
    found, notes = read_published("gym99", gym)
    assert found["train"].missing == (TRAIN[0],)
    assert any("cannot be cut out of" in note and TRAIN[0] in note for note in notes)


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ((VIDEO,), []),
        ((VIDEO, "E_002407_002435"), []),
        ((VIDEO, "E_002407_002435"), [[1.0, 2.0]]),
        ((VIDEO, "E_002407_002435"), 3),
        ((VIDEO, "E_002407_002435", "segments"), "A_0003_0005"),
        ((VIDEO, "E_002407_002435", "segments", "A_0003_0005"), [[1.0, 2.0]]),
    ],
)
def test_a_json_of_another_form_is_refused_by_its_key(gym, keys, wrong, touch):
    file = gym / "lists" / "finegym_annotation_info_v1.1.json"
    info = inner = json.loads(file.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = wrong
    file.write_text(json.dumps(info))
    touch(f"{VIDEO}.mp4", root=gym)
    with pytest.raises(ValueError, match=r"finegym_annotation_info_v1\.1\.json, key ") as refused:
        read_published("gym99", gym)
    assert f"key {' / '.join(keys)}: expected a JSON object, found a {type(wrong).__name__}" in str(refused.value)


def test_without_the_json_a_video_is_not_cut(gym, touch):
    (gym / "lists" / "finegym_annotation_info_v1.1.json").unlink()
    touch(f"{VIDEO}.mp4", f"{TRAIN[0]}.mp4", root=gym)
    found, notes = read_published("gym99", gym)
    assert cuts(found["train"]) == [("A_0003_0005", None, None, None)]
    assert any("there is no finegym_annotation_info_v1.1.json below" in note for note in notes)


def test_the_json_of_the_other_version_is_used_and_said(gym, touch):
    lists = gym / "lists"
    (lists / "finegym_annotation_info_v1.1.json").rename(lists / "finegym_annotation_info_v1.0.json")
    touch(f"{VIDEO}.mp4", root=gym)
    found, notes = read_published("gym99", gym)
    assert len(found["train"]) == 3
    assert any(note.startswith("there is no finegym_annotation_info_v1.1.json: clips are cut by ") for note in notes)


def test_wrong_rows_are_left_out_and_said_or_collected(gym, touch):
    touch(f"{VIDEO}.mp4", root=gym)
    (gym / "lists" / "gym99_train_element_v1.1.txt").open("a").write(f"nonsense 3\n{TRAIN[0]} 99\n{TRAIN[1]} 1\n")
    found, notes = read_published("gym99", gym)
    assert len(found["train"]) == 3
    assert any("rows left out as repeated: 1 (line 6: " in note for note in notes)
    assert any("rows left out as malformed: 2 (line 4: 'nonsense 3' is not '<video>_E_" in note for note in notes)
    problems = []
    read_published("gym99", gym, problems=problems)
    assert sorted((problem.kind, problem.line) for problem in problems) == [
        ("malformed", 4),
        ("malformed", 5),
        ("repeated", 6),
    ]
    with pytest.raises(ValueError, match=r"train_element_v1\.1\.txt, line 4: 'nonsense 3' is not"):
        read_published("gym99", gym, missing="error")


def test_a_missing_list_is_named_with_what_lies_there(gym, touch):
    touch(f"{VIDEO}.mp4", root=gym)
    with pytest.raises(FileNotFoundError, match=r"gym99 v1\.0: no gym99_train_element_v1\.0\.txt below ") as error:
        read_published("gym99", gym, version="v1.0")
    assert "there are the lists finegym_annotation_info_v1.1.json, gym99_categories.txt" in str(error.value)
    assert "2 videos below" in str(error.value)
    assert "--data.annotations" in str(error.value)


def test_no_clip_at_all_is_an_error(gym):
    with pytest.raises(FileNotFoundError, match=r"train: none of the 3 clips of .*Looked for such as -_LtLS9wROr_E_"):
        read_published("gym99", gym)


@pytest.mark.parametrize(
    ("given", "message"), [("v2", "unknown version of gym99 'v2'"), ("1.2", "Possible: v1.1, v1.0|v1.1")]
)
def test_an_unknown_version(gym, given, message):
    with pytest.raises(ValueError, match=message):
        read_published("gym99", gym, version=given)


def test_labels_are_held_against_a_models_classes(gym, touch):
    touch(f"{VIDEO}.mp4", root=gym)
    numbers = [str(number) for number in range(99)]
    names = read_published("gym99", gym, splits=["val"], classes=numbers)[0]["val"].classes
    assert names[98] == "(VT) element 98"
    assert read_published("gym99", gym, splits=["val"], classes=names)[0]["val"].classes == names
    with pytest.raises(ValueError, match="99 classes, and the model"):
        read_published("gym99", gym, splits=["val"], classes=numbers[:98])
    with pytest.raises(ValueError, match=r"class 3 is '\(VT\) element 2 \(set 1\)', and the model .* has 'jump'"):
        read_published("gym99", gym, splits=["val"], classes=[*names[:3], "jump", *names[4:]])


def listed(official, name, version):
    problems: list[Problem] = []
    splits = read_splits(
        official, {}, FOLDERS, dataset=name, version=version, annotations=str(official), problems=problems
    )
    assert {problem.kind for problem in problems} == {"missing"}
    return splits


@pytest.mark.parametrize(
    ("name", "version", "train", "val"),
    [
        ("gym99", "v1.0", 20_484, 8_521),
        ("gym99", "v1.1", 26_320, 8_521),
        ("gym288", "v1.0", 22_671, 9_646),
        ("gym288", "v1.1", 29_334, 9_646),
    ],
)
def test_the_official_lists_hold_the_published_counts(real_data, name, version, train, val):
    splits = listed(real_data("finegym"), name, version)
    assert (splits.train.listed, splits.val.listed) == (train, val)
    assert len(set(splits.classes)) == len(splits.classes) == int(name.removeprefix("gym"))
    assert not set(splits.train.missing) & set(splits.val.missing)
    assert not [note for note in splits.notes if "lists" in note and "clips;" in note]
    empty = [label for label, count in enumerate(splits.train.listed_counts) if not count]
    assert empty == ([138] if (name, version) == ("gym288", "v1.0") else [])


def test_the_class_without_training_clips_is_reported(real_data, tmp_path, touch):
    official = real_data("finegym")
    lines = {
        split: (official / f"gym288_{split}.txt").read_text().splitlines()
        for split in ("train_element_v1.0", "val_element")
    }
    # A training clip of every class, and every val clip of class 138.
    one = {line.split()[1]: line.split()[0] for line in lines["train_element_v1.0"]}
    none = [line.split()[0] for line in lines["val_element"] if line.endswith(" 138")]
    assert len(one) == 287
    assert none
    touch(*(f"{name}.mp4" for name in (*one.values(), *none)))
    splits = read_splits(tmp_path, {}, FOLDERS, dataset="gym288", version="v1.0", annotations=str(official))
    (note,) = [note for note in splits.notes if "without a training clip" in note]
    assert "has clips of a class without a training clip in" in note
    assert note.endswith(": (BB) straddle pike jump with 0.5 turn")


def test_many_ids_begin_and_end_in_the_same_second(real_data):
    ids = (real_data("finegym") / "gym99_train_element_v1.1.txt").read_text().split("\n")
    times = [re.search(r"_A_(\d+)_(\d+) ", line).groups() for line in ids if line]
    assert sum(start == stop for start, stop in times) == 1_873


def test_classes_belong_to_events_and_sets(gym, touch):
    touch(f"{TRAIN[1]}.mp4", root=gym)
    groups = read_published("gym99", gym)[0]["val"].class_groups
    assert groups == {"event": ("VT",) * 99, "set": tuple(f"set {k % 2}" for k in range(99))}
    (gym / "lists" / "set_categories.txt").write_text("set: 0; vault\nset: 1; FX_turns\n")
    assert read_published("gym99", gym)[0]["val"].class_groups["set"][:2] == ("vault", "FX_turns")
    (gym / "lists" / "gym99_categories.txt").unlink()
    assert read_published("gym99", gym)[0]["val"].class_groups == {}


def test_what_is_missing_is_listed_with_its_cut(gym, touch):
    touch(f"{TRAIN[1]}.mp4", root=gym)
    absent = read_published("gym99", gym)[0]["train"].absent
    assert [row.given for row in absent] == [TRAIN[0], TRAIN[2]]
    expected = {"video": VIDEO, "event": EVENT, "event_start": 2407, "event_stop": 2435}
    assert PUBLISHED["gym99"].cut(absent[0]) == {**expected, "start": 2410.77, "stop": 2412.96, "seconds": "json"}
    (gym / "lists" / "finegym_annotation_info_v1.1.json").unlink()
    absent = read_published("gym99", gym)[0]["train"].absent
    assert PUBLISHED["gym99"].cut(absent[1]) == {**expected, "start": 2417, "stop": 2423, "seconds": "id"}


def test_every_official_class_has_an_event_and_a_set(real_data, tmp_path, touch):
    for name, classes in (("gym99", 99), ("gym288", 288)):
        touch("0LtLS9wROrk_E_002407_002435.mp4", "0LtLS9wROrk_E_002407_002435_A_0003_0005.mp4", root=tmp_path)
        found = read_published(name, tmp_path, annotations=real_data("finegym"), splits=("val",))[0]["val"]
        assert set(found.class_groups["event"]) == {"VT", "FX", "BB", "UB"}
        assert len(found.class_groups["set"]) == classes
        for event, group in zip(found.class_groups["event"], found.class_groups["set"], strict=True):
            assert group.partition("_")[0] in (event, "vault")


def test_a_folder_of_frames_stands_for_the_file_of_its_name(gym):
    for name in (TRAIN[0], EVENT):
        (gym / "frames" / name).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (8, 8)).save(gym / "frames" / name / f"img_{number:05}.jpg")
    found = read_published("gym99", gym)[0]["train"]
    assert [clip.path.rpartition("/")[2] for clip in found] == [TRAIN[0], EVENT, EVENT]


def test_check_writes_what_is_missing_with_its_cut(gym, program, tmp_path_factory):
    Image.new("RGB", (16, 16)).save(gym / "a.png")
    out = tmp_path_factory.mktemp("check")
    for name in (TRAIN[1], "0LtLS9wROrk_E_000001_000009_A_0001_0002"):
        (gym / "frames" / name).mkdir(parents=True)
        for number in range(2):
            (gym / "frames" / name / f"img_{number}.png").write_bytes((gym / "a.png").read_bytes())
    (gym / "val" / "0LtLS9wROrk_E_000001_000009_A_0001_0002.mp4").unlink()
    words = ["--config", "gym99", "--data.root", gym, "--out", out, "--workers", 1]
    ended = program(taggnn.check, *words)
    assert ended.code == 1, ended.err
    with (out / "missing.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["split"], row["start"], row["seconds"]) for row in rows] == [
        (TRAIN[0], "train", "2410.77", "json"),
        (TRAIN[2], "train", "2417.52", "json"),
    ]
    assert str(out / "missing.csv") in ended.out
