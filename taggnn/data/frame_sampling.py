"""Frame samplers: callables ``(n, generator) -> indices (T,)`` that choose the frames of a clip.

With a ``torch.Generator`` a sampler draws as in training; without one it makes the fixed choice of evaluation, from the
whole clip, without ``jitter`` and ``scale``. Every sampler returns exactly ``frames`` indices in ascending order for any
length of the clip, and refuses a clip without frames. ``view`` gives further fixed choices for evaluation with several views;
a single view is the choice of evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from taggnn.names import unknown


class FrameChoice(Protocol):
    """Chooses frames of a clip."""

    @property
    def frames(self) -> int: ...

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]: ...


class Sampler(FrameChoice, Protocol):
    """A frame sampler with several views."""

    def view(self, n: int, number: int, views: int) -> list[int]: ...


@dataclass(frozen=True)
class Uniform:
    """Spreads the frames evenly from the first to the last; without options the same in training and evaluation.

    Source: the released code of TAG-Head (https://arxiv.org/abs/2604.11498), which samples so in training too.

    .. math:: i_t = \\lfloor t (n - 1) / (T - 1) \\rfloor, \\quad t = 0 .. T - 1

    rounded as there, see ``released_indices``. A clip with fewer than T frames repeats frames, each about equally often.

    In training ``jitter`` J moves every index by itself [ours], and the indices are sorted:

    .. math:: i_t' = \\lfloor i_t + 1/2 + J s u_t \\rfloor, \\quad s = (n - 1) / (T - 1), \\quad u_t \\sim U[-1/2, 1/2)

    clipped to 0 .. n - 1. A clip with at most T frames is not changed.

    View v of V [ours]: every V-th index of the choice for V T frames, so that all views together are spread evenly over the
    clip, and the distances within each are those of a single view to within a V-th:

    .. math:: i_{v,t} = \\lfloor (t V + v) (n - 1) / (T V - 1) \\rfloor

    Args:
        frames: T, how many indices to return.
        jitter: J, the part of the distance s between neighbours within which an index moves, 0 (default) to 1.
        scale: smallest and largest part of the clip's length that training crops, from a random start; at least T frames
            where the clip has them. (1, 1) (default) for the whole clip.

    **Shapes**: n -> (T,)

    Raises:
        ValueError: an option out of range, or a clip without frames.
    """

    frames: int
    jitter: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self):
        _at_least_one("frames", self.frames)
        _check_scale(self)
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter {self.jitter}: possible are 0 to 1, a part of the distance between frames")

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        _at_least_one("n", n)
        first, n = _temporal_crop(n, self, generator)
        indices = released_indices(n, self.frames)
        if generator is not None and self.jitter and n > self.frames > 1:
            distance = (n - 1) / (self.frames - 1)
            drawn = torch.rand(self.frames, generator=generator, dtype=torch.float64, device=generator.device)
            # From the middle of each frame's time, so that no direction is favoured.
            moved = indices + 0.5 + self.jitter * distance * (drawn.cpu().numpy() - 0.5)
            indices = np.sort(np.floor(moved).clip(0, n - 1).astype(np.int64))
        return (first + indices).tolist()

    def view(self, n: int, number: int, views: int) -> list[int]:
        return Uniform(self.frames * views)(n)[number::views]


@dataclass(frozen=True)
class RandomInSegment:
    """Divides the clip into T equal segments and takes one frame of each: a random one in training, else the middle one.

    Source: temporal segment networks (https://arxiv.org/abs/1608.00859, section 3.1).

    .. math:: i_t = \\lfloor n (t + u_t) / T \\rfloor

    with u_t drawn from U[0, 1) in training and 1/2 in evaluation.
    Segments need not be whole frames, so every frame can be drawn for every n, and a clip with fewer than T frames
    repeats frames.

    View v of V [ours]: ``u_t = (v + 1/2) / V``, which training may draw; all views together are the choice for V T segments.

    Args:
        frames: T, how many segments.
        scale: smallest and largest part of the clip's length that training crops, as in ``Uniform``.

    **Shapes**: n -> (T,)

    Raises:
        ValueError: an option out of range, or a clip without frames.
    """

    frames: int
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self):
        _at_least_one("frames", self.frames)
        _check_scale(self)

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        _at_least_one("n", n)
        first, n = _temporal_crop(n, self, generator)
        if generator is None:
            # Integer arithmetic: floor(n (t + 1/2) / T) without a rounding error.
            return [n * (2 * t + 1) // (2 * self.frames) for t in range(self.frames)]
        drawn = torch.rand(self.frames, generator=generator, dtype=torch.float64, device=generator.device).tolist()
        # n (t + u) may round up to n (t + 1), hence the minimum with the last index.
        return [first + min(int(n * (t + u) / self.frames), n - 1) for t, u in enumerate(drawn)]

    def view(self, n: int, number: int, views: int) -> list[int]:
        return RandomInSegment(self.frames * views)(n)[number::views]


@dataclass(frozen=True)
class Dense:
    """Takes T frames at a constant distance: a window from a random start in training, else the middle of the clip.

    Source: the dense sampling of 3D networks, as in I3D (https://arxiv.org/abs/1705.07750) and SlowFast
    (https://arxiv.org/abs/1812.03982, T x tau).

    .. math:: i_t = \\min(s + \\tau t, n - 1), \\quad s \\in \\{0 .. \\max(0, n - 1 - \\tau (T - 1))\\}

    A clip shorter than the window repeats its last frame: looping would add a jump, which matters to fine-grained actions.

    View v of V, as in the evaluation of SlowFast (section 4): windows spread evenly from the beginning of the clip to its end,
    ``s = round(v S / (V - 1))`` with S the largest possible s; a single view is the middle one.

    Args:
        frames: T, how many indices to return.
        stride: tau, the distance between neighbours in frames; 1 takes consecutive frames.

    **Shapes**: n -> (T,)

    Raises:
        ValueError: ``frames`` or ``stride`` below 1, or a clip without frames.
    """

    frames: int
    stride: int = 1

    def __post_init__(self):
        _at_least_one("frames", self.frames)
        _at_least_one("stride", self.stride)

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        _at_least_one("n", n)
        slack = max(0, n - 1 - self.stride * (self.frames - 1))
        if generator is None:
            first = slack // 2
        else:
            first = int(torch.randint(slack + 1, (), generator=generator, device=generator.device))
        return self._window(n, first)

    def view(self, n: int, number: int, views: int) -> list[int]:
        if views == 1:
            return self(n)
        _at_least_one("n", n)
        slack, last = max(0, n - 1 - self.stride * (self.frames - 1)), views - 1
        return self._window(n, (2 * slack * number + last) // (2 * last))

    def _window(self, n: int, first: int) -> list[int]:
        return [min(first + self.stride * t, n - 1) for t in range(self.frames)]


@dataclass(frozen=True)
class Random:
    """Draws T frames of the whole clip, each from all of it, and sorts them; evaluation spreads them evenly, as ``Uniform``.

    Source: the released code of CTR-GCN for NW-UCLA (https://arxiv.org/abs/2107.12213). Frames may repeat.

    Args:
        frames: T, how many indices to return.

    **Shapes**: n -> (T,)

    Raises:
        ValueError: ``frames`` below 1, or a clip without frames.
    """

    frames: int

    def __post_init__(self):
        _at_least_one("frames", self.frames)

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        _at_least_one("n", n)
        if generator is None:
            return Uniform(self.frames)(n)
        return torch.randint(n, (self.frames,), generator=generator).sort().values.tolist()

    def view(self, n: int, number: int, views: int) -> list[int]:
        return Uniform(self.frames).view(n, number, views)


@dataclass(frozen=True)
class View:
    """One of several views of evaluation, as a sampler; the same whatever the generator.

    Args:
        sampler: the sampler.
        number: index of the view.
        views: number of views.

    **Shapes**: n -> (T,)
    """

    sampler: Sampler
    number: int
    views: int

    @property
    def frames(self) -> int:
        return self.sampler.frames

    def __call__(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        return self.sampler.view(n, self.number, self.views)


SAMPLERS: dict[str, Any] = {"uniform": Uniform, "segment": RandomInSegment, "dense": Dense, "random": Random}


def build(name: str, frames: int, jitter: float = 0.0, scale: Sequence[float] = (1.0, 1.0), **options: Any) -> Sampler:
    """Makes a sampler by its name.

    Args:
        name: a key of ``SAMPLERS``.
        frames: T, frames of a clip that the model sees.
        jitter: ``video.temporal_jitter``, see ``Uniform``.
        scale: ``video.temporal_scale``, see ``Uniform``.
        **options: further fields of that sampler (``stride`` of "dense").

    Raises:
        ValueError: an unknown name, an option that the sampler does not have or need, or a value out of range.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    if jitter and name != "uniform":
        raise ValueError(
            f"temporal_jitter {jitter}: possible with sampling uniform; {name!r} draws its frames at random already"
        )
    if tuple(scale) != (1, 1) and name in ("dense", "random"):
        raise ValueError(
            f"temporal_scale {list(scale)}: possible with sampling uniform or segment; {name!r} draws from the whole clip already"
        )
    if name == "uniform":
        options["jitter"] = jitter
    if name in ("uniform", "segment"):
        options["scale"] = tuple(scale)
    fields = [field for field in SAMPLERS[name].__dataclass_fields__ if field != "frames"]
    for option in options:
        if option not in fields:
            raise unknown("option", option, fields, where=f"sampler {name!r}")
    return SAMPLERS[name](frames, **options)


def spread(sampler: Sampler, views: int) -> list[FrameChoice]:
    """The samplers of several views; a single view is the sampler itself.

    Raises:
        ValueError: ``views`` below 1.
    """
    _at_least_one("views", views)
    return [sampler] if views == 1 else [View(sampler, number, views) for number in range(views)]


def released_indices(n: int, frames: int) -> np.ndarray:
    """The indices of the released code, ``torch.linspace(0, n - 1, T).long()``, which works in float32.

    .. math:: s = (n - 1) / (T - 1), \\quad x_t = t s \\; (t < \\lfloor T / 2 \\rfloor), \\quad
        x_t = n - 1 - (T - 1 - t) s \\; (else), \\quad i_t = \\lfloor x_t \\rfloor

    s and x_t are each rounded once to float32, as a processor with fused multiply-add does, so that every machine chooses the
    same frames. In float64 other frames are chosen for 69 of the lengths up to 1,200 with T = 64.

    Args:
        n: frames of the clip.
        frames: T.

    **Shapes**: -> int64 (T,)
    """
    step = float(np.float32(n - 1) / np.float32(max(frames - 1, 1)))
    t = np.arange(frames, dtype=np.float64)
    exact = np.where(t < frames // 2, t * step, n - 1 - (frames - 1 - t) * step) if frames > 1 else np.zeros(1)
    # float32 rounds the last index of a video of more than 2^24 frames up.
    return np.minimum(exact.astype(np.float32).astype(np.int64), n - 1)


def draws(sampler: FrameChoice, generator: torch.Generator | None) -> bool:
    """Whether a sampler's choice depends on the generator; not for ``Uniform`` without jitter and temporal crops."""
    fixed = isinstance(sampler, Uniform) and not sampler.jitter and tuple(sampler.scale) == (1, 1)
    return generator is not None and not fixed


def _temporal_crop(n: int, sampler: Uniform | RandomInSegment, generator: torch.Generator | None) -> tuple[int, int]:
    """First frame and length of the part of a clip to sample from."""
    low, high = sampler.scale
    if generator is None or low == 1:
        return 0, n
    part, start = torch.rand(2, generator=generator, dtype=torch.float64, device=generator.device).tolist()
    length = max(round(n * (low + (high - low) * part)), min(n, sampler.frames))
    return min(int(start * (n - length + 1)), n - length), length


def _check_scale(sampler: Uniform | RandomInSegment) -> None:
    if len(sampler.scale) != 2 or not 0 < sampler.scale[0] <= sampler.scale[1] <= 1:
        raise ValueError(f"scale {sampler.scale}: expected 0 < smallest <= largest <= 1, parts of the clip's length")


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}")
