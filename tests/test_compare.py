"""python -m taggnn.compare: the figures of each, their paired differences, the page."""

import json
import re

import pytest
import torch

import taggnn.compare
from taggnn.evaluation.comparison import letter_of
from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.metrics import summarise
from taggnn.evaluation.predictions import Predictions, write_predictions
from taggnn.evaluation.results import Results
from taggnn.evaluation.significance import ONE_RUN_EACH, mcnemar
from taggnn.reporting import compare_page, figures

CLASSES = ["<b>up</b>", "down", "日本", "left", "right", "none of it"]


def folder(place, seed, better=1.0, clips=120, names=None, title=None):
    draw = torch.Generator().manual_seed(5)
    labels = torch.randint(5, (clips,), generator=draw)
    scores = torch.randn(clips, 6, generator=torch.Generator().manual_seed(seed))
    scores[torch.arange(clips), labels] += better
    names = names or [f"clip_{n} & co" for n in range(clips)]
    write_predictions(place / "predictions.csv", Predictions(names, names, labels, scores.softmax(1), CLASSES))
    if title:
        Results(**{"title": title}).write(place)
    return place, scores.softmax(1), labels


@pytest.fixture
def two(tmp_path):
    return folder(tmp_path / "pool", 1, 0.5, title="pool <1>"), folder(tmp_path / "tag", 2, 2.0)


