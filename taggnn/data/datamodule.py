"""What the programs know as ``data``: from a root and a few options to loaders of training, validation and test."""

import ctypes
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from taggnn import processes
from taggnn.data.clips import NAMED, ClipList
from taggnn.data.dataset import (
    EVAL_OPTIONS,
    ClipDataset,
    ClipViews,
    collate,
    collate_views,
    eval_sampler,
    eval_transform,
    train_sampler,
)
from taggnn.data.decoders import Decoder, chosen
from taggnn.data.mirror import alike_but_for_side, mirrored_labels
from taggnn.data.order import Balance, ResumableLoader, SeededSampler, SharedBatches, SharedGroups, class_shares
from taggnn.data.problems import Problem
from taggnn.data.splits import SPLITS, Splits, read_splits
from taggnn.data.store import ClipStore
from taggnn.data.synthetic import MIRRORED, MOTIONS, make_synthetic
from taggnn.data.tokens import TokenCache, TokenDataset
from taggnn.data.transforms import RELEASED_MEAN, RELEASED_STD, Transform
from taggnn.data.video import GIVE_UP
from taggnn.data.views import ViewsOfClips, batches_of_views, collate_views_of_clips
from taggnn.signals import leave_to_parent

# M_MMAP_THRESHOLD of malloc.h
_MMAP_THRESHOLD = -3


