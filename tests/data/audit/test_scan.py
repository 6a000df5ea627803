"""The scan of many files: order and number of processes do not matter, and no file stops it."""

import sys
import time
from dataclasses import replace

import pytest

from taggnn.data.audit.probe import VideoInfo, probe
from taggnn.data.audit.scan import scan

BAD_READER = """
import os, signal, sys, time
from taggnn.data.audit.probe import probe
from taggnn.data.audit.scan import serve

def look(path, cuts, depth):
    name = os.path.basename(path)
    if name.startswith("exit"):
        os._exit(7)
    if name.startswith("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("once") and not os.path.exists(path + ".died"):
        open(path + ".died", "w").close()
        os._exit(1)
    if name.startswith("raise"):
        raise KeyError("x")
    print("a library that talks")
    return probe(path, cuts, depth)

serve(look)
"""


@pytest.fixture(scope="module")
def folder(write_video, tmp_path_factory):
    made = tmp_path_factory.mktemp("scan")
    first = write_video(made / "v0.mp4")
    for name in ("v1", "v2", "v3", "exit", "segfault", "hang", "once", "raise"):
        (made / f"{name}.mp4").write_bytes(first.read_bytes())
    return made


@pytest.fixture
def bad_reader(tmp_path):
    script = tmp_path / "reader.py"
    script.write_text(BAD_READER)
    return (sys.executable, str(script))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_is_examined_once(folder, workers):
    files = {str(path): [(0.0, 0.5, None)] for path in sorted(folder.glob("*.mp4"))} | {str(folder / "gone.mp4"): []}
    found = list(scan(files, workers=workers))
    assert sorted(path for path, _ in found) == sorted(files)
    assert dict(found) == {path: replace(probe(path, cuts), corrupt=[]) for path, cuts in files.items()}


def test_a_file_that_ends_or_hangs_its_process_is_named_and_the_scan_goes_on(folder, bad_reader):
    files = {str(folder / f"{name}.mp4"): [] for name in ("exit", "v0", "segfault", "v1", "hang", "v2", "raise", "v3")}
    found = dict(scan(files, limit=4, command=bad_reader))
    results = {path.rsplit("/", 1)[1]: (info.kind, info.trouble) for path, info in found.items()}
    assert results == {
        "exit.mp4": ("unreadable", "the reader crashed at it (exit code 7)"),
        "segfault.mp4": ("unreadable", "the reader crashed at it (signal SIGSEGV)"),
        "hang.mp4": ("unreadable", "given up after 4 s"),
        "raise.mp4": ("unreadable", "reading it failed (KeyError: 'x')"),
        **{f"v{n}.mp4": ("", "") for n in range(4)},
    }


def test_a_process_that_died_once_is_asked_again(folder, bad_reader):
    path = str(folder / "once.mp4")
    assert dict(scan({path: []}, command=bad_reader))[path].frames == 12


def test_known_facts_are_used_where_the_file_is_the_same(folder, bad_reader):
    same, changed = str(folder / "exit.mp4"), str(folder / "segfault.mp4")
    known = {path: replace(probe(path), codec="known") for path in (same, changed)}
    known[changed] = replace(known[changed], changed=1)
    found = dict(scan({same: [], changed: []}, known=known, command=bad_reader))
    assert found[same].codec == "known"
    assert "crashed" in found[changed].trouble


def test_a_scan_that_is_left_ends_its_processes(folder, bad_reader):
    files = {str(folder / "v0.mp4"): [], str(folder / "hang.mp4"): []}
    begun = time.monotonic()
    for _ in scan(files, workers=1, command=bad_reader):
        break
    assert time.monotonic() - begun < 30


def test_processes_that_do_not_start_are_an_error(folder):
    with pytest.raises(RuntimeError, match="ended as it began"):
        list(scan({str(folder / "v0.mp4"): []}, command=(sys.executable, "-c", "raise SystemExit(3)")))


def test_no_files_need_no_process():
    assert list(scan({})) == []


@pytest.mark.parametrize("options", [{"workers": 0}, {"limit": 0.0}])
def test_impossible_options(options):
    with pytest.raises(ValueError, match="expected 1 or more workers and a limit above 0"):
        list(scan({"a": []}, **options))


def test_facts_of_real_videos(real_data):
    files = sorted(map(str, (real_data("rgb_two_class") / "val").rglob("*.mp4")))
    found = dict(scan({path: [(0.0, 1.0, None)] for path in files}, workers=2))
    assert all(isinstance(info, VideoInfo) and not info.kind and info.frames >= 100 for info in found.values())
    assert len({info.fingerprint for info in found.values()}) == len(files)
