"""Any module as a backbone: pool and classifier removed, the output brought to one tensor, sizes found by a dry run."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from taggnn.backbones import huggingface
from taggnn.backbones.extractor import extracted, may_be_logits
from taggnn.backbones.feeds import Images, Pathways, checked_pathways
from taggnn.backbones.first_layer import clip_channels
from taggnn.backbones.image.timm_features import TimmFeatures
from taggnn.backbones.outputs import Adapted, coarsest, is_pathways, pick
from taggnn.backbones.tokens import Grid, checked_size, describe
from taggnn.backbones.trial import run_once
from taggnn.backbones.video import torchvision3d
from taggnn.types import VIDEO_AXES, InputSpec

# What a module is tried with that states no clip.
USUAL_CLIP: Grid = (16, 112, 112)


def strip(module: nn.Module) -> nn.Module:
    """Removes pool and classifier of a torchvision or Hugging Face video model; any other module is returned as it is.

    Args:
        module: an instance, with its head. A subclass with a ``forward`` of its own counts as another module.

    Returns:
        A module ``(B, 3, T, H, W) -> (B, C, T', H', W')`` that shares its parameters with ``module``, or ``module``
        itself. Either has a list of strings ``description``: what was removed, or that nothing was (a
        ``description`` that the module already has is left to it).
    """
    if type(module).__module__.startswith("transformers.models."):
        return huggingface.HubFeatures(module)
    return torchvision3d.strip(module)


def adapt(
    module: nn.Module,
    spec: InputSpec,
    features: str | None = None,
    class_tokens: int = 0,
    *,
    grid: Sequence[int] | None = None,
    layer: str | None = None,
    frames_in_batch: bool = False,
    token_order: str | None = None,
    pathways: Sequence[int] | None = None,
) -> nn.Module:
    """Brings a module to one tensor of features: classifier and pool removed, nested features picked, pathways fused.

    Where the module yields logits or pooled features, it is cut at its last feature map, see
    ``taggnn.backbones.last_map.last_maps``.

    Args:
        module: (B, *spec.shape) -> anything; it is not changed.
        spec: what it is fed; it is tried with one clip of zeros.
        features: path of the part to take, see ``taggnn.backbones.outputs.pick``; None takes the whole output.
        class_tokens: how many tokens before those of the grid are dropped from (B, N, C).
        grid: sizes of the token grid, where the module yields (B, N, C).
        layer: dotted name of the layer whose output is taken; None for the module's own output, or its last feature map.
        frames_in_batch: the module takes frames as images (B*T, 3, H, W), or makes them of the clip itself, and yields
            (B*T, C, H', W') or (B*T, N, C).
        token_order: axes of the grid of (B, N, C) from the slowest to the fastest: "THW" (None, default), or such as "HWT".
        pathways: frames of each pathway of a module that takes a list of clips, see ``taggnn.backbones.feeds.Pathways``.

    Returns:
        The module itself where nothing is to be done; else ``Adapted`` around it, whose ``notes`` state what is done.

    Raises:
        ValueError: the module fails on such a clip, yields no such part or layer, its last feature map is in no layer, or an
            option does not fit.
    """
    if isinstance(class_tokens, bool) or not isinstance(class_tokens, int) or class_tokens < 0:
        raise ValueError(f"class_tokens must be a whole number, 0 or more; given {class_tokens!r}")
    _check_order(token_order, grid)
    feeds = _feeds(spec, frames_in_batch, pathways)
    for number, feed in enumerate(feeds):
        try:
            cut = _cut(module, spec, feed, layer, features, grid)
            break
        except ValueError:
            if number == len(feeds) - 1:
                raise
    notes = [] if feed is None else [_DESCRIBED[type(feed)]]
    if cut is not module:
        notes.append(cut.note)
        module = cut
        # Of the logits, not of the layer.
        features = features if layer else None
    output = run_once(module, spec, feed)
    if features is not None:
        output = pick(output, features)
    if features is not None:
        notes.append(f"of the output, {features} is taken")
    if is_pathways(output):
        sizes = [" x ".join(map(str, one.shape[1:])) for one in output]
        fused = " x ".join(map(str, coarsest(output)))
        notes.append(f"{len(output)} pathways ({', '.join(sizes)}) averaged to {fused} and concatenated on channels")
    elif class_tokens and not (isinstance(output, Tensor) and output.dim() == 3):
        raise ValueError(f"class_tokens={class_tokens} is for (B, N, C); the backbone yields {describe(output)}")
    elif class_tokens:
        notes.append(f"the first {class_tokens} of the tokens dropped")
    if frames_in_batch:
        notes.append("frames taken out of the batch")
    if token_order not in (None, "THW"):
        notes.append(f"tokens sorted by time first, from the order {token_order}")
    if not notes:
        return module
    adapted = Adapted(module, features, class_tokens, feed, frames_in_batch, token_order, grid)
    adapted.notes = notes
    return adapted


_DESCRIBED = {Images: "fed frames as images", Pathways: "fed several pathways"}


def _check_order(order: str | None, grid: Sequence[int] | None) -> None:
    if order is None:
        return
    if not isinstance(order, str) or sorted(order) != sorted("THW"):
        raise ValueError(
            f"token_order={order!r}: the axes of the grid from the slowest to the fastest, 'THW' or, where time is the "
            "fastest, 'HWT'"
        )
    if grid is None or len(grid) != 3:
        raise ValueError(f"token_order={order!r} needs grid=(T, H, W); given grid={grid}")


def _feeds(spec: InputSpec, frames_in_batch: bool, pathways: Sequence[int] | None) -> Sequence[nn.Module | None]:
    """What can make a module's input of a clip, to be tried in this order."""
    if (frames_in_batch or pathways is not None) and spec.axes != VIDEO_AXES:
        raise ValueError(f"frames_in_batch and pathways are for video; the input is {spec}")
    if pathways is not None:
        if frames_in_batch:
            raise ValueError("pathways and frames_in_batch exclude each other")
        return [Pathways(checked_pathways(pathways, spec.shape[1]), spec.shape[1])]
    # A module may also take the frames apart itself.
    return [Images(), None] if frames_in_batch else [None]


def _cut(
    module: nn.Module,
    spec: InputSpec,
    feed: nn.Module | None,
    layer: str | None,
    features: str | None,
    grid: Sequence[int] | None,
) -> Any:
    """The module up to a layer or to its last feature map; itself where its output is features already."""
    if layer is not None:
        return extracted(module, spec, feed, layer)
    output = run_once(module, spec, feed)
    if features is not None:
        output = pick(output, features)
    return (extracted(module, spec, feed, None, features) if may_be_logits(output, grid) else None) or module


def resize_positions(module: nn.Module, clip: Grid) -> None:
    """Moves a feature module to clips of another size, in place; where positions do not depend on it, nothing changes.

    Args:
        module: a result of ``strip`` or ``build``.
        clip: frames, height and width in pixels.

    Raises:
        ValueError: ``clip`` is not three positive integers, or the module cannot take it.
    """
    if isinstance(module, huggingface.HubFeatures | TimmFeatures):
        module.resize(clip)
    else:
        torchvision3d.resize_positions(module, clip)


def video_spec(module: nn.Module, clip: Sequence[int]) -> InputSpec:
    """The input of a video backbone: RGB, or grayscale after ``set_in_channels``.

    Args:
        module: the backbone.
        clip: (T, H, W), frames, height and width in pixels.

    Raises:
        ValueError: not three positive integers.
    """
    return InputSpec("video", VIDEO_AXES, (clip_channels(module), *checked_size(clip, "clip")))
