"""One row of METRICS is all that a further figure needs: results.json, screen, report, intervals and comparison have it."""

import copy
import json
import pickle

import pytest
import torch

import taggnn.compare
from taggnn.cli.rescoring import rescored
from taggnn.evaluation import metrics
from taggnn.evaluation.intervals import answers, resample, wilson
from taggnn.evaluation.metrics import METRICS, Metric, Scores, logged, summarise
from taggnn.evaluation.predictions import Predictions, write_predictions
from taggnn.evaluation.results import Results
from taggnn.reporting.console import figure_lines, summary_lines
from taggnn.reporting.run_page import write_report

CLASSES = list("abcdefg")


def predicted(seed=3, better=2.0, clips=90):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (clips,), generator=torch.Generator().manual_seed(1))
    scores = torch.randn(clips, 7, generator=draw)
    scores[torch.arange(clips), labels] += better
    names = [f"clip {n}" for n in range(clips)]
    return Predictions(names, names, labels, scores.softmax(1), CLASSES)


def log_loss(scores, labels):
    return -scores.double().gather(1, labels[:, None]).log().squeeze(1)


def top3(scores, labels):
    return metrics.in_top_k(scores, labels, 3)


def worst_recall(scores, labels):
    rows = metrics.per_class(metrics.confusion_matrix(scores, labels))
    return min(row.recall for row in rows if row.support)


@pytest.fixture
def three(monkeypatch):
    """A mean over clips that is no share, a share of clips, and a figure that is no mean."""
    rows = {
        "nll": Metric("log loss", "of the true class", log_loss, larger_is_better=False, share=False, decimals=3),
        "top3": Metric("top-3", "among the best three", top3, interval="wilson"),
        "worst": Metric("worst class", "lowest recall", worst_recall, each_epoch=False),
    }
    for name, row in rows.items():
        monkeypatch.setitem(METRICS, name, row)
    return rows


def test_scores_results_and_intervals_have_the_row(three):
    given = predicted()
    scores = summarise(given.probabilities, given.labels)
    expected = log_loss(given.probabilities, given.labels).mean().item()
    assert scores.nll == pytest.approx(expected)
    assert scores.worst == worst_recall(given.probabilities, given.labels)
    plain = json.loads(json.dumps(Results.from_predictions("test", given, resamples=40, seed=2).to_json()))
    assert plain["scores"]["test"]["nll"] == scores.nll
    assert Scores.read(plain["scores"]["test"]) == scores
    # The accuracies first, as in every results.json so far.
    assert list(plain["scores"]["test"])[:4] == ["top1", "top5", "mca", "classes_counted"]
    assert list(plain["scores"]["test"])[-3:] == list(three)
    ends = plain["intervals"]["test"]
    assert list(ends)[: len(METRICS)] == list(METRICS)
    assert ends["top3"] == list(wilson(scores.top3, 90))
    assert ends["nll"][0] < scores.nll < ends["nll"][1]
    assert ends["worst"][0] <= scores.worst <= ends["worst"][1]


def test_resamples_of_a_further_figure_are_those_of_its_own_clips(three, monkeypatch):
    drawn, weigh = [], taggnn.evaluation.intervals._weights
    monkeypatch.setattr(
        taggnn.evaluation.intervals, "_weights", lambda *given: drawn.append(weigh(*given)) or drawn[-1]
    )
    given = predicted()
    found = resample([answers(given.probabilities, given.labels)], resamples=12)[0]
    for number, weights in enumerate(torch.cat(drawn, dim=1).T):
        chosen = torch.arange(90).repeat_interleave(weights.long())
        again = summarise(given.probabilities[chosen], given.labels[chosen])
        for name in METRICS:
            assert found[name][number].item() == pytest.approx(again.figures[name], abs=1e-9), name


def test_existing_figures_do_not_move_when_a_row_is_added(monkeypatch):
    given = predicted()
    before = Results.from_predictions("test", given, resamples=50).to_json()
    monkeypatch.setitem(METRICS, "nll", Metric("log loss", "of the true class", log_loss, share=False))
    after = Results.from_predictions("test", given, resamples=50).to_json()
    assert {name: after["intervals"]["test"][name] for name in before["intervals"]["test"]} == before["intervals"][
        "test"
    ]
    assert {name: after["scores"]["test"][name] for name in before["scores"]["test"]} == before["scores"]["test"]


