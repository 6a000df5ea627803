"""taggnn.evaluation.results: figures of a split, intervals and groups; and their lines on the screen."""

import json
import os
from dataclasses import replace

import pytest
import torch

from taggnn.evaluation.intervals import answers, interval, resample, wilson
from taggnn.evaluation.longtail import masks
from taggnn.evaluation.metrics import METRICS, summarise
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.results import Results
from taggnn.reporting.console import figure_lines, summary_lines

CLASSES = list("abcdefg")
COUNTS = [300, 101, 100, 20, 19, 1, 0]


@pytest.fixture
def said():
    draw = torch.Generator().manual_seed(3)
    # Of class f, and of class g, no clip is measured.
    labels = torch.randint(5, (90,), generator=draw)
    scores = torch.randn(90, 7, generator=draw)
    scores[torch.arange(90), labels] += 2
    names = [f"clip {n}" for n in range(90)]
    return Predictions(names, names, labels, scores.softmax(1), CLASSES)


def test_intervals_and_groups_are_those_of_the_resamples(said):
    scores = summarise(said.probabilities, said.labels)
    results = Results.from_predictions("val", said, training_counts=COUNTS, resamples=300, seed=2)
    found = json.loads(json.dumps(results.to_json()))
    assert found["scores"]["val"] == scores.as_dict()
    assert found["training_counts"] == dict(zip(CLASSES, COUNTS, strict=True))
    drawn = resample([answers(said.probabilities, said.labels)], masks(COUNTS), 300, 2)[0]
    ends = found["intervals"]["val"]
    assert (ends.pop("level"), ends.pop("resamples"), ends.pop("seed")) == (0.95, 300, 2)
    assert list(ends) == [name for name, row in METRICS.items() if row.interval]
    assert all(ends[key] == list(interval(drawn[key])) for key in ("top5", "mca", "macro_f1"))
    assert ends["top1"] == list(wilson(scores.top1, 90))
    assert all(low <= getattr(scores, key) <= high for key, (low, high) in ends.items())
    rows = {row["name"]: row for row in found["groups"]["val"]}
    assert [(row["classes"], row["classes_counted"]) for row in rows.values()] == [(2, 2), (2, 2), (3, 1)]
    assert all(row["interval"] == list(interval(drawn[f"mca {name}"])) for name, row in rows.items())
    assert sum(row["clips"] for row in rows.values()) == 90


def test_groups_of_an_earlier_version_are_left_out(tmp_path):
    counts = {"classes": 3, "classes_counted": 2, "clips": 9, "training_clips": 5, "mca": 0.5}
    for name, kept in (("few", True), ("tail", False)):
        row = {"name": name, **counts}
        Results(title="x", groups={"test": [row]}).write(tmp_path)
        found = Results.read(tmp_path)
        assert (found.title, found.groups) == ("x", {"test": [row]} if kept else None)


def test_names_of_files_outside_utf8_come_back_from_valid_utf8(tmp_path):
    name = os.fsdecode(b"Gl\xfcck")
    path = Results(title=name, training_counts={name: 3}, unmeasured={"test": [name]}).write(tmp_path)
    content = path.read_bytes().decode("utf-8")
    assert "Gl\\udcfcck" in content
    found = Results.read(tmp_path)
    assert found.counts_of([name]) == [3]
    assert os.fsencode(found.title) == b"Gl\xfcck"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not readable as JSON"),
        (b"[" * 10**5, "not readable as JSON"),
        (b'{"scores": {"test": []}}', r"scores\.test: expected keys and values"),
        (b'{"scores": {"test": {"top1": 7}}}', r"scores\.test\.top1: 7 is not from 0 to 1"),
        (b'{"scores": {"test": {"top1": 0.5, "measured": null}}}', r"scores\.test\.measured: expected a whole number"),
        (b'{"intervals": {"test": {"level": 0.9, "resamples": 9, "seed": 0, "mca": 1}}}', r"intervals\.test\.mca"),
        (b'{"groups": 5}', "groups: expected keys and values, got 5"),
        (b'{"groups": {"test": 5}}', r"groups\.test: expected a list, got 5"),
        (b'{"best_epoch": 1000000000000}', "best_epoch: 10+ is not from 0"),
        (b'{"notes": "abc"}', "notes: expected a list, got 'abc'"),
        (b'{"paired": [{"name": "a"}]}', r"paired\[0\]: no against in it"),
        (b'{"durations": {"test": []}}', r"durations\.test: expected a number, got a list of 0"),
        (b'{"graph_effect": {"top1_with": 0.5}}', "graph_effect: no top1_without in it"),
        (b'{"environment": {"command": 3}}', r"environment\.command"),
        (b'{"title": NaN, "model": []}', "model: expected keys and values"),
    ],
)
def test_a_field_of_another_kind_is_named(content, message, tmp_path):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"results\.json[,:] {message}"):
        Results.read(tmp_path)


