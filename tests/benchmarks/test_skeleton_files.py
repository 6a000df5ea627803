"""The benchmark of skeleton files, on two."""

import numpy as np
import pytest

from benchmarks import skeleton_files
from taggnn.data.skeleton.formats import ntu


def test_every_way_is_measured(tmp_path, capsys):
    skeleton_files.main(["--files", "2", "--passes", "1"])
    out = capsys.readouterr().out
    assert all(way in out for way in ("bytes, in memory", "ours, persons", "split lines"))


def test_no_time_without_equality(tmp_path, monkeypatch):
    monkeypatch.setattr(skeleton_files, "split_lines", lambda content: ntu.parse(content).joints + np.float32(1e-6))
    with pytest.raises(SystemExit, match="differ"):
        skeleton_files.measure(tmp_path, 1, 1)
