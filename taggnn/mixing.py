"""Batches whose clips are mixed with one another, and their labels alike: MixUp and CutMix.

Axes: B clips, T frames, H W the picture or the token grid, C channels, K classes.

All draws come from the global CPU stream, which the training task seeds for every batch: a run that is continued mixes as
it would have.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Height and width of a batch of clips (B, 3, T, H, W) and of tokens (B, T, H, W, C).
CLIP_PLACES, TOKEN_PLACES = (3, 4), (2, 3)


@dataclass(frozen=True)
class Mixing:
    """Which batches are mixed, and how.

    Args:
        mixup: alpha of MixUp; 0 (default) for none.
        cutmix: alpha of CutMix; 0 (default) for none.
        prob: probability that a batch is mixed at all.
        switch: where both are on, the probability that a mixed batch is cut and not blended.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch: float = 0.5

    def __bool__(self) -> bool:
        return bool((self.mixup or self.cutmix) and self.prob)

    def describe(self) -> str:
        """One phrase for people: ``MixUp (alpha 0.8) or CutMix (alpha 1, chosen with 0.5)``."""
        parts = [f"MixUp (alpha {self.mixup:g})"] if self.mixup else []
        if self.cutmix:
            parts.append(f"CutMix (alpha {self.cutmix:g}" + (f", chosen with {self.switch:g})" if parts else ")"))
        return " or ".join(parts) + (f" with probability {self.prob:g}" if self.prob < 1 else "")

    def __call__(self, clip: Tensor, labels: Tensor, classes: int, places: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Mixes a batch by one of the two methods, or leaves it alone.

        Args:
            clip: clips or tokens.
            labels: their classes.
            classes: K.
            places: which axes of ``clip`` are height and width: ``CLIP_PLACES`` or ``TOKEN_PLACES``.

        **Shapes:** clip (B, ...) -> the same; labels (B,) -> target (B, K) float32, rows that sum to 1
        """
        # Nothing is drawn where there is no choice.
        if not self or (self.prob < 1 and torch.rand(()) >= self.prob):
            return clip, _one_hot(clip, labels, classes)
        cut = bool(self.cutmix) and (not self.mixup or bool(torch.rand(()) < self.switch))
        return cutmix(clip, labels, self.cutmix, classes, places) if cut else mixup(clip, labels, self.mixup, classes)


def mixup(clip: Tensor, labels: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Blends each clip with another of the batch, and their labels alike.

    Source: MixUp, https://arxiv.org/abs/1710.09412. Formula: ``x = l x_i + (1 - l) x_j``, ``y = l y_i + (1 - l) y_j``, ``l``
    from Beta(alpha, alpha), one for each clip.

    Args:
        clip: clips or tokens.
        labels: their classes.
        alpha: above 0; the larger, the more even the blends.
        classes: K.

    **Shapes:** clip (B, ...) -> the same; labels (B,) -> target (B, K) float32
    """
    share, partner = _drawn(clip, alpha)
    weight = share.to(clip.dtype).view(-1, *[1] * (clip.ndim - 1))
    return weight * clip + (1 - weight) * clip[partner], _blended(clip, labels, share, partner, classes)


def cutmix(
    clip: Tensor, labels: Tensor, alpha: float, classes: int, places: tuple[int, int] = CLIP_PLACES
) -> tuple[Tensor, Tensor]:
    """Puts a box of another clip of the batch into each clip; labels count by the areas.

    The box is the same in all frames, a tube through the clip: VideoMix found that better than boxes in time.

    Source: CutMix, https://arxiv.org/abs/1905.04899, section 3.1 and appendix A; for video VideoMix,
    https://arxiv.org/abs/2012.03457. Formula: ``l`` from Beta(alpha, alpha), a box of ``H sqrt(1 - l)`` by ``W sqrt(1 - l)``
    around a place drawn uniformly, cut at the borders; ``y = (1 - a) y_i + a y_j`` with ``a`` the part of the H W places that
    the cut box really covers. One box for each clip.

    Args:
        clip: clips or tokens.
        labels: their classes.
        alpha: above 0; 1 as in the paper makes all areas alike likely.
        classes: K.
        places: which axes are height and width: ``CLIP_PLACES`` or ``TOKEN_PLACES``.

    **Shapes:** clip (B, ...) -> the same; labels (B,) -> target (B, K) float32

    Raises:
        ValueError: if there is only one place to cut from.
    """
    sizes = [clip.shape[axis] for axis in places]
    if sizes == [1, 1]:
        raise ValueError("optim.cutmix: a grid of 1 x 1 places has no box to cut; use optim.mixup")
    share, partner = _drawn(clip, alpha)
    inside = torch.ones((), dtype=torch.bool, device=clip.device)
    area = torch.ones_like(share)
    for axis, size in zip(places, sizes, strict=True):
        # Whole places: a box of odd size has its middle on one of them, cutting to integers favours no side.
        long = (size * (1 - share).sqrt()).round()
        first = (torch.rand(len(share)).to(share) * size - long / 2).round()
        first, behind = first.clamp(0, size), (first + long).clamp(0, size)
        area = area * (behind - first) / size
        place = torch.arange(size, device=clip.device)
        covered = (place >= first[:, None]) & (place < behind[:, None])
        inside = inside & covered.view(len(share), *[size if a == axis else 1 for a in range(1, clip.ndim)])
    return torch.where(inside, clip[partner], clip), _blended(clip, labels, 1 - area, partner, classes)


def _drawn(clip: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The share that each clip keeps, and its partner: (B,) each.

    Drawn on the CPU, so that every device mixes alike.
    """
    share = torch.distributions.Beta(alpha, alpha).sample((len(clip),))
    return share.to(clip.device), torch.randperm(len(clip)).to(clip.device)


def _blended(clip: Tensor, labels: Tensor, share: Tensor, partner: Tensor, classes: int) -> Tensor:
    target = _one_hot(clip, labels, classes)
    share = share.to(target)[:, None]
    return share * target + (1 - share) * target[partner]


def _one_hot(clip: Tensor, labels: Tensor, classes: int) -> Tensor:
    # Never in half precision, whatever the clip is in.
    return F.one_hot(labels, classes).to(torch.promote_types(clip.dtype, torch.float32))
