"""One walk over a disk."""

import os

import pytest

from taggnn.data.clips import existing_root
from taggnn.data.published import PUBLISHED, read_published
from taggnn.data.published.file_index import FileIndex


def test_stems_endings_and_depth(touch):
    root = touch("-a_1.MP4", "_b.webm", "deep/er/c.d.avi", ".hidden.mp4", ".trash/e.mp4", "list.txt")
    index = FileIndex(root)
    assert len(index) == 3
    assert index.clip("-a_1") == root / "-a_1.MP4"
    assert index.clip("c.d") == root / "deep/er/c.d.avi"
    assert index.clip("e") is None
    assert index.file("no.txt", "list.txt") == root / "list.txt"
    assert list(index.clips_by_folder()) == ["er", root.name]


def test_of_two_videos_of_one_name_always_the_same_one(touch):
    index = FileIndex(touch("z/1.mp4", "b/c/1.mp4", "a/c/1.webm", "a/1.mp4"))
    assert index.clip("1") == index.root / "a/1.mp4"
    assert index.clip("1", "c") == index.root / "a/c/1.webm"
    assert index.clip("1", "none") == index.root / "a/1.mp4"


def test_a_clip_that_has_two_files_is_reported(touch):
    root = touch(*(f"video/run/run_{number:03d}.mp4" for number in range(20)), "old/video/run/run_004.avi")
    found, notes = read_published("haa500", root)
    assert found["train"][4].path == str(root / "video/run/run_004.mp4")
    (note,) = [note for note in notes if "with several files" in note]
    assert note.endswith(f"is used: 1 ({root}/video/run/run_004.mp4, also old/video/run/run_004.avi, ...)")


def test_links_are_followed_once(touch, tmp_path_factory):
    root, other = touch("a/1.mp4"), tmp_path_factory.mktemp("other")
    (other / "2.mp4").touch()
    os.symlink(other, root / "there")
    os.symlink(other, root / "again")
    os.symlink(root, root / "a" / "loop")
    os.symlink("nowhere", root / "broken")
    index = FileIndex(root)
    assert len(index) == 2
    assert index.clip("1") == root / "a/1.mp4"


def test_lists_in_the_given_folder_are_preferred(touch, tmp_path_factory):
    lists = tmp_path_factory.mktemp("lists")
    (lists / "list.txt").touch()
    (lists / "1.mp4").touch()
    index = FileIndex(touch("list.txt", "old.txt"), lists)
    assert index.file("list.txt") == lists / "list.txt"
    assert index.file("old.txt") is None
    assert len(index) == 0


def test_clips_of_other_endings(touch):
    root = touch("1.mp4", "a/2.JSON", "a/labels.txt", "b/2.npy")
    index = FileIndex(root, endings=(".json", ".npy"))
    assert index.stems() == ["2"]
    assert index.clip("2", "b") == root / "b/2.npy"
    assert index.clip("1") is None
    # A list may have the ending of a clip.
    assert index.file("2.JSON") == root / "a/2.JSON"
    assert "lists labels.txt, and 2 files .json .npy below" in index.describe()


def test_a_folder_that_may_not_be_read_is_skipped_and_reported(touch, monkeypatch):
    root = touch("lost+found/1.mp4", **{f"video/run/run_{k:03d}.mp4": "" for k in range(20)})
    real = os.scandir

    def scandir(folder):
        if folder.endswith("lost+found"):
            raise PermissionError
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert f"folders without read permission: 1 ({root / 'lost+found'})" in read_published("haa500", root)[1]


def test_unknown_names_and_folders(touch):
    root = touch()
    with pytest.raises(ValueError, match="unknown data set 'gym98'; did you mean 'gym99'"):
        read_published("gym98", root)
    with pytest.raises(FileNotFoundError, match=r"data annotations .*none: no such folder"):
        read_published("gym99", root, annotations=root / "none")
    with pytest.raises(FileNotFoundError, match="data root"):
        read_published("gym99", root / "none")
    assert existing_root(root) == root


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_root_is_refused_with_what_is_looked_for(touch, name):
    with pytest.raises(
        FileNotFoundError, match=r"below .*there is no list \(\.txt \.csv \.json\), and 0 (videos|files \..*) below"
    ):
        read_published(name, touch())


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_stated_for_known_versions_and_splits(name):
    known = PUBLISHED[name]
    assert known.paper.startswith("https://")
    assert set(known.counts) <= set(known.versions)
    assert all(set(counts) <= set(known.splits) for counts in known.counts.values())


def test_a_link_without_a_target_is_no_video_and_is_named(touch):
    root = touch(*(f"video/run/run_{number:03d}.mp4" for number in range(20)))
    (root / "video/run/run_004.mp4").unlink()
    (root / "video/run/run_004.mp4").symlink_to("gone.mp4")
    found, notes = read_published("haa500", root)
    assert "run_004.mp4" not in {os.path.basename(clip.path) for clip in found["train"]}
    (note,) = [note for note in notes if "target" in note]
    assert "run_004.mp4" in note
