"""From the rows of a clip list to samples and batches, for any source."""

from collections.abc import Sequence
from dataclasses import replace

from torch.utils.data import Dataset

from taggnn import types
from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import ClipList
from taggnn.types import BadClip, Batch, InputSpec, Sample, Source


class ClipDataset(Dataset):
    """The clips of a list as samples.

    An item's key is (index, seed), as ``samplers.SeededSampler`` yields it. In training every random draw follows from the
    seed; in evaluation it has no effect.

    Args:
        clips: the rows.
        source: makes a sample of a row.
        train: as training sees the clips; False (default): as evaluation does.
        flipped_labels: for each label the one after a horizontal flip, see flip_pairs.py; None (default): unchanged.

    **Shapes:** item ``Sample`` with x ``source.spec.shape``, or a ``BadClip``
    """

    def __init__(
        self, clips: ClipList, source: Source, train: bool = False, flipped_labels: Sequence[int] | None = None
    ) -> None:
        self.clips, self.source, self.train, self.flipped_labels = clips, source, train, flipped_labels

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Sample | BadClip:
        index, seed = key
        return self._labelled(self.source(self.clips[index], seed if self.train else None), index)

    def views(self, index: int, seeds: Sequence[int], evaluation: bool = False) -> list[Sample | BadClip]:
        """Several views of a clip, each equal to the single item; from one decode where the source supports that.

        Args:
            index: the clip's index in the list.
            seeds: one for each training view.
            evaluation: whether the view of evaluation comes last.

        Raises:
            ValueError: no view is requested.
        """
        if not seeds and not evaluation:
            raise ValueError("no seed given; views needs one for each view")
        clip, views_of = self.clips[index], capabilities_of(self.source).views
        if views_of is None:
            items = [self.source(clip, seed) for seed in [*seeds, *([None] if evaluation else [])]]
        else:
            items = views_of(clip, seeds, evaluation)
        return [self._labelled(item, index) for item in items]

    def _labelled(self, item: Sample | BadClip, index: int) -> Sample | BadClip:
        """An item with its index in the list, and its label after a flip."""
        if isinstance(item, BadClip):
            return item
        label = self.flipped_labels[item.label] if item.flipped and self.flipped_labels else item.label
        return replace(item, index=index, label=label)


class TrainingViews(Dataset):
    """Several training views of each clip of a list, each clip decoded once; an item's key is (index, seeds).

    Args:
        samples: the clips as training sees them; a view for each seed.
        evaluation: whether the view of evaluation comes last.

    **Shapes:** item: a list of items of ``ClipDataset``
    """

    def __init__(self, samples: ClipDataset, evaluation: bool):
        self.samples, self.evaluation = samples, evaluation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, Sequence[int]]) -> list[Sample | BadClip]:
        index, seeds = key
        return self.samples.views(index, seeds, self.evaluation)


def collate(items: Sequence[Sample | BadClip], spec: InputSpec) -> Batch:
    """A batch, see ``types.collate``.

    Raises:
        ValueError: a sample has another shape than the spec of its source.
    """
    for item in items:
        if not isinstance(item, BadClip) and tuple(item.x.shape) != spec.shape:
            raise ValueError(f"source {spec.kind}: its spec has shape {spec.shape}, its sample {tuple(item.x.shape)}")
    return types.collate(list(items), spec)


def collate_views(items: Sequence[Sequence[Sample | BadClip]], spec: InputSpec) -> list[Batch]:
    """A batch, as ``collate`` makes it, for each view."""
    return [collate(view, spec) for view in zip(*items, strict=True)]
