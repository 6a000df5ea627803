"""The data module: from a source, a root folder and a few options to the loaders of training, validation and test."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import NAMED, ClipList
from taggnn.data.dataset import ClipDataset, TrainingViews, collate, collate_views
from taggnn.data.few import SYNTHETIC, few
from taggnn.data.flip_pairs import flipped_labels, likely_flip_pairs
from taggnn.data.lists.fold_clips import fold_lists, select
from taggnn.data.lists.splits import SPLITS, Splits, read_splits
from taggnn.data.lists.text import lines_of, text_of
from taggnn.data.problems import Problem
from taggnn.data.samplers import Balance, EpochLoader, SeededSampler, SharedBatches, SharedGroups, class_shares
from taggnn.data.sources import build
from taggnn.data.synthetic_set import SyntheticSet
from taggnn.data.views import EvaluationViews, collate_evaluation_views, view_batches
from taggnn.data.workers import WorkerLoader, check_shared_memory, exit_when_undelivered
from taggnn.names import unknown
from taggnn.runtime import distributed
from taggnn.runtime.printable import one_line
from taggnn.runtime.signals import leave_to_parent
from taggnn.types import InputSpec, Source

# M_MMAP_THRESHOLD of malloc.h
_MMAP_THRESHOLD = -3


class ClipData:
    """The data set: labelled clips of a folder, as batches.

    Where the splits come from, and what happens when one is absent, is written in ``splits.read_splits``; every choice
    made there is printed. After ``setup`` the lists are ``train_clips``, ``val_clips``, ``test_clips`` and the class
    names ``classes``.

    A training clip depends on (seed, epoch, index) only: not on the number of workers, and not on earlier batches. The
    global random streams are not touched.

    Args:
        source: what makes a sample of a clip: such as ``VideoSource(frames=8)``, or its name in ``sources.SOURCES``.
        root: folder of the clips; not needed where the source has its own lists, as stored tokens do.
        train_list: list file of the training clips, authors' CSV or ``path label`` lines; null: the folder train_folder.
        val_list: list file of the validation clips; null: the folder val_folder.
        test_list: list file of the test clips; null: the folder test_folder.
        train_folder: folder inside root with the class folders of training, used without train_list.
        val_folder: folder inside root with the class folders of validation, used without val_list.
        test_folder: folder inside root with the class folders of the test, used without test_list; "." for all of root.
        fold: folder of one fold that taggnn.folds wrote; its train.csv, val.csv and test.csv replace all other lists, folders and
            published splits; of stored tokens it chooses among their clips.
        classes: class names in label order, or a text file with one name a line; null: those of the training clips.
        dataset: published data set whose lists and clips are found below root: of videos gym99, gym288, haa500, diving48, ssv2,
            kinetics, ucf101 or hmdb51; of skeletons ntu60, ntu120, nw_ucla, pku_mmd, gym99_skeleton or diving48_skeleton; null:
            own lists or folders.
        version: version or numbered split of the published data set; null: its default, which is printed.
        annotations: folder with the lists of the published data set; null: root.
        missing: what to do with listed files that do not exist, stop or leave them out with a note; null: skip for a
            published data set, error for own lists.
        val_fraction: part of the clips, 0 to 1, to hold out where there is no validation split.
        test_fraction: part of the clips, 0 to 1, to hold out as test where root has no splits at all.
        synthetic: make a synthetic data set in root first if it is not there: its name, of videos motions, regions,
            relation, order or both, or true for motions; requires a flip of 0 or its flip_pairs.
        flip_pairs: classes that a horizontal flip turns into one another, such as {left turn: right turn}; a flipped
            clip gets the label of the other.
        balance: how often classes appear in a training epoch of unchanged length: as listed, by the square root of their
            clips, or all equally.
        batch_size: clips in a batch of each process.
        workers: loader processes; null: one less than there are cores, at most 8, and none on one or two cores or with
            stored tokens.
        seed: seed of the order, the augmentation and the held-out clips.
        drop_last: leave out the last training batch of an epoch, over all processes, if it is not full.
        fast: keep a few clips of each split, for a smoke run, see ``few``; not of stored tokens (default false).

    Raises:
        FileNotFoundError: in ``setup``, if the root, a list or a listed file does not exist.
        ValueError: if an option is out of range, or there is no root; in ``setup``, if a list is wrong, or the batches of the
            loader processes do not fit into the shared memory.
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
        fold: str | None = None,
        classes: list[str] | str | None = None,
        dataset: str | None = None,
        version: str | None = None,
        annotations: str | None = None,
        missing: Literal["error", "skip"] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        synthetic: bool | str = False,
        flip_pairs: dict[str, str] | None = None,
        balance: Balance = "none",
        batch_size: int = 8,
        workers: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        fast: bool = False,
    ):
        # What makes samples
        self.source = build(source)
        self.capabilities = capabilities_of(self.source)
        # Where the clips and their splits come from
        self.root = root if root is not None else self.capabilities.origin
        self.lists = dict(zip(SPLITS, (train_list, val_list, test_list), strict=True))
        self.folders = dict(zip(SPLITS, (train_folder, val_folder, test_folder), strict=True))
        self.fold = fold
        self.given_classes = classes
        self.dataset, self.version, self.annotations, self.missing = dataset, version, annotations, missing
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.synthetic, self.fast = synthetic, fast
        # How training draws them
        self.seed, self.flip_pairs, self.balance = seed, flip_pairs or {}, balance
        # How they are loaded
        self.batch_size, self.drop_last = batch_size, drop_last
        self.workers = default_workers() if workers is None else workers
        self._check()
        if self.capabilities.workers is not None:
            self.workers = self.capabilities.workers
        self._splits: Splits | None = None

    def _check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"data.batch_size {self.batch_size}: must be 1 or more")
        if self.workers < 0:
            raise ValueError(f"data.workers {self.workers}: must be 0 or more")
        self._check_synthetic()
        if self.root is None and self.capabilities.splits is None:
            raise ValueError("data.root: missing; give the folder that holds the clips")

    def _check_synthetic(self) -> None:
        made, flip, kind = self._synthetic_set(), self.capabilities.flip, self.spec.kind
        if made is None:
            return
        pairs = (flipped_labels(given, made.classes) for given in (self.flip_pairs, made.flip_pairs))
        if flip and next(pairs) != next(pairs):
            raise ValueError(
                f"{kind}.flip {flip}: must be 0 for the synthetic set, where left and right are the label, or give "
                f"data.flip_pairs: {dict(made.flip_pairs)}"
            )

    def _synthetic_set(self) -> SyntheticSet | None:
        """The synthetic set to make; None: the clips are there."""
        if not self.synthetic or self.capabilities.splits is not None:
            return None
        sets = self.capabilities.synthetic
        if not sets:
            raise ValueError(f"data.synthetic: there is no synthetic set of the source {self.spec.kind}")
        if self.synthetic is True:
            return next(iter(sets.values()))
        if self.synthetic not in sets:
            raise unknown("synthetic set", self.synthetic, sets, "data.synthetic")
        return sets[self.synthetic]

    @property
    def spec(self) -> InputSpec:
        """What batches hold."""
        return self.source.spec

    @property
    def model_spec(self) -> InputSpec:
        """The input of the whole model: that of the batches, or of the videos that stored tokens were made from."""
        return self.capabilities.model_spec

    def prepare_data(self) -> None:
        """Makes the synthetic set where the option says so."""
        made = self._synthetic_set()
        if made is not None:
            assert self.root is not None
            made.make(self.root, seed=0, **({"clips_per_class": SYNTHETIC} if self.fast else {}))

    def setup(self) -> None:
        """Reads the lists and folders, once, and prints what was found."""
        check_shared_memory(self.spec, self.batch_size, self.workers)
        self._read()

    def setup_only(self, split: str) -> None:
        """As ``setup``, but reads only what one split needs: the others stay None."""
        check_shared_memory(self.spec, self.batch_size, self.workers)
        self._read(split)

    def setup_for_check(self) -> list[Problem]:
        """As ``setup``, but leaves wrong rows out and returns what is wrong with them."""
        problems: list[Problem] = []
        self._read(problems=problems)
        return problems

    def _read(self, only: str | None = None, problems: list[Problem] | None = None) -> Splits:
        if self._splits is None:
            own = self._own_splits()
            self._splits = own or self._read_splits(only, problems)
            if self.fast and own is None:
                self._splits = few(self._splits)
            # An unknown class name is refused before any long work.
            flipped_labels(self.flip_pairs, self._splits.classes)
            if distributed.is_main_process():
                print(self.summary())
        return self._splits

    def _own_splits(self) -> Splits | None:
        """The splits of the source itself, of which a fold chooses; None: it has none."""
        own = self.capabilities.splits
        return own if own is None or self.fold is None else select(own, self.fold, str(self.capabilities.origin))

    def _read_splits(self, only: str | None, problems: list[Problem] | None) -> Splits:
        assert self.root is not None
        published = {"dataset": self.dataset, "version": self.version, "annotations": self.annotations}
        lists = self.lists
        if self.fold is not None:
            lists = {part: str(path.absolute()) for part, path in fold_lists(Path(self.fold)).items()}
            published = dict.fromkeys(published)
        return read_splits(
            self.root,
            lists,
            self.folders,
            _read_class_names(self.given_classes),
            self.missing,
            self.val_fraction,
            self.test_fraction,
            self.seed,
            only,
            problems,
            **published,
            endings=self.capabilities.endings,
        )

    @property
    def splits(self) -> Splits:
        """The clip lists; read on first use."""
        return self._read()

    @property
    def split_options(self) -> dict[str, Any]:
        """The options, besides the files, that the splits depend on, as a checkpoint stores them."""
        if self.capabilities.split_options is not None:
            return self.capabilities.split_options
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
        """Clips of each split, classes, and every choice that was made for the user."""
        splits = self.splits
        lists = {split: getattr(splits, split) for split in SPLITS}
        counts = ", ".join(f"{split} {len(clips)}" for split, clips in lists.items() if clips is not None)
        lines = [
            f"data {self.capabilities.origin or self.root}: {counts} clips, {len(splits.classes)} classes",
            *splits.notes,
        ]
        for split, clips in lists.items():
            if clips is not None and clips.missing and not (split == "test" and clips is splits.val):
                names = ", ".join(clips.missing[:NAMED]) + (", ..." if len(clips.missing) > NAMED else "")
                share = f"{len(clips.missing)} of {clips.listed}"
                lines.append(f"{split}: {share} listed files do not exist and are left out: {names}")
        lines += [f"{name}: {note}" for name, note in self.capabilities.notes().items()]
        if splits.train is not None and self.balance != "none":
            lines.append(_balance_note(splits.train, self.balance))
        if splits.train is not None and self.capabilities.flip:
            lines += _flip_warning(splits.classes, self.flip_pairs, f"{self.spec.kind}.flip")
        return "\n".join(map(one_line, lines))

    def train_dataloader(self) -> EpochLoader:
        """Shuffled, augmented, shared by all processes; its ``order`` can be entered anywhere in an epoch."""
        clips, dataset = self._clips("train"), self.samples("train", train=True)
        labels = [clip.label for clip in clips.clips]
        sampler = SeededSampler(len(clips), self.seed, shuffle=True, labels=labels, balance=self.balance)
        return EpochLoader(dataset, sampler, self.batch_size, self.drop_last, **self._loader_options())

    def val_dataloader(self) -> WorkerLoader:
        """The list without augmentation, see ``eval_dataloader``."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> WorkerLoader:
        """The list without augmentation, see ``eval_dataloader``."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str, views: int = 1, crops: int = 1) -> WorkerLoader:
        """Any split, "train" too, as evaluation sees it: without augmentation, and in the order of the list.

        Several processes share it: each gets batches that a single process would have, all have the same number of them,
        perhaps empty, and each clip goes to one process.

        Args:
            split: name of the split.
            views: choices of frames of a clip, spread over its length; 1 is the one of evaluation.
            crops: crops of each; 1 is the central one. Views and crops count as clips in a batch, see ``view_batches``.

        Raises:
            ValueError: several views of a source that gives one, or crops where frames are stretched.
        """
        count, samples = len(self._clips(split)), self.samples(split)
        if views == crops == 1:
            keys = [(index, 0) for index in range(count)]
            batches = [[keys[first : first + self.batch_size]] for first in range(0, count, self.batch_size)]
            return self._loader(samples, SharedGroups(batches))
        # Impossible numbers are refused here, before batches are made of them.
        dataset = EvaluationViews(samples, views, crops)
        groups = view_batches(count, views, crops, self.batch_size)
        return self._loader(dataset, SharedGroups(groups), collate_evaluation_views)

    def loader_of(
        self, split: str, batches: SharedBatches | Sequence[Sequence[tuple[int, int]]], train: bool = False
    ) -> WorkerLoader:
        """Chosen clips in chosen batches.

        Args:
            split: name of the split.
            batches: the keys (index, seed) of each batch, as ``SeededSampler`` yields them.
            train: as training sees them.
        """
        return self._loader(self.samples(split, train), batches)

    def loader_of_views(
        self, split: str, batches: Sequence[Sequence[tuple[int, Sequence[int]]]], evaluation: bool
    ) -> WorkerLoader:
        """Several views of chosen clips in chosen batches, each clip decoded once; gives a list with a batch for each view.

        Args:
            split: name of the split.
            batches: the keys (index, seeds) of each batch: one training view for each seed.
            evaluation: whether the view of evaluation comes last.
        """
        views = max((len(seeds) for batch in batches for _, seeds in batch), default=0) + evaluation
        check_shared_memory(self.spec, self.batch_size * views, self.workers)
        return self._loader(TrainingViews(self.samples(split, train=True), evaluation), batches, collate_views)

    def samples(self, split: str, train: bool = False) -> ClipDataset:
        """The clips of a split as evaluation sees them, or as training does."""
        clips = self._clips(split)
        labels = flipped_labels(self.flip_pairs, clips.classes) if self.flip_pairs and train else None
        return ClipDataset(clips, self.source, train, labels)

    def _clips(self, split: str) -> ClipList:
        clips = getattr(self.splits, split)
        if clips is None:
            raise ValueError(
                f"data {self.root}: no {split} split; give {split}_list, or a folder {self.folders[split]!r}"
            )
        return clips

    def _loader(self, dataset: Any, batches: Any, collate_fn: Any = collate) -> WorkerLoader:
        options = self._loader_options() | {"collate_fn": partial(collate_fn, spec=self.spec)}
        return WorkerLoader(dataset, batch_sampler=batches, **options)

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "collate_fn": partial(collate, spec=self.spec),
            "worker_init_fn": init_worker,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # Without its own generator a loader draws from the global stream each epoch, and a resumed run would differ.
            "generator": torch.Generator().manual_seed(self.seed),
        }