def test_screen_and_report_have_the_row(three, tmp_path):
    given = predicted()
    results = Results.from_predictions("test", given, resamples=40).to_json()
    scores, ends = results["scores"]["test"], results["intervals"]["test"]
    lines = figure_lines(results, "test")
    shown = f"{ends['nll'][0]:.2f} to {ends['nll'][1]:.2f}"
    assert f"log loss  {scores['nll']:.3f}   ({shown})   of the true class" in lines
    assert any(line.startswith("top-3 ") and line.endswith("among the best three") for line in lines)
    assert f"log loss {scores['nll']:.2f} ({shown})" in "\n".join(summary_lines(results, "test"))
    write_predictions(tmp_path / "predictions.csv", given)
    Results(**{**results, "scores": {"val": scores, "test": scores}}).write(tmp_path)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    # A tile, and a column of the table of splits.
    assert page.count(f"{scores['nll']:.3f}") == 3
    assert page.count("Log loss") == 2
    assert "lowest recall" in page
    assert rescored(given, tmp_path / "predictions.csv")[0].scores["test"]["nll"] == scores["nll"]


def test_a_figure_whose_row_is_gone_is_kept(tmp_path):
    given = predicted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "nll", Metric("log loss", "of the true class", log_loss, share=False))
        results = Results.from_predictions("test", given, resamples=20).to_json()
    write_predictions(tmp_path / "predictions.csv", given)
    Results(**results).write(tmp_path)
    write_report(tmp_path)
    scores = Scores.read(Results.read(tmp_path).scores["test"])
    assert scores.as_dict()["nll"] == results["scores"]["test"]["nll"]


def test_two_models_are_compared_in_it(three, program, tmp_path):
    for name, given in (("a", predicted()), ("b", predicted(4, 1.0))):
        write_predictions(tmp_path / name / "predictions.csv", given)
    words = [tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", "--resamples", 30]
    ended = program(taggnn.compare, *words)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    compared = [name for name, metric in METRICS.items() if metric.compared]
    assert list(found["pairs"][0]["differences"]) == compared
    assert "top5" not in compared
    models, row = found["models"], found["pairs"][0]["differences"]["nll"]
    assert row["value"] == pytest.approx(models[1]["scores"]["nll"] - models[0]["scores"]["nll"])
    assert row["low"] < row["value"] < row["high"]
    assert f"{row['value']:+7.3f} ({row['low']:+.3f} to {row['high']:+.3f})" in ended.out
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "and the log loss lower is better" in page
    assert f"Log loss: {row['value']:+.3f}" in page
    assert ">worst class</text>" in page


def test_every_row_can_be_monitored(three):
    assert metrics.monitors() == [*(f"val/{name}" for name in METRICS), "val/loss"]
    assert metrics.larger_is_better("val/top1")
    assert not metrics.larger_is_better("val/loss")
    assert not metrics.larger_is_better("val/ece")
    assert not metrics.larger_is_better("val/nll")
    with pytest.raises(ValueError, match="val/top2"):
        metrics.larger_is_better("val/top2")
    scores = summarise(predicted().probabilities, predicted().labels)
    assert list(logged(scores)) == [f"val/{name}" for name, row in METRICS.items() if row.each_epoch]
    assert not {"val/worst", "val/ece"} & set(logged(scores))
    assert logged(scores, "val/worst")["val/worst"] == scores.worst


def test_a_row_that_gives_something_else_is_named(monkeypatch):
    monkeypatch.setitem(METRICS, "odd", Metric("odd", "wrong shape", lambda scores, labels: scores))
    with pytest.raises(ValueError, match="metric odd"):
        summarise(predicted().probabilities, predicted().labels)


def test_a_figure_without_a_meaning_or_an_interval_has_none(monkeypatch):
    monkeypatch.setitem(METRICS, "none", Metric("none", "never", lambda scores, labels: None))
    monkeypatch.setitem(METRICS, "bare", Metric("bare", "a constant", lambda scores, labels: 0.25, interval=None))
    given = predicted()
    results = Results.from_predictions("test", given, resamples=20).to_json()
    assert results["scores"]["test"]["none"] is None
    assert results["scores"]["test"]["bare"] == 0.25
    assert not {"none", "bare"} & set(results["intervals"]["test"])
    lines = figure_lines(results, "test")
    assert "bare      25.00 %   a constant" in lines
    assert not any(line.startswith("none ") for line in lines)


def test_scores_are_copied_and_stored_and_know_their_figures():
    scores = summarise(predicted().probabilities, predicted().labels)
    assert copy.deepcopy(scores) == pickle.loads(pickle.dumps(scores)) == scores
    with pytest.raises(AttributeError, match="top9"):
        _ = scores.top9
    older = Scores({"top1": 0.5}, 2, 2, 4, 0, 0, 4)
    assert older.macro_f1 is None


@pytest.mark.parametrize(
    ("change", "message"), [({"mca": "high"}, "mca"), ({"top1": None, "listed": True}, "listed")], ids=["text", "bool"]
)
def test_figures_that_are_no_numbers_are_named(change, message):
    plain = summarise(predicted().probabilities, predicted().labels).as_dict()
    with pytest.raises(ValueError, match=message):
        Scores.read({**plain, **change})
