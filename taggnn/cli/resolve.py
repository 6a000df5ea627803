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
from taggnn.heads import HEADS
from taggnn.types import Source

# Keys that say which source there is, and are no arguments of the data module.
_SOURCE = ("source", "source_options", "tokens")
# Keys that say where the clips lie and how they are fed, and change nothing about a stored token.
_FEEDING = {
    *("data.root", "data.tokens", "data.batch_size", "data.workers", "data.drop_last", "data.balance"),
    *("video.frame_cache", "video.decode_timeout"),
}


# Keys of a backbone that say how it learns, and nothing of what it does when it does not.
_LEARNING = {"frozen_bn", "bn_momentum", "freeze_stages", "layer_decay", "checkpointing", "drop_path"}


@dataclass
class BackboneChoice:
    """Which backbone, and how it is trained.

    Args:
        name: see ``taggnn.backbones.find`` (default "small"): of the table of ``python -m taggnn.models``, or ``hf:`` and a model
            of Hugging Face.
        weights: "default", an official name, or the path of a file; none (default) for random ones.
        frozen: only the head is trained: the backbone stays in evaluation mode and gets no gradients (default false).
        frozen_bn: BatchNorm keeps its stored statistics, also in training (default false).
        bn_momentum: momentum of every BatchNorm; none (default) keeps the backbone's own.
        freeze_stages: the first so many stages of the backbone, or some by name, are not trained (default 0).
        layer_decay: factor by which learning rates fall from stage to stage towards the clip, such as 0.75; none (default) for
            one rate.
        checkpointing: stages are computed again in the backward pass instead of kept: less memory, more time, the same
            gradients (default false).
        drop_path: probability of leaving out the last block of a transformer, falling to 0 at the first; none (default) keeps
            the backbone's own.
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
    options: dict[str, Any] = field(default_factory=dict)


def head_options(settings: Namespace, head: str) -> dict[str, Any]:
    """The options of a head of a run: those below its name, or for a dotted path those of ``head_options``."""
    if head in HEADS:
        return settings[head].as_dict()
    given = dict(settings.head_options)
    if head in given:
        return dict(given[head] or {})
    return {key: value for key, value in given.items() if key not in settings.compare} if head == settings.head else {}


def fill(settings: Namespace) -> None:
    """Puts in what follows from other keys: the mean and the deviation that the backbone's weights expect.

    What a hub says of a backbone goes in too, so that a run can be resumed, and its model be used, without the hub.
    """
    backbone, published = settings.backbone, settings.backbone.weights == "default"
    backbone.options = backbones.settled(backbone.name, backbone.options, published)
    row = backbones.find(backbone.name, backbone.options.get("config"), published)
    for part in ("mean", "std") if settings.data.source == "video" else ():
        if settings.video[part] is None:
            settings.video[part] = list(getattr(row, part))


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
    """The keys, as a tree, that an input of a trained model settles.

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
    return ClipData(source_of(settings), **own, seed=settings.seed)


def freeze(settings: Namespace) -> None:
    """Chooses a backbone that does not learn, whatever the other keys say of how it would."""
    settings.backbone.frozen = True
    left_out = [key for key in sorted(_LEARNING) if settings.backbone[key] != getattr(BackboneChoice(), key)]
    if left_out:
        print(f"backbone  frozen as a whole, so these keys of it change nothing: {', '.join(left_out)}")
    for key in _LEARNING:
        settings.backbone[key] = getattr(BackboneChoice(), key)


def of_tokens(settings: Namespace) -> dict[str, Any]:
    """The keys that stored tokens follow from, with their values as plain types: of the backbone and of the data."""
    backbone = settings.backbone.as_dict().items()
    keys = {f"backbone.{key}": value for key, value in backbone if key not in _LEARNING}
    groups = ["data", *([settings.data.source] if settings.data.source in SOURCES else [])]
    keys |= {f"{group}.{key}": value for group in groups for key, value in settings[group].as_dict().items()}
    if settings.data.source == "video":
        # By the decoder that is really used: a store takes PyAV whatever is chosen.
        keys["video.decoder"] = "pyav" if settings.video.frame_cache is not None else chosen(settings.video.decoder)
    return json.loads(json.dumps({key: value for key, value in keys.items() if key not in _FEEDING}))


def check_tokens(settings: Namespace) -> None:
    """Refuses stored tokens that were made with other settings than those of a training on them.

    Weights that are a file here are compared by their content, others by their name.

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
        clip: Any = cache.input.shape[1:]
        built = backbones.build(choice.name, weights, clip=clip, **choice.options)
        there["backbone.weights"], given["backbone.weights"] = cache.weights["digest"], digest(built.state_dict())
    # A key that another version of taggnn has or had says nothing here.
    both = [key for key in relevant_settings(there, cache.views) if key in given]
    changed = differences({key: there[key] for key in both}, {key: given[key] for key in both})
    if changed:
        raise ValueError(
            f"--data.tokens {cache.folder}: made with other settings than those given here: {'; '.join(changed)}. Leave "
            "these keys out to have what the tokens have, or extract tokens with them"
        )
