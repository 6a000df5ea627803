"""Class folders: what counts as a class and as a video, and the errors for other folders."""

import pytest

from taggnn.data.lists.folders import VIDEO_ENDINGS
from taggnn.data.lists.reading import read_clips


def test_classes_and_videos_are_sorted_and_the_rest_is_ignored(tmp_path, touch):
    touch("b/2.avi", "b/1.MP4", "a c/x.gif", "b/notes.txt", "b/.hidden.mp4", ".git/1.mp4", "docs/a.txt", "z.mp4")
    found = read_clips(tmp_path)
    assert found.classes == ("a c", "b")
    assert [(clip.name, clip.label) for clip in found] == [("a c/x.gif", 0), ("b/1.MP4", 1), ("b/2.avi", 1)]
    assert found[0].path == str(tmp_path / "a c" / "x.gif")


@pytest.mark.parametrize("ending", sorted(VIDEO_ENDINGS))
def test_every_ending_counts(tmp_path, ending, touch):
    assert len(read_clips(touch(f"a/1{ending}"))) == 1


def test_a_second_split_is_read_against_the_first_ones_classes(tmp_path, touch):
    touch("b/1.mp4")
    found = read_clips(tmp_path, classes=["a", "b"])
    assert found.classes == ("a", "b")
    assert found[0].label == 1
    with pytest.raises(ValueError, match=r"b: unknown class 'b'.*Possible: a, c \(the classes that train has\)"):
        read_clips(tmp_path, classes=["a", "c"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.mp4", "2.mp4"], "found 2 videos directly in it and no class folders"),
        (["train/a/1.mp4", "val/a/1.mp4"], "one level deeper, in train, val"),
        (["a/notes.txt"], "found the folders a, none with a video"),
        ([], "found no folders"),
    ],
)
def test_a_folder_that_holds_no_classes_says_what_it_holds(tmp_path, names, message, touch):
    with pytest.raises(ValueError, match=message):
        read_clips(touch(*names))