def test_two_folders(two, program, tmp_path):
    (one, first, labels), (other, second, _) = two
    ended = program(taggnn.compare, one, other / "predictions.csv", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    scores = [summarise(shares, labels) for shares in (first, second)]
    assert [model["scores"]["top1"] for model in found["models"]] == [one.top1 for one in scores]
    pair = found["pairs"][0]
    assert pair["differences"]["mca"]["value"] == scores[1].mca - scores[0].mca
    hits = [shares.argmax(1) == labels for shares in (first, second)]
    b, c = int((hits[0] & ~hits[1]).sum()), int((hits[1] & ~hits[0]).sum())
    assert pair["test"] == {"only_first": b, "only_second": c, "p": mcnemar(b, c).p}
    assert pair["p_holm"] == pair["test"]["p"]
    assert pair["both_right"] + pair["both_wrong"] + b + c == 120
    assert sum(row["clips"] for row in pair["classes"]) == 120
    assert "none of it" not in [row["name"] for row in pair["classes"]]
    moved = [row["second"] / row["clips"] - row["first"] / row["clips"] for row in pair["classes"]]
    assert moved == pytest.approx(sorted(moved, reverse=True))
    changes = [row["change"] for row in pair["changed"]]
    assert (changes.count("lost"), changes.count("gained")) == (b, c)
    assert len(changes) == int((first.argmax(1) != second.argmax(1)).sum())
    for line in (
        f"A         {one}   pool <1>",
        "compared  120 clips of 6 classes",
        "top-1               {:.2f} % ({:.1f} to {:.1f} %)".format(
            *(100 * share for share in (scores[0].top1, *wilson(scores[0].top1, 120)))
        ),
        f"  top-1               {100 * (scores[1].top1 - scores[0].top1):+7.2f} points",
        f"only B right {c}, only A right {b}: McNemar p < 0.0001",
        f"B has {c - b} more clips right than A; chance alone would hardly do that.",
        "gained most",
    ):
        assert line in ended.out, line


def test_the_most_confused_pairs_are_counted_for_both(two, program, tmp_path):
    (one, first, labels), (other, second, _) = two
    ended = program(taggnn.compare, one, other, "--out", tmp_path / "out")
    (pair,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["pairs"]
    row = pair["confused"][0]
    ours = {CLASSES.index(row["one"]), CLASSES.index(row["other"])}
    for key, shares in (("first", first), ("second", second)):
        answers = zip(labels.tolist(), shares.argmax(1).tolist(), strict=True)
        assert row[key] == sum({label, answer} == ours for label, answer in answers)
    assert pair["on_confused"]["clips"] <= 120
    assert f"  {row['one']} / {row['other']}: confused {row['first']} -> {row['second']} of {row['clips']}" in ended.out
    content = (tmp_path / "out" / "compare.html").read_text()
    assert "Most confused pairs of classes" in content
    assert "B confuses" in content
    # Of the same model twice nothing differs, and the pairs are shown all the same.
    program(taggnn.compare, one, one, "--out", tmp_path / "same")
    (pair,) = json.loads((tmp_path / "same" / "comparison.json").read_text())["pairs"]
    assert {row["p"] for row in pair["confused"]} == {1.0}


def test_titles_say_what_differs_in_the_configurations(two, program, tmp_path):
    common = "seed: 1\noptim: {lr: 0.1}\ndata: {workers: 3}\n"
    (two[0][0] / "config.yaml").write_text(common + "tag: {conv: gat}\nruns: a\n")
    (two[1][0] / "config.yaml").write_text(common + "tag: {conv: gatv2}\nruns: b\n")
    ended = program(taggnn.compare, two[0][0], two[1][0], "--out", tmp_path / "out")
    assert f"A         {two[0][0]}   pool <1>; conv=gat" in ended.out.splitlines()
    assert ended.out.count("conv=gatv2") == 1
    (two[1][0] / "config.yaml").write_text("[unclosed")
    assert program(taggnn.compare, two[0][0], two[1][0], "--out", tmp_path / "out").code == 0


def test_the_page_says_it_and_asks_for_nothing_from_outside(two, program, tmp_path):
    program(taggnn.compare, two[0][0], two[1][0], "--out", tmp_path)
    content = (tmp_path / "compare.html").read_text()
    for said in (
        "A and B on the same clips",
        "pool &lt;1&gt;",
        "&lt;b&gt;up&lt;/b&gt;",
        "日本",
        "Only B is right",
        "&lt;0.0001",
    ):
        assert said in content, said
    assert "<b>up" not in content
    assert content.count("<svg") == 2
    assert not re.search(r"url\(|@import|https?://|<script", content)
    again = (tmp_path / "compare.html").read_bytes()
    program(taggnn.compare, two[0][0], two[1][0], "--out", tmp_path)
    assert (tmp_path / "compare.html").read_bytes() == again


def test_a_page_has_a_bounded_number_of_classes(two, program, tmp_path, monkeypatch):
    monkeypatch.setattr(compare_page, "ROWS", 4)
    monkeypatch.setattr(compare_page, "BARS", 2)
    monkeypatch.setattr(figures, "NAMES_UP_TO", 1)
    program(taggnn.compare, two[0][0], two[1][0], "--out", tmp_path)
    content = (tmp_path / "compare.html").read_text()
    assert "4 of 5 classes that occur" in content
    assert "2 of 5 classes" in content
    names = [row["name"] for row in json.loads((tmp_path / "comparison.json").read_text())["pairs"][0]["classes"]]
    table = content.split("4 of 5 classes")[1].split("</table>")[0]
    shown = re.findall(r'<tr><td class="t">(.*?)</td>', table)
    assert [name.replace("&lt;", "<").replace("&gt;", ">") for name in shown] == [*names[:2], *names[-2:]]


def test_the_same_model_twice_differs_in_nothing(two, program, tmp_path):
    one = two[0][0]
    ended = program(taggnn.compare, one, one, "--out", tmp_path, "--json")
    pair = json.loads(ended.out)["pairs"][0]
    assert all(row == {"value": 0, "low": 0, "high": 0} for row in pair["differences"].values())
    assert pair["test"] == {"only_first": 0, "only_second": 0, "p": 1.0}
    assert pair["changed"] == []
    assert pair["verdict"] == "A and B have the same clips right."
    assert "Both models predict the same class for every clip" in (tmp_path / "compare.html").read_text()


def test_more_than_two_are_each_compared_with_the_first(two, program, tmp_path):
    third = folder(tmp_path / "third", 3, 0.6)[0]
    ended = program(taggnn.compare, two[0][0], two[1][0], third, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("A", "B"), ("A", "C")]
    p = [pair["test"]["p"] for pair in found["pairs"]]
    assert [pair["p_holm"] for pair in found["pairs"]] == [2 * p[0], max(p[1], 2 * p[0])]
    assert "after Holm, for 2 comparisons" in ended.out
    assert "No difference is shown: of " in ended.out
    assert "C against A" in (tmp_path / "out" / "compare.html").read_text()


def test_files_with_other_clips_are_compared_on_the_common_ones(two, program, tmp_path):
    names = [f"clip_{n} & co" if n < 100 else f"other_{n}" for n in range(120)]
    other = folder(tmp_path / "other", 3, names=names)[0]
    ended = program(taggnn.compare, two[0][0], other, "--out", tmp_path / "out")
    assert "compared  100 clips of 6 classes" in ended.out
    assert f"{other}: 20 of its 120 clips are not in every file and are left out" in ended.out


def test_a_run_and_the_baseline_inside_it(trained, program, tmp_path):
    ended = program(taggnn.compare, trained[0] / "compare" / "pool", trained[0], "--out", tmp_path)
    assert ended.code == 0, ended.err
    assert "compared  8 clips of 8 classes" in ended.out
    assert ": pool on small" in ended.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{one}"], "a comparison needs two runs or more"),
        (["{one}", "{empty}"], "no predictions.csv in it"),
        (["{one}", "{one}/nowhere.csv"], "nowhere.csv: no such file"),
        (["{one}", "x/best.ckpt"], "a model, not its predictions; give its run folder"),
        (["{one}", "x/model.onnx"], "a model, not its predictions; give its run folder"),
        (["{one}", "{one}", "--resamples", "1"], "--resamples 1: an interval needs 2 or more"),
        (["{one}", "{one}", "--seeds", "1"], "unknown option --seeds; did you mean seed"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(words, message, two, program, tmp_path):
    (tmp_path / "empty").mkdir()
    words = [word.format(one=two[0][0], empty=tmp_path / "empty") for word in words]
    ended = program(taggnn.compare, *words, "--out", tmp_path / "out")
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "out").exists()


def test_one_clip_claims_nothing_and_is_told_in_the_singular(program, tmp_path):
    scores = torch.tensor([[0.9, 0.1]])
    for name, shares in (("a", scores), ("b", scores.flip(1))):
        write_predictions(
            tmp_path / name / "predictions.csv", Predictions(["x"], ["x"], torch.tensor([0]), shares, ["k", "l"])
        )
    ended = program(taggnn.compare, tmp_path / "a", tmp_path / "b", "--out", tmp_path)
    assert "compared  1 clip of 2 classes" in ended.out
    assert "1 clip is taken for another class" in ended.out
    assert "mean class accuracy 100.00 %                   0.00 %\n" in ended.out
    assert "top-1               100.00 % (20.7 to 100.0 %)" in ended.out
    assert "  mean class accuracy -100.00 points\n" in ended.out
    assert "chance alone could do that" in ended.out
    content = (tmp_path / "compare.html").read_text()
    assert "1 clip with a changed prediction" in content
    assert "1 clip of 2 classes, predicted by each of 2 models" in content
    assert "100.0\u00a0to" not in content


def test_what_a_single_run_cannot_show_is_stated(two, program, tmp_path):
    (one, *_), (other, *_) = two
    ended = program(taggnn.compare, one, other, "--out", tmp_path / "out")
    assert ONE_RUN_EACH in ended.out
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["notes"] == [ONE_RUN_EACH]


def test_letters_go_on_behind_z():
    assert [letter_of(number) for number in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
