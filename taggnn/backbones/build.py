"""Finding a backbone by name, dotted path or class, and building it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from torch import nn

from taggnn.backbones import huggingface
from taggnn.backbones.adapt import USUAL_CLIP, adapt, resize_positions, strip
from taggnn.backbones.finetuning import tune
from taggnn.backbones.first_layer import set_in_channels
from taggnn.backbones.image import timm_models
from taggnn.backbones.skeleton.network import SkeletonNetwork
from taggnn.backbones.table import BACKBONES, HUB, Backbone, hub_row, timm_row
from taggnn.backbones.tokens import Grid, checked_size
from taggnn.backbones.weights import load_file
from taggnn.names import imported, is_path, unknown
from taggnn.types import SKELETON_AXES, VIDEO_AXES, InputSpec


def _own(given: str | Callable[..., nn.Module]) -> Backbone:
    """A row for a class or function of one's own, with its attributes ``clip``, ``mean`` and ``std`` if it has them."""
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
    """The row of a backbone: of ``BACKBONES``, for a model of Hugging Face or of timm, or for a class of one's own.

    Args:
        name: a key of ``BACKBONES``; or ``hf:`` and a hub id, a folder with a model's files, or a family's name (videomae,
            timesformer, vivit, vjepa2); or ``timm:`` and a name of timm, a folder, or a hub id; or the dotted path of a class or
            function that makes a module, or that class itself.
        config: changes of the configuration of a model of Hugging Face or of timm.
        published: whether published weights are wanted; only then is the hub accessed for a model of ``HUB``.

    Raises:
        FileNotFoundError: a model's configuration cannot be read.
        ValueError: an unknown name, or a path that cannot be imported.
    """
    if not isinstance(name, str):
        return _own(name)
    source = huggingface.split(name)
    if source is not None:
        return hub_row(source, config, published)
    source = timm_models.split(name)
    if source is not None:
        return timm_row(source, config)
    if name not in BACKBONES and is_path(name):
        return _own(name)
    if name not in BACKBONES:
        raise unknown("backbone", name, [*BACKBONES, *HUB, f"{timm_models.PREFIX}NAME"])
    return BACKBONES[name]


def settled(name: str, options: Mapping[str, Any], published: bool = False) -> dict[str, Any]:
    """Options that build the same backbone without the hub: a configuration that was read there is included.

    Args:
        name: as for ``find``.
        options: of its builder.
        published: as for ``find``.
    """
    if isinstance(name, str) and (source := huggingface.split(name)) is not None:
        return {**options, "config": huggingface.configuration(source, options.get("config"), published)}
    if isinstance(name, str) and (source := timm_models.split(name)) is not None:
        return {**options, "config": timm_models.configuration(source, options.get("config"))}
    return dict(options)


def build_for(
    name: str | Callable[..., nn.Module], spec: InputSpec, weights: str | Path | None = None, **options: Any
) -> nn.Module:
    """Builds a backbone for an input, and one of one's own as ``taggnn.attach`` does: cut at its last feature map.

    Args:
        name: as for ``find``.
        spec: of the clips to come.
        weights, options: as for ``build``.

    Raises:
        FileNotFoundError, ValueError: as ``build``, and for a module of one's own as ``taggnn.backbones.adapt``.
    """
    if isinstance(name, str) and not is_path(name):
        return build(name, weights, spec=spec, **options)
    tuning = {key: options.pop(key) for key in TUNING if key in options}
    module = adapt(build(name, weights, spec=spec, **options), spec)
    if tuning:
        tune(module, **tuning)
    return module


# Options of a backbone's training; the others are those of its builder.
TUNING = tuple(inspect.signature(tune).parameters)[1:]


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
    spec: InputSpec | None = None,
    plug: str | Callable[..., nn.Module] | None = None,
    plug_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """Builds a backbone of the table, or one of one's own.

    Args:
        name: as for ``find``.
        weights: ``None`` for random ones; else what the row's ``weights`` states: "default", an official name, a path.
        frozen_bn: BatchNorm uses its stored statistics and never updates them, also after ``model.train()``; its
            scale and shift still learn.
        bn_momentum: momentum of every BatchNorm, in (0, 1]; ``None`` keeps the backbone's own.
        clip: (T, H, W) of the clips of video to come, ``None`` for the row's. Only the positions of transformers depend on
            it; they are interpolated after the weights are loaded.
        freeze_stages, layer_decay, checkpointing, drop_path: see ``tune``.
        in_channels: 3 (None, default), or 1 for grayscale clips: the first layer's kernels are summed over red, green and blue. A
            builder of one's own with such a parameter is given it instead.
        spec: the input to come, instead of ``clip``; ``None`` for the row's. A network of skeletons is built for its joints,
            persons and channels.
        plug: what is put into the blocks of a skeleton network, see ``taggnn.backbones.plugs``; None (default) for nothing.
        plug_options: ``position`` and ``blocks``, see ``SkeletonNetwork.plug_in``, and arguments of the plug.
        **options: arguments of the row's builder.

    Returns:
        A module in training mode: ``(B, in_channels, T, H, W) -> (B, C, T', H', W')``; for skeletons ``(B, C, T, V, M) ->
        Features``, tokens (B, T', V, C'); one's own may take and yield other axes.

    Raises:
        FileNotFoundError: ``weights`` is a path that does not exist.
        ValueError: unknown name, option or weights, an option's value that the builder refuses, weights that do not fit,
            an input of another kind, or contradicting BatchNorm options.
    """
    row = find(name, options.get("config"), published=str(weights) == "default")
    name, own = row.name, not isinstance(name, str) or is_path(name)
    clip, first = _input(row, own, clip, spec, in_channels)
    parameters = inspect.signature(row.builder).parameters
    possible = [key for key, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    possible = possible[len(first) :]
    if own and in_channels is not None and "in_channels" in possible:
        options["in_channels"], in_channels = in_channels, None
    for option in options:
        if option not in possible and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            raise unknown(f"option of backbone {name}", option, possible)
    if clip is not None:
        clip = checked_size(clip, "clip")
    try:
        module = row.builder(*first, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError, ArithmeticError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items()) or "no options"
        raise ValueError(f"backbone {name} cannot be built with {given}: {error or type(error).__name__}") from error
    if row.kind == "skeleton":
        pass
    elif not isinstance(module, huggingface.HubFeatures):
        # A module of one's own may take something else than RGB.
        if not own or in_channels is not None:
            set_in_channels(module, 3 if in_channels is None else in_channels)
    elif in_channels not in (None, 3):
        raise ValueError(f"in_channels={in_channels}: {name} takes RGB clips only")
    if plug is not None:
        _plug_in(module, name, plug, plug_options or {})
    elif plug_options:
        raise ValueError(f"plug_options are for a plug; given {', '.join(plug_options)} without one")
    if weights is not None:
        row.loader(module, weights=weights)
    if clip is not None:
        resize_positions(module, clip)
    tune(module, frozen_bn, bn_momentum, freeze_stages, layer_decay, checkpointing, drop_path)
    return module


def _plug_in(module: nn.Module, name: str, plug: str | Callable[..., nn.Module], options: Mapping[str, Any]) -> None:
    if not isinstance(module, SkeletonNetwork):
        possible = [name for name, row in BACKBONES.items() if row.kind == "skeleton"]
        raise ValueError(f"plug={plug!r}: backbone {name} has no blocks for a plug; possible: {', '.join(possible)}")
    try:
        module.plug_in(plug, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"backbone {name} cannot take plug {plug!r}: {error}") from error


def _input(
    row: Backbone, own: bool, clip: Grid | None, spec: InputSpec | None, in_channels: int | None
) -> tuple[Grid | None, list[InputSpec]]:
    """The size of a clip of video, and what a builder of skeletons takes first.

    Raises:
        ValueError: the input is of another kind than the backbone.
    """
    if row.kind == "skeleton":
        for option, value in {"clip": clip, "in_channels": in_channels}.items():
            if value is not None:
                raise ValueError(
                    f"{option}={value!r} is for video; {row.name} takes its sizes from the skeletons, spec="
                )
        if spec is not None and spec.axes != SKELETON_AXES:
            raise ValueError(f"backbone {row.name} is for skeletons; the input is {spec}{_possible(spec)}")
        return None, [row.spec if spec is None else spec]
    if spec is not None and not own and spec.axes != VIDEO_AXES:
        raise ValueError(f"backbone {row.name} is for video; the input is {spec}{_possible(spec)}")
    return spec.clip if clip is None and spec is not None and spec.axes == VIDEO_AXES else clip, []


def _possible(spec: InputSpec) -> str:
    """The backbones for an input, for a message."""
    fitting = [name for name, row in BACKBONES.items() if row.spec.axes == spec.axes]
    return f"; possible for it: {', '.join(fitting)}" if fitting else ""