class ClipData(LightningDataModule):
    """Labelled videos of a folder as batches; defaults are the released recipe of TAG-Head but for the number of frames.

    Where the splits come from, and what happens when one is absent, is written in ``splits.read_splits``; every choice
    made there is printed. After ``setup`` the lists are ``train_clips``, ``val_clips``, ``test_clips`` and the class
    names ``classes``.

    A training clip depends on (seed, epoch, index) only: not on the number of workers, and not on what ran before. The
    global random streams are not touched.

    Args:
        root: folder that holds the videos.
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
        frames: T, frames of a clip that the model sees.
        sampling: how they are chosen: spread evenly, one at random of each of T segments, or a window of neighbours.
        stride: distance of neighbours in frames with dense sampling.
        temporal_jitter: part of the distance between frames by which training moves each of them, 0 to 1; with uniform
            sampling.
        temporal_scale: smallest and largest part of a clip's length that training looks at, at a random place; with
            uniform and segment sampling.
        short_side: pixels the shorter side is scaled to while decoding; None keeps the video's size.
        size: side of the model's input in pixels, or [height, width].
        flip: probability of a horizontal flip in training; where left and right matter 0, or see ``mirrored``.
        mirrored: classes that a flip turns into one another, such as {left turn: right turn}, named from either side; a
            flipped clip gets the other label.
        scale: smallest and largest part of the area that a training crop covers.
        ratio: smallest and largest distortion of a training crop's aspect; [1, 1] for none.
        randaugment: number of RandAugment operations on a training clip.
        magnitude: their strength, 0 to 30.
        magnitude_std: deviation of that strength, drawn for each operation.
        jitter: largest relative change of brightness, contrast and saturation in training.
        erase: probability that a rectangle of a training clip is erased.
        grey: turn colours to grey.
        stretch: stretch frames to the aspect of the input instead of cutting the middle out, for pictures that are cut to their
            subject already.
        standardise: normalise each clip by its own mean and deviation, where lighting differs from clip to clip.
        mean: mean to subtract from each channel, of pixels in [0, 1]; one number or three. None: what the backbone's weights
            expect, where taggnn.train knows it, else the released 0.45.
        std: deviation to divide each channel by; one number or three. None: likewise, else the released 0.225.
        balance: how classes share a training epoch, whose length stays: as the list has them, in proportion to the square
            root of their clips, or all alike (order.py).
        batch_size: clips in a batch; of several processes, in the batch of each.
        workers: loader processes; None takes one less than there are cores and at most 8, and none on one or two cores.
        seed: what the order, the augmentation and the held-out clips follow from.
        drop_last: leave out the last training batch of an epoch, of all processes together, where it is not full.
        give_up: wall seconds after which the decoding of a clip is given up; the clip is then left out and named.
        decoder: "pyav", "torchcodec", or "auto" for the faster one, which is PyAV; a store always takes PyAV.
        tokens: folder that taggnn.extract wrote: its tokens are the data, and no video is read; root and workers are not used,
            and the clips, the splits and how clips are shown are those of the extraction.
        store: folder that decoded clips are kept in, so that later epochs and runs do not decode them again; filled as clips are
            first read, H x W x 3 bytes a frame, all frames of a clip where they are drawn at random.

    Raises:
        FileNotFoundError: in ``setup``, if the root, a list or a listed file does not exist.
        ValueError: if an option is out of range; in ``setup``, if a list is wrong.
    """

    def __init__(
        self,
        root: str,
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
        frames: int = 16,
        sampling: Literal["uniform", "segment", "dense"] = "uniform",
        stride: int = 1,
        temporal_jitter: float = 0.0,
        temporal_scale: tuple[float, float] = (1.0, 1.0),
        short_side: int | None = 128,
        size: int | list[int] = 112,
        flip: float = 0.5,
        mirrored: dict[str, str] | None = None,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (1.0, 1.0),
        randaugment: int = 0,
        magnitude: int = 9,
        magnitude_std: float = 0.0,
        jitter: float = 0.0,
        erase: float = 0.0,
        grey: bool = False,
        stretch: bool = False,
        standardise: bool = False,
        mean: float | tuple[float, float, float] | None = None,
        std: float | tuple[float, float, float] | None = None,
        balance: Balance = "none",
        batch_size: int = 8,
        workers: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        give_up: float = GIVE_UP,
        decoder: Decoder = "auto",
        tokens: str | None = None,
        store: str | None = None,
    ):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size {batch_size}: must be 1 or more")
        if workers is not None and workers < 0:
            raise ValueError(f"data.workers {workers}: must be 0 or more")
        if not give_up > 0:
            raise ValueError(f"data.give_up {give_up}: must be above 0 seconds")
        if (
            synthetic
            and flip
            and mirrored_labels(mirrored or {}, list(MOTIONS)) != mirrored_labels(MIRRORED, list(MOTIONS))
        ):
            raise ValueError(
                f"data.flip {flip}: must be 0 for the synthetic set, where left and right are the label, or its classes be "
                f"named: data.mirrored: {MIRRORED}"
            )
        if tokens is not None and store is not None:
            raise ValueError(
                f"data.tokens {tokens} and data.store {store}: one of them is possible; with tokens no clip is decoded"
            )
        self.root = root
        self.cache = None if tokens is None else TokenCache(tokens)
        self.store = None if store is None else ClipStore(store)
        self.lists = dict(zip(SPLITS, (train_list, val_list, test_list), strict=True))
        self.folders = dict(zip(SPLITS, (train_folder, val_folder, test_folder), strict=True))
        self.dataset, self.version, self.annotations = dataset, version, annotations
        self.given_classes, self.missing = classes, missing
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.synthetic, self.seed = synthetic, seed
        self.mirrored, self.balance = mirrored or {}, balance
        self.batch_size, self.drop_last = batch_size, drop_last
        self.give_up, self.decoder = give_up, chosen(decoder)
        # Stored tokens are read faster than a loader process hands them over.
        self.workers = 0 if tokens is not None else default_workers() if workers is None else workers
        with _named_as_keys():
            self.train_transform = Transform(
                size=size,
                train=True,
                flip=flip,
                scale=scale,
                ratio=ratio,
                randaugment=randaugment,
                magnitude=magnitude,
                magnitude_std=magnitude_std,
                jitter=jitter,
                erase=erase,
                grey=grey,
                stretch=stretch,
                standardise=standardise,
                mean=RELEASED_MEAN if mean is None else mean,
                std=RELEASED_STD if std is None else std,
            )
        options = self.train_transform.options
        # What evaluation and prediction need to see a clip as this module shows it: a checkpoint stores it.
        self.preprocess: dict[str, Any] = {
            "frames": frames,
            "sampling": sampling,
            "stride": stride,
            "short_side": short_side,
            **{option: options[option] for option in EVAL_OPTIONS},
        }
        if self.cache is not None:
            self.preprocess = self.cache.preprocess
        with _named_as_keys(jitter="temporal_jitter", scale="temporal_scale"):
            self.sampler = eval_sampler(self.preprocess)
            self.train_sampler = train_sampler(self.preprocess, temporal_jitter, temporal_scale)
        self._splits: Splits | None = None

    def prepare_data(self) -> None:
        """Makes the synthetic set where it is asked for."""
        if self.synthetic and self.cache is None:
            make_synthetic(self.root, seed=0)

    def setup(self, stage: str | None = None) -> None:
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
            self._splits = self.cache.splits if self.cache is not None else self._listed(only, problems)
            # A wrong name is told before any long work.
            mirrored_labels(self.mirrored, self._splits.classes)
            rank_zero_only(print)(self.summary())

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
        )

    @property
    def splits(self) -> Splits:
        """The clip lists; read on first use."""
        self.setup()
        return self._splits

    @property
    def split_options(self) -> dict[str, Any]:
        """What the splits follow from beside the files, as a checkpoint stores it."""
        if self.cache is not None:
            return self.cache.split_options
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
            f"data {self.root if self.cache is None else self.cache.folder}: {counts} clips, {len(splits.classes)} classes",
            *splits.notes,
        ]
        for split, clips in lists.items():
            if clips is not None and clips.missing and not (split == "test" and clips is splits.val):
                named = ", ".join(clips.missing[:NAMED]) + (", ..." if len(clips.missing) > NAMED else "")
                share = f"{len(clips.missing)} of {len(clips) + len(clips.missing)}"
                lines.append(f"{split}: {share} listed files do not exist and are left out: {named}")
        if self.store is not None:
            lines.append(f"store: {self.store.summary()}")
        if splits.train is not None and self.balance != "none":
            lines.append(_balanced(splits.train, self.balance))
        if splits.train is not None and self.cache is None and self.train_transform.flip:
            lines += _unnamed(splits.classes, self.mirrored)
        return "\n".join(lines)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled, augmented, shared by all processes; its place in the epoch is part of Lightning's checkpoints."""
        clips, dataset = self._given("train"), self.samples("train", train=True)
        labels = [clip.label for clip in clips.clips]
        sampler = SeededSampler(len(clips), self.seed, shuffle=True, labels=labels, balance=self.balance)
        return ResumableLoader(dataset, sampler, self.batch_size, self.drop_last, **self._loader_options())

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
            ValueError: several views of stored tokens, or crops where frames are stretched.
        """
        count, dataset, options = len(self._given(split)), self.samples(split), self._loader_options()
        if views == crops == 1:
            keys = [(index, 0) for index in range(count)]
            groups = [[keys[first : first + self.batch_size]] for first in range(0, count, self.batch_size)]
        elif self.cache is not None:
            raise ValueError(
                f"views {views}, crops {crops}: stored tokens are of one view of a clip; give the videos to have several"
            )
        else:
            dataset, options["collate_fn"] = ViewsOfClips(dataset, views, crops), collate_views_of_clips
            groups = batches_of_views(count, views, crops, self.batch_size)
        return DataLoader(dataset, batch_sampler=SharedGroups(groups), **options)

    def loader_of(
        self, split: str, batches: SharedBatches | Sequence[Sequence[tuple[int, int]]], train: bool = False
    ) -> DataLoader:
        """Chosen clips in chosen batches.

        Args:
            split: name of the split.
            batches: the keys (index, seed) of each batch, as ``SeededSampler`` yields them.
            train: as training sees them.
        """
        return DataLoader(self.samples(split, train), batch_sampler=batches, **self._loader_options())

    def loader_of_views(
        self, split: str, batches: Sequence[Sequence[tuple[int, Sequence[int]]]], evaluation: bool
    ) -> DataLoader:
        """Several views of chosen clips in chosen batches, each clip decoded once; gives a list of a batch a view.

        Args:
            split: name of the split.
            batches: the keys (index, seeds) of each batch: a training view a seed.
            evaluation: whether the view of evaluation comes behind them.
        """
        views = ClipViews(self.samples(split, train=True), self.samples(split) if evaluation else None)
        return DataLoader(views, batch_sampler=batches, **self._loader_options() | {"collate_fn": collate_views})

    def samples(self, split: str, train: bool = False) -> ClipDataset | TokenDataset:
        """The clips of a split, or their stored tokens, as evaluation sees them or as training does."""
        clips, short_side = self._given(split), self.preprocess["short_side"]
        if self.cache is not None:
            return self.cache.dataset(split, train)
        if not train:
            transform = eval_transform(self.preprocess)
            feeding = {"give_up": self.give_up, "store": self.store, "decoder": self.decoder}
            return ClipDataset(clips, self.sampler, transform, short_side, **feeding)
        mirrored = mirrored_labels(self.mirrored, clips.classes) if self.mirrored else None
        return ClipDataset(
            *(clips, self.train_sampler, self.train_transform, short_side, mirrored, self.give_up, self.store),
            decoder=self.decoder,
        )

    def _given(self, split: str) -> ClipList:
        clips = getattr(self.splits, split)
        if clips is None:
            raise ValueError(
                f"data {self.root}: no {split} split; give {split}_list, or a folder {self.folders[split]!r}"
            )
        return clips

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "collate_fn": collate,
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
    cores = processes.cores() // processes.local_count()
    return 0 if cores <= 2 else min(8, cores - 1)


@contextmanager
def _named_as_keys(**renamed: str) -> Iterator[None]:
    """Refusals that begin with an option's name begin with the configuration's key for it instead."""
    try:
        yield
    except ValueError as error:
        name, rest = re.match(r"(\w*)(.*)", str(error), re.DOTALL).groups()
        key = renamed.get(name, name)
        if key not in signature(ClipData).parameters:
            raise
        raise ValueError(f"data.{key}{rest}") from None


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
        "train: flips turn these classes into one another, not their labels; name them in data.mirrored, or set data.flip 0: "
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
