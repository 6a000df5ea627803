"""From the clip rows of a list to samples and batches, whatever the source that makes them."""

from collections.abc import Sequence
from dataclasses import replace

from torch.utils.data import Dataset

from taggnn import types
from taggnn.data.capabilities import capabilities_of
from taggnn.data.clips import ClipList
from taggnn.types import BadClip, Batch, InputSpec, Sample, Source


class ClipDataset(Dataset):
    """The clips of a list as samples.

    An item's key is (index, seed), as ``order.SeededSampler`` yields it. In training every random draw follows from the seed;
    in evaluation it changes nothing.

    Args:
        clips: the rows.
        source: makes a sample of a row.
        train: as training sees the clips; False (default): as evaluation does.
        flipped_labels: for each label the one that a clip has after a horizontal flip, see flip_pairs.py; None (default) where a flip
            changes no label.

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
        return self._listed(self.source(self.clips[index], seed if self.train else None), index)

    def views(self, index: int, seeds: Sequence[int], evaluation: bool = False) -> list[Sample | BadClip]:
        """Several views of a clip, each exactly the item that it would be alone; from one decode where the source can do that.

        Args:
            index: the clip's index in the list.
            seeds: one for each training view.
            evaluation: whether the view of evaluation comes last.

        Raises:
            ValueError: no view is wanted.
        """
        if not seeds and not evaluation:
            raise ValueError("no seed given; views needs one a view")
        clip, together = self.clips[index], capabilities_of(self.source).views
        if together is None:
            found = [self.source(clip, seed) for seed in [*seeds, *([None] if evaluation else [])]]
        else:
            found = together(clip, seeds, evaluation)
        return [self._listed(item, index) for item in found]

    def _listed(self, item: Sample | BadClip, index: int) -> Sample | BadClip:
        """An item with its index in the list, and the label that it has after a flip."""
        if isinstance(item, BadClip):
            return item
        label = self.flipped_labels[item.label] if item.flipped and self.flipped_labels else item.label
        return replace(item, index=index, label=label)


class TrainingViews(Dataset):
    """Several views of each clip of a list, each clip decoded once; an item's key is (index, seeds).

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
    """A batch, see ``types.collate``; a source that does not keep to its own spec is refused.

    Raises:
        ValueError: a sample of another shape than the spec's.
    """
    for item in items:
        if not isinstance(item, BadClip) and tuple(item.x.shape) != spec.shape:
            raise ValueError(f"source {spec.kind}: its spec says {spec.shape}, and it made {tuple(item.x.shape)}")
    return types.collate(list(items), spec)


def collate_views(items: Sequence[Sequence[Sample | BadClip]], spec: InputSpec) -> list[Batch]:
    """A batch, as ``collate`` makes it, for each view."""
    return [collate(view, spec) for view in zip(*items, strict=True)]
