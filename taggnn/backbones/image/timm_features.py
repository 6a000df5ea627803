"""Models of timm as backbones, frame by frame: tokens on their grid, positions for other sizes, weights.

Axes: B clips, N images, C channels, T frames, H W map or, for clips and images, pixels; L tokens of an image.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from taggnn.backbones.copying import copied
from taggnn.backbones.image import timm_models
from taggnn.backbones.image.frames import FrameFeatures
from taggnn.backbones.image.timm_models import PREFIX, WEIGHTS
from taggnn.backbones.prefixes import below
from taggnn.backbones.stages import grouped
from taggnn.backbones.tokens import Grid, checked_size, describe
from taggnn.backbones.tracing import Trace
from taggnn.backbones.trial import in_evaluation
from taggnn.backbones.weights import is_path, load_strictly, misfits, read_state_dict
from taggnn.names import unknown
from taggnn.types import Features

log = logging.getLogger(__name__)

# A child of a model with a larger share of the parameters is opened into stages.
_MOST = 0.5


class TimmFeatures(FrameFeatures):
    """A model of timm without pool and classifier, its map or its tokens on their grid for every frame.

    What ``forward_features`` does not use is removed. Class and register tokens are dropped; with ``class_token`` the mean of the
    frames' class tokens is the clip's.

    Source: https://github.com/huggingface/pytorch-image-models

    Args:
        model: of timm; it is changed.
        size: height and width in pixels of the images that it is made for.
        temporal_shift: share of the channels, see ``FrameFeatures.shift``.
        class_token: yield the class token too (default False).

    Attributes:
        removed: names of what was removed; ``description`` the same for readers.
        grid: (H', W') of the map at ``size``.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T, H', W'), or ``Features``, tokens (B, T, H', W', C) and class_token (B, C)

    Raises:
        ValueError: features that are no map, tokens whose grid cannot be found, no residual blocks for the shift, or no class
            token; in ``forward``, frames of another size than the model's positions are for.
    """

    # A class of timm, whose attributes depend on the family.
    model: Any

    def __init__(
        self, model: Any, size: tuple[int, int], temporal_shift: float = 0.0, class_token: bool = False
    ) -> None:
        super().__init__()
        self.size, self.grid = size, size
        self.model = model
        run = copied(_Features(model))
        trace, image = Trace(run), self._image()
        with torch.no_grad(), trace:
            output = in_evaluation(run, image)
        self._read(output)
        self.removed = _remove(model, trace)
        self.description = list(self.removed) or ["nothing"]
        named = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or ()
        names = (named,) if isinstance(named, str) else tuple(named)
        layers = {name: part for name, part in model.named_modules() if name in names and isinstance(part, nn.Conv2d)}
        self.first = tuple(f"model.{name}" for name, layer in layers.items() if layer.weight.shape[1] == 3)
        self.cut = grouped(self, _MOST)
        self.shift(temporal_shift)
        self.class_token = class_token
        if class_token and (self._layout != "NLC" or getattr(model, "cls_token", None) is None):
            raise ValueError(f"class_token: timm's {type(model).__name__} has none; transformers such as ViT have one")

    @property
    def fixed(self) -> bool:
        """Whether images must have the size that positions or windows are made for."""
        stated = getattr(self.model, "pretrained_cfg", None) or {}
        return self._layout == "NLC" or hasattr(self.model, "set_input_size") or bool(stated.get("fixed_input_size"))

    def images(self, images: Tensor) -> Tensor:
        self._check(images)
        return self._map(self.model.forward_features(images))

    def _check(self, images: Tensor) -> None:
        if self.fixed and tuple(images.shape[2:]) != self.size:
            given = tuple(images.shape[2:])
            raise ValueError(
                f"this {type(self.model).__name__} was built for frames of (H, W) = {self.size} and got {given}. Build it "
                f"for that size, taggnn.backbones.build(name, clip=(frames, *{given})), or call resize_positions"
            )

    def forward(self, clip: Tensor) -> Tensor | Features:
        if not self.class_token:
            return super().forward(clip)
        images = clip.transpose(1, 2).flatten(0, 1)
        self._check(images)
        features = self.model.forward_features(images)
        maps = self._map(features).unflatten(0, (-1, clip.shape[2]))
        # The class token comes before the register tokens.
        whole = features[:, 0].unflatten(0, (-1, clip.shape[2])).mean(1)
        return Features(maps.permute(0, 1, 3, 4, 2), class_token=whole)

    def _map(self, features: Tensor) -> Tensor:
        """**Shapes:** features of images -> (N, C, H', W')"""
        if self._layout == "NLC":
            return features[:, self._prefix :].transpose(1, 2).unflatten(2, self.grid)
        return features.permute(0, 3, 1, 2) if self._layout == "NHWC" else features

    @torch.no_grad()
    def resize(self, clip: Grid) -> None:
        """Moves positions and windows to frames of another size, by timm's own interpolation; any number of frames fits.

        Args:
            clip: frames, height and width in pixels.

        Raises:
            ValueError: the model takes no frames of that size.
        """
        size = checked_size(clip, "clip")[1:]
        before = self.size
        if size == before:
            return
        name = type(self.model).__name__
        hint = f'; possible is (H, W) = {before}, or another one with --backbone.options "{{config: {{img_size: [H, W]}}}}"'
        try:
            if hasattr(self.model, "set_input_size"):
                self.model.set_input_size(img_size=size)
            self.size = size
            self._read(in_evaluation(_Features(self.model), self._image()))
        # An assertion, or whatever a model of timm fails with.
        except Exception as error:
            self.size = before
            raise ValueError(
                f"timm's {name} takes no frames of (H, W) = {size}: {type(error).__name__}: {error}{hint if self.fixed else ''}"
            ) from error
        if self.fixed:
            log.info("%s positions: frames %s -> %s", name, before, size)

    def _image(self) -> Tensor:
        like = next(self.model.parameters())
        return torch.zeros(1, 3, *self.size, device=like.device, dtype=like.dtype)

    def _read(self, output: object) -> None:
        """Finds what the axes of the features are, and the grid."""
        name, model = type(self.model).__name__, self.model
        if isinstance(output, Tensor) and output.dim() == 4:
            last = getattr(model, "output_fmt", "") == "NHWC" or (
                output.shape[1] != model.num_features and output.shape[3] == model.num_features
            )
            self._layout = "NHWC" if last else "NCHW"
            height, width = output.shape[1:3] if last else output.shape[2:]
            self.grid = (height, width)
            return
        if not isinstance(output, Tensor) or output.dim() != 3:
            raise ValueError(
                f"timm's {name} yields {describe(output)} of an image, and a map (N, C, H, W) or tokens (N, L, C) are needed: "
                "choose another model"
            )
        self._layout, self._prefix = "NLC", int(getattr(model, "num_prefix_tokens", 0))
        count = output.shape[1] - self._prefix
        for height, width in _grids(model, self.size):
            if height * width == count:
                self.grid = (height, width)
                return
        raise ValueError(
            f"timm's {name} yields {describe(output)} of an image of {self.size}, {self._prefix} of its tokens before the "
            "others, and states no grid for them: choose another model"
        )


class _Features(nn.Module):
    """A model's features as its output."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model.forward_features(images)


