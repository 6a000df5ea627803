"""``python -m taggnn.ablate`` on a trained run."""

import csv
import json
from pathlib import Path

import pytest

import taggnn.ablate
from taggnn.evaluation.ablation import INTERVENTIONS
from taggnn.evaluation.ablation.effects import MEANING


@pytest.fixture(scope="module")
def ablated(trained, program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    return folder, program(taggnn.ablate, "--checkpoint", trained[0], "--draws", 2, "--out", folder)


def test_of_a_runs_own_clips(ablated, trained):
    folder, ended = ablated
    assert ended.code == 0, ended.err
    found = json.loads((folder / "ablation.json").read_text())
    results = json.loads((trained[0] / "results.json").read_text())
    assert found["intact"]["top1"] == pytest.approx(results["scores"]["test"]["top1"])
    assert (found["clips"], found["skipped"]) == (8, 5)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == list(INTERVENTIONS)
    # The same as what every report has of the weights without their edges.
    effect = results["graph_effect"]
    assert rows["no_edges"]["top1"] == pytest.approx(effect["top1_without"])
    assert rows["no_edges"]["changed"] == pytest.approx(effect["changed"])
    assert rows["no_edges"]["relative"] == pytest.approx(effect["relative_logits"], rel=1e-3)
    assert "not_applicable" in rows["joints_shuffled"]
    assert found["meaning"] == MEANING
    assert MEANING in ended.out


def test_tables_and_page(ablated):
    folder, _ = ablated
    with (folder / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["intervention"] for row in rows] == ["as_trained", *INTERVENTIONS]
    assert all(bool(row["top1"]) != bool(row["not_applicable"]) for row in rows)
    with (folder / "classes.csv").open(newline="") as file:
        classes = [row for row in csv.DictReader(file) if row["intervention"] == "no_edges"]
    assert sum(int(row["clips"]) for row in classes) == 8
    page = (folder / "ablation.html").read_text()
    assert "<svg" in page
    assert all(row.title in page for row in INTERVENTIONS.values())


def test_of_other_clips_and_of_a_compared_head(trained, videos, program, tmp_path):
    words = ["--checkpoint", trained[0] / "compare" / "pool", "--rows", "no_edges", "one_frame", "--out", tmp_path]
    ended = program(taggnn.ablate, *words, "--data.root", videos, "--split", "val", "--data.workers", 0)
    assert ended.code == 0, ended.err
    rows = {row["name"]: row for row in json.loads((tmp_path / "ablation.json").read_text())["rows"]}
    assert list(rows) == ["no_edges", "one_frame"]
    assert rows["no_edges"]["not_applicable"]
    assert rows["one_frame"]["draws"] == 1


def test_a_checkpoint_without_its_run_needs_clips(trained, program, tmp_path):
    copied = Path(tmp_path / "best.ckpt")
    copied.write_bytes((trained[0] / "best.ckpt").read_bytes())
    ended = program(taggnn.ablate, "--checkpoint", copied, "--out", tmp_path / "out")
    assert ended.code != 0
    assert "--data.root" in ended.err
    assert not (tmp_path / "out").exists()
