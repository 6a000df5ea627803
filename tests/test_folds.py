"""The program of folds, and a sweep over them: folders, words and pooled predictions."""

import csv

import pytest
import torch

from taggnn import folds
from taggnn.cli import planning, sweep_options, sweeping
from taggnn.evaluation.predictions import Predictions
from tests.cli.sweeps import finish


@pytest.fixture
def written(tmp_path, capsys):
    rows = [
        f"{word}/{who}{index}.mp4,{word},{label},{who}"
        for label, word in enumerate(("go", "stop"))
        for who in "abcd"
        for index in range(3)
    ]
    rows = [row for row in rows if not row.startswith("stop/d")]
    (tmp_path / "all.csv").write_text("path,class,label,speaker\n" + "\n".join(rows) + "\n")
    out = tmp_path / "folds"
    folds.main([str(tmp_path / "all.csv"), "--group", "speaker", "--folds", "4", "--out", str(out)])
    return out, capsys.readouterr().out


def test_lists_table_page_and_warnings_are_written(written):
    out, printed = written
    assert sorted(path.name for path in out.iterdir()) == [*(f"fold-{n}" for n in range(4)), "folds.csv", "folds.html"]
    rows = list(csv.DictReader((out / "folds.csv").open()))
    assert len(rows) == 12
    lacking = [row for row in rows if row["part"] == "test" and row["classes_without_clips"]]
    assert [(row["groups"], row["group_names"], row["classes_without_clips"]) for row in lacking] == [
        ("1", "d", "stop")
    ]
    assert sum("warning" in line and "test" in line for line in printed.splitlines()) == 1
    assert "has no clip of stop" in (out / "folds.html").read_text()


def test_fewer_folds_do_not_leave_those_of_an_earlier_call(written, tmp_path):
    with pytest.raises(ValueError, match="--out"):
        folds.main([str(tmp_path / "all.csv"), "--group", "speaker", "--folds", "2", "--out", str(written[0])])


def test_a_sweep_pools_its_folds(written, tmp_path):
    out, _ = written
    path = tmp_path / "mine.yaml"
    path.write_text(f"data: {{root: {tmp_path}}}\ntrain: {{epochs: 3}}\n")
    given = sweep_options.folds_of(str(out))
    planned = planning.plan(
        str(path), {"tag.conv": ["gcn", "gat"]}, [0, 1], ["--backbone.weights={fold}.pt"], tmp_path / "o", given
    )
    assert len(planned) == 2 * 2 * 4
    assert [(one.seed, one.folder.name) for one in planned[::2]][:5] == [
        *((0, f"fold-{n}-seed-0") for n in range(4)),
        (1, "fold-0-seed-1"),
    ]
    assert planned[2].settings.data.fold == str(out / "fold-1")
    assert planned[2].settings.backbone.weights == "fold-1.pt"
    clips = {
        fold: [f"{word}/{who}{n}.mp4" for word in ("go", "stop") for n in range(3)]
        for fold, who in zip(given, _tested(out), strict=True)
    }
    for number, one in enumerate(planned[:-1]):
        names = clips[one.fold]
        right = torch.rand(len(names), generator=torch.Generator().manual_seed(number)) < 0.7
        labels = torch.tensor([0] * 3 + [1] * 3)
        shares = torch.where(right[:, None] == torch.nn.functional.one_hot(labels, 2).bool(), 0.9, 0.1)
        finish(one, Predictions(names, names, labels, shares, ["go", "stop"]))
    found = sweeping.table(planned)
    assert [(row.seeds, row.clips) for row in found.found.rows] == [([0, 1], 24), ([0], 24)]
    assert (found.folds, found.runs, found.finished) == (4, 16, 12)
    assert any("3 of its 4 folds" in note for note in found.left_out)


def _tested(out):
    rows = csv.DictReader((out / "folds.csv").open())
    return [row["group_names"] for row in rows if row["part"] == "test"]


def test_a_sweep_gives_each_run_its_fold(tmp_path):
    with pytest.raises(ValueError, match="--folds"):
        planning.plan(None, {"data.fold": ["a", "b"]}, [0], [], tmp_path)
    with pytest.raises(FileNotFoundError, match="--folds"):
        sweep_options.folds_of(str(tmp_path))
    with pytest.raises(ValueError, match="same name"):
        planning.plan("demo", {}, [0], [], tmp_path, ["a/fold-0", "b/fold-0"])
