"""taggnn.evaluation.metrics against counting by hand."""

import numpy as np
import pytest
import torch

from taggnn.evaluation.calibration import expected_calibration_error
from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.metrics import (
    METRICS,
    ClassCounts,
    Metric,
    Scores,
    confusion_matrix,
    in_top_k,
    macro_f1,
    mean_class_accuracy,
    per_class,
    predicted_classes,
    summarise,
    unmeasured,
    unmeasured_note,
    worst_confusions,
    worst_pairs,
)


def random_case(clips, classes, seed, occurring=None, grain=None):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(clips, classes, generator=generator)
    if grain:
        scores = (scores * grain).round() / grain
    labels = torch.randint(occurring or classes, (clips,), generator=generator)
    return scores, labels


def ranking(row):
    """Classes from best to worst, the lower number first where scores are equal."""
    return sorted(range(len(row)), key=lambda k: (-row[k], k))


@pytest.mark.parametrize("grain", [None, 1], ids=["distinct", "many ties"])
@pytest.mark.parametrize(("clips", "classes"), [(1, 1), (1, 7), (60, 5), (70, 6), (80, 12)])
def test_topk_equals_counting(clips, classes, grain):
    scores, labels = random_case(clips, classes, seed=clips, grain=grain)
    orders = [ranking(row) for row in scores.tolist()]
    found = summarise(scores, labels)
    for k, figure in ((1, found.top1), (5, found.top5)):
        expected = sum(label in order[:k] for order, label in zip(orders, labels.tolist(), strict=True)) / clips
        assert figure == (None if k == 5 >= classes else expected)
    assert predicted_classes(scores).tolist() == [order[0] for order in orders]


def test_confusion_and_class_mean_equal_counting_with_absent_classes():
    scores, labels = random_case(200, 9, seed=1, occurring=6)
    counted = [[0] * 9 for _ in range(9)]
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        counted[label][ranking(row)[0]] += 1
    matrix = confusion_matrix(scores, labels)
    assert matrix.tolist() == counted
    recalls = [row[k] / sum(row) for k, row in enumerate(counted) if sum(row)]
    assert mean_class_accuracy(ClassCounts.of(matrix)) == pytest.approx(sum(recalls) / len(recalls))
    assert summarise(scores, labels).classes_counted == 6


def test_per_class_equals_counting():
    scores, labels = random_case(150, 8, seed=2, occurring=5)
    matrix = confusion_matrix(scores, labels).tolist()
    for k, row in enumerate(per_class(torch.tensor(matrix))):
        taken = sum(line[k] for line in matrix)
        assert (row.label, row.support, row.predicted, row.correct) == (k, sum(matrix[k]), taken, matrix[k][k])
        if not sum(matrix[k]):
            assert row.recall is None
            assert row.confused_with is None
            continue
        assert row.recall == matrix[k][k] / sum(matrix[k])
        assert row.precision == matrix[k][k] / taken
        harmonic = 2 * row.precision * row.recall / (row.precision + row.recall) if row.correct else 0.0
        assert row.f1 == pytest.approx(harmonic)
        others = {j: n for j, n in enumerate(matrix[k]) if j != k}
        assert row.confused == max(others.values())
        assert row.confused_with == min(j for j, n in others.items() if n == row.confused)


