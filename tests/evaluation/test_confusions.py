"""taggnn.evaluation.confusions: the most confused pairs of classes, against counting clip by clip."""

from collections import Counter

import pytest
import torch

from taggnn.evaluation.confusions import accuracy_on_pairs, confused_pairs, hardest, most_confused, on_confused
from taggnn.evaluation.intervals import Answers
from taggnn.evaluation.significance import mcnemar

CLASSES = list("abcdef")


def model(seed, clips=200, right=0.4):
    labels = torch.randint(6, (clips,), generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(seed)
    # Neighbours are confused more often than others.
    wrong = (labels + 1 - 2 * (labels % 2)) % 6
    away = torch.randint(6, (clips,), generator=draw)
    kind = torch.rand(clips, generator=draw)
    predicted = torch.where(kind < right, labels, torch.where(kind < right + 0.4, wrong, away))
    return Answers(labels, predicted, None, 6)


def mistakes(one):
    """(lower class, higher class) -> the clips that are taken for the other of the two."""
    found = {}
    for clip, (label, answer) in enumerate(zip(one.labels.tolist(), one.predicted.tolist(), strict=True)):
        if label != answer:
            found.setdefault((min(label, answer), max(label, answer)), set()).add(clip)
    return found


@pytest.mark.parametrize("pairs", [1, 3, 100])
def test_counts_are_those_of_every_clip(pairs):
    first, second = model(1), model(2, right=0.6)
    one, two = mistakes(first), mistakes(second)
    total = Counter({pair: len(one.get(pair, ())) + len(two.get(pair, ())) for pair in one.keys() | two.keys()})
    found = confused_pairs(first, second, CLASSES, pairs)
    assert len(found) == min(pairs, len(total))
    assert [row.first + row.second for row in found] == sorted(total.values(), reverse=True)[:pairs]
    for row in found:
        pair = (CLASSES.index(row.one), CLASSES.index(row.other))
        a, b = one.get(pair, set()), two.get(pair, set())
        assert (row.first, row.second, row.only_first, row.only_second) == (len(a), len(b), len(a - b), len(b - a))
        assert row.p == mcnemar(len(a - b), len(b - a)).p
        assert row.p <= row.p_holm <= 1
        assert row.clips == sum(label in pair for label in first.labels.tolist())


def test_the_choice_of_pairs_favours_neither_model():
    first, second = model(1), model(2)
    assert most_confused([first, second], 5) == most_confused([second, first], 5)


def test_accuracy_is_that_of_the_clips_of_the_pairs():
    first, second = model(1), model(2, right=0.7)
    pairs = [(0, 1), (1, 4)]
    clips = [n for n, label in enumerate(first.labels.tolist()) if label in (0, 1, 4)]
    found = on_confused(first, second, pairs)
    for value, one in ((found.first, first), (found.second, second)):
        right = sum(int(one.labels[n]) == int(one.predicted[n]) for n in clips)
        assert value == pytest.approx(right / len(clips))
        assert accuracy_on_pairs(one, pairs) == (pytest.approx(right / len(clips)), len(clips))
    assert (found.pairs, found.classes, found.clips) == (2, 3, len(clips))
    assert found.difference.value == pytest.approx(found.second - found.first)
    assert found.difference.low <= found.difference.value <= found.difference.high


def test_the_hardest_classes_are_half_of_all_at_most():
    assert [hardest(classes) for classes in (2, 4, 10, 60, 99)] == [1, 1, 2, 12, 12]


def test_without_mistakes_there_is_no_pair():
    sure = model(1, right=1.1)
    assert most_confused([sure, sure]) == []
    assert confused_pairs(sure, sure, CLASSES) == []
    assert on_confused(sure, sure, []) is None
    assert accuracy_on_pairs(sure, []) is None
