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


class StoreThatEnds:
    """A store whose process ends after a number of requests."""

    def __init__(self, requests):
        self.left = requests

    def set(self, key, value):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("connection reset by peer")

    def add(self, key, amount):
        self.set(key, amount)
        return amount


@pytest.mark.parametrize(("requests", "printed"), [(0, False), (1, True), (2, True)])
def test_a_message_is_printed_though_the_store_ends_while_it_is_announced(requests, printed, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(distributed, "_has_group", lambda: True)
    monkeypatch.setattr(distributed.dist.distributed_c10d, "_get_default_store", lambda: StoreThatEnds(requests))
    assert distributed.prints_message("only here") is printed