def test_per_class_has_none_where_a_figure_has_no_meaning():
    rows = per_class(torch.tensor([[3, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert (rows[0].recall, rows[0].precision, rows[0].confused_with, rows[0].confused) == (1.0, 0.6, None, 0)
    assert (rows[1].recall, rows[1].precision, rows[1].f1, rows[1].confused_with) == (0.0, None, 0.0, 0)
    assert (rows[2].recall, rows[2].precision, rows[2].f1) == (None, None, None)


def test_confusions_are_sorted_by_count_then_share_then_number():
    matrix = torch.tensor([[5, 2, 2], [2, 0, 0], [0, 3, 9]])
    found = [(c.true, c.predicted, c.count, c.share) for c in worst_confusions(matrix)]
    assert found == [(2, 1, 3, 0.25), (1, 0, 2, 1.0), (0, 1, 2, 2 / 9), (0, 2, 2, 2 / 9)]
    assert worst_confusions(matrix, n=1)[0].count == 3
    pairs = [(p.first, p.second, p.count, p.share) for p in worst_pairs(matrix)]
    assert pairs == [(0, 1, 4, 4 / 11), (1, 2, 3, 3 / 14), (0, 2, 2, 2 / 21)]
    assert worst_confusions(torch.eye(3, dtype=torch.long)) == worst_pairs(torch.eye(3, dtype=torch.long)) == []


def test_summary_holds_the_single_figures_as_plain_types():
    scores, labels = random_case(90, 11, seed=3, occurring=7)
    ranks = [ranking(row).index(label) for row, label in zip(scores.tolist(), labels.tolist(), strict=True)]
    found = summarise(scores, labels, missing=6, unreadable=4, loss=torch.tensor(0.5))
    expected = {
        "top1": ranks.count(0) / 90,
        "top5": sum(rank < 5 for rank in ranks) / 90,
        "mca": mean_class_accuracy(ClassCounts.of(confusion_matrix(scores, labels))),
        "classes_counted": 7,
        "classes": 11,
        "listed": 100,
        "missing": 6,
        "unreadable": 4,
        "measured": 90,
        "loss": 0.5,
        "macro_f1": macro_f1(ClassCounts.of(confusion_matrix(scores, labels))),
        "ece": None,
    }
    assert expected.items() <= found.as_dict().items()
    shares = summarise(scores.softmax(1), labels)
    right = predicted_classes(scores) == labels
    assert shares.ece == expected_calibration_error(scores.softmax(1).amax(1), right)
    assert {type(value) for value in shares.as_dict().values()} == {float, int, type(None)}


def test_one_class_is_always_right():
    figures = {"top1": 1.0, "top5": None, "mca": 1.0, "macro_f1": 1.0, "ece": 0.0}
    found = summarise(torch.ones(3, 1), torch.zeros(3, dtype=torch.long))
    assert figures.items() <= found.figures.items()
    assert (found.classes, found.classes_counted, found.measured) == (1, 1, 3)


def test_macro_f1_equals_a_loop_over_the_classes_that_occur():
    scores, labels = random_case(150, 8, seed=2, occurring=5)
    chosen = predicted_classes(scores).tolist()
    f1 = []
    for label in range(5):
        pairs = [(true == label, taken == label) for true, taken in zip(labels.tolist(), chosen, strict=True)]
        right = sum(true and taken for true, taken in pairs)
        f1.append(2 * right / (sum(true for true, _ in pairs) + sum(taken for _, taken in pairs)))
    assert macro_f1(ClassCounts.of(confusion_matrix(scores, labels))) == pytest.approx(sum(f1) / 5)


def test_macro_f1_of_a_class_that_nothing_is_taken_for_is_zero():
    # F1 of 0: 2 * 3 / (3 + 5); of 1: none; class 2 does not occur.
    counts = ClassCounts.of(torch.tensor([[3, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert macro_f1(counts) == pytest.approx((6 / 8 + 0) / 2)


def test_in_top_k_ranks_ties_by_number():
    scores, labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 1])
    assert in_top_k(scores, labels, 1).tolist() == [True, False]
    assert in_top_k(scores, labels, 2).tolist() == [True, True]


@pytest.mark.parametrize(
    ("missing", "unreadable", "measured", "said"),
    [
        (0, 0, 8521, "8,521 clips"),
        (0, 0, 1, "1 clip"),
        (4300, 41, 4180, "4,180 of 8,521 listed clips (49 %): 4,300 missing, 41 unreadable"),
        (0, 5, 8, "8 of 13 listed clips (62 %): 5 unreadable"),
        (1, 0, 8520, "8,520 of 8,521 listed clips (99.9 %): 1 missing"),
        (8520, 0, 1, "1 of 8,521 listed clips (0.1 %): 8,520 missing"),
    ],
    ids=["complete", "one", "partial", "unreadable", "nearly-all", "hardly-any"],
)
def test_scores_say_which_clips_they_are_about(missing, unreadable, measured, said):
    found = Scores({"top1": 0.5}, 2, 2, missing + unreadable + measured, missing, unreadable, measured)
    assert found.coverage() == said
    assert found.complete == (missing + unreadable == 0)


def test_counts_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="2 missing, 3 unreadable and 5 measured clips do not add up to the 11 listed"):
        Scores({"top1": 0.5}, 2, 2, 11, 2, 3, 5)


def test_a_class_of_which_nothing_was_measured_is_named():
    # Class 2 is in no list, of class 3 every clip is lost.
    assert unmeasured(torch.tensor([0, 1, 1]), [4, 2, 0, 7]) == [3]
    assert unmeasured(torch.tensor([0, 1]), [1, 1]) == []
    assert "1 class " in unmeasured_note(["b"])
    assert unmeasured_note(list("abcdefg")).endswith(": a, b, c, d, e and 2 more")
    assert unmeasured_note(list("abcdefg"), most=None).endswith(": a, b, c, d, e, f, g")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_of_any_float_type_and_as_arrays(kind):
    scores, labels = random_case(50, 6, seed=5, grain=4)
    assert summarise(scores.to(kind), labels) == summarise(scores, labels)
    assert summarise(scores.numpy(), labels.numpy().astype(np.int32)) == summarise(scores, labels)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), "no clips to score"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 1]), r"label 2 of clip 1 .* 0\.\.1"),
        (torch.zeros(2, 2), torch.tensor([0, -1]), "label -1 of clip 1"),
        (torch.zeros(2, 2), torch.tensor([0, 1, 1]), r"\(2, 2\) and \(3,\)"),
        (torch.zeros(2), torch.tensor([0, 1]), r"scores must be \(M, K\)"),
        (torch.zeros(2, 2), torch.tensor([0.0, 1.0]), "whole numbers"),
        (
            torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]),
            torch.tensor([0, 1]),
            r"1 of 2 clips .*first: clip 1.* diverged",
        ),
    ],
    ids=["no clips", "label too large", "label negative", "lengths", "one row", "float labels", "NaN"],
)
@pytest.mark.parametrize("function", [summarise, confusion_matrix])
def test_bad_input_is_named(function, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        function(scores, labels)


def test_an_empty_matrix_has_no_class_means():
    counts = ClassCounts.of(torch.zeros(2, 2, dtype=torch.long))
    assert mean_class_accuracy(counts).isnan()
    assert macro_f1(counts).isnan()


def test_a_figure_of_class_counts_that_is_not_a_number_is_absent(monkeypatch):
    monkeypatch.setitem(METRICS, "ratio", Metric("x", "y", from_counts=lambda counts: 0 * counts.support[0] / 0))
    assert summarise(torch.ones(3, 1), torch.zeros(3, dtype=torch.long)).ratio is None


def test_a_row_has_one_way_to_its_figure():
    for ways in ({}, {"value": METRICS["ece"].value, "from_counts": macro_f1}):
        with pytest.raises(ValueError, match="either value or from_counts"):
            Metric("x", "y", **ways)


def test_wilson_interval_has_published_values_and_stays_inside_zero_and_one():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 15 of 148.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1.0, 1)[1] == 1.0
    with pytest.raises(ValueError, match="at least one clip"):
        wilson(0.5, 0)
