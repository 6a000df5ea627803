"""NTU RGB+D 60 and 120: the published rules, raw files and pickles."""

import pytest

from taggnn.data.lists.splits import read_splits
from taggnn.data.published import PUBLISHED, read_published
from taggnn.data.published.ntu_actions import ACTIONS
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees

SUBJECTS_60 = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
SUBJECTS_120 = SUBJECTS_60 | {
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78),
    *(80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
}
RULES = {
    ("ntu60", "xsub"): lambda name: int(name[9:12]) in SUBJECTS_60,
    ("ntu60", "xview"): lambda name: name[4:8] != "C001",
    ("ntu120", "xsub"): lambda name: int(name[9:12]) in SUBJECTS_120,
    ("ntu120", "xset"): lambda name: int(name[1:4]) % 2 == 0,
}
NAMES = trees.ntu_names(setups=(1, 2, 32), performers=(*range(1, 108, 3), 40, 106), actions=(1, 60, 61, 120))


def test_there_are_120_actions():
    assert len(set(ACTIONS)) == 120
    assert ACTIONS[59] == "walking apart"


@pytest.mark.parametrize(("name", "version"), RULES, ids="-".join)
def test_published_rules(touch, name, version):
    root = touch(*(f"raw/{clip}.skeleton" for clip in NAMES))
    found, _ = read_published(name, root, version=version)
    actions = 60 if name == "ntu60" else 120
    used = [clip for clip in NAMES if int(clip[-3:]) <= actions]
    train = {clip.name for clip in found["train"]}
    assert train == {clip for clip in used if RULES[name, version](clip)}
    assert {clip.name for clip in found["test"]} == set(used) - train
    assert all(clip.label == int(clip.name[-3:]) - 1 for split in found.values() for clip in split)
    assert len(found["train"].classes) == actions
    assert len(SUBJECTS_60) == 20
    assert len(SUBJECTS_120) == 53


@pytest.mark.parametrize("name", ["ntu60", "ntu120"])
def test_published_numbers_are_all_clips_without_those_that_have_no_body(name):
    whole = {"ntu60": 56_880 - 302, "ntu120": 114_480 - 535}[name]
    assert {sum(counts.values()) for counts in PUBLISHED[name].counts.values()} == {whole}


def test_clips_are_read(tmp_path):
    found, _ = read_published("ntu60", trees.ntu(tmp_path))
    for clip in found["test"]:
        read = formats.read(clip)
        assert read.coordinates.shape == (2 if clip.label >= 49 else 1, 14, 25, 3)


@pytest.mark.parametrize("list_name", ["NTU_RGBD_samples_with_missing_skeletons.txt", None], ids=["list", "no-list"])
def test_files_without_a_body(tmp_path, list_name):
    gone = trees.ntu_names()[4]
    trees.ntu(tmp_path, missing=(gone,))
    if list_name is None:
        (tmp_path / "NTU_RGBD_samples_with_missing_skeletons.txt").unlink()
    found, notes = read_published("ntu60", tmp_path)
    clips = {clip.name: clip for split in found.values() for clip in split}
    assert (gone in clips) == (list_name is None)
    assert [note for note in notes if "without a usable body" in note]
    if list_name is None:
        with pytest.raises(formats.FormatError, match="no body"):
            formats.read(clips[gone])


def test_the_list_of_120_serves_60_too(tmp_path):
    gone = trees.ntu_names()[0]
    trees.ntu(tmp_path, missing=(gone,), list_name="NTU_RGBD120_samples_with_missing_skeletons.txt")
    for name in ("ntu60", "ntu120"):
        found, _ = read_published(name, tmp_path)
        assert gone not in {clip.name for split in found.values() for clip in split}


def test_lists_in_a_folder_of_their_own(tmp_path):
    gone = trees.ntu_names()[0]
    trees.ntu(tmp_path / "data", missing=(gone,))
    name = "NTU_RGBD_samples_with_missing_skeletons.txt"
    (tmp_path / "lists").mkdir()
    (tmp_path / "data" / name).rename(tmp_path / "lists" / name)
    found, _ = read_published("ntu60", tmp_path / "data", annotations=tmp_path / "lists")
    assert gone not in {clip.name for split in found.values() for clip in split}


def splits_of(version):
    rule = RULES["ntu60", version]
    return {f"{version}_train": rule, f"{version}_val": lambda clip: not rule(clip)}