def init_worker(worker: int) -> None:
    """What a loader process does first."""
    return_freed_memory()
    exit_when_undelivered()
    leave_to_parent()


def return_freed_memory() -> None:
    """Keeps a loader process from growing with every clip it makes, where the C library is glibc.

    By default glibc raises its mmap threshold to the size of freed blocks and takes later ones from the heap, where small
    blocks in between keep them: a clip of 2 MB, made and handed over, left 2 MB behind. With a fixed threshold large blocks
    come from the system and go back to it.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**17)


def default_workers() -> int:
    """Loader processes for this machine: cores less one, at most 8; none on one or two cores, so that training has them.

    Several training processes on a machine share its cores.
    """
    cores = distributed.cores() // distributed.local_world_size()
    return 0 if cores <= 2 else min(8, cores - 1)


def _balance_note(clips: ClipList, balance: Balance) -> str:
    """How often an epoch shows a clip of the rarest and of the most frequent class."""
    shares = class_shares([clip.label for clip in clips.clips], balance)
    counts = clips.counts
    parts = [
        f"a clip of the {which} class {clips.classes[k]!r} ({counts[k]} clips) comes "
        f"{shares[k] * len(clips) / counts[k]:.3g} times an epoch"
        for which, k in (
            ("rarest", min(shares, key=counts.__getitem__)),
            ("largest", max(shares, key=counts.__getitem__)),
        )
    ]
    return f"train: balance {balance}: {', '.join(parts)}"


def _flip_warning(classes: Sequence[str], flip_pairs: dict[str, str], key: str) -> list[str]:
    """A warning where, by the classes' names, flipped clips get a wrong label."""
    known = {*flip_pairs, *flip_pairs.values()}
    pairs = {one: other for one, other in likely_flip_pairs(classes).items() if not {one, other} & known}
    if not pairs:
        return []
    shown = ", ".join(f"{one!r}: {other!r}" for one, other in list(pairs.items())[:NAMED])
    return [
        "train: flips turn these classes into one another, not their labels; name them in data.flip_pairs, or set "
        f"{key} 0: {{{shown}{', ...' if len(pairs) > NAMED else ''}}}"
    ]


def _read_class_names(classes: list[str] | str | None) -> list[str] | None:
    """Class names from the option: as they are, or the lines of a file."""
    if isinstance(classes, str):
        file = Path(classes)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file of class names; expected one name a line")
        classes = [line.strip() for line in lines_of(text_of(file)) if line.strip()]
    if classes is not None and (not classes or len(set(classes)) != len(classes)):
        raise ValueError(f"data.classes {classes}: expected class names, each once")
    return classes
