"""The optional attributes of a source, in addition to those that ``types.Source`` requires, with their defaults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from taggnn.data.audit.inspection import Inspection
from taggnn.data.lists.splits import Splits
from taggnn.data.synthetic_set import SyntheticSet
from taggnn.data.video.formats import VIDEO_ENDINGS
from taggnn.types import BadClip, InputSpec, Sample, Source


@dataclass(frozen=True)
class Capabilities:
    """The optional attributes of a source, read once; each may be an attribute, a property or a method.

    Args:
        model_spec: input of the whole model, where it differs from ``spec``: stored tokens replace videos.
        endings: extensions of the files in class folders that count as clips, with the dot, in lower case.
        splits: its own clip lists; None: they are read from the root.
        split_options: the options that those lists depend on, as ``ClipData.split_options``.
        origin: where those lists come from, for messages.
        workers: loader processes, overriding the option; None: as the option says.
        flip: probability that training flips a clip horizontally, for warnings about labels with left and right.
        identity: distinguishes it from others with the same settings, as plain types; a resumed run needs an equal one.
        backbone_state: returns the weights of its backbone.
        synthetic: the data sets that the project makes for it, by name; ``data.synthetic: true`` is the first.
        views: ``(clip, seeds, evaluation) -> [Sample | BadClip]``: training views of a clip and, if ``evaluation``, the view
            of evaluation at the end; None: each view is made separately.
        check_views: ``(views, crops)``: raises ``ValueError`` for impossible numbers.
        evaluation_views: ``(clip, chosen, views, crops) -> [Sample] | BadClip``: chosen views of evaluation, see
            ``views.View``; None: there is only one.
        frame_views: ``(frames, chosen, views, crops)``: the same for frames in memory.
        inspection: how ``taggnn.check`` examines its files; None: they cannot be checked.
        picture: converts an input to pictures for people; None: not possible.
        rated_picture: draws an input, its joints and bones in given colours; None: it has none, or no pictures.
        bones: (child, parent) of its bones, by index of the joints.
        position_names: names of the positions of a frame where each is something of its own, such as a joint; empty: none.
        describe: sentences on what training does to a clip.
        preprocessing: sentences on every step from a file to the input in evaluation, with its numbers, for exported files.
        notes: name -> sentence, for the screen.

    **Shapes:** picture: ``spec.shape`` -> uint8 (T, h, w, 3); rated_picture: ``spec.shape``, uint8 (T, V, 3) of the V joints and
    (T, bones, 3) of the bones -> uint8 (T, h, w, 3)
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
    synthetic: Mapping[str, SyntheticSet] = field(default_factory=dict)
    views: Callable[[Any, Sequence[int], bool], list[Sample | BadClip]] | None = None
    check_views: Callable[[int, int], None] | None = None
    evaluation_views: Callable[[Any, Sequence[tuple[int, int]], int, int], list[Sample] | BadClip] | None = None
    frame_views: Callable[[Tensor, Sequence[tuple[int, int]], int, int], Tensor] | None = None
    inspection: Inspection | None = None
    picture: Callable[[Tensor], Tensor] | None = None
    rated_picture: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    bones: Sequence[tuple[int, int]] = ()
    position_names: Sequence[str] = ()
    describe: Callable[[], list[str]] = list
    preprocessing: Callable[[], list[str]] = list
    notes: Callable[[], dict[str, str]] = dict


def capabilities_of(source: Source) -> Capabilities:
    """The optional attributes of a source, with their defaults where it has none."""
    found = {each.name: getattr(source, each.name) for each in fields(Capabilities) if hasattr(source, each.name)}
    found["endings"] = frozenset(ending.lower() for ending in found.get("endings", VIDEO_ENDINGS))
    return Capabilities(**{"model_spec": source.spec, **found})
