"""taggnn.report --against: another run in the report of a run."""

import json
import shutil

import pytest
import torch

import taggnn.report
from taggnn.evaluation.predictions import Predictions, write_predictions
from taggnn.evaluation.results import Results
from taggnn.evaluation.significance import mcnemar

CLASSES = ["carry", "drop", "<i>throw</i>"]


def run(folder, seed, better, plug, clips=60, split="test"):
    labels = torch.randint(3, (clips,), generator=torch.Generator().manual_seed(0))
    scores = torch.randn(clips, 3, generator=torch.Generator().manual_seed(seed))
    scores[torch.arange(clips), labels] += better
    names = [f"clip {number}" for number in range(clips)]
    given = Predictions(names, names, labels, scores.softmax(1), CLASSES)
    write_predictions(folder / "predictions.csv", given)
    Results.from_predictions(split, given, resamples=20, title="nw_ucla: pool").write(folder)
    (folder / "config.yaml").write_text(f"backbone: {{plug: {plug}}}\n")
    return folder, given


@pytest.fixture
def two(tmp_path):
    return run(tmp_path / "bare", 1, 0.5, "null"), run(tmp_path / "with", 2, 2.0, "sf")


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_report_has_the_other_run_and_the_most_confused_pairs(two, program):
    (bare, first), (plugged, second) = two
    ended = program(taggnn.report, plugged, "--against", bare)
    assert ended.code == 0, ended.err
    found = results_of(plugged)
    (row,) = found["paired"]
    one, other = ((given.probabilities.argmax(1) == given.labels) for given in (second, first))
    assert (row["name"], row["against"]) == ("nw_ucla: pool; plug=sf", "nw_ucla: pool; plug=null")
    assert (row["only_name"], row["only_against"]) == (int((one & ~other).sum()), int((other & ~one).sum()))
    assert row["p"] == row["p_holm"] == mcnemar(row["only_name"], row["only_against"]).p
    assert [each["chosen"] for each in found["comparison"]] == [True, False]
    assert found["comparison"][1]["top1"] == pytest.approx(other.double().mean().item())
    # Of the bare one first.
    assert sum(pair["first"] for pair in row["confused"]) == int((~other).sum())
    page = (plugged / "report.html").read_text()
    assert "Most confused pairs of classes" in page
    assert "&lt;i&gt;throw" in page
    assert "under other heads" not in page
    assert ">Source<" not in page
    # Twice changes nothing, and the report alone keeps it.
    program(taggnn.report, plugged, "--against", bare)
    assert results_of(plugged) == found
    assert program(taggnn.report, plugged).code == 0
    assert (plugged / "report.html").read_text() == page


def test_several_runs_are_corrected_together(two, program, tmp_path):
    third, _ = run(tmp_path / "third", 3, 1.0, "other")
    plugged = two[1][0]
    assert program(taggnn.report, plugged, "--against", two[0][0]).code == 0
    assert program(taggnn.report, plugged, "--against", third).code == 0
    rows = results_of(plugged)["paired"]
    assert len(rows) == 2
    assert min(row["p_holm"] for row in rows) == pytest.approx(min(1, 2 * min(row["p"] for row in rows)))


def test_a_runs_own_heads_stay(trained, program, tmp_path):

    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    before = results_of(folder)
    assert program(taggnn.report, folder, "--against", trained[0] / "compare" / "pool").code == 0
    after = results_of(folder)
    assert after["comparison"][: len(before["comparison"])] == before["comparison"]
    assert len(after["paired"]) == len(before["paired"]) + 1


@pytest.mark.parametrize(
    ("other", "message"),
    [("{run}", "the run itself"), ("nowhere", "nowhere: no such file"), ("{val}", "is about the split")],
)
def test_what_cannot_be_compared_is_named(other, message, two, program, tmp_path):
    val, _ = run(tmp_path / "val", 3, 1.0, "null", split="val")
    plugged = two[1][0]
    before = results_of(plugged)
    ended = program(taggnn.report, plugged, "--against", other.format(run=plugged, val=val))
    assert ended.code == 2
    assert message in ended.err
    assert results_of(plugged) == before
