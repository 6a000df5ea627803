"""Order, seeds and continuing in the middle of an epoch."""

import pytest
import torch
from torch.utils.data import Dataset

from taggnn.data.order import ResumableLoader, SeededSampler, seed_of


class Keys(Dataset):
    """Gives back the key of an item, to see what a loader asks for."""

    def __len__(self):
        return 7

    def __getitem__(self, key):
        return key


def loader(workers=0, batch_size=2, drop_last=False):
    return ResumableLoader(
        Keys(),
        sampler=SeededSampler(7, seed=5, shuffle=True),
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
def test_a_loader_continues_behind_the_last_batch_handed_out(workers, stop):
    whole = list(loader())
    first = loader(workers)
    seen = []
    for batch in first:
        seen.append(batch)
        if len(seen) == stop:
            state = first.state_dict()
            break
    assert state == {"epoch": 0, "position": 2 * stop}
    second = loader(workers)
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
