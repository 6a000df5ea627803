"""How long a run will take, said once."""

import pytest

from taggnn.training.estimate import FORWARD, SECONDS, Estimate


@pytest.fixture
def said():
    return []


def estimate(said, times, **options):
    clock = iter(times)
    return Estimate(
        **{"epochs": 4, "batches": 30, "validation": 6, **options}, clock=lambda: next(clock), say=said.append
    )


def test_it_is_said_once_and_leaves_the_first_batch_out(said):
    # The first batch ends after 100 seconds, the others take 4.
    times = [100 + 4.0 * number for number in range(9)]
    found = estimate(said, times)
    for _ in times:
        found.batch()
    seconds = 4 * 4 * (30 + FORWARD * 6)
    (line,) = said
    assert f"about {seconds / 60:.0f} min " in line
    assert line.endswith("from 3 batches")


def test_a_short_epoch_says_nothing(said):
    found = estimate(said, [0, SECONDS / 2, SECONDS * 2])
    found.batch()
    found.batch()
    found.end()
    found.batch()
    assert said == []
