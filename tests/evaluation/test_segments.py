import random

import pytest
import torch

from taggnn.evaluation.segments import Rule, Segment, Segmenter, iou, labels_of, match, segments


def naive(rows, step, rule, seconds):
    """Whole arrays instead of a state: label every step, list runs, join them, keep some."""
    labels = []
    for row in rows:
        best = row.index(max(row))
        action = best not in rule.background and row[best] >= rule.reject and row[best] >= rule.low
        labels.append(best if action else -1)
    runs = []
    for at, label in enumerate(labels):
        if label == -1:
            continue
        if at and labels[at - 1] == label:
            runs[-1][1].append(at)
        else:
            runs.append((label, [at]))
    joined = []
    for label, steps in runs:
        if joined and joined[-1][0] == label and (steps[0] - joined[-1][1][-1] - 1) * step <= rule.gap + 1e-9:
            joined[-1][1].extend(steps)
        else:
            joined.append((label, list(steps)))
    out = []
    for label, steps in joined:
        values = [rows[at][label] for at in steps]
        start, end = steps[0] * step, min((steps[-1] + 1) * step, seconds)
        if max(values) >= rule.high and end - start >= rule.min_duration - 1e-9:
            out.append((start, end, label, sum(values) / len(values)))
    return out


def smooth_rows(seed, steps=60, classes=3):
    """Rows that change slowly, so that runs are long."""
    generator = torch.Generator().manual_seed(seed)
    walk = torch.randn(steps, classes, generator=generator).cumsum(0)
    return walk.softmax(1)


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_naive_one(seed):
    drawn = random.Random(seed)
    high = drawn.uniform(0.3, 1)
    rule = Rule(
        high=high,
        low=drawn.uniform(0, high),
        min_duration=drawn.choice([0, 0.5, 1.5]),
        gap=drawn.choice([0, 0.5, 2]),
        reject=drawn.choice([0, 0.5]),
        background=frozenset(drawn.choice([[], [0], [0, 2]])),
    )
    rows = smooth_rows(seed)
    seconds = 60 * 0.5 - drawn.uniform(0, 0.4)
    found = [(one.start, one.end, one.label, one.score) for one in segments(rows, 0.5, rule, seconds)]
    expected = naive(rows.tolist(), 0.5, rule, seconds)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other)


def test_low_ends_and_high_confirms():
    rows = torch.tensor([[p, 1 - p] for p in (0.1, 0.55, 0.7, 0.9, 0.6, 0.52, 0.3)])
    rule = Rule(high=0.8, low=0.5, background=frozenset([1]))
    (found,) = segments(rows, 1.0, rule)
    assert (found.start, found.end, found.label) == (1.0, 6.0, 0)
    assert found.score == pytest.approx((0.55 + 0.7 + 0.9 + 0.6 + 0.52) / 5)
    assert segments(rows[[0, 1, 2, 4, 5]], 1.0, rule) == []


def test_rejected_steps_are_none_of_these():
    rows = torch.tensor([[0.9, 0.1], [0.55, 0.45], [0.9, 0.1]])
    assert len(segments(rows, 1.0, Rule(high=0.6, low=0.5))) == 1
    assert len(segments(rows, 1.0, Rule(high=0.6, low=0.5, reject=0.6))) == 2


def test_memory_does_not_grow_without_an_action():
    segmenter = Segmenter(1.0, Rule(high=0.8, low=0.5))
    for _ in range(1000):
        assert segmenter.add([0.4, 0.3, 0.3]) == []
    assert segmenter._open is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"high": 1.5}, "high"),
        ({"low": -0.1}, "low"),
        ({"low": 0.8, "high": 0.7}, "low"),
        ({"gap": -1}, "gap"),
        ({"min_duration": float("nan")}, "min_duration"),
        ({"reject": 2}, "reject"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_impossible_rules_are_refused(options, name):
    with pytest.raises(ValueError, match=rf"^{name}"):
        Rule(**options)


def test_iou():
    assert iou(Segment(0, 2, 0), Segment(1, 3, 1)) == pytest.approx(1 / 3)
    assert iou(Segment(0, 1, 0), Segment(2, 3, 0)) == 0
    assert iou(Segment(1, 1, 0), Segment(1, 1, 0)) == 0


def test_a_true_segment_is_matched_once():
    true = [Segment(0, 4, 0), Segment(6, 8, 1)]
    found = [Segment(0, 3, 0), Segment(3, 4, 0), Segment(6, 8, 0), Segment(5.9, 8, 1)]
    counted = match(found, true)
    assert (counted.right, counted.wrong, counted.missed) == (2, 2, 0)
    assert counted.precision == 0.5
    assert counted.recall == 1
    assert counted.f1 == pytest.approx(2 * 0.5 / 1.5)


@pytest.mark.parametrize("seed", range(10))
def test_matches_are_those_of_all_pairs(seed):
    """At an IoU above 1/2 of segments that do not overlap, a pair that matches is the only one of both."""
    drawn = random.Random(seed)

    def row():
        edges = sorted(drawn.uniform(0, 20) for _ in range(12))
        return [Segment(a, b, drawn.randrange(2)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    true = row()
    found = [Segment(s.start + drawn.uniform(-0.3, 0.3), s.end, s.label) for s in true] + row()[:2]
    found = [s for k, s in enumerate(found) if all(iou(s, other) == 0 for other in found[:k])]
    pairs = sum(iou(a, b) >= 0.5 and a.label == b.label for a in found for b in true)
    counted = match(found, true)
    assert (counted.right, counted.right + counted.wrong, counted.right + counted.missed) == (
        pairs,
        len(found),
        len(true),
    )


def test_nothing_found_of_nothing():
    counted = match([], [])
    assert (counted.f1, counted.precision, counted.recall) == (1, 1, 1)
    with pytest.raises(ValueError, match=r"^threshold"):
        match([], [], 0)


def test_labels_by_name():
    assert labels_of(["still"], ["left", "still"]) == frozenset([1])
    with pytest.raises(ValueError, match="background_class 'up'"):
        labels_of(["up"], ["left", "still"])
