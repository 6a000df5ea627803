"""In which order, and with which random draws, an epoch goes through the clips; and how to go on in the middle of one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler


def seed_of(seed: int, epoch: int, index: int) -> int:
    """The seed of everything random about one clip in one epoch: a hash of the three numbers, below 2**63.

    Args:
        seed: the run's seed, from 0.
        epoch: from 0.
        index: the clip's place in its list; -1 stands for the order of the epoch.
    """
    # index + 1: SeedSequence wants numbers from 0.
    state = np.random.SeedSequence([seed, epoch, index + 1]).generate_state(1, np.uint64)
    return int(state[0]) >> 1


class SeededSampler(Sampler[tuple[int, int]]):
    """Yields (index, seed) of every clip of an epoch; both follow from (seed, epoch) alone.

    Since the seed travels with the index, what a clip looks like does not depend on the number of loader workers or on
    what ran before, and an epoch can be entered in the middle.

    Args:
        length: number of clips.
        seed: the run's seed, from 0.
        shuffle: whether each epoch has an order of its own; False keeps the list's order.
    """

    def __init__(self, length: int, seed: int = 0, shuffle: bool = False):
        if seed < 0:
            raise ValueError(f"seed {seed}: must be 0 or more")
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.epoch, self.position = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Moves to the beginning of an epoch; leaves the position alone where that epoch is the present one."""
        if epoch != self.epoch:
            self.resume(epoch, 0)

    def resume(self, epoch: int, position: int) -> None:
        """Moves to a place inside an epoch: the first ``position`` clips of its order count as seen."""
        self.epoch, self.position = epoch, position

    def __len__(self) -> int:
        """The clips of a whole epoch, also where it is entered in the middle: progress is counted against it."""
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = range(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, -1))
            order = torch.randperm(self.length, generator=generator).tolist()
        for index in order[self.position :]:
            yield index, seed_of(self.seed, epoch, index)


class ResumableLoader(DataLoader):
    """A loader over a ``SeededSampler`` whose state is the place in the epoch, saved and restored by Lightning.

    Counts the batches handed out, not those that workers have fetched ahead.
    """

    _handed_out: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that nothing starts before the first batch is wanted: Lightning asks for an iterator before it
        # tells the epoch.
        epoch, position = self.sampler.epoch, self.sampler.position
        for batch in super().__iter__():
            position = min(position + self.batch_size, len(self.sampler))
            self._handed_out = (epoch, position)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place of the next clip as plain numbers: {"epoch", "position"}."""
        epoch, position = self._handed_out or (self.sampler.epoch, self.sampler.position)
        complete = position >= min(len(self) * self.batch_size, len(self.sampler))
        return {"epoch": epoch + 1, "position": 0} if complete else {"epoch": epoch, "position": position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues at a place given by ``state_dict``."""
        self._handed_out = None
        self.sampler.resume(state["epoch"], state["position"])
