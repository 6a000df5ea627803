"""Several processes exchange what they have; one alone needs no group."""

import pytest

from taggnn.runtime import distributed


def exchange(of_each):
    mine = of_each[distributed.rank()]
    return {
        "count": distributed.world_size(),
        "rank": distributed.rank(),
        "first": distributed.is_main_process(),
        "gathered": distributed.all_gather(mine),
        "from first": distributed.broadcast(mine),
        "largest": distributed.all_max(3 + distributed.rank()),
    }


def test_alone_there_is_one_process_and_it_is_the_first():
    assert exchange(["only"]) == {
        "count": 1,
        "rank": 0,
        "first": True,
        "gathered": ["only"],
        "from first": "only",
        "largest": 3,
    }


def test_three_processes_have_what_each_has_and_what_the_first_has(together):
    found = together(3, exchange, [[1], {"two": 2}, None])
    assert [one["rank"] for one in found] == [0, 1, 2]
    assert [one["first"] for one in found] == [True, False, False]
    assert all(one["count"] == 3 for one in found)
    assert all(one["gathered"] == [[1], {"two": 2}, None] for one in found)
    assert all(one["from first"] == [1] for one in found)
    assert [one["largest"] for one in found] == [5] * 3


def fail_second():
    if distributed.rank() == 1:
        raise ValueError("only the second")
    distributed.all_gather(0)


def test_a_failure_of_one_process_is_told_and_does_not_hang(together):
    with pytest.raises(AssertionError, match="only the second"):
        together(2, fail_second)