def test_without_training_counts_there_are_no_groups(said):
    found = Results.from_predictions("test", said, resamples=20).to_json()
    assert sorted(found) == ["intervals", "scores"]


def test_training_counts_are_found_by_the_names_of_the_classes():
    assert Results(training_counts={"b": 2, "a": 1}).counts_of(["a", "b"]) == [1, 2]
    assert Results(training_counts={"b": 2}).counts_of(["a", "b"]) is None
    assert Results().counts_of(["a"]) is None


def test_the_screen_says_every_figure_with_its_interval(said):
    found = Results.from_predictions("test", said, training_counts=COUNTS, resamples=300).to_json()
    lines = "\n".join(figure_lines(found, "test"))
    scores, ends = found["scores"]["test"], found["intervals"]["test"]
    # Every clip has its class among the best five: an interval without width is left out.
    assert "top-5     100.00 %\n" in lines
    for key, name in (("mca", "MCA     "), ("macro_f1", "macro F1"), ("ece", "ECE     ")):
        low, high = (100 * end for end in ends[key])
        assert f"{name}  {100 * scores[key]:.2f} %   ({low:.1f} to {high:.1f} %)" in lines
    few = found["groups"]["test"][2]
    assert f"few       {100 * few['mca']:.2f} %" in lines
    assert f"MCA over 1 of 3 classes of fewer than 20 training clips, {few['clips']} clips measured" in lines
    assert "300 bootstrap resamples" in lines
    short = "\n".join(summary_lines(found, "test"))
    low, high = (100 * end for end in ends["mca"])
    assert f"mean class accuracy {low:.1f} to {high:.1f} %" in short
    assert f"few-shot {100 * few['mca']:.1f} % (3 classes)" in short


def test_the_screen_says_what_an_older_run_has_and_no_more(said):
    scores = summarise(said.probabilities, said.labels).as_dict()
    scores |= {name: None for name, row in METRICS.items() if not row.headline}
    lines = figure_lines({"scores": {"test": scores}}, "test")
    assert [line.split()[0] for line in lines] == ["top-1", "top-5", "MCA"]
    assert len(summary_lines({"scores": {"test": scores}}, "test")) == 1


def test_where_every_clip_is_right_no_interval_without_width_is_printed(said):
    right = torch.nn.functional.one_hot(said.labels, len(said.classes)).float()
    found = Results.from_predictions("test", replace(said, probabilities=right), resamples=20).to_json()
    assert found["intervals"]["test"]["mca"] == [1.0, 1.0]
    assert "100.0 to 100.0 %" not in "\n".join([*summary_lines(found, "test"), *figure_lines(found, "test")])


def test_a_group_of_which_nothing_was_measured_says_so(said):
    for counts, line in (
        ([50] * 4 + [1, 50, 50], "over 1 class of fewer"),
        ([50] * 5 + [1, 1], "none of its 2 classes"),
    ):
        found = Results.from_predictions("test", said, training_counts=counts, resamples=20).to_json()
        assert line in "\n".join(figure_lines(found, "test"))
