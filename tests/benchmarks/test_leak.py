"""python benchmarks/leak.py from its command line to its readings, its sentence and its file."""

import json

import pytest

from benchmarks import leak

pytestmark = pytest.mark.skipif(not leak.STATM.exists(), reason="reads the resident memory from /proc")


def test_its_own_clips_good_and_damaged_are_loaded(bench, tmp_path):
    path = tmp_path / "a.json"
    ended = bench(leak, "--loads", 37, "--every", 20, "--out", path)
    assert ended.code == 0, ended.err
    found = json.loads(path.read_text())
    # An epoch: every clip once, five of them damaged.
    assert (found["kind"], found["clips"], found["loads"], found["bad"]) == ("leak", 37, 37, 5)
    assert [row["loads"] for row in found["rows"]] == [3, 20, 37]
    assert all(row["resident_mb"] > 50 for row in found["rows"])
    assert found["growth_mb"] == pytest.approx(found["rows"][-1]["resident_mb"] - found["rows"][0]["resident_mb"])
    assert "taggnn-leak-" not in path.read_text()


def test_resident_memory_is_read():
    before = leak.resident()
    # Larger than any block that an allocator keeps after it was given back.
    held = bytearray(b"x") * (300 * 10**6)
    assert leak.resident() - before > 10**8
    assert len(held)


def test_a_loss_of_memory_is_seen(monkeypatch):
    """A data set that keeps a megabyte of every clip; the memory is counted, since a process may reuse what it has."""

    class Leaking:
        kept = 0

        def __len__(self):
            return 4

        def __getitem__(self, key):
            self.kept += 10**6

    data = Leaking()
    monkeypatch.setattr(leak, "resident", lambda: 50 * 10**6 + data.kept)
    found = leak.measure(data, seed=0, loads=100, every=50)
    assert [(row["loads"], row["resident_mb"]) for row in found["rows"]] == [(10, 60.0), (50, 100.0), (100, 150.0)]
    assert (found["growth_mb"], found["growth_from"], found["bad"]) == (90.0, 10, 0)


def test_any_data_set_can_be_loaded(bench, tiny):
    ended = bench(leak, "--config", tiny, "--loads", 42)
    assert ended.code == 0, ended.err
    assert "21 clips, 42 loads" in ended.out
    # Five bad files, in two epochs.
    assert "; 10 of the loads met" in ended.out
