"""taggnn.runtime.atomic: a reader sees the old file or the new one, whatever happens while writing."""

import errno
import os
import time

import pytest

from taggnn.runtime import atomic
from taggnn.runtime.atomic import replacing, write_bytes, write_text


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_text_goes_in_and_comes_out_unchanged(tmp_path):
    path = write_text(tmp_path / "deep" / "er" / "a.txt", "é\r\n日本\n")
    assert path.read_bytes() == "é\r\n日本\n".encode()
    assert names(path.parent) == ["a.txt"]


def test_a_file_name_that_is_no_utf8_keeps_its_bytes(tmp_path):
    assert write_text(tmp_path / "a", b"caf\xe9".decode("utf-8", "surrogateescape")).read_bytes() == b"caf\xe9"


def test_the_temporary_path_has_the_suffix_and_the_folder_of_the_target(tmp_path):
    with replacing(tmp_path / "x.ckpt") as temporary:
        assert temporary.suffix == ".ckpt"
        assert temporary.parent == tmp_path.resolve()
        temporary.write_bytes(b"new")
        assert not (tmp_path / "x.ckpt").exists()
    assert (tmp_path / "x.ckpt").read_bytes() == b"new"


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        write_text(tmp_path / "file" / "in" / "a.txt", "x")
    assert ".part-" not in str(caught.value)


def test_permissions_follow_the_umask(tmp_path):
    (tmp_path / "plain").write_text("")
    assert write_bytes(tmp_path / "ours", b"").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("moment", ["while writing", "while syncing", "at the rename"])
def test_disk_full_leaves_the_old_file_and_says_which_and_how_much_is_free(tmp_path, monkeypatch, moment):
    path = write_text(tmp_path / "best.ckpt", "old")
    if moment == "while syncing":
        monkeypatch.setattr(atomic.os, "fsync", full)
    if moment == "at the rename":
        monkeypatch.setattr(atomic.os, "replace", full)

    def write():
        with replacing(path) as temporary:
            temporary.write_bytes(bytes(2048))
            if moment == "while writing":
                full()

    with pytest.raises(
        OSError, match=r"disk full while writing .*best\.ckpt: stopped after 2\.0 KiB, .* free"
    ) as caught:
        write()
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert "unchanged" in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["best.ckpt"]


def test_disk_full_without_an_older_file_does_not_speak_of_one(tmp_path):
    with pytest.raises(OSError, match="disk full") as caught, replacing(tmp_path / "a"):
        full()
    assert "unchanged" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_target_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "x")
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize("target", ["real.txt", "gone.txt", ".", "link.txt"])
def test_a_link_is_replaced_and_its_target_stays(tmp_path, target):
    real = write_text(tmp_path / "real.txt", "old")
    (tmp_path / "link.txt").symlink_to(target)
    write_text(tmp_path / "link.txt", "new")
    assert not (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "link.txt").read_text() == "new"
    assert real.read_text() == "old"
    assert names(tmp_path) == ["link.txt", "real.txt"]


def test_a_folder_behind_a_link_is_written_into(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link" / "a.txt", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    left, living, other = (tmp_path / name for name in (".a.part-00.txt", ".a.part-01.txt", ".b.part-00.txt"))
    for path in (left, living, other):
        path.write_text("half")
    long_ago = time.time() - 2 * atomic.STALE_SECONDS
    os.utime(left, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == [".a.part-01.txt", ".b.part-00.txt", "a.txt"]


def busy(times):
    """``os.replace`` of a file that another program has open for a while, as on Windows."""
    replace, left = os.replace, [times]

    def replaced(source, target):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "in use", str(source))
        replace(source, target)

    return replaced


def test_on_windows_a_file_that_is_open_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.sys, "platform", "win32")
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", busy(3))
    (tmp_path / "a").write_text("old")
    assert write_text(tmp_path / "a", "new").read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(("platform", "patience"), [("win32", -1.0), ("linux", 60.0)])
def test_a_file_that_may_not_be_replaced_stays(tmp_path, monkeypatch, platform, patience):
    monkeypatch.setattr(atomic.sys, "platform", platform)
    monkeypatch.setattr(atomic, "BUSY_SECONDS", patience)
    monkeypatch.setattr(os, "replace", busy(10**6))
    (tmp_path / "a").write_text("old")
    with pytest.raises(PermissionError):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]
