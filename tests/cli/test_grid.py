"""Sweeps from Python: values as Python has them, and mistakes found before anything is trained; the notebook trains one."""

import pytest
from torch import nn
from torch_geometric.nn import GCNConv

import taggnn
from taggnn.cli import grid as sweeps
from taggnn.cli import sweeping


class Main(nn.Module):
    """As if a notebook had defined it."""


Main.__module__ = "__main__"


@pytest.fixture
def untrained(monkeypatch):
    """Replaces the trainings by nothing; returns what would have been trained."""
    wanted = []
    monkeypatch.setattr(sweeping, "run_all", lambda planned, jobs, report: wanted.append((planned, jobs)))
    monkeypatch.setattr(sweeps, "check", lambda left: None)
    return wanted


def test_values_are_those_of_the_command_line(untrained, tmp_path):
    over = {
        "tag.conv": ["gat", GCNConv],
        "tag.topology,tag.reach": [("clique", 1), ("clique+chain", 2)],
        "tag.dim": [None, 64],
    }
    sweep = taggnn.grid("folder", over, [7, 3], {"data.root": tmp_path}, out=tmp_path / "out", jobs=2, quiet=True)
    ((planned, jobs),) = untrained
    assert jobs == 2
    assert len(planned) == len(sweep.runs) * 2 == 16
    assert [one.seed for one in planned[::8]] == [7, 3]
    last = planned[-1]
    assert last.values == {
        "tag.conv": "torch_geometric.nn.conv.gcn_conv.GCNConv",
        "tag.topology": "clique+chain",
        "tag.reach": "2",
        "tag.dim": "64",
    }
    assert last.settings.tag.reach == 2
    assert planned[0].settings.tag.dim is None
    assert sweep.table.finished == 0
    assert all(not runs for runs in sweep.runs.values())
    assert (tmp_path / "out" / "sweep.html").is_file()
    assert str(sweep)


@pytest.mark.parametrize(
    ("over", "key"),
    [
        ({"tag.cnov": ["gat"]}, "tag.cnov"),
        ({"tag.reach": [1, 1]}, "tag.reach"),
        ({"tag.conv": [nn.Linear(1, 1)]}, "tag.conv"),
        ({"seed": [1, 2]}, "seed"),
    ],
    ids=["unknown", "twice", "module", "seed"],
)
def test_a_mistake_is_found_before_anything_is_trained(over, key, untrained, tmp_path):
    with pytest.raises(ValueError, match=key):
        taggnn.grid("folder", over, options={"data.root": tmp_path}, out=tmp_path / "out")
    assert not untrained
    assert not (tmp_path / "out").exists()


def test_a_class_of_the_notebook_is_refused(untrained, tmp_path, monkeypatch):
    import __main__

    monkeypatch.setattr(__main__, "Main", Main, raising=False)
    with pytest.raises(ValueError, match="__main__"):
        taggnn.grid("folder", {"tag.conv": [Main]}, options={"data.root": tmp_path}, out=tmp_path / "out")
