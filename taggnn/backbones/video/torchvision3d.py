"""The video models of torchvision as feature modules: pool and classifier removed, parameters and their names unchanged.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels; N = T*H*W tokens.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import video

from taggnn.backbones.download import Published, fetch
from taggnn.backbones.tokens import Grid, checked_size
from taggnn.backbones.weights import is_path, load_strictly, read_state_dict
from taggnn.names import unknown

log = logging.getLogger(__name__)

NAMES = tuple(models.list_models(module=video))


class Features(nn.Module):
    """A torchvision video model without pool and classifier; shares the model's submodules under their own names.

    Args:
        model: an instance of the family; it stays usable, and training one trains the other.

    Attributes:
        description: what was removed, one entry a module.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T', H', W')
    """

    family: type[nn.Module]
    parts: tuple[str, ...]
    removed: tuple[str, ...]

    def __init__(self, model: nn.Module):
        super().__init__()
        for name in self.parts:
            setattr(self, name, getattr(model, name))
        self.training = model.training
        self.description = [_removal(name, getattr(model, name, None)) for name in self.removed]


class ResNetFeatures(Features):
    """R3D, MC3 and R(2+1)D: stem to layer4.

    Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
    https://arxiv.org/abs/1711.11248

    **Shapes:** (B, 3, T, H, W) -> (B, 512, T/8, H/16, W/16), rounded up; MC3 keeps T
    """

    stem: nn.Module
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    family = video.VideoResNet
    parts = ("stem", "layer1", "layer2", "layer3", "layer4")
    removed = ("avgpool", "fc")

    def forward(self, clip: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(clip)))))


class S3DFeatures(Features):
    """Separable 3D Inception.

    Source: Xie et al., "Rethinking Spatiotemporal Feature Learning", https://arxiv.org/abs/1712.04851

    **Shapes:** (B, 3, T, H, W) -> (B, 1024, T/8, H/32, W/32)
    """

    features: nn.Module

    family = video.S3D
    parts = ("features",)
    removed = ("avgpool", "classifier")

    def forward(self, clip: Tensor) -> Tensor:
        return self.features(clip)


class SwinFeatures(Features):
    """Video Swin Transformer, with its last LayerNorm, channels first.

    Source: Liu et al., "Video Swin Transformer", https://arxiv.org/abs/2106.13230

    **Shapes:** (B, 3, T, H, W) -> (B, C, T/2, H/32, W/32), rounded up
    """

    patch_embed: nn.Module
    pos_drop: nn.Module
    features: nn.Module
    norm: nn.Module

    family = video.SwinTransformer3d
    parts = ("patch_embed", "pos_drop", "features", "norm")
    removed = ("avgpool", "head")

    def forward(self, clip: Tensor) -> Tensor:
        return self.norm(self.features(self.pos_drop(self.patch_embed(clip)))).permute(0, 4, 1, 2, 3)


class MViTFeatures(Features):
    """Multiscale Vision Transformer, with its last LayerNorm; the class token is used inside and dropped from the output.

    The positional encoding is tied to one clip size, ``clip``; ``resize_positions`` moves it to another.

    Source: Fan et al., "Multiscale Vision Transformers", https://arxiv.org/abs/2104.11227; Li et al., "MViTv2",
    https://arxiv.org/abs/2112.01526

    **Shapes:** (B, 3, T, H, W) -> (B, 768, T/2, H/32, W/32), rounded up

    Raises:
        ValueError: a clip of another size than the positional encoding was made for.
    """

    conv_proj: nn.Conv3d
    # torchvision's PositionalEncoding is private.
    pos_encoding: Any
    blocks: nn.ModuleList
    norm: nn.Module

    family = video.MViT
    parts = ("conv_proj", "pos_encoding", "blocks", "norm")
    removed = ("head",)

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.description.insert(0, "class token (dropped from the output)")

    @property
    def clip(self) -> Grid:
        """(T, H, W) of the clips that the positional encoding is made for."""
        grid = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        frames, height, width = (n * stride for n, stride in zip(grid, self.conv_proj.stride, strict=True))
        return frames, height, width

    def forward(self, clip: Tensor) -> Tensor:
        tokens, grid = self.encode(clip)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, grid)

    def encode(self, clip: Tensor) -> tuple[Tensor, Grid]:
        """All tokens, the class token first, and the grid of the others.

        **Shapes:** (B, 3, T, H, W) -> (B, 1 + N, C), (T', H', W')
        """
        patches = self.conv_proj(clip)
        grid = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        if tuple(patches.shape[2:]) != grid:
            # Relative positions accept any grid of equal N and would silently mix up its axes.
            given = tuple(clip.shape[2:])
            raise ValueError(
                f"this MViT was built for clips of (T, H, W) = {self.clip} and got {given}. Build it for that size, "
                f"taggnn.backbones.build(name, clip={given}), or call resize_positions(module, clip={given})"
            )
        tokens = self.pos_encoding(patches.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens, grid = block(tokens, grid)
        return self.norm(tokens), grid


FAMILIES = (ResNetFeatures, S3DFeatures, SwinFeatures, MViTFeatures)


def strip(module: nn.Module) -> nn.Module:
    """Removes pool and classifier of any torchvision video model; any other module is returned as it is.

    Arguments and result as of ``taggnn.backbones.adapt.strip``.
    """
    for features in FAMILIES:
        if isinstance(module, features.family) and type(module).forward is features.family.forward:
            return features(module)
    if not hasattr(module, "description"):
        note = f"nothing removed: {type(module).__name__} is taken to yield features"
        vars(module)["description"] = [note]
    return module


def features(name: str) -> Features:
    """Builds one of torchvision's video models by name, with random weights, as a feature module.

    Args:
        name: a name of ``torchvision.models.list_models(module=torchvision.models.video)``.

    Raises:
        ValueError: no such model, or one of a family that is newer than this code.
    """
    if name not in NAMES:
        raise unknown("torchvision video model", name, NAMES)
    model = models.get_model(name, weights=None)
    module = strip(model)
    if not isinstance(module, Features):
        known = ", ".join(family.family.__name__ for family in FAMILIES)
        raise ValueError(
            f"torchvision's {name} is a {type(model).__name__}, a family whose features taggnn cannot take out; "
            f"possible: {known}"
        )
    return module


def load_weights(module: Features, name: str, weights: str | Path) -> None:
    """Loads official torchvision weights or a local state dict; the classifier in it is dropped, which is logged.

    Args:
        module: what ``features(name)`` built; an MViT before its positions are resized.
        name: the model's name in torchvision.
        weights: "default", a name such as "KINETICS400_V1" or "MViT_V2_S_Weights.KINETICS400_V1" (both downloaded
            into torchvision's cache), or the path of a local state dict.

    Raises:
        FileNotFoundError: ``weights`` is a path that does not exist.
        ValueError: unknown weights, a file that does not fit, or a download that failed, with where to get
            the file and where to put it.
    """
    official = models.get_model_weights(name)
    short = str(weights).removeprefix(f"{official.__name__}.")
    if short.lower() == "default":
        entry = official.DEFAULT
    elif short in official.__members__:
        entry = official[short]
    elif is_path(weights):
        load_strictly(module, read_state_dict(weights), str(weights), classifier=module.removed[-1])
        return
    else:
        raise unknown(f"weights of {name}", str(weights), ["default", *official.__members__, "the path of a .pth file"])
    load_strictly(module, read_state_dict(fetch(Published(entry.url))), str(entry), classifier=module.removed[-1])


@torch.no_grad()
def resize_positions(module: nn.Module, clip: Grid) -> None:
    """Moves a feature module to clips of another size, in place; all but MViT take any size and are not changed.

    MViTv1's absolute tables are interpolated, bilinear in space and linear in time; MViTv2's relative tables keep
    their shape, torchvision interpolates them at every call. The model that the module was stripped from changes too.

    Args:
        module: a result of ``strip``.
        clip: frames, height and width in pixels.

    Raises:
        ValueError: ``clip`` is not three positive integers.
    """
    clip = checked_size(clip, "clip")
    if not isinstance(module, MViTFeatures):
        return
    conv: Any = module.conv_proj
    positions = module.pos_encoding
    frames, *plane = (
        (n + 2 * pad - kernel) // stride + 1
        for n, pad, kernel, stride in zip(clip, conv.padding, conv.kernel_size, conv.stride, strict=True)
    )
    if (positions.temporal_size, *positions.spatial_size) == (frames, *plane):
        return
    if positions.spatial_pos is not None:
        table = positions.spatial_pos.T.unflatten(1, tuple(positions.spatial_size))[None]
        table = F.interpolate(table, size=tuple(plane), mode="bilinear", align_corners=False)
        positions.spatial_pos = nn.Parameter(table[0].flatten(1).T.contiguous(), positions.spatial_pos.requires_grad)
        table = F.interpolate(positions.temporal_pos.T[None], size=frames, mode="linear", align_corners=False)
        positions.temporal_pos = nn.Parameter(table[0].T.contiguous(), positions.temporal_pos.requires_grad)
    log.info("MViT positions: %s -> %s", (positions.temporal_size, *positions.spatial_size), (frames, *plane))
    positions.temporal_size, positions.spatial_size = frames, tuple(plane)


def _removal(name: str, module: nn.Module | None) -> str:
    """The removed module in a description: "fc (512 -> 400)"."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv3d)] if module is not None else []
    if not layers:
        return name
    sizes = [layer.weight.shape for layer in layers]
    return f"{name} ({sizes[0][1]} -> {sizes[-1][0]})"
