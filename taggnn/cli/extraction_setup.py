"""What an extraction of tokens begins with: its configuration, the frozen backbone, and the index of what it will write."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import Namespace
from torch import nn

from taggnn import backbones
from taggnn.backbones.weights import misfits
from taggnn.cli import config, resolve
from taggnn.cli.parser import Parser
from taggnn.data import shards
from taggnn.data.loader import ClipData
from taggnn.data.token_index import FORMAT, KIND
from taggnn.data.tokens import splits_as_dict
from taggnn.io import checkpoint, environment
from taggnn.model import Recogniser
from taggnn.runtime.seeding import seed_everything

# Options of the program that are none of a training.
_OWN = ("out", "views", "dtype", "shard_size", "checkpoint", "verify")


def settings_of(arguments: Sequence[str], parser: Parser) -> tuple[Namespace, dict[str, Any]]:
    """The configuration of a training with a frozen backbone, and the options that only an extraction has."""
    if config.word("data.tokens", arguments) is not None:
        raise ValueError("--data.tokens: tokens are computed from videos; give --data.root, and --out for the tokens")
    path = config.word("checkpoint", arguments)
    trusts, _ = config.split_trust(arguments)
    settings = config.parse(arguments, parser, None if path is None else _trained(path, trusts))
    own = {key: settings.pop(key) for key in _OWN}
    if settings.preview is not None:
        raise ValueError("--preview: is an option of taggnn.train; leave it out here")
    if own["views"] < 0:
        raise ValueError(f"--views {own['views']}: must be 0 or more")
    if not own["shard_size"] > 0:
        raise ValueError(f"--shard_size {own['shard_size']}: must be above 0 MB")
    resolve.freeze(settings)
    resolve.fill(settings)
    return settings, own


def _trained(path: str, trusts: bool) -> dict[str, Any]:
    """The keys of a configuration that a trained run determines: its backbone and its input."""
    architecture, _ = checkpoint.backbone_of(path, trusts)
    options = dict(architecture["backbone"])
    own = {key: options.pop(key) for key in vars(resolve.BackboneChoice()) if key in options}
    given = architecture["input"]
    shown = resolve.keys_of_input(given["kind"], given["options"])
    return {"backbone": {**own, "options": options, "weights": None}, **shown}


def frozen_backbone(settings: Namespace, data: ClipData, path: str | None) -> tuple[Recogniser, str]:
    """The frozen backbone without a head, and where its weights come from; random ones are those of a training."""
    seed_everything(settings.seed)
    given = settings.backbone
    weights = None if path else given.weights
    built = backbones.build_for(given.name, data.model_spec, weights, **given.options)
    origin = f"of {path}" if path else given.weights or f"random, seed {settings.seed}"
    if path is not None:
        # Its names are those that the settings have taken from it.
        architecture, state = checkpoint.backbone_of(path, config.own_names(settings))
        if wrong := misfits(built.state_dict(), state):
            there = architecture["backbone"]["name"]
            raise ValueError(
                f"checkpoint {path}: its backbone is {there!r}, and does not fit {given.name!r} with the options given here "
                f"({len(wrong)} entries differ, such as {wrong[0]}); leave --backbone out to take the checkpoint's"
            )
        built.load_state_dict(state)
    channels, grid = backbones.dry_run(built, data.model_spec)
    found = {
        "backbone": f"{given.name}, weights {origin}",
        "tokens": f"{' x '.join(map(str, grid))} of {channels} channels",
    }
    model = Recogniser(built, nn.Identity(), data.model_spec, grid, found=found)
    model.freeze()
    return model.eval(), origin


def index_of(
    settings: Namespace, data: ClipData, own: dict[str, Any], model: Recogniser, origin: str
) -> dict[str, Any]:
    """The index of the tokens: everything they depend on, without their locations."""
    channels, grid = backbones.dry_run(model.backbone, model.spec)
    size = [*grid, channels]
    row = math.prod(size) * getattr(torch, own["dtype"]).itemsize
    return {
        "kind": KIND,
        "format": FORMAT,
        "complete": False,
        "settings": resolve.of_tokens(settings),
        "weights": {"origin": origin, "digest": shards.digest(model.backbone.state_dict())},
        "input": data.model_spec.plain(),
        "tokens": size,
        "dtype": own["dtype"],
        "views": own["views"],
        "seed": settings.seed,
        "split_options": data.split_options,
        "rows_a_shard": max(1, int(own["shard_size"] * 1e6) // row),
        "versions": environment.versions(),
        "classes": list(data.classes),
        "notes": list(data.splits.notes),
        "shards": {},
        "splits": splits_as_dict(data.splits),
    }
