"""Ways of training with several seeds next to a reference, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest

from taggnn.evaluation.variants import variants_of
from tests.cli.sweeps import answers


def right(predictions):
    return (predictions.probabilities.argmax(1) == predictions.labels).double().numpy()


def test_means_spreads_and_differences():
    runs = {
        "a": {0: answers(0.5, 0), 1: answers(0.5, 1), 2: answers(0.5, 2)},
        "b": {0: answers(0.9, 3), 1: answers(0.8, 4)},
        "c": {},
        "d": {5: answers(0.6, 5)},
    }
    found = variants_of(runs, "a")
    a, b, d = found.rows
    shares = [right(one).mean() for one in runs["b"].values()]
    assert b.of_seeds == pytest.approx(shares)
    assert (b.accuracy.mean, b.accuracy.std) == pytest.approx((np.mean(shares), np.std(shares, ddof=1)))
    assert b.paired == [0, 1]
    wanted = np.mean([right(runs["b"][seed]) - right(runs["a"][seed]) for seed in (0, 1)])
    assert b.difference.value == pytest.approx(wanted)
    assert b.difference.low < wanted < b.difference.high
    assert b.over_seeds
    assert (a.reference, a.difference, d.reference, d.difference) == (None, None, "a", None)
    assert a.clips == 60


def test_an_interval_of_one_seed_is_over_clips_only():
    found = variants_of({"a": {0: answers(0.5, 0), 1: answers(0.5, 1)}, "b": {0: answers(0.9, 2)}}, "a")
    assert not found.rows[1].over_seeds


def test_other_data_have_a_reference_of_their_own():
    far = [replace(one, names=[f"far {name}" for name in one.names]) for one in (answers(0.5, 1), answers(0.7, 2))]
    more = answers(0.5, 3, classes=4)
    runs = {
        "x1": {0: far[0]},
        "x2": {0: far[1]},
        "y1": {0: answers(0.5, 4)},
        "y2": {0: answers(0.6, 5)},
        "z2": {0: more},
    }
    alike = {name: {"set": name[0], "conv": name[1]} for name in runs}
    rows = {row.name: row for row in variants_of(runs, "y2", alike).rows}
    assert {name: row.reference for name, row in rows.items()} == {
        **{"x1": "x2", "x2": None, "y1": "y2"},
        **{"y2": None, "z2": None},
    }


def test_intervals_are_over_groups_where_each_clip_has_one():
    runs = {"a": {0: answers(0.5, 0), 1: answers(0.5, 1)}, "b": {0: answers(0.8, 2), 1: answers(0.8, 3)}}
    groups = {name: str(int(name.removesuffix(".mp4")) // 12) for name in runs["a"][0].names}
    plain, grouped = variants_of(runs, "a").rows[1], variants_of(runs, "a", groups=groups).rows[1]
    assert (plain.groups, grouped.groups) == (0, 5)
    assert plain.difference.value == grouped.difference.value
    assert plain.difference.low != grouped.difference.low
    del groups["0.mp4"]
    found = variants_of(runs, "a", groups=groups)
    assert (found.rows[1].groups, len(found.notes)) == (0, 1)


def test_without_the_reference_there_is_nothing():
    with pytest.raises(ValueError, match="'a'"):
        variants_of({"a": {}, "b": {0: answers(0.5, 0)}}, "a")
