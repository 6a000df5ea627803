"""Class folders: what counts as a class and as a video, and the errors for other folders."""

import os

import pytest

from taggnn.data.lists.reading import read_clips
from taggnn.data.lists.tree import below
from taggnn.data.video.formats import VIDEO_ENDINGS


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


def ucf11(touch):
    return touch(
        *(
            f"{name}/v_{name}_{group:02}/{number}.mpg"
            for name in ("dive", "swing")
            for group in (1, 2)
            for number in (1, 2)
        )
    )


def test_videos_in_groups_inside_a_class_folder_count_and_are_noted(touch):
    found = read_clips(ucf11(touch))
    assert found.classes == ("dive", "swing")
    assert found.counts == [4, 4]
    assert found[0].name == "dive/v_dive_01/1.mpg"
    (note,) = found.notes
    assert "8" in note
    assert "dive/v_dive_01/1.mpg" in note


def test_videos_one_folder_deeper_than_others_of_their_class_count(touch):
    found = read_clips(touch("a/1.mp4", "a/more/2.mp4", "b/more/3.mp4", "b/4.mp4"))
    assert [clip.name for clip in found] == ["a/1.mp4", "a/more/2.mp4", "b/4.mp4", "b/more/3.mp4"]
    assert len(found.notes) == 1


def test_links_are_followed_each_folder_once_and_a_loop_ends(tmp_path, touch):
    touch("a/1.mp4", "b/2.mp4", root=tmp_path / "root")
    touch("3.mp4", "deep/4.mp4", root=tmp_path / "elsewhere")
    (tmp_path / "root/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/link").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "root/a/loop").symlink_to(tmp_path / "root/a")
    (tmp_path / "root/b/up").symlink_to("..")
    (tmp_path / "root/b/5.mp4").symlink_to(tmp_path / "elsewhere/3.mp4")
    tree = below(tmp_path / "root", VIDEO_ENDINGS)
    relative = [path.relative_to(tmp_path / "root").as_posix() for path in tree.files]
    assert relative == ["a/1.mp4", "a/link/4.mp4", "b/2.mp4", "b/5.mp4", "c/3.mp4"]
    found = [(clip.name, clip.label) for clip in read_clips(tmp_path / "root")]
    assert found == [
        ("a/1.mp4", 0),
        ("a/link/4.mp4", 0),
        ("b/2.mp4", 1),
        ("b/5.mp4", 1),
        ("c/3.mp4", 2),
        ("c/deep/4.mp4", 2),
    ]


def test_what_is_left_out_is_counted_or_named(tmp_path, touch):
    touch("a/1.mp4", "b/1.mp4", "b/2.jpg", "b/3.txt", "b/4.txt", "b/.5.mp4", "empty/readme.txt", "6.mp4")
    (tmp_path / "b/7.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(tmp_path / "b/8.mp4")
    found = read_clips(tmp_path)
    assert (found.missing, found.missing_labels) == (("b/7.mp4",), (1,))
    assert found.listed == 3
    text = "\n".join(found.notes)
    for part in (".txt 3", ".jpg 1", "8.mp4", "hidden", "6.mp4", "empty"):
        assert part in text, part
    problems = []
    read_clips(tmp_path, problems=problems)
    assert [(problem.kind, problem.name) for problem in problems] == [("missing", "b/7.mp4")]


def test_a_folder_of_dead_links_is_refused_and_named(tmp_path, touch):
    touch("a/x.txt")
    (tmp_path / "a/1.mp4").symlink_to("nowhere.mp4")
    with pytest.raises(ValueError, match=r"target does not exist: 1 .*a/1\.mp4"):
        read_clips(tmp_path)
