"""taggnn.evaluation.longtail against counting by hand."""

import pytest
import torch

from taggnn.evaluation.longtail import groups_of, masks


def test_the_thresholds_are_of_the_medium_classes():
    found = masks([101, 100, 20, 19, 0])
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "many": [True, False, False, False, False],
        "medium": [False, True, True, False, False],
        "few": [False, False, False, True, True],
    }


def test_each_group_has_its_own_class_mean():
    # Of the few-shot classes, class 3 has no clip to measure, class 4 has no clip to train on.
    matrix = torch.tensor([[3, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 5, 0, 0], [0] * 5, [1, 0, 0, 0, 1]])
    rows = {row.name: row for row in groups_of(matrix, [500, 50, 20, 3, 0])}
    assert {name: (row.classes, row.classes_counted, row.clips, row.training_clips) for name, row in rows.items()} == {
        "many": (1, 1, 4, 500),
        "medium": (2, 2, 7, 70),
        "few": (2, 1, 2, 3),
    }
    assert [rows[name].mca for name in rows] == [0.75, (0.5 + 1) / 2, 0.5]


def test_a_group_without_classes_is_left_out_and_one_without_clips_has_no_figure():
    many, few = groups_of(torch.tensor([[2, 0], [0, 0]]), [200, 1])
    assert (many.name, many.mca) == ("many", 1.0)
    assert (few.name, few.classes, few.classes_counted, few.mca) == ("few", 1, 0, None)


def test_counts_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="3 training counts, and the model has 2 classes"):
        groups_of(torch.eye(2, dtype=torch.long), [1, 2, 3])