@pytest.mark.parametrize("version", ["xsub", "xview"])
def test_a_pickle_gives_the_same_clips_as_the_raw_files(tmp_path, version):
    trees.ntu(tmp_path / "raw")
    trees.ntu_pickle(tmp_path / "pickle" / "ntu60_3danno.pkl", splits_of(version))
    raw, _ = read_published("ntu60", tmp_path / "raw", version=version)
    pickled, notes = read_published("ntu60", tmp_path / "pickle", version=version)
    for split in ("train", "test"):
        assert {(clip.name, clip.label) for clip in raw[split]} == {(clip.name, clip.label) for clip in pickled[split]}
    assert "ntu60_3danno.pkl" in " ".join(notes)
    clip = pickled["test"][0]
    assert clip.member == clip.name
    assert formats.read(clip).coordinates.shape[1:] == (14, 25, 3)


def test_a_pickle_with_lists_in_a_folder_of_their_own(tmp_path):
    trees.ntu_pickle(tmp_path / "data" / "ntu60_3danno.pkl", splits_of("xsub"))
    (tmp_path / "lists").mkdir()
    assert len(read_published("ntu60", tmp_path / "data", annotations=tmp_path / "lists")[0]["test"])


def test_2_d_skeletons_are_versions_of_their_own(tmp_path):
    trees.ntu_pickle(tmp_path / "ntu60_3danno.pkl", splits_of("xsub"))
    trees.ntu_pickle(tmp_path / "ntu60_hrnet.pkl", splits_of("xsub"), axes=2, joints=17)
    found, _ = read_published("ntu60", tmp_path, version="xsub_2d")
    assert formats.read(found["test"][0]).coordinates.shape[2:] == (17, 2)
    found, _ = read_published("ntu60", tmp_path, version="xsub")
    assert formats.read(found["test"][0]).coordinates.shape[2:] == (25, 3)


def test_a_pickle_of_another_name_is_read_if_it_is_the_only_one(tmp_path):
    trees.ntu_pickle(tmp_path / "mine.pkl", splits_of("xsub"))
    assert len(read_published("ntu60", tmp_path)[0]["train"]) == 18
    trees.ntu_pickle(tmp_path / "other.pkl", splits_of("xsub"))
    with pytest.raises(FileNotFoundError, match=r"ntu60_3danno\.pkl"):
        read_published("ntu60", tmp_path)


def test_a_pickle_without_the_split(tmp_path):
    path = trees.ntu_pickle(tmp_path / "ntu60_3danno.pkl", splits_of("xsub"))
    with pytest.raises(ValueError, match=rf"{path}, split: no 'xview_train' in it; it has 'xsub_train'"):
        read_published("ntu60", tmp_path, version="xview")


def test_rows_of_a_pickle_that_cannot_be_used(tmp_path):
    rows = [trees.annotation(name, int(name[-3:]) - 1) for name in trees.ntu_names()[:5]]
    rows[1]["label"] = 60
    rows[2]["label"] = 3
    rows[3]["keypoint"] = None
    names = [row["frame_dir"] for row in rows]
    trees.pyskl(tmp_path / "1.pkl", {"xsub_train": [*names, "S001C001P001R009A001", "x"], "xsub_val": names[:1]}, rows)
    problems = []
    found, _ = read_published("ntu60", tmp_path, problems=problems)
    assert [clip.name for clip in found["train"]] == [names[0], names[4]]
    assert [(problem.kind, problem.line) for problem in problems] == [
        ("malformed", 2),
        ("mislabelled", 3),
        ("malformed", 7),
        ("missing", 4),
        ("missing", 6),
    ]


def test_a_pickle_that_wants_to_run_code_is_refused_before_training(tmp_path):
    (tmp_path / "1.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(ValueError, match=rf"{tmp_path}/1\.pkl: .*refused"):
        read_published("ntu60", tmp_path)


def test_a_part_of_train_is_held_out(tmp_path):
    folders = {"train": "train", "val": "val", "test": "test"}
    trees.ntu_pickle(tmp_path / "ntu60_3danno.pkl", splits_of("xsub"))
    found = read_splits(tmp_path, {}, folders, dataset="ntu60", val_fraction=0.2)
    assert (len(found.train), len(found.val), len(found.test)) == (15, 3, 18)
    # One file holds them all, and none is in two splits.
    assert not [note for note in found.notes if "two splits" in note]
