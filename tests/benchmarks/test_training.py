"""A training step against the authors': equal first, ratios that can be computed again, what is not possible is said."""

import json

import pytest
import torch

from benchmarks import readme, training
from benchmarks.head import AUTHORS, OURS
from benchmarks.training import COMPILED, EAGER, HEAD, STEP

TINY = ["--device", "cpu", "--backbone", "small", "--frames", 2, "--size", 16, "--batch_size", 2, "--threads", 1]


@pytest.fixture(scope="module")
def ended(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("training") / "try.json"
    words = [*TINY, "--modes", "eager", "--iters", 1, "--out", path]
    return bench(training, *words), json.loads(path.read_text())


def test_the_file_holds_the_settings_and_readme_a_line_for_each_precision(ended):
    done, written = ended
    assert done.code == 0, done.err
    assert len(training.sentences(written["rows"])) == 2
    assert [line.split(" |")[0] for line in readme.training(written)[1].splitlines()[2:]] == [
        "| float32",
        "| bfloat16 mixed",
    ]
    assert written["kind"] == "training"
    assert written["left_out"] == []
    assert {key: written["settings"][key] for key in ("recipe", "backbone", "clip", "batch", "optimiser")} == {
        "recipe": "gym99", "backbone": "small", "clip": [2, 16, 16], "batch": 2, "optimiser": "adam",
    }  # fmt: skip


def test_step_and_head_of_both_in_both_precisions(ended):
    rows = ended[1]["rows"]
    found = [(row["precision"], row["mode"], row["part"], row["by"]) for row in rows]
    assert sorted(found) == sorted(
        (precision, EAGER, part, by)
        for precision in ("32-true", "bf16-mixed")
        for part in (STEP, HEAD)
        for by in (OURS, AUTHORS)
    )
    # Weights and Adam's two moments, four bytes each, and what else the backbone keeps.
    weights = {row["held_bytes"] for row in rows}
    assert len(weights) == 1
    assert weights.pop() > 3 * 4 * 4_000_000


def test_ratios_follow_from_the_rows(ended):
    rows = [row for row in ended[1]["rows"] if row["precision"] == "bf16-mixed"]
    named = {(row["part"], row["by"]): row for row in rows}
    ours, theirs = named[HEAD, OURS], named[HEAD, AUTHORS]
    assert ours["faster_than_authors"] == pytest.approx(theirs["median_ms"] / ours["median_ms"])
    assert ours["memory_of_authors"] == pytest.approx(ours["peak_bytes"] / theirs["peak_bytes"])
    assert theirs["faster_than_authors"] is None
    for by in (OURS, AUTHORS):
        step, head = named[STEP, by], named[HEAD, by]
        assert head["share_of_step"] == pytest.approx(head["median_ms"] / step["median_ms"])
        assert step["clips_per_s"] == pytest.approx(2e3 / step["median_ms"])


@pytest.fixture(scope="module")
def step():
    given = training.parser().parse_args(list(map(str, TINY)))
    sizes, settings = training.read(given)
    return training.step_of(settings, sizes, torch.device("cpu"), 0, EAGER)


def measured(step, mode=EAGER):
    return training.measure(lambda _: step, "32-true", mode, torch.device("cpu"), 2, 1.0, 1)


def test_a_step_trains_backbone_and_head_alike(step):
    before = {name: value.clone() for name, value in step.model.named_parameters()}
    step.model.train()
    for by in (OURS, AUTHORS):
        step.calls(torch.enable_grad)[STEP, by]()
        moved = [name for name, value in step.model.named_parameters() if not torch.equal(value, before[name])]
        assert set(moved) == set(before)
        before = {name: value.clone() for name, value in step.model.named_parameters()}


def test_the_head_part_leaves_the_weights_alone(step):
    before = {name: value.clone() for name, value in step.model.named_parameters()}
    for by in (OURS, AUTHORS):
        step.calls(torch.enable_grad)[HEAD, by]()
    assert all(torch.equal(value, before[name]) for name, value in step.model.named_parameters())
    assert all(value.grad is None for value in step.model.parameters())


def test_unequal_heads_have_no_row_and_the_program_fails(bench, step, monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.authors.AuthorsHead.propagate", lambda self, x: x)
    monkeypatch.setattr(training, "step_of", lambda *_: step)
    words = [*TINY, "--precisions", "32-true", "--modes", "eager", "--out", tmp_path / "x.json"]
    done = bench(training, *words)
    assert done.code == 1
    assert "32-true eager, both: no row (unequal: " in done.out
    assert json.loads((tmp_path / "x.json").read_text())["rows"] == []


def test_what_is_not_possible_is_said(step, monkeypatch):
    def refused(_):
        raise ValueError("torch.compile does not work here")

    rows, (left,) = training.measure(refused, "bf16-mixed", COMPILED, torch.device("cpu"), 2, 1.0, 1)
    assert rows == []
    assert "torch.compile does not work here" in training.note_of(left)


def test_a_formulation_that_does_not_compile_leaves_the_other_its_rows(step, monkeypatch):
    def broken(*_):
        raise NotImplementedError("graph break\nand more")

    monkeypatch.setattr(step.theirs, "forward", broken)
    rows, (left,) = measured(step, COMPILED)
    assert {row["by"] for row in rows} == {OURS}
    assert all(row["faster_than_authors"] is None for row in rows)
    assert left["reason"] == "NotImplementedError: graph break"
    assert training.sentences(rows) == []


def test_too_little_memory_is_said(step, monkeypatch):
    def short(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(step.theirs, "forward", short)
    rows, (left,) = measured(step, COMPILED)
    assert (rows, left["why"]) == ([], "memory")
