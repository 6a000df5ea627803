"""What follows from a configuration: the source and the clips, options of heads, and the keys that stored tokens depend on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from taggnn import backbones
from taggnn.data import sources
from taggnn.data.loader import ClipData
from taggnn.data.shards import digest
from taggnn.data.sources import SOURCES
from taggnn.data.tokens import TokenCache, differences, relevant_settings
from taggnn.data.video.decoders import chosen
from taggnn.data.video.source import VideoSource
from taggnn.heads import HEADS
from taggnn.types import Source

# Keys of the source, which are not arguments of the data module.
_SOURCE = ("source", "source_options", "tokens")
# Keys of location and loading, which do not change a stored token.
_FEEDING = {
    *("data.root", "data.tokens", "data.fold", "data.batch_size", "data.workers", "data.drop_last", "data.balance"),
    *("video.frame_cache", "video.decode_timeout"),
}


# Keys of a backbone's training, which do not matter when it is frozen.
_LEARNING = {"frozen_bn", "bn_momentum", "freeze_stages", "layer_decay", "checkpointing", "drop_path"}


@dataclass
class BackboneChoice:
    """The backbone and its training.

    Args:
        name: see ``taggnn.backbones.find`` (default "small"): of the table of ``python -m taggnn.models``, ``hf:`` and a video
            model of Hugging Face, or ``timm:`` and an image model of timm.
        weights: "default", an official name, or the path of a file; none (default) for random ones.
        frozen: train only the head: the backbone stays in evaluation mode and has no gradients (default false).
        frozen_bn: BatchNorm uses its stored statistics in training too (default false).
        bn_momentum: momentum of every BatchNorm; none (default) for that of the backbone.
        freeze_stages: number of first stages that are not trained, or their names (default 0).
        layer_decay: factor of the learning rate from stage to stage towards the input, such as 0.75; none (default) for one
            rate.
        checkpointing: recompute stages in the backward pass: less memory, more time, the same gradients (default false).
        drop_path: probability of skipping the last block of a transformer, linearly down to 0 at the first; none (default) for
            that of the backbone.
        plug: of a skeleton network, what is put into its blocks: "sf" or the dotted path of a class; none (default) for
            nothing.
        plug_options: its arguments, and its position and blocks, by name: {losses: [redundancy], blocks: [8, 9, 10]}.
        options: further arguments of the backbone's builder, by name.
    """

    name: str = "small"
    weights: str | None = None
    frozen: bool = False
    frozen_bn: bool = False
    bn_momentum: float | None = None
    freeze_stages: int | list[str] = 0
    layer_decay: float | None = None
    checkpointing: bool = False
    drop_path: float | None = None
    plug: str | None = None
    plug_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def head_options(settings: Namespace, head: str) -> dict[str, Any]:
    """The options of a head: those under its name, or for a dotted path those of ``head_options``."""
    if head in HEADS:
        return settings[head].as_dict()
    given = dict(settings.head_options)
    if head in given:
        return dict(given[head] or {})
    return {key: value for key, value in given.items() if key not in settings.compare} if head == settings.head else {}


def fill(settings: Namespace) -> None:
    """Fills in keys that follow from others: mean and standard deviation for the backbone's weights, the short side for the size.

    The hub's configuration of a backbone is filled in too, so that a run can be resumed and its model used without the hub.
    """
    backbone, published = settings.backbone, settings.backbone.weights == "default"
    backbone.options = backbones.settled(backbone.name, backbone.options, published)
    row = backbones.find(backbone.name, backbone.options.get("config"), published)
    if settings.data.source == "video":
        for part in ("mean", "std"):
            if settings.video[part] is None:
                settings.video[part] = list(getattr(row, part))
        if settings.video.short_side == "auto":
            settings.video.short_side = VideoSource(size=settings.video.size).short_side


def source_of(settings: Namespace) -> Source:
    """The source of a configuration.

    Raises:
        ValueError: as ``sources.build``.
    """
    data = settings.data
    if data.tokens is not None:
        if settings.video.frame_cache is not None:
            raise ValueError(
                f"data.tokens {data.tokens} and video.frame_cache {settings.video.frame_cache}: one of them is possible; with "
                "tokens no clip is decoded"
            )
        return sources.build("tokens", {"folder": data.tokens})
    options = settings[data.source].as_dict() if data.source in SOURCES else data.source_options
    return sources.build(data.source, options)


def keys_of_input(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The keys, as a tree, that the input of a trained model determines.

    Args:
        kind: its source: a name of ``SOURCES`` or a dotted path.
        options: how a file becomes a sample, see ``InputSpec``.
    """
    if kind in SOURCES:
        return {"data": {"source": kind}, kind: dict(options)}
    return {"data": {"source": kind, "source_options": dict(options)}}


def clips_of(settings: Namespace) -> ClipData:
    """The clips of a configuration, not read yet.

    Raises:
        ValueError: as ``sources.build`` and ``ClipData``.
    """
    own = {key: value for key, value in settings.data.as_dict().items() if key not in _SOURCE}
    return ClipData(source_of(settings), **own, seed=settings.seed, fast=settings.fast)


def freeze(settings: Namespace) -> None:
    """Freezes the backbone, and resets the keys of its training."""
    settings.backbone.frozen = True
    left_out = [key for key in sorted(_LEARNING) if settings.backbone[key] != getattr(BackboneChoice(), key)]
    if left_out:
        print(f"backbone  frozen as a whole, so these keys have no effect: {', '.join(left_out)}")
    for key in _LEARNING:
        settings.backbone[key] = getattr(BackboneChoice(), key)


def of_tokens(settings: Namespace) -> dict[str, Any]:
    """The keys that stored tokens depend on, of the backbone and of the data, with their values as plain types."""
    backbone = settings.backbone.as_dict().items()
    keys = {f"backbone.{key}": value for key, value in backbone if key not in _LEARNING}
    groups = ["data", *([settings.data.source] if settings.data.source in SOURCES else [])]
    keys |= {f"{group}.{key}": value for group in groups for key, value in settings[group].as_dict().items()}
    if settings.data.source == "video":
        # The decoder that is used: a frame cache always takes PyAV.
        keys["video.decoder"] = "pyav" if settings.video.frame_cache is not None else chosen(settings.video.decoder)
    return json.loads(json.dumps({key: value for key, value in keys.items() if key not in _FEEDING}))


def check_tokens(settings: Namespace) -> None:
    """Refuses stored tokens that were extracted with other settings than those of the training.

    Weights in a file are compared by content, others by name.

    Raises:
        ValueError: they differ; the message names every key with both values.
    """
    cache = TokenCache(settings.data.tokens)
    there, given, choice = dict(cache.settings), of_tokens(settings), settings.backbone
    others = [key for key in there if key.startswith("backbone.") and key != "backbone.weights"]
    weights = choice.weights
    if (
        weights is not None
        and Path(weights).is_file()
        and all(there[key] == given.get(key, there[key]) for key in others)
    ):
        built = backbones.build_for(choice.name, cache.input, weights, **choice.options)
        there["backbone.weights"], given["backbone.weights"] = cache.weights["digest"], digest(built.state_dict())
    # Keys of other versions of taggnn are ignored.
    both = [key for key in relevant_settings(there, cache.views) if key in given]
    changed = differences({key: there[key] for key in both}, {key: given[key] for key in both})
    if changed:
        raise ValueError(
            f"--data.tokens {cache.folder}: extracted with other settings than those given here: {'; '.join(changed)}. Leave "
            "these keys out to use those of the tokens, or extract tokens with them"
        )
