"""What the programs know as ``data``: from a source, a root and a few options to loaders of training, validation and test."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from taggnn.data.clips import NAMED, ClipList
from taggnn.data.dataset import ClipDataset, ClipViews, collate, collate_views
from taggnn.data.lists.splits import SPLITS, Splits, read_splits
from taggnn.data.mirror import alike_but_for_side, mirrored_labels
from taggnn.data.problems import Problem
from taggnn.data.samplers import Balance, EpochLoader, SeededSampler, SharedBatches, SharedGroups, class_shares
from taggnn.data.sources import build
from taggnn.data.synthetic import MIRRORED, MOTIONS, make_synthetic
from taggnn.data.traits import traits_of
from taggnn.data.views import ViewsOfClips, batches_of_views, collate_views_of_clips
from taggnn.runtime import distributed
from taggnn.runtime.signals import leave_to_parent
from taggnn.types import InputSpec, Source

# M_MMAP_THRESHOLD of malloc.h
_MMAP_THRESHOLD = -3


class ClipData:
    """Labelled clips of a folder as batches, whatever a clip is: the source says so.

    Where the splits come from, and what happens when one is absent, is written in ``splits.read_splits``; every choice
    made there is printed. After ``setup`` the lists are ``train_clips``, ``val_clips``, ``test_clips`` and the class
    names ``classes``.

    A training clip depends on (seed, epoch, index) only: not on the number of workers, and not on what ran before. The
    global random streams are not touched.

    Args:
        source: what makes a sample of a clip: such as ``VideoSource(frames=8)``, or its name in ``sources.SOURCES``.
        root: folder that holds the clips; not needed where the source brings its own lists, as stored tokens do.
        train_list: list file of the training clips (authors' CSV, or ``path label`` lines); None looks for the folder.
        val_list: list file of the validation clips.
        test_list: list file of the test clips.
        train_folder: folder inside root with the class folders of training; used where there is no list.
        val_folder: the same for validation.
        test_folder: the same for test; "." makes the whole root the test split.
        classes: class names in label order, or a text file with one name a line; None takes them from the training
            clips.
        dataset: a published data set by its name (published/): gym99, gym288, haa500, diving48, ssv2, kinetics, ucf101 or
            hmdb51. Its lists and videos are found below root. None: lists of one's own, or folders.
        version: version of the published data set, or its numbered split; None: the default one, which is printed.
        annotations: folder of the published lists, where they do not lie below root.
        missing: what to do with listed files that do not exist: stop, or leave them out and say so. None: leave out what a
            published data set lacks, stop at what lists of one's own lack.
        val_fraction: part of the clips to hold out where there is no validation split.
        test_fraction: part of the clips to hold out as test where root is not split at all.
        synthetic: make the synthetic set in root first, if it is not there (synthetic.py); its clips may be flipped only
            with its classes named in ``mirrored``.
        mirrored: classes that a flip turns into one another, such as {left turn: right turn}, named from either side; a
            flipped clip gets the other label.
        balance: how classes share a training epoch, whose length stays: as the list has them, in proportion to the square
            root of their clips, or all alike (order.py).
        batch_size: clips in a batch; of several processes, in the batch of each.
        workers: loader processes; None takes one less than there are cores and at most 8, and none on one or two cores. Stored
            tokens are always read without any.
        seed: what the order, the augmentation and the held-out clips follow from.
        drop_last: leave out the last training batch of an epoch, of all processes together, where it is not full.

    Raises:
        FileNotFoundError: in ``setup``, if the root, a list or a listed file does not exist.
        ValueError: if an option is out of range, or there is no root; in ``setup``, if a list is wrong.
    """

    def __init__(
        self,
        source: Source | str,
        root: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        train_folder: str = "train",
        val_folder: str = "val",
        test_folder: str = "test",
        classes: list[str] | str | None = None,
        dataset: str | None = None,
        version: str | None = None,
        annotations: str | None = None,
        missing: Literal["error", "skip"] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        synthetic: bool = False,
        mirrored: dict[str, str] | None = None,
        balance: Balance = "none",
        batch_size: int = 8,
        workers: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if batch_size < 1:
            raise ValueError(f"data.batch_size {batch_size}: must be 1 or more")
        if workers is not None and workers < 0:
            raise ValueError(f"data.workers {workers}: must be 0 or more")
        self.source = build(source)
        self.traits = traits_of(self.source)
        flip, motions = self.traits.flip, list(MOTIONS)
        if synthetic and flip and mirrored_labels(mirrored or {}, motions) != mirrored_labels(MIRRORED, motions):
            raise ValueError(
                f"video.flip {flip}: must be 0 for the synthetic set, where left and right are the label, or its classes be "
                f"named: data.mirrored: {MIRRORED}"
            )
        if root is None and self.traits.splits is None:
            raise ValueError("data.root: missing; give the folder that holds the clips")
        self.root = root if root is not None else self.traits.origin
        self.lists = dict(zip(SPLITS, (train_list, val_list, test_list), strict=True))
        self.folders = dict(zip(SPLITS, (train_folder, val_folder, test_folder), strict=True))
        self.dataset, self.version, self.annotations = dataset, version, annotations
        self.given_classes, self.missing = classes, missing
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.synthetic, self.seed = synthetic, seed
        self.mirrored, self.balance = mirrored or {}, balance
        self.batch_size, self.drop_last = batch_size, drop_last
        workers = default_workers() if workers is None else workers
        self.workers = workers if self.traits.workers is None else self.traits.workers
        self._splits: Splits | None = None

    @property
    def spec(self) -> InputSpec:
        """What batches hold."""
        return self.source.spec

    @property
    def model_spec(self) -> InputSpec:
        """What the whole model is fed: that of the batches, but for stored tokens, which stand for something else."""
        return self.traits.model_spec

    def prepare_data(self) -> None:
        """Makes the synthetic set where it is asked for."""
        if self.synthetic and self.traits.splits is None:
            make_synthetic(self.root, seed=0)

    def setup(self) -> None:
        """Reads the lists and folders, once, and prints what was found."""
        self._read()

    def setup_only(self, split: str) -> None:
        """As ``setup``, but reads no more than one split needs: the others stay None."""
        self._read(split)

    def setup_for_check(self) -> list[Problem]:
        """As ``setup``, but goes on where single rows are wrong: leaves them out, and returns what is wrong with them."""
        problems: list[Problem] = []
        self._read(problems=problems)
        return problems

    def _read(self, only: str | None = None, problems: list[Problem] | None = None) -> None:
        if self._splits is None:
            self._splits = self._listed(only, problems) if self.traits.splits is None else self.traits.splits
            # A wrong name is refused before any long work.
            mirrored_labels(self.mirrored, self._splits.classes)
            if distributed.is_main_process():
                print(self.summary())

    def _listed(self, only: str | None, problems: list[Problem] | None) -> Splits:
        return read_splits(
            self.root,
            self.lists,
            self.folders,
            _names(self.given_classes),
            self.missing,
            self.val_fraction,
            self.test_fraction,
            self.seed,
            only,
            problems,
            dataset=self.dataset,
            version=self.version,
            annotations=self.annotations,
            endings=self.traits.endings,
        )

    @property
    def splits(self) -> Splits:
        """The clip lists; read on first use."""
        self.setup()
        return self._splits

    @property
    def split_options(self) -> dict[str, Any]:
        """What the splits follow from besides the files, as a checkpoint stores it."""
        if self.traits.split_options is not None:
            return self.traits.split_options
        return {
            option: getattr(self, option) for option in ("seed", "val_fraction", "test_fraction", "dataset", "version")
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.splits.classes

    @property
    def train_clips(self) -> ClipList | None:
        """Clips to train on; None where only an evaluation split was given."""
        return self.splits.train

    @property
    def val_clips(self) -> ClipList | None:
        """Clips to choose the best epoch on."""
        return self.splits.val

    @property
    def test_clips(self) -> ClipList | None:
        """Clips to report on."""
        return self.splits.test

    def summary(self) -> str:
        """What the data are: clips of each split, classes, and every choice that was made for the user."""
        splits = self.splits
        lists = {split: getattr(splits, split) for split in SPLITS}
        counts = ", ".join(f"{split} {len(clips)}" for split, clips in lists.items() if clips is not None)
        lines = [
            f"data {self.traits.origin or self.root}: {counts} clips, {len(splits.classes)} classes",
            *splits.notes,
        ]
        for split, clips in lists.items():
            if clips is not None and clips.missing and not (split == "test" and clips is splits.val):
                named = ", ".join(clips.missing[:NAMED]) + (", ..." if len(clips.missing) > NAMED else "")
                share = f"{len(clips.missing)} of {len(clips) + len(clips.missing)}"
                lines.append(f"{split}: {share} listed files do not exist and are left out: {named}")
        lines += [f"{name}: {note}" for name, note in self.traits.notes().items()]
        if splits.train is not None and self.balance != "none":
            lines.append(_balanced(splits.train, self.balance))
        if splits.train is not None and self.traits.flip:
            lines += _unnamed(splits.classes, self.mirrored)
        return "\n".join(lines)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled, augmented, shared by all processes; its ``order`` can be entered anywhere in an epoch."""
        clips, dataset = self._given("train"), self.samples("train", train=True)
        labels = [clip.label for clip in clips.clips]
        sampler = SeededSampler(len(clips), self.seed, shuffle=True, labels=labels, balance=self.balance)
        return EpochLoader(dataset, sampler, self.batch_size, self.drop_last, **self._loader_options())

    def val_dataloader(self) -> DataLoader:
        """The list without augmentation, see ``eval_dataloader``."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader:
        """The list without augmentation, see ``eval_dataloader``."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str, views: int = 1, crops: int = 1) -> DataLoader:
        """Any split, "train" too, as evaluation sees it: without augmentation, and in the order of the list.

        Several processes share it: each has batches that one alone would have, all have the same number of them, perhaps empty,
        and each clip comes in one process.

        Args:
            split: name of the split.
            views: choices of frames of a clip, spread over its length; 1 is the one of evaluation.
            crops: crops of each; 1 is the central one. Views and crops count as clips in a batch, see ``batches_of_views``.

        Raises:
            ValueError: several views of a source that gives one, or crops where frames are stretched.
        """
        count, dataset = len(self._given(split)), self.samples(split)
        if views == crops == 1:
            keys = [(index, 0) for index in range(count)]
            groups = [[keys[first : first + self.batch_size]] for first in range(0, count, self.batch_size)]
            return self._loader(dataset, SharedGroups(groups))
        dataset, groups = ViewsOfClips(dataset, views, crops), batches_of_views(count, views, crops, self.batch_size)
        return self._loader(dataset, SharedGroups(groups), collate_views_of_clips)

    def loader_of(
        self, split: str, batches: SharedBatches | Sequence[Sequence[tuple[int, int]]], train: bool = False
    ) -> DataLoader:
        """Chosen clips in chosen batches.

        Args:
            split: name of the split.
            batches: the keys (index, seed) of each batch, as ``SeededSampler`` yields them.
            train: as training sees them.
        """
        return self._loader(self.samples(split, train), batches)

    def loader_of_views(
        self, split: str, batches: Sequence[Sequence[tuple[int, Sequence[int]]]], evaluation: bool
    ) -> DataLoader:
        """Several views of chosen clips in chosen batches, each clip decoded once; gives a list of a batch a view.

        Args:
            split: name of the split.
            batches: the keys (index, seeds) of each batch: a training view a seed.
            evaluation: whether the view of evaluation comes last.
        """
        return self._loader(ClipViews(self.samples(split, train=True), evaluation), batches, collate_views)

    def samples(self, split: str, train: bool = False) -> ClipDataset:
        """The clips of a split as evaluation sees them, or as training does."""
        clips = self._given(split)
        mirrored = mirrored_labels(self.mirrored, clips.classes) if self.mirrored and train else None
        return ClipDataset(clips, self.source, train, mirrored)

    def _given(self, split: str) -> ClipList:
        clips = getattr(self.splits, split)
        if clips is None:
            raise ValueError(
                f"data {self.root}: no {split} split; give {split}_list, or a folder {self.folders[split]!r}"
            )
        return clips

    def _loader(self, dataset: Any, batches: Any, collate_fn: Any = collate) -> DataLoader:
        options = self._loader_options() | {"collate_fn": partial(collate_fn, spec=self.spec)}
        return DataLoader(dataset, batch_sampler=batches, **options)

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "collate_fn": partial(collate, spec=self.spec),
            "worker_init_fn": begin_worker,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # Without its own generator a loader draws from the global stream each epoch, and a resumed run would
            # differ.
            "generator": torch.Generator().manual_seed(self.seed),
        }


