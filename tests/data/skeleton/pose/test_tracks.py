"""taggnn.data.skeleton.pose.tracks: one index, one person."""

import pytest
import torch

from taggnn.data.skeleton.pose.tracks import Tracker, distinct


def body(x, y=0.0, size=1.0):
    shape = torch.rand(33, 2, generator=torch.Generator().manual_seed(0))
    return shape * size + torch.tensor([x, y])


def frame(*bodies):
    return torch.stack(bodies) if bodies else torch.empty(0, 33, 2)


def test_persons_keep_their_index_whatever_the_order():
    tracker = Tracker(2)
    assert tracker.assign(frame(body(0), body(5))) == [0, 1]
    for step in range(1, 9):
        left, right = body(0.3 * step), body(5 + 0.2 * step)
        assert tracker.assign(frame(right, left)) == [1, 0]
        assert tracker.assign(frame(left, right)) == [0, 1]


def test_a_missing_person_keeps_its_index():
    tracker = Tracker(2)
    tracker.assign(frame(body(0), body(5)))
    assert tracker.assign(frame(body(5.1))) == [1]
    assert tracker.assign(frame()) == []
    assert tracker.assign(frame(body(0.5), body(5.2))) == [0, 1]


def test_one_person_does_not_become_two_after_a_gap():
    tracker = Tracker(2)
    tracker.assign(frame(body(0)))
    for _ in range(4):
        tracker.assign(frame())
    # Five frames later, four sizes away; in the next frame that would be another person.
    assert tracker.assign(frame(body(4))) == [0]
    assert tracker.assign(frame(body(8))) == [1]


def test_more_persons_than_indices_never_fail():
    tracker = Tracker(1)
    assert tracker.assign(frame(body(0))) == [0]
    assert tracker.assign(frame(body(50))) == [0]


@pytest.mark.parametrize("persons", [1, 3, 6])
def test_indices_of_a_frame_are_distinct(persons):
    draw, tracker = torch.Generator().manual_seed(persons), Tracker(persons)
    for _ in range(50):
        count = int(torch.randint(persons + 1, (), generator=draw))
        found = frame(*(body(*(10 * torch.rand(2, generator=draw)).tolist()) for _ in range(count)))
        given = tracker.assign(found)
        assert len(given) == len(set(given)) == count
        assert set(given) <= set(range(persons))


def test_a_second_finding_of_a_person_is_none():
    whole, legs, other = body(0), body(0.2, 0.3, size=0.4), body(3)
    assert sorted(distinct(frame(legs, whole, other))) == [1, 2]
    assert sorted(distinct(frame(whole, body(0.6)))) == [0, 1]
    assert distinct(frame(whole, whole)) == [0]
    assert distinct(frame()) == []
    # A body of no size, as where all landmarks are one point.
    assert distinct(torch.zeros(2, 33, 2)) == [0]
