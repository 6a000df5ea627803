"""Any module as a backbone: pool and classifier removed, the output brought to one tensor, sizes found by a dry run."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taggnn.backbones import huggingface
from taggnn.backbones.first_layer import clip_channels
from taggnn.backbones.outputs import Adapted, coarsest, is_pathways, pick
from taggnn.backbones.tokens import Grid, checked_size, describe, features_of
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


def adapt(module: nn.Module, spec: InputSpec, features: str | None = None, class_tokens: int = 0) -> nn.Module:
    """Brings the output of a module to one tensor: nested features picked, pathways fused, class tokens dropped.

    Args:
        module: (B, *spec.shape) -> anything.
        spec: what it is fed; it is tried with one clip of zeros.
        features: path of the part to take, see ``taggnn.backbones.outputs.pick``; None takes the whole output.
        class_tokens: how many tokens before those of the grid are dropped from (B, N, C).

    Returns:
        The module itself where nothing is to be done; else ``Adapted`` around it, whose ``notes`` state what is done.

    Raises:
        ValueError: the module fails on such a clip, yields no such part, or ``class_tokens`` of something else than (B, N, C).
    """
    if isinstance(class_tokens, bool) or not isinstance(class_tokens, int) or class_tokens < 0:
        raise ValueError(f"class_tokens must be a whole number, 0 or more; given {class_tokens!r}")
    output = run_once(module, spec)
    notes = []
    if features is not None:
        output = pick(output, features)
        notes.append(f"of the output, {features} is taken")
    if is_pathways(output):
        sizes = [" x ".join(map(str, one.shape[1:])) for one in output]
        grid = " x ".join(map(str, coarsest(output)))
        notes.append(f"{len(output)} pathways ({', '.join(sizes)}) averaged to {grid} and concatenated on channels")
    elif class_tokens and not (isinstance(output, Tensor) and output.dim() == 3):
        raise ValueError(f"class_tokens={class_tokens} is for (B, N, C); the backbone yields {describe(output)}")
    elif class_tokens:
        notes.append(f"the first {class_tokens} of the tokens dropped")
    if not notes:
        return module
    adapted = Adapted(module, features, class_tokens)
    adapted.notes = notes
    return adapted


def resize_positions(module: nn.Module, clip: Grid) -> None:
    """Moves a feature module to clips of another size, in place; where positions do not depend on it, nothing changes.

    Args:
        module: a result of ``strip`` or ``build``.
        clip: frames, height and width in pixels.

    Raises:
        ValueError: ``clip`` is not three positive integers, or the module cannot take it.
    """
    if isinstance(module, huggingface.HubFeatures):
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


@torch.no_grad()
def dry_run(module: nn.Module, spec: InputSpec, grid: Sequence[int] | None = None) -> tuple[int, tuple[int, ...]]:
    """Finds channels and token grid of a backbone from one clip of zeros, and changes nothing in it.

    Every submodule is put into evaluation mode for the run and back into its own mode after it, so that BatchNorm
    statistics do not move. The clip has the device and the dtype of the module's first parameter.

    Args:
        module: (1, *spec.shape) -> anything ``features_of`` accepts.
        spec: what it is fed.
        grid: the token grid, where the module yields (B, N, C).

    Returns:
        ``(channels, grid)`` of the tokens.

    Raises:
        ValueError: the module fails on such a clip, or yields something else than tokens.
    """
    output = run_once(module, spec)
    features = features_of(output, grid)
    if len(features.tokens) != 1:
        raise ValueError(
            f"one clip went into {type(module).__name__}, {len(features.tokens)} came out: {describe(output)}"
        )
    if spec.axes == VIDEO_AXES and isinstance(output, Tensor) and output.dim() == 4 and grid is None:
        raise ValueError(
            f"{type(module).__name__} yields {describe(output)} for video, where (B, C, T, H, W) was expected: state "
            f"grid={features.grid} if time comes first in it"
        )
    return features.tokens.shape[-1], features.grid


@torch.no_grad()
def run_once(module: nn.Module, spec: InputSpec) -> object:
    """What a module yields for one clip of zeros, in evaluation mode; see ``dry_run``.

    Raises:
        ValueError: the module fails on such a clip.
    """
    like = next((p for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()), torch.zeros(()))
    clip = spec.example(1, like.device, like.dtype)
    modes = [(m, m.training) for m in module.modules()]
    try:
        # The flag itself, not eval(): a train() of the user's own might do more than that, and not undo it.
        for part, _ in modes:
            part.training = False
        return module(clip)
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(
            f"{type(module).__name__} failed on a clip of zeros {tuple(clip.shape)}, {spec}: {type(error).__name__}: {error}"
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode
