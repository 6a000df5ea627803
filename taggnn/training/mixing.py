"""MixUp and CutMix: clips of a batch are mixed with one another, and their labels as well.

Axes: B clips, H W the picture or the token grid, K classes.

All draws come from the global CPU generator, which training seeds for every batch, so that a resumed run mixes the same way.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.types import InputSpec

# The axes that CutMix cuts its box from.
BOX_AXES = ("height", "width")


@dataclass(frozen=True)
class Mixing:
    """Which batches are mixed, and how.

    Args:
        mixup: alpha of MixUp; 0 (default) for none.
        cutmix: alpha of CutMix; 0 (default) for none.
        prob: probability that a batch is mixed at all.
        switch: if both are used, the probability of CutMix for a mixed batch.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch: float = 0.5

    def __bool__(self) -> bool:
        return bool((self.mixup or self.cutmix) and self.prob)

    def describe(self) -> str:
        """A description for messages: ``MixUp (alpha 0.8) or CutMix (alpha 1, chosen with 0.5)``."""
        parts = [f"MixUp (alpha {self.mixup:g})"] if self.mixup else []
        if self.cutmix:
            parts.append(f"CutMix (alpha {self.cutmix:g}" + (f", chosen with {self.switch:g})" if parts else ")"))
        return " or ".join(parts) + (f" with probability {self.prob:g}" if self.prob < 1 else "")

    def check(self, spec: InputSpec) -> None:
        """Refuses inputs from which CutMix cannot cut a box, before training.

        Args:
            spec: what batches hold.

        Raises:
            ValueError: CutMix is used, and the input has no height and width, or only one position of them.
        """
        if self and self.cutmix and (not self.mixup or self.switch):
            _box_axes(spec)

    def __call__(self, x: Tensor, labels: Tensor, classes: int, spec: InputSpec) -> tuple[Tensor, Tensor]:
        """Mixes a batch by one of the two methods, or returns it unchanged.

        Args:
            x: inputs of any kind.
            labels: their classes.
            classes: K.
            spec: what the batch holds: MixUp takes any kind, CutMix one with the axes "height" and "width".

        **Shapes:** x (B, *spec.shape) -> the same; labels (B,) -> targets (B, K) float32, rows that sum to 1

        Raises:
            ValueError: as ``check``, for CutMix.
        """
        # Random numbers are drawn only if there is a choice.
        if not self or (self.prob < 1 and torch.rand(()) >= self.prob):
            return x, _one_hot(x, labels, classes)
        cut = bool(self.cutmix) and (not self.mixup or bool(torch.rand(()) < self.switch))
        return cutmix(x, labels, self.cutmix, classes, spec) if cut else mixup(x, labels, self.mixup, classes)


def mixup(x: Tensor, labels: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Blends each clip with another of the batch, and their labels as well.

    Source: MixUp, https://arxiv.org/abs/1710.09412. Formula: ``x = l x_i + (1 - l) x_j``, ``y = l y_i + (1 - l) y_j``, ``l``
    from Beta(alpha, alpha), one for each clip.

    Args:
        x: inputs of any kind.
        labels: their classes.
        alpha: above 0; larger values give more even blends.
        classes: K.

    **Shapes:** x (B, ...) -> the same; labels (B,) -> targets (B, K) float32
    """
    share, partner = _drawn(x, alpha)
    weight = share.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return weight * x + (1 - weight) * x[partner], _blended(x, labels, share, partner, classes)


def cutmix(x: Tensor, labels: Tensor, alpha: float, classes: int, spec: InputSpec) -> tuple[Tensor, Tensor]:
    """Puts a box of another clip of the batch into each clip; labels are weighted by area.

    The box is the same in all frames: VideoMix found that better than boxes in time.

    Source: CutMix, https://arxiv.org/abs/1905.04899, section 3.1 and appendix A; for video VideoMix,
    https://arxiv.org/abs/2012.03457. Formula: ``l`` from Beta(alpha, alpha), a box of ``H sqrt(1 - l)`` by ``W sqrt(1 - l)``
    around a uniformly drawn position, clipped at the borders; ``y = (1 - a) y_i + a y_j`` with ``a`` the share of the H W
    positions that the clipped box covers. One box for each clip.

    Args:
        x: inputs of any kind.
        labels: their classes.
        alpha: above 0; with 1, as in the paper, all areas are equally likely.
        classes: K.
        spec: what the batch holds; the box is cut from its axes "height" and "width".

    **Shapes:** x (B, ...) -> the same; labels (B,) -> targets (B, K) float32

    Raises:
        ValueError: the input has no height and width, or only one position of them.
    """
    axes = _box_axes(spec)
    sizes = [x.shape[axis] for axis in axes]
    share, partner = _drawn(x, alpha)
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    area = torch.ones_like(share)
    for axis, size in zip(axes, sizes, strict=True):
        # Rounded to positions, so that no side is favoured.
        length = (size * (1 - share).sqrt()).round()
        first = (torch.rand(len(share)).to(share) * size - length / 2).round()
        first, end = first.clamp(0, size), (first + length).clamp(0, size)
        area = area * (end - first) / size
        position = torch.arange(size, device=x.device)
        covered = (position >= first[:, None]) & (position < end[:, None])
        inside = inside & covered.view(len(share), *[size if a == axis else 1 for a in range(1, x.ndim)])
    return torch.where(inside, x[partner], x), _blended(x, labels, 1 - area, partner, classes)


def _box_axes(spec: InputSpec) -> tuple[int, ...]:
    if not set(BOX_AXES) <= set(spec.axes):
        raise ValueError(
            f"optim.cutmix: a box is cut from {' and '.join(BOX_AXES)}, and {spec.kind} has {', '.join(spec.axes)}; "
            "use optim.mixup"
        )
    if spec.size(*BOX_AXES) == (1, 1):
        raise ValueError(
            f"optim.cutmix: a grid of 1 x 1 positions has no box to cut, and {spec} has no more; use optim.mixup"
        )
    return spec.positions(*BOX_AXES)


def _drawn(x: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The share that each clip keeps, and its partner, (B,) each; drawn on the CPU, so that every device mixes the same way."""
    share = torch.distributions.Beta(alpha, alpha).sample((len(x),))
    return share.to(x.device), torch.randperm(len(x)).to(x.device)


def _blended(x: Tensor, labels: Tensor, share: Tensor, partner: Tensor, classes: int) -> Tensor:
    target = _one_hot(x, labels, classes)
    share = share.to(target)[:, None]
    return share * target + (1 - share) * target[partner]


def _one_hot(x: Tensor, labels: Tensor, classes: int) -> Tensor:
    # At least float32, whatever the precision of the input.
    return F.one_hot(labels, classes).to(torch.promote_types(x.dtype, torch.float32))
