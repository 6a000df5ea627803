"""The order and the random seeds of the clips of an epoch, shared by processes and resumable in the middle."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from taggnn.data.workers import WorkerLoader
from taggnn.names import unknown
from taggnn.runtime import distributed

Balance = Literal["none", "sqrt", "class"]
# A class of n clips is drawn in proportion to n to this power.
_POWERS = {"none": 1.0, "sqrt": 0.5, "class": 0.0}
_GOLDEN = (5**0.5 - 1) / 2


def seed_of(seed: int, epoch: int, index: int, occurrence: int = 0) -> int:
    """The seed of all random draws of one clip in one epoch: a hash of the numbers, below 2**63.

    Args:
        seed: the run's seed, from 0.
        epoch: from 0.
        index: the clip's index in its list; -1 for the order of the epoch.
        occurrence: how often the clip was drawn before in this epoch.
    """
    # index + 1: SeedSequence takes numbers from 0.
    numbers = [seed, epoch, index + 1, *([occurrence] if occurrence else [])]
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def class_shares(labels: Sequence[int], balance: Balance) -> dict[int, float]:
    """The share of each class in an epoch, for the classes that have clips.

    Source: Kang et al., Decoupling representation and classifier, https://arxiv.org/abs/1910.09217, equation 1; square
    root: Mahajan et al., https://arxiv.org/abs/1805.00932. Formula: ``p_c = n_c ** q / sum_i n_i ** q`` with n_c clips of
    class c, and q = 1 ("none"), 1/2 ("sqrt") or 0 ("class": every class equally likely).

    Args:
        labels: the class of every clip.
        balance: "none", "sqrt" or "class".

    Raises:
        ValueError: an unknown balance.
    """
    if balance not in _POWERS:
        raise unknown("balance", balance, _POWERS)
    weights = {label: count ** _POWERS[balance] for label, count in sorted(Counter(labels).items())}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


class SeededSampler(Sampler[tuple[int, int]]):
    """Yields (index, seed) of every clip of an epoch; both depend on (seed, epoch) alone.

    Since the seed is yielded with the index, a sample does not depend on the number of loader workers or on earlier ones,
    and an epoch can be resumed in the middle.

    With ``balance`` an epoch keeps its length, but rare classes are drawn more often than they occur (``class_shares``)
    [ours]: each class gets its share of every epoch to within one clip, and exactly over many epochs; its clips are drawn in
    passes, each in a new order and continued in the next epoch, so that no clip of a class is repeated before all of them
    were drawn. A clip that is drawn twice in an epoch has another seed each time.

    Args:
        length: number of clips.
        seed: the run's seed, from 0.
        shuffle: whether each epoch has another order; False keeps the list's order.
        labels: the class of every clip; required by balance.
        balance: how classes share an epoch; "none" draws every clip once.

    Raises:
        ValueError: a negative seed, an unknown balance, or one without labels or shuffling.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        shuffle: bool = False,
        labels: Sequence[int] | None = None,
        balance: Balance = "none",
    ):
        if seed < 0:
            raise ValueError(f"seed {seed}: must be 0 or more")
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.epoch, self.position = 0, 0
        self.shares: dict[int, float] | None = None
        if balance != "none":
            if labels is None or len(labels) != length or not shuffle:
                raise ValueError(f"balance {balance!r}: needs shuffling and the label of each of the {length} clips")
            self.shares = class_shares(labels, balance)
            order = np.argsort(labels, kind="stable")
            sizes = Counter(labels)
            ends = np.cumsum([sizes[label] for label in self.shares])[:-1]
            self.clips_of = dict(zip(self.shares, (part.tolist() for part in np.split(order, ends)), strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Moves to the beginning of an epoch; keeps the position if it is the current epoch."""
        if epoch != self.epoch:
            self.resume(epoch, 0)

    def resume(self, epoch: int, position: int) -> None:
        """Moves into an epoch: the first ``position`` clips of its order are skipped."""
        self.epoch, self.position = epoch, position

    def __len__(self) -> int:
        """The clips of a whole epoch, also after ``resume``."""
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, position = self.epoch, self.position
        order: Sequence[int] = range(self.length) if self.shares is None else self._drawn(epoch)
        if self.shuffle:
            shuffled = torch.randperm(self.length, generator=_generator(seed_of(self.seed, epoch, -1))).tolist()
            order = [order[k] for k in shuffled]
        occurrences = Counter(order[:position])
        for index in order[position:]:
            yield index, seed_of(self.seed, epoch, index, occurrences[index])
            occurrences[index] += 1

    def _drawn(self, epoch: int) -> list[int]:
        """The clips of an epoch, class by class."""
        drawn: list[int] = []
        counts, before = self._counts(epoch)
        for label, count, first in zip(self.clips_of, counts, before, strict=True):
            clips = self.clips_of[label]
            for number in range(first // len(clips), -(-(first + count) // len(clips))):
                # One pass over the class; index -1 is different from those of clips.
                generator = _generator(seed_of(self.seed, number, -1, label + 1))
                order = torch.randperm(len(clips), generator=generator).tolist()
                start = number * len(clips)
                drawn += [clips[k] for k in order[max(first - start, 0) : first + count - start]]
        return drawn

    def _counts(self, epoch: int) -> tuple[list[int], list[int]]:
        """How many clips of each class an epoch draws, and how many all earlier epochs drew.

        Systematic sampling: the classes are consecutive intervals of a line as long as the epoch, and a clip is drawn at
        every whole number plus an offset. The offset grows by the golden ratio, modulo 1, which fills [0, 1) most evenly.
        """
        assert self.shares is not None
        ends = np.cumsum([0.0, *self.shares.values()]) * self.length
        ends[-1] = self.length
        start = seed_of(self.seed, 0, -1) / 2**63
        offsets = (start + _GOLDEN * np.arange(epoch + 1)) % 1
        counts = np.diff(np.floor(ends + offsets[:, None]).astype(np.int64), axis=1)
        return counts[-1].tolist(), counts[:-1].sum(0).tolist()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class SharedBatches(Sampler[list[Any]]):
    """Batches of keys shared by all processes; with a single process, plain batches in the order of the keys.

    Formula: of W processes, process r takes every W-th key from the r-th on of the k-th global batch,
    ``keys[k W b : (k + 1) W b]``. So W processes with batches of b see the same as one process with batches of W b. Every
    process gets the same number of batches, since gradients, weights and statistics are exchanged by all or by none: where
    the last global batch has fewer keys than there are processes, some get an empty one.

    Args:
        sampler: the keys, the same in every process: a ``SeededSampler``, or any sequence.
        batch_size: b, keys in the batch of one process.
        drop_last: leave out the last global batch if it is not full.
        process: (r, W); None: those of the process group, read each time, so that the object may be made before it.

    Raises:
        ValueError: a batch size below 1, or an impossible process.
    """

    def __init__(
        self,
        sampler: "SeededSampler | Sequence[Any]",
        batch_size: int,
        drop_last: bool = False,
        process: tuple[int, int] | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: must be 1 or more")
        if process is not None and not 0 <= process[0] < process[1]:
            raise ValueError(f"process {process}: expected (rank, world size)")
        self.sampler, self.batch_size, self.drop_last, self._process = sampler, batch_size, drop_last, process

    @property
    def step(self) -> int:
        """Keys in a full global batch."""
        return self.batch_size * self._rank_and_world_size()[1]

    def __len__(self) -> int:
        """The batches of a whole epoch, also after ``resume``."""
        return self.count(len(self.sampler))

    def count(self, keys: int) -> int:
        """Number of batches of this many keys."""
        return keys // self.step if self.drop_last else -(-keys // self.step)

    def __iter__(self) -> Iterator[list[Any]]:
        keys, step, (rank, world_size) = iter(self.sampler), self.step, self._rank_and_world_size()
        while batch := list(islice(keys, step)):
            if len(batch) == step or not self.drop_last:
                yield batch[rank::world_size]

    def _rank_and_world_size(self) -> tuple[int, int]:
        return self._process or (distributed.rank(), distributed.world_size())


class SharedGroups(Sampler[list[Any]]):
    """Groups of batches, such as those with the views of one clip, distributed to the processes in turn.

    Each process has batches that a single process would have, so that results are equal to the last bit. All have the same
    number of batches: at the end some may get empty ones.

    Args:
        groups: all batches, the same in every process; equally many in each group.
    """

    def __init__(self, groups: Sequence[Sequence[list[Any]]]):
        self.groups = groups
        self._shared = SharedBatches(groups, 1)

    def __len__(self) -> int:
        return sum(map(len, self.groups[:1])) * len(self._shared)

    def __iter__(self) -> Iterator[list[Any]]:
        for mine in self._shared:
            yield from mine[0] if mine else [[] for _ in self.groups[0]]


class EpochLoader(WorkerLoader):
    """A loader over a ``SeededSampler`` that starts any epoch at any clip.

    A position in an epoch is a number of clips of all processes, so that another number of processes can resume.

    Args:
        dataset: indexed by the sampler's keys.
        sampler: the order.
        batch_size: clips in the batch of one process.
        drop_last: leave out the last global batch if it is not full.
        options: further options of ``WorkerLoader``.
    """

    def __init__(
        self, dataset: Dataset, sampler: SeededSampler, batch_size: int, drop_last: bool = False, **options: Any
    ):
        shared = SharedBatches(sampler, batch_size, drop_last)
        super().__init__(dataset, batch_sampler=shared, **options)
        self.order, self.shared = sampler, shared

    @property
    def clips(self) -> int:
        """The clips of a whole epoch."""
        return len(self.order)

    @property
    def step(self) -> int:
        """Clips in a full global batch."""
        return self.shared.step

    def batches(self, position: int = 0) -> int:
        """Number of batches of an epoch after its first ``position`` clips."""
        return self.shared.count(self.clips - position)

    def epoch(self, number: int, position: int = 0) -> Iterator[Any]:
        """The batches of an epoch after its first ``position`` clips."""
        self.order.resume(number, position)
        return iter(self)