def _grids(model: Any, size: tuple[int, int]) -> list[tuple[int, int]]:
    """The grids that a model's tokens can be on."""
    found: list[tuple[int, int]] = []
    patches: Any = getattr(model, "patch_embed", None)
    if hasattr(patches, "dynamic_feat_size"):
        found.append(tuple(patches.dynamic_feat_size(size)))
    if getattr(patches, "grid_size", None) is not None:
        found.append(tuple(patches.grid_size))
    if getattr(model, "feature_info", None):
        step = model.feature_info[-1]["reduction"]
        found += [(size[0] // step, size[1] // step), (-(-size[0] // step), -(-size[1] // step))]
    return found


def _remove(model: nn.Module, trace: Trace) -> tuple[str, ...]:
    """Takes out the layers and parameters that no features are computed with; returns their names."""
    removed: list[str] = []
    for name, part in model.named_modules():
        parameters = list(part.parameters())
        above = any(name.startswith(f"{other}.") for other in removed)
        if name and not above and parameters and not any(id(one) in trace.used for one in parameters):
            removed.append(name)
    for name in removed:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, nn.Identity())
    for name, parameter in list(model.named_parameters()):
        if id(parameter) not in trace.used:
            parent, _, own = name.rpartition(".")
            model.get_submodule(parent)._parameters[own] = None
            removed.append(name)
    return tuple(removed)


def features(config: Mapping[str, Any], temporal_shift: float = 0.0, class_token: bool = False) -> TimmFeatures:
    """Builds a model by its complete configuration, with random weights, as a feature module.

    Args:
        config: see ``timm_models.configuration``.
        temporal_shift: share of the channels.
        class_token: yield the class token too (default False).

    Raises:
        ImportError: timm is not installed.
        ValueError: a configuration that timm refuses, or as ``TimmFeatures``.
    """
    timm = timm_models.package()
    try:
        model = timm.create_model(config["architecture"], pretrained=False, **timm_models.arguments_of(config))
    # It fails with any kind for arguments that a model does not have.
    except Exception as error:
        raise ValueError(f"timm refuses it: {type(error).__name__}: {error}") from error
    return TimmFeatures(model, timm_models.clip_of(config)[1:], temporal_shift, class_token)


def load_weights(module: TimmFeatures, weights: str | Path, source: str, config: Mapping[str, Any]) -> None:
    """Loads published weights, or a local file, strictly; what was removed from the model is dropped, which is logged.

    A file of a model's authors, which timm itself would convert, is converted likewise.

    Args:
        module: what ``features`` built, before its positions are resized.
        weights: "default" or the path of a file.
        source: as for ``timm_models.configuration``.
        config: the complete configuration.

    Raises:
        FileNotFoundError: no such file, or the hub cannot be reached.
        ValueError: a name instead of a path, a file that cannot be read, or one that does not fit.
    """
    label = str(weights)
    if label.lower() == "default":
        label = f"{PREFIX}{source}"
        state = _published(source, config)
    elif is_path(weights):
        state = read_state_dict(weights)
    else:
        raise unknown(f"weights of {PREFIX}{source}", label, ["default", "the path of a file"])
    own = module.model.state_dict()
    state = below(state, own.keys(), label)
    convert = getattr(sys.modules[type(module.model).__module__], "checkpoint_filter_fn", None)
    if convert is not None and any(line.startswith("not in the file") for line in misfits(own, state)):
        try:
            state = convert(state, module.model)
        # Written for the files that its authors know.
        except Exception as error:
            log.info("%s: timm does not convert it: %s: %s", label, type(error).__name__, error)
    state = {f"model.{key}": value for key, value in state.items() if key not in module.removed}
    load_strictly(module, state, label, tuple(f"model.{name}" for name in module.removed))


def _published(source: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    folder = timm_models.folder_of(source)
    if folder is not None:
        path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{folder} holds no weights: {' or '.join(WEIGHTS)}")
        return read_state_dict(path)
    timm, architecture = timm_models.package(), config["architecture"]
    if timm_models.is_hub_id(source):
        name, where = f"hf-hub:{source}", f"https://huggingface.co/{source}"
    else:
        facts = timm.get_pretrained_cfg(architecture)
        if facts is None or not facts.has_weights:
            raise ValueError(f"timm knows no published weights of {architecture}: give the path of a file")
        name, where = architecture, f"https://huggingface.co/{facts.hf_hub_id}" if facts.hf_hub_id else facts.url
    try:
        model = timm.create_model(name, pretrained=True, **timm_models.arguments_of(config))
    # Of timm, of the hub's package, or of the connection.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"weights of {PREFIX}{source} could not be loaded by timm ({type(error).__name__}: {reason}). Download "
            f"{WEIGHTS[0]} of {where} elsewhere and give its path as weights"
        ) from error
    return model.state_dict()
