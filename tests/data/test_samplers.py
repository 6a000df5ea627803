"""Order, seeds and continuing in the middle of an epoch."""

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from taggnn.data.samplers import EpochLoader, SeededSampler, SharedBatches, SharedGroups, class_shares, seed_of
from taggnn.runtime import distributed

quick = settings(derandomize=True, max_examples=60, database=None)
# Long tails: up to eight classes of 1 to 60 clips, in any order.
tails = st.lists(st.integers(1, 60), min_size=1, max_size=8).flatmap(
    lambda counts: st.permutations([2 * label for label, count in enumerate(counts) for _ in range(count)])
)
balances = st.sampled_from(["sqrt", "class"])


class Keys(Dataset):
    """Gives back the key of an item, to see what a loader asks for."""

    def __len__(self):
        return 7

    def __getitem__(self, key):
        return key


def loader(workers=0, batch_size=2, drop_last=False, balance="none"):
    return EpochLoader(
        Keys(),
        sampler=SeededSampler(7, seed=5, shuffle=True, labels=[0, 0, 0, 0, 0, 1, 2], balance=balance),
        batch_size=batch_size,
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=list,
        generator=torch.Generator(),
    )


def test_seeds_differ_and_stay_what_they_are():
    seeds = {seed_of(s, e, i) for s in range(4) for e in range(4) for i in range(-1, 20)}
    assert len(seeds) == 4 * 4 * 21
    assert all(0 <= seed < 2**63 for seed in seeds)
    # A run must be repeatable with a later version: this number is a promise.
    assert seed_of(0, 0, 0) == 4324601099084218337


def test_each_epoch_has_its_order_and_its_seeds():
    sampler = SeededSampler(7, seed=5, shuffle=True)
    first = list(sampler)
    assert sorted(index for index, _ in first) == list(range(7))
    assert all(seed == seed_of(5, 0, index) for index, seed in first)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert [index for index, _ in second] != [index for index, _ in first]
    assert not {seed for _, seed in second} & {seed for _, seed in first}
    other = SeededSampler(7, seed=6, shuffle=True)
    assert list(other) != first
    assert [index for index, _ in SeededSampler(4)] == [0, 1, 2, 3], "without shuffling the order of the list"


def test_an_epoch_is_entered_in_the_middle_and_the_next_is_whole():
    sampler = SeededSampler(7, seed=5, shuffle=True)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.set_epoch(0)
    sampler.resume(3, 4)
    sampler.set_epoch(3)
    assert list(sampler) == whole[4:]
    assert len(sampler) == 7
    sampler.set_epoch(4)
    assert len(list(sampler)) == 7


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("balance", ["none", "class"])
def test_a_loader_continues_after_the_last_batch_handed_out(workers, stop, balance):
    whole = list(loader(balance=balance))
    first = loader(workers, balance=balance)
    seen = list(islice(first.epoch(0), stop))
    # Workers have fetched ahead by now.
    position = stop * first.step
    second = loader(workers, balance=balance)
    assert seen + list(second.epoch(0, position)) == whole
    assert second.batches() == len(second) == len(whole) == 4
    assert second.batches(position) == 4 - stop


@pytest.mark.parametrize(("drop_last", "position", "left"), [(True, 6, 0), (False, 6, 1), (True, 7, 0), (False, 7, 0)])
def test_batches_that_are_left_of_an_epoch(drop_last, position, left):
    found = loader(drop_last=drop_last)
    assert found.batches(position) == len(list(found.epoch(0, position))) == left
    assert found.clips == 7


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_of_choice_from_one_loader(workers):
    """Also after one that was left in the middle."""
    one = loader(workers)
    next(one.epoch(0))
    for number in (2, 0):
        expected = loader()
        expected.order.set_epoch(number)
        assert list(one.epoch(number)) == list(expected)


def epochs(labels, balance, count, seed=5):
    sampler = SeededSampler(len(labels), seed, shuffle=True, labels=labels, balance=balance)
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("none", [1 / 21, 4 / 21, 16 / 21]), ("sqrt", [1 / 7, 2 / 7, 4 / 7]), ("class", [1 / 3] * 3)],
)
def test_shares_of_classes_by_formula(balance, expected):
    shares = class_shares([7] * 4 + [2] + [9] * 16, balance)
    assert list(shares) == [2, 7, 9]
    assert list(shares.values()) == pytest.approx(expected)


@quick
@given(tails, balances, st.integers(0, 2**32 - 1))
def test_every_epoch_has_its_length_and_gives_each_class_its_share_to_within_one_clip(labels, balance, seed):
    shares, total = class_shares(labels, balance), Counter()
    for number, epoch in enumerate(epochs(labels, balance, 6, seed), start=1):
        assert len(epoch) == len(labels)
        counts = Counter(labels[index] for index, _ in epoch)
        total += counts
        for label, share in shares.items():
            assert abs(counts[label] - share * len(labels)) < 1 + 1e-9
            # Roundings do not add up from epoch to epoch.
            assert abs(total[label] - number * share * len(labels)) < 3


@quick
@given(tails, balances)
def test_no_clip_comes_again_before_its_class_is_used_up(labels, balance):
    for epoch in range(1, 6):
        drawn = Counter(dict.fromkeys(range(len(labels)), 0))
        for keys in epochs(labels, balance, epoch):
            drawn.update(index for index, _ in keys)
        for label in set(labels):
            times = [drawn[index] for index, other in enumerate(labels) if other == label]
            assert max(times) - min(times) <= 1


@quick
@given(tails, balances)
def test_no_two_draws_of_a_run_share_a_seed(labels, balance):
    seeds = [seed for epoch in epochs(labels, balance, 3) for _, seed in epoch]
    assert len(set(seeds)) == len(seeds)


