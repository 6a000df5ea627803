"""What a source may have besides what ``types.Source`` asks of every one, with what holds where it is absent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from taggnn.data.lists.folders import VIDEO_ENDINGS
from taggnn.data.lists.splits import Splits
from taggnn.types import BadClip, InputSpec, Sample, Source


@dataclass(frozen=True)
class Capabilities:
    """The optional attributes of a source, read once; each may be set, or be a property or a method.

    Args:
        model_spec: what the whole model is fed, where that differs from ``spec``: stored tokens stand for videos.
        endings: of the files in class folders that count as clips, with the dot and in small letters.
        splits: the clip lists that it brings; None: they are read from the root.
        split_options: what those lists follow from, as ``ClipData.split_options``.
        origin: where those lists come from, for messages.
        workers: loader processes, whatever is given; None: as given.
        flip: the probability that training flips a clip horizontally, for warnings about labels that know left from right.
        identity: what tells it from others of the same settings, as plain types; a run is resumed only with the same.
        backbone_state: gives the weights of the backbone that is inside it.
        views: ``(clip, seeds, evaluation) -> [Sample | BadClip]``: training views of a clip, and last the one of evaluation
            where ``evaluation`` is true; None: each is made by itself.
        check_views: ``(views, crops)``: raises ``ValueError`` for numbers that are not possible.
        evaluation_views: ``(clip, chosen, views, crops) -> [Sample] | BadClip``: chosen views of evaluation, see ``views.View``;
            None: there is only one.
        frame_views: ``(frames, chosen, views, crops)``: the same of frames in memory.
        picture: turns an input into pictures to look at; None: there are none.
        describe: what training does to a clip, in sentences.
        notes: name -> sentence, for the screen.

    **Shapes:** picture: ``spec.shape`` -> uint8 (T, h, w, 3)
    """

    model_spec: InputSpec
    endings: frozenset[str] = VIDEO_ENDINGS
    splits: Splits | None = None
    split_options: dict[str, Any] | None = None
    origin: str | None = None
    workers: int | None = None
    flip: float = 0.0
    identity: dict[str, Any] | None = None
    backbone_state: Callable[[], dict[str, Tensor]] | None = None
    views: Callable[[Any, Sequence[int], bool], list[Sample | BadClip]] | None = None
    check_views: Callable[[int, int], None] | None = None
    evaluation_views: Callable[[Any, Sequence[tuple[int, int]], int, int], list[Sample] | BadClip] | None = None
    frame_views: Callable[[Tensor, Sequence[tuple[int, int]], int, int], Tensor] | None = None
    picture: Callable[[Tensor], Tensor] | None = None
    describe: Callable[[], list[str]] = list
    notes: Callable[[], dict[str, str]] = dict


def capabilities_of(source: Source) -> Capabilities:
    """The optional attributes of a source, with their defaults where it has none."""
    found = {one.name: getattr(source, one.name) for one in fields(Capabilities) if hasattr(source, one.name)}
    found["endings"] = frozenset(ending.lower() for ending in found.get("endings", VIDEO_ENDINGS))
    return Capabilities(**{"model_spec": source.spec, **found})
