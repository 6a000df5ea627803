"""``python -m taggnn.ablate`` on a trained run."""

import csv
import json
from pathlib import Path

import pytest

import taggnn.ablate
from taggnn.cli import ablation_training, sweeping
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


def test_retrain_trains_each_change_of_edges_and_encoder(trained, program, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(sweeping, "run_all", lambda runs, jobs: started.extend(runs))
    monkeypatch.setattr(ablation_training.sweeping, "table", lambda runs: runs)
    for form in ("text", "as_csv"):
        monkeypatch.setattr(ablation_training.sweep_table, form, lambda runs: f"{len(runs)} runs\n")
    monkeypatch.setattr(ablation_training, "sweep_page", lambda runs: "page")
    words = ["--checkpoint", trained[0], "--draws", 1, "--out", tmp_path, "--retrain", "true", "--seeds", "1,5"]
    ended = program(taggnn.ablate, *words)
    assert ended.code == 0, ended.err
    assert "12 runs" in ended.out
    assert {run.seed for run in started} == {1, 5}
    values = [tuple(run.values.values()) for run in started if run.seed == 1]
    assert values == [
        ("clique+chain", "1"),
        ("none", "1"),
        ("clique", "1"),
        ("chain", "1"),
        ("rewired(of=clique+chain, seed=0)", "1"),
        ("clique+chain", "0"),
    ]
    assert all(set(run.values) == {"tag.topology", "tag.encoder_layers"} for run in started)
    assert sweeping.read(tmp_path / "retrained")["seeds"] == [1, 5]


def test_retrain_of_a_head_without_edges_is_refused_before_anything_is_measured(trained, program, tmp_path):
    words = ["--checkpoint", trained[0] / "compare" / "pool", "--out", tmp_path / "out", "--retrain", "true"]
    ended = program(taggnn.ablate, *words)
    assert ended.code != 0
    assert "--retrain" in ended.err
    assert not (tmp_path / "out" / "ablation.json").exists()
