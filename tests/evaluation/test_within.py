"""Accuracy within groups of classes, against the same by plain loops."""

import pytest
import torch

from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.results import Results
from taggnn.evaluation.within import within

GROUPS = ("VT", "VT", "FX", "FX", "FX", "BB")


def naive(scores, labels):
    inside = {}
    for clip, (row, label) in enumerate(zip(scores.tolist(), labels.tolist(), strict=True)):
        own = [k for k in range(len(GROUPS)) if GROUPS[k] == GROUPS[label]]
        best = max(own, key=lambda k: (row[k], -k))
        top = max(range(len(row)), key=lambda k: (row[k], -k))
        inside[clip] = (best == label, top == label, GROUPS[top] == GROUPS[label], len(own))
    return inside


@pytest.fixture(scope="module")
def answers():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(60, 6, generator=generator)
    # Equal scores are ordered by class number, as everywhere.
    scores[::7] = 0
    return scores, torch.randint(0, 5, (60,), generator=generator)


def test_the_choice_is_among_the_classes_of_the_true_group(answers):
    scores, labels = answers
    found, expected = within(scores, labels, "event", GROUPS), naive(scores, labels)
    share = sum(one[0] for one in expected.values()) / 60
    assert found.within == pytest.approx(share)
    assert found.interval == pytest.approx(wilson(share, 60))
    assert found.found == pytest.approx(sum(one[2] for one in expected.values()) / 60)
    assert found.chance == pytest.approx(sum(1 / one[3] for one in expected.values()) / 60)
    of_class = [[one[0] for clip, one in expected.items() if labels[clip] == label] for label in range(5)]
    assert found.class_mean == pytest.approx(sum(sum(of) / len(of) for of in of_class) / 5)
    # BB has a class and no clip.
    assert [(part.name, part.classes) for part in found.parts] == [("VT", 2), ("FX", 3), ("BB", 1)]
    assert found.groups == 2
    for part in found.parts[:2]:
        own = [one for clip, one in expected.items() if GROUPS[labels[clip]] == part.name]
        assert part.clips == len(own)
        for index, value in enumerate((part.within, part.top1, part.found)):
            assert value == pytest.approx(sum(one[index] for one in own) / len(own))
    assert found.parts[2].within is None


def test_groups_of_another_number_of_classes_are_refused(answers):
    with pytest.raises(ValueError, match="event"):
        within(*answers, "event", GROUPS[:5])


def test_results_hold_them_and_give_them_back(answers, tmp_path):
    scores, labels = answers
    classes = [f"class {k}" for k in range(6)]
    names = [str(k) for k in range(60)]
    predictions = Predictions(names, names, labels, scores.softmax(1), classes)
    Results.from_predictions("test", predictions, class_groups={"event": GROUPS}).write(tmp_path)
    read = Results.read(tmp_path)
    assert read.within["test"][0]["kind"] == "event"
    assert read.groups_of(classes) == {"event": list(GROUPS)}
    assert read.groups_of(["other", *classes[1:]]) == {}
    again = Results.from_predictions("test", predictions, class_groups=read.groups_of(classes))
    assert again.to_json()["within"] == read.within
    assert Results.from_predictions("test", predictions).within is None
