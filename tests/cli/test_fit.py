"""Training from Python is training from the command line: the same files, the same figures, and mistakes as exceptions."""

import csv
import sys

import pytest
import torch
from torch import nn

import taggnn
from taggnn.runtime.json_file import read


class Doubles(nn.Module):
    """A convolution of this module."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        return self.linear(x)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    return taggnn.fit(tiny, run=tmp_path_factory.mktemp("fit") / "run", quiet=True)


def test_the_run_is_that_of_the_program(run, trained):
    folder, _ = trained
    assert torch.equal(run.predictions().probabilities, taggnn.Run(folder).predictions().probabilities)
    figures = [{key: value for key, value in row.items() if key not in ("seconds", "clips/s")} for row in run.history]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert figures == [{key: float(row[key]) for key in one} for one, row in zip(figures, rows, strict=True)]
    assert len(figures) == 2


def test_a_run_has_what_is_in_its_folder(run):
    assert run.is_finished
    assert run.scores == read(run.folder / "results.json")["scores"]["test"]
    assert set(run.compared) == {"pool"}
    assert run.compared["pool"].scores["top1"] is not None
    assert len(run.skipped()) > 0
    assert run.settings["train"]["epochs"] == 2
    classes = list(run.load().classes)
    assert len(classes) == 8
    assert list(run.predictions("val").classes) == list(run.predictions().classes) == classes


def test_it_is_evaluated_on_its_own_clips_and_on_others(run, tmp_path):
    own = run.evaluate({"out": tmp_path / "test", "data": {"batch_size": 4, "workers": 0}}, quiet=True)
    assert torch.allclose(own.predictions().probabilities, run.predictions().probabilities, atol=1e-6)
    assert own.scores["top1"] == run.scores["top1"]
    root = taggnn.Run(run.folder).settings["data"]["root"]
    val = run.evaluate({"data.root": root, "split": "val", "out": tmp_path / "val", "graph_effect": False}, quiet=True)
    assert list(val.predictions().names) == list(run.predictions("val").names)
    assert val.report().is_file()
    for wrong, key in (({"views": 0}, "views"), ({"split": "all"}, "split"), ({"devices": 2}, "devices")):
        with pytest.raises(ValueError, match=key):
            run.evaluate(wrong)


def test_a_report_is_written_again(run):
    path = run.folder / "report.html"
    before = path.read_bytes()
    path.unlink()
    assert not run.is_finished
    assert run.report() == path
    assert path.read_bytes() == before


def test_it_resumes_and_a_class_is_kept_by_its_path(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, Doubles.__module__, sys.modules[__name__])
    options = {"train.epochs": 1, "compare": [], "tag": {"conv": Doubles}}
    first = taggnn.fit(tiny, options, run=tmp_path / "run", quiet=True)
    assert capsys.readouterr().out == ""
    assert first.settings["tag"]["conv"] == f"{__name__}.Doubles"
    second = taggnn.fit(tiny, {**options, "train.epochs": 2}, run=tmp_path / "run")
    assert [row["epoch"] for row in second.history] == [1, 2]
    assert isinstance(second.load().model.head.propagation[0].conv, Doubles)
    with pytest.raises(ValueError, match="Doubles"):
        taggnn.Run(tmp_path / "run").load()
    with pytest.raises(ValueError, match="seed"):
        taggnn.fit(tiny, {**options, "seed": 1}, run=tmp_path / "run")


@pytest.mark.parametrize(
    ("config", "options", "key"),
    [
        ("dmeo", None, "dmeo"),
        ({"tag.cnov": "gat"}, None, "tag.cnov"),
        ("folder", {"train.epochs": "many"}, "train.epochs"),
        ("folder", {"data.root": "x", "preview": 3}, "preview"),
        ({"seed": 1}, {"seed": 2}, "options"),
    ],
    ids=["recipe", "key", "value", "preview", "options-twice"],
)
def test_a_mistake_is_an_exception_that_names_the_key(config, options, key):
    with pytest.raises(ValueError, match=key):
        taggnn.fit(config, options)


def test_missing_data_are_an_exception(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        taggnn.fit({"data.root": tmp_path / "nowhere"}, quiet=True)


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        taggnn.Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"config\.yaml"):
        taggnn.Run(tmp_path)
    with pytest.raises(ValueError, match="train"):
        run.predictions("train")
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    begun = taggnn.Run(tmp_path)
    assert begun.history == []
    assert not begun.is_finished
    with pytest.raises((ValueError, OSError)):
        _ = begun.scores
