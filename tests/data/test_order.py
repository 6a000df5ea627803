"""Order, seeds and continuing in the middle of an epoch."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from taggnn.data.order import ResumableLoader, SeededSampler, class_shares, seed_of

quick = settings(derandomize=True, max_examples=60, deadline=None, database=None)
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
    return ResumableLoader(
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


def test_without_shuffling_the_lists_order_stays():
    assert [index for index, _ in SeededSampler(4)] == [0, 1, 2, 3]


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


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="must be 0 or more"):
        SeededSampler(3, seed=-1)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("balance", ["none", "class"])
def test_a_loader_continues_behind_the_last_batch_handed_out(workers, stop, balance):
    whole = list(loader(balance=balance))
    first = loader(workers, balance=balance)
    seen = []
    for batch in first:
        seen.append(batch)
        if len(seen) == stop:
            state = first.state_dict()
            break
    assert state == {"epoch": 0, "position": 2 * stop}
    second = loader(workers, balance=balance)
    second.load_state_dict(state)
    assert second.state_dict() == state
    second.sampler.set_epoch(0)
    assert seen + list(second) == whole
    assert len(second) == len(whole) == 4


@pytest.mark.parametrize("drop_last", [False, True])
def test_behind_the_last_batch_comes_the_next_epoch(drop_last):
    first = loader(drop_last=drop_last)
    assert first.state_dict() == {"epoch": 0, "position": 0}
    assert len(list(first)) == (3 if drop_last else 4)
    assert first.state_dict() == {"epoch": 1, "position": 0}


def test_the_epoch_may_be_told_after_the_iterator_is_made():
    expected = loader()
    expected.sampler.set_epoch(2)
    late = loader()
    batches = iter(late)
    late.sampler.set_epoch(2)
    assert list(batches) == list(expected)


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
def test_a_balanced_epoch_follows_from_seed_and_number_and_is_entered_in_the_middle(labels, balance, epoch, place):
    whole = epochs(labels, balance, epoch + 1)[-1]
    position = round(place * len(labels))
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
        (
            {"balance": "classes", "labels": [0, 1, 1], "shuffle": True},
            "unknown balance 'classes'; did you mean 'class'",
        ),
        ({"balance": "class", "shuffle": True}, "balance 'class': needs shuffling and the label of each of the 3"),
        ({"balance": "sqrt", "labels": [0, 1, 1]}, "balance 'sqrt': needs shuffling"),
    ],
)
def test_balance_without_what_it_needs_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SeededSampler(3, **options)