@quick
@given(tails, balances, st.integers(0, 4), st.floats(0, 1))
def test_a_balanced_epoch_depends_on_seed_and_number_and_is_entered_in_the_middle(labels, balance, epoch, part):
    whole = epochs(labels, balance, epoch + 1)[-1]
    position = round(part * len(labels))
    sampler = SeededSampler(len(labels), 5, shuffle=True, labels=labels, balance=balance)
    sampler.resume(epoch, position)
    assert list(sampler) == whole[position:]


def test_rare_classes_are_spread_over_the_epoch():
    labels = [0] * 100 + [1] * 2
    order = [labels[index] for index, _ in epochs(labels, "class", 1)[0]]
    assert order.count(1) == 51
    assert 15 < sum(order[:51]) < 36


def test_an_unbalanced_order_stays_what_it_was():
    # As seed_of's number, a promise.
    plain = SeededSampler(7, seed=5, shuffle=True)
    assert [index for index, _ in plain] == torch.randperm(
        7, generator=torch.Generator().manual_seed(seed_of(5, 0, -1))
    ).tolist()
    assert list(SeededSampler(7, seed=5, shuffle=True, labels=[0] * 7)) == list(plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed -1: must be 0 or more"),
        (
            {"balance": "classes", "labels": [0, 1, 1], "shuffle": True},
            "unknown balance 'classes'; did you mean 'class'",
        ),
        ({"balance": "class", "shuffle": True}, "balance 'class': needs shuffling and the label of each of the 3"),
        ({"balance": "sqrt", "labels": [0, 1, 1]}, "balance 'sqrt': needs shuffling"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SeededSampler(3, **options)


@st.composite
def shared(draw):
    """An epoch of any length, entered anywhere, in batches of any size, by any number of processes."""
    length, batch_size, count = draw(st.integers(0, 60)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    return length, draw(st.integers(0, length)), batch_size, count, draw(st.booleans())


def shares(length, position, batch_size, count, drop_last, shuffle=True):
    """The batches of each process."""
    found = []
    for rank in range(count):
        keys = SeededSampler(length, seed=5, shuffle=shuffle)
        keys.resume(0, position)
        found.append(list(SharedBatches(keys, batch_size, drop_last, (rank, count))))
    return found


@quick
@given(shared())
def test_processes_share_an_epoch_evenly_and_no_clip_twice(case):
    length, position, batch_size, count, drop_last = case
    found, (alone,) = shares(*case), shares(length, position, batch_size * count, 1, drop_last)
    assert len({len(batches) for batches in found}) == 1, "every process has as many batches"
    for together, parts in zip(alone, zip(*found, strict=True), strict=True):
        assert sorted(key for part in parts for key in part) == sorted(together)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size
    left = length - position
    seen = sum(len(batch) for batches in found for batch in batches)
    assert seen == (left // (batch_size * count) * batch_size * count if drop_last else left)
    if not position:
        batches = SharedBatches(range(length), batch_size, drop_last, (0, count))
        assert len(batches) == len(found[0])


def test_alone_batches_are_those_of_the_sequence_and_the_last_has_what_is_left():
    assert list(SharedBatches("abcdefg", 3)) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert list(SharedBatches("abcdefg", 3, drop_last=True)) == [["a", "b", "c"], ["d", "e", "f"]]
    assert list(SharedBatches("abcdefg", 2, process=(1, 3))) == [["b", "e"], []]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch_size 0: must be 1 or more"), ({"process": (2, 2)}, r"process \(2, 2\): expected")],
)
def test_impossible_shares_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SharedBatches(range(3), **{"batch_size": 1} | options)


def members(monkeypatch, count, make):
    """What each of several processes makes, with its rank from the process group."""
    for rank in range(count):
        with monkeypatch.context() as patched:
            patched.setattr("taggnn.runtime.distributed.world_size", lambda: count)
            patched.setattr("taggnn.runtime.distributed.rank", lambda rank=rank: rank)
            yield make()


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1), (2, 3)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_another_number_of_processes_continues_where_the_first_stopped(monkeypatch, first, second, drop_last):
    def begin():
        begun = loader(batch_size=1, drop_last=drop_last)
        return next(begun.epoch(0)), begun.step

    begun = list(members(monkeypatch, first, begin))
    assert [step for _, step in begun] == [first] * first

    def resume():
        following = loader(batch_size=1, drop_last=drop_last)
        return list(following.epoch(0, first)), following.batches(first)

    rest = list(members(monkeypatch, second, resume))
    keys = [key for batch, _ in begun for key in batch] + [key for batches, _ in rest for b in batches for key in b]
    whole = [key for batch in loader(batch_size=1) for key in batch]
    left = (7 - first) % second if drop_last else 0
    assert sorted(keys) == sorted(whole[: 7 - left])
    assert [(len(batches), count) for batches, count in rest] == [(len(rest[0][0]), len(rest[0][0]))] * second


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("groups", [0, 1, 4, 7])
@pytest.mark.parametrize("batches", [1, 3])
def test_groups_of_batches_are_dealt_out_whole_and_once(count, groups, batches, monkeypatch):
    given = [[[f"{group}.{batch}"] for batch in range(batches)] for group in range(groups)]
    shared, parts = SharedGroups(given), []
    monkeypatch.setattr(distributed, "world_size", lambda: count)
    for rank in range(count):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(list(shared))
        assert len(parts[-1]) == len(shared) == -(-groups // count) * batches
    for rank, part in enumerate(parts):
        assert [batch for batch in part if batch] == [batch for group in given[rank::count] for batch in group]
