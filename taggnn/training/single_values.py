"""Batches of one clip in front of BatchNorm layers that see one value of each channel in a clip, which they cannot normalise."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from taggnn.data.samplers import EpochLoader
from taggnn.runtime import distributed
from taggnn.types import InputSpec

_CURE = "give another data.batch_size, data.drop_last true, or backbone.frozen_bn true for a BatchNorm of the backbone"


def check_single_clips(model: nn.Module, spec: InputSpec, loader: EpochLoader) -> None:
    """Refuses a training in which a batch of one clip would meet such a layer.

    Args:
        model: that is trained.
        spec: of its inputs.
        loader: of the training clips.

    Raises:
        ValueError: names the layer, and the clips of the last batch.
    """
    rest, world = loader.clips % loader.step, distributed.world_size()
    alone = not loader.shared.drop_last and 0 < rest < 2 * world
    if loader.step != world and not alone:
        return
    layers = single_valued(model, spec)
    if layers:
        batches = "batches of one clip" if loader.step == world else "the last batch of an epoch has one clip"
        raise ValueError(
            f"data.batch_size {loader.shared.batch_size} with {loader.clips:,} training clips: {batches}, of which the BatchNorm "
            f"{layers[0]} sees a single value of each channel, and cannot normalise it in training; {_CURE}"
        )


def single_valued(model: nn.Module, spec: InputSpec) -> list[str]:
    """Names of the BatchNorm layers that see one value of each channel in a clip, found by a dry run on a copy."""
    copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    found: list[str] = []

    def watch(name: str, layer: _BatchNorm) -> None:
        def seen(_: nn.Module, inputs: tuple) -> None:
            if inputs[0].numel() == inputs[0].shape[1] and name not in found:
                found.append(name)

        layer.register_forward_pre_hook(seen)

    for name, layer in copy.named_modules():
        if isinstance(layer, _BatchNorm):
            watch(name, layer)
    first = next(model.parameters())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        copy.eval()(spec.example(1, first.device, first.dtype))
    return found


def explained(error: ValueError, clips: int) -> ValueError:
    """An error of a training batch; where skipped clips left one clip in it, in words that say so."""
    if clips == 1 and "more than 1 value per channel" in str(error):
        return ValueError(f"a batch of one clip, after others of it were skipped: {error}; {_CURE}")
    return error
