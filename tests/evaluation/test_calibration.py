"""taggnn.evaluation.calibration against hand examples and plain loops."""

import math

import pytest
import torch

from taggnn.evaluation.calibration import BINS, are_probabilities, bin_of, expected_calibration_error, reliability


def test_a_hand_example():
    # Two bins of N = 4: (0.5, 0.75] holds 0.6 and 0.7, one right; (0.75, 1] holds 0.8, 0.9 and 1.0, all right.
    confidence = torch.tensor([0.6, 0.7, 0.8, 0.9, 1.0], dtype=torch.float64)
    right = torch.tensor([True, False, True, True, True])
    expected = 2 / 5 * abs(0.5 - 0.65) + 3 / 5 * abs(1.0 - 0.9)
    assert expected_calibration_error(confidence, right, bins=4) == pytest.approx(expected)
    rows = reliability(confidence, right, bins=4)
    assert [(row.low, row.high, row.clips) for row in rows] == [
        (0, 0.25, 0),
        (0.25, 0.5, 0),
        (0.5, 0.75, 2),
        (0.75, 1, 3),
    ]
    assert [row.accuracy for row in rows] == [None, None, 0.5, 1.0]
    assert [row.confidence for row in rows] == [None, None, pytest.approx(0.65), pytest.approx(0.9)]


def test_a_calibrated_model_has_no_error():
    assert expected_calibration_error(torch.full((4,), 0.75), torch.tensor([True, True, True, False])) == 0
    assert expected_calibration_error(torch.ones(1), torch.tensor([True])) == 0


def test_an_edge_belongs_to_the_bin_below_it_and_zero_to_the_first():
    assert bin_of(torch.tensor([0.0, 0.25, 0.2500001, 0.5, 1.0], dtype=torch.float64), 4).tolist() == [0, 0, 1, 1, 3]


def test_an_edge_in_single_precision_belongs_to_the_bin_below_it_too():
    # As float32 0.2, 0.4 and 0.6 are above 3/15, 6/15 and 9/15 as float64; files of rounded shares are full of them.
    edges = torch.arange(1, BINS + 1) / BINS
    assert (
        bin_of(edges).tolist() == bin_of(torch.tensor([n / BINS for n in range(1, 16)])).tolist() == list(range(BINS))
    )


def test_equals_a_loop_over_clips():
    draw = torch.Generator().manual_seed(0)
    confidence, right = torch.rand(500, generator=draw), torch.rand(500, generator=draw) < 0.6
    held = [[] for _ in range(BINS)]
    for sure, hit in zip(confidence.tolist(), right.tolist(), strict=True):
        held[math.ceil(sure * BINS) - 1].append((sure, hit))
    expected = sum(abs(sum(hit for _, hit in row) - sum(sure for sure, _ in row)) for row in held) / 500
    assert expected_calibration_error(confidence, right) == pytest.approx(expected, abs=1e-12)
    rows = reliability(confidence, right)
    assert [row.clips for row in rows] == [len(row) for row in held]
    again = sum(row.clips / 500 * abs(row.accuracy - row.confidence) for row in rows if row.clips)
    assert again == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "are"),
    [
        ([[0.5, 0.5], [1.0, 0.0]], True),
        ([[0.333, 0.333, 0.333]], True),
        ([[2.0, -1.0]], False),
        ([[0.5, 0.2]], False),
        ([[0.0, 0.0]], False),
    ],
    ids=["shares", "rounded", "logits", "too little", "nothing"],
)
def test_shares_of_one_are_told_from_logits(rows, are):
    assert are_probabilities(torch.tensor(rows)) == are
