"""The types that the parts of taggnn exchange; nothing else of an input is known to them.

    list row -> Clip -> Source: Sample -> Batch -> backbone: Features -> head: Output -> loss and its parts

Axes: B clips, grid the token grid of one clip with time first (T H W for video, T V for skeletons), C channels, K classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

VIDEO_AXES = ("channel", "frame", "height", "width")
SKELETON_AXES = ("channel", "frame", "joint", "person")
TOKEN_AXES = ("frame", "height", "width", "channel")


@dataclass(frozen=True)
class InputSpec:
    """The input of a model, as a checkpoint stores it.

    Args:
        kind: the source that makes such inputs: a name of ``taggnn.data.sources.SOURCES`` ("video", "tokens") or a dotted path.
        axes: names of the axes of one sample, in order: "channel", "frame", "height", "width", "joint", "person", ...
        shape: their sizes.
        options: how a file becomes a sample in evaluation, as plain types, for the source.

    Raises:
        ValueError: sizes that are not positive integers, or not as many as axes.
    """

    kind: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "options", dict(self.options))
        plain = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in self.shape)
        if not plain or len(self.axes) != len(self.shape):
            raise ValueError(
                f"input {self.kind}: shape {self.shape} must have a positive integer for each of {self.axes}"
            )

    def example(
        self, count: int = 1, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Zeros in the shape of a batch. **Shapes:** (count, *shape)"""
        return torch.zeros(count, *self.shape, device=device, dtype=dtype)

    def size(self, *axes: str) -> tuple[int, ...]:
        """Sizes of axes by name.

        Raises:
            ValueError: there is no such axis.
        """
        return tuple(self.shape[position - 1] for position in self.positions(*axes))

    def positions(self, *axes: str) -> tuple[int, ...]:
        """Positions of axes in a batch (B, *shape), by name, from 1.

        Raises:
            ValueError: there is no such axis.
        """
        missing = [axis for axis in axes if axis not in self.axes]
        if missing:
            raise ValueError(f"{self.kind} has no axis {missing[0]!r}; it has {', '.join(self.axes)}")
        return tuple(1 + self.axes.index(axis) for axis in axes)

    @property
    def clip(self) -> tuple[int, int, int]:
        """Frames, height and width of a clip of video."""
        _, frames, height, width = self.shape
        return frames, height, width

    def resized(self, **sizes: int) -> "InputSpec":
        """A copy with other sizes of some axes, by name."""
        self.positions(*sizes)
        return replace(
            self, shape=tuple(sizes.get(axis, size) for axis, size in zip(self.axes, self.shape, strict=True))
        )

    def check(self, x: Tensor, source: str = "the model") -> None:
        """Refuses a batch of another shape.

        Args:
            x: the batch.
            source: what received it, for the message.

        Raises:
            ValueError: it is not (B, *shape) with B of 1 or more.
        """
        if tuple(x.shape[1:]) != self.shape or not len(x):
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"{source} takes {self.kind} (B, {wanted}) with B from 1 on; got {tuple(x.shape)}")

    def plain(self) -> dict[str, Any]:
        """Plain types, for a checkpoint; ``read`` is the inverse."""
        return {"kind": self.kind, "axes": list(self.axes), "shape": list(self.shape), "options": dict(self.options)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "InputSpec":
        """The inverse of ``plain``.

        Raises:
            ValueError: a key is missing, or a size is no positive integer.
        """
        missing = [key for key in ("kind", "axes", "shape") if key not in plain]
        if missing:
            raise ValueError(f"input: no {missing[0]} in it; it has {', '.join(plain) or 'nothing'}")
        return cls(plain["kind"], tuple(plain["axes"]), tuple(plain["shape"]), plain.get("options") or {})

    def __str__(self) -> str:
        return f"{self.kind} ({', '.join(f'{axis} {size}' for axis, size in zip(self.axes, self.shape, strict=True))})"

    def __hash__(self) -> int:
        return hash((self.kind, self.axes, self.shape))


class BadClip(NamedTuple):
    """A clip that could not be read: an entry of a batch's ``skipped`` and of skipped.csv."""

    name: str
    path: str
    reason: str


@dataclass
class Sample:
    """One clip as input of a model.

    Args:
        x: the input.
        label: its class; the partner class if it was flipped and the class has a mirrored one.
        index: its index in the list.
        flipped: whether it was flipped horizontally.

    **Shapes:** x: ``InputSpec.shape``
    """

    x: Tensor
    label: int
    index: int = -1
    flipped: bool = False


@dataclass
class Batch:
    """Samples stacked, and the clips that could not be read, by name.

    Args:
        x: the inputs; (0, *shape) if no clip could be read.
        label: their classes.
        index: their indices in the list.
        skipped: the clips that could not be read.

    **Shapes:** x (B, *shape), label (B,) long, index (B,) long
    """

    x: Tensor
    label: Tensor
    index: Tensor
    skipped: list[BadClip] = field(default_factory=list)

    def __len__(self) -> int:
        """B, the clips that could be read."""
        return len(self.label)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Batch":
        """Moves ``x`` and ``label`` to a device; asynchronously from pinned memory."""
        pinned = self.x.is_pinned()
        x = self.x.to(device, dtype or self.x.dtype, non_blocking=pinned)
        return replace(self, x=x, label=self.label.to(device, non_blocking=pinned))

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory; a ``DataLoader`` with ``pin_memory`` calls it."""
        return replace(self, x=self.x.pin_memory(), label=self.label.pin_memory(), index=self.index.pin_memory())


def collate(items: list[Sample | BadClip], spec: InputSpec) -> Batch:
    """Stacks samples to a batch; bad clips are listed in ``skipped``.

    Args:
        items: what a source returned.
        spec: of its samples, for a batch without a readable clip.
    """
    good = [item for item in items if not isinstance(item, BadClip)]
    return Batch(
        torch.stack([item.x for item in good]) if good else spec.example(0),
        torch.tensor([item.label for item in good], dtype=torch.long),
        torch.tensor([item.index for item in good], dtype=torch.long),
        [item for item in items if isinstance(item, BadClip)],
    )


@dataclass
class Features:
    """The output of a backbone for a batch.

    A backbone computes losses only in training mode.

    Args:
        tokens: one vector for each position of the grid.
        losses: name -> scalar (a mean over the batch) or one value for each clip, unweighted.
        class_token: a vector of the whole clip, given to heads whose ``forward`` names ``class_token``; None where there is none.

    **Shapes:** tokens (B, *grid, C), losses () or (B,), class_token (B, C)
    """

    tokens: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    class_token: Tensor | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Sizes of the token grid, time first."""
        return tuple(self.tokens.shape[1:-1])

    @property
    def count(self) -> int:
        """N, the tokens of one clip."""
        return prod(self.grid)


@dataclass
class Output:
    """The output of a head, or of a whole model; unpacks as ``logits, extras``.

    Losses are computed only if targets are given. The training loss is
    ``criterion(logits, targets) + sum over names of weight[name] * mean(losses[name])``, the mean over all clips of an optimiser
    step: losses of single clips are averaged over clips; a scalar counts as the mean over the clips of its batch, so that the
    result does not depend on how a step is divided into batches and processes.

    Args:
        logits: one value for each class.
        extras: further results, such as ``pooled`` or ``weights``.
        losses: name -> scalar (a mean over the batch) or one value for each clip, unweighted.

    **Shapes:** logits (B, K), losses () or (B,)
    """

    logits: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        yield self.logits
        yield self.extras


# torch.compile, torch.export and FSDP look for the tensors in what a module returns.
torch.export.register_dataclass(Features)
torch.export.register_dataclass(Output)


@runtime_checkable
class Source(Protocol):
    """Makes samples from the rows of a list.

    A source may also have ``views`` and ``evaluation_views`` (several views of one clip, see ``VideoSource``), and the class
    method ``from_spec(spec)``, which builds it for evaluation from the input of a checkpoint.
    """

    spec: InputSpec

    def __call__(self, clip: Any, seed: int | None) -> Sample | BadClip:
        """One clip; the same for the same seed.

        Args:
            clip: a row, ``taggnn.data.clips.Clip``.
            seed: of all random draws; None: the view of evaluation.

        Returns:
            The sample; a clip that cannot be read is returned as ``BadClip``, never raised.
        """


@runtime_checkable
class Head(Protocol):
    """Tokens -> logits.

    A head may also have ``resize(grid)`` for another token grid; ``loss_weights``, name -> default weight of its losses (else
    1); ``after_step()``, called after every optimiser step, to update state that depends on the weights; such state must be
    buffers, which checkpoints hold; ``use_classes(names)``, called once with the class names of the data, which may refuse
    them; ``semantic_names()``, the text of each index in ``extras["semantics"]``. Where its extras hold ``regions``
    (B, T, R, *grid of a frame), attention that sums to 1 over the positions of a frame, their tracklets are drawn after the
    test; see ``taggnn.evaluation.tracklet_clips.collect``.
    """

    def __call__(self, tokens: Tensor, targets: Tensor | None = None) -> Output:
        """**Shapes:** tokens (B, *grid, C); targets (B,) classes or (B, K) shares that sum to 1, None in evaluation"""


@runtime_checkable
class Model(Protocol):
    """Inputs -> logits: a recogniser or an exported model."""

    spec: InputSpec

    def __call__(self, x: Tensor, targets: Tensor | None = None) -> Output:
        """**Shapes:** x (B, *spec.shape); targets as for ``Head``"""