def begin_worker(worker: int) -> None:
    """What a loader process does first."""
    give_memory_back()
    leave_to_parent()


def give_memory_back() -> None:
    """Keeps a loader process from growing with every clip it makes, where the C library is GNU's.

    By itself that library takes blocks as large as those freed before out of the heap, where small ones lie between them in the
    end: a clip of 2 MB, made and handed over, left 2 MB behind. Of a fixed size on, blocks now come from the system and go
    back to it.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**17)


def default_workers() -> int:
    """Loader processes that suit this machine: cores less one, at most 8; none where that would starve the training.

    Several processes on a machine share its cores.
    """
    cores = distributed.cores() // distributed.local_world_size()
    return 0 if cores <= 2 else min(8, cores - 1)


def _balanced(clips: ClipList, balance: Balance) -> str:
    """How often an epoch shows a clip of the rarest and of the most frequent class."""
    shares = class_shares([clip.label for clip in clips.clips], balance)
    label = {
        "rarest": min(shares, key=lambda k: clips.counts[k]),
        "largest": max(shares, key=lambda k: clips.counts[k]),
    }
    told = [
        f"a clip of the {which} class {clips.classes[k]!r} ({clips.counts[k]} clips) comes "
        f"{shares[k] * len(clips) / clips.counts[k]:.3g} times an epoch"
        for which, k in label.items()
    ]
    return f"train: balance {balance}: {', '.join(told)}"


def _unnamed(classes: Sequence[str], mirrored: dict[str, str]) -> list[str]:
    """A warning where flipped clips get a label that is wrong by the classes' names."""
    named = {*mirrored, *mirrored.values()}
    pairs = {one: other for one, other in alike_but_for_side(classes).items() if not {one, other} & named}
    if not pairs:
        return []
    shown = ", ".join(f"{one!r}: {other!r}" for one, other in list(pairs.items())[:NAMED])
    return [
        "train: flips turn these classes into one another, not their labels; name them in data.mirrored, or set video.flip 0: "
        f"{{{shown}{', ...' if len(pairs) > NAMED else ''}}}"
    ]


def _names(classes: list[str] | str | None) -> list[str] | None:
    """Class names from the option: as they are, or the lines of a file."""
    if isinstance(classes, str):
        file = Path(classes)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file of class names; expected one name a line")
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: class names must be UTF-8 text, one a line ({error})") from None
        classes = [line.strip() for line in lines if line.strip()]
    if classes is not None and (not classes or len(set(classes)) != len(classes)):
        raise ValueError(f"data.classes {classes}: expected class names, each once")
    return classes
