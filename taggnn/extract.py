"""``python -m taggnn.extract``: a frozen backbone over every clip once, its tokens stored, so that heads train in minutes.

Takes the options of ``taggnn.train``, and where to write. The same call goes on with an extraction that was interrupted,
and ends with the same bytes.
"""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jsonargparse import Namespace
from torch import nn
from tqdm import tqdm

from taggnn import backbones
from taggnn.backbones.weights import misfits
from taggnn.cli import config, terminal
from taggnn.cli.parser import Parser
from taggnn.data import shards
from taggnn.data.loader import ClipData
from taggnn.data.tokens import BACKBONE, CONFIG, FORMAT, INDEX, KIND, TokenCache, splits_as_dict
from taggnn.io import checkpoint, environment
from taggnn.io.extraction import (
    changed_videos,
    check_space,
    completed,
    extract,
    finished,
    left_to_do,
    plan,
    readable_again,
)
from taggnn.model import Recogniser
from taggnn.runtime.atomic import write_text
from taggnn.runtime.device import find_device
from taggnn.runtime.seeding import seed_everything

# Options of this program alone, which are none of a training.
_OWN = ("out", "views", "dtype", "shard_size", "checkpoint", "verify")


def main(arguments: Sequence[str]) -> None:
    settings, own = _settings(arguments)
    folder = shards.resolve_folder(own["out"], "--out")
    if own["verify"]:
        _verify(TokenCache(folder))
        return
    shards.check_writable(folder, "--out")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = find_device(settings.device)
    data = config.clips_of(settings)
    data.prepare_data()
    data.setup()
    model, origin = _backbone(settings, data, own["checkpoint"])
    print(model.describe())
    index = _index(settings, data, own, model, origin)
    pieces = plan(data, own["views"], index["rows_a_shard"])
    left = left_to_do(folder, pieces, index)
    if changed := changed_videos(folder, pieces, index):
        print(f"changed   {len(changed)} clips have other video files than those their tokens are of: made anew")
    done = not left and finished(folder, index)
    if done:
        left, good, tried = readable_again(folder, data, pieces)
        if tried:
            print(f"retried   {tried} skipped clips: {good} can be read now")
    row = math.prod(index["tokens"]) * getattr(torch, own["dtype"]).itemsize
    needed, free = check_space(folder, left, row)
    clips, made = sum(len(piece.clips) for piece in pieces), len(pieces) - len(left)
    print(
        f"store     {clips:,} x {row / 1e3:,.1f} kB = {clips * row / 1e6:,.1f} MB in {len(pieces)} shards"
        + (f"; {made} of them are there already" if made else "")
        + f"; {needed / 1e6:,.1f} MB to write, {free / 1e9:,.1f} GB free",
        flush=True,
    )
    started = time.perf_counter()
    if left or not done:
        folder.mkdir(parents=True, exist_ok=True)
        shards.write_index(folder / INDEX, index)
        shards.write_shard(folder / BACKBONE, model.backbone.state_dict())
        write_text(folder / CONFIG, config.dump(settings))
        try:
            extract(folder, model.to(device), data, left, index)
            index["weights"] |= shards.file_info(folder / BACKBONE)
            shards.write_index(folder / INDEX, completed(folder, pieces, index))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same call goes on from here") from None
    seconds, count = time.perf_counter() - started, sum(len(piece.clips) for piece in left)
    if count:
        print(f"extracted {count:,} clips in {seconds / 60:.1f} min, {count / seconds:.1f} clips/s")
    cache = TokenCache(folder)
    for name, reason in cache.skipped[:5]:
        print(f"skipped   {name}: {reason}")
    if len(cache.skipped) > 5:
        print(f"          and {len(cache.skipped) - 5} more, see {folder / INDEX}")
    print(f"tokens    {folder}\ntrain     python -m taggnn.train --data.tokens {folder}")


def parser() -> Parser:
    """Builds the command line of this program: that of ``taggnn.train``, and its own options."""
    built = config.parser(
        "taggnn.extract",
        "Stores the tokens of a frozen backbone for every clip; taggnn.train --data.tokens DIR then trains heads on them.",
    )
    add = built.add_argument
    add("--out", type=str, required=True, help="folder of the tokens; an unfinished one is gone on with")
    add(
        "--views",
        type=int,
        default=0,
        help="augmented views of each training clip; 0: training sees what evaluation does",
    )
    add("--dtype", type=Literal["float16", "float32"], default="float16", help="how tokens are stored")
    add("--shard_size", type=float, default=256.0, help="size of a shard in MB, of a million bytes")
    add("--checkpoint", type=str | None, default=None, help="best.ckpt of a run whose backbone and clips to take")
    add("--verify", type=bool, default=False, help="true: extract nothing, compare all of --out with its checksums")
    return built


def _settings(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """The configuration as a training has it, with the backbone frozen, and this program's own options apart."""
    if config.word("data.tokens", arguments) is not None:
        raise ValueError("--data.tokens: tokens are made of videos; give --data.root, and --out for the tokens")
    path = config.word("checkpoint", arguments)
    settings = config.parse(arguments, parser(), None if path is None else _trained(path))
    own = {key: settings.pop(key) for key in _OWN}
    if settings.preview is not None:
        raise ValueError("--preview: is for taggnn.train, which shows clips as it is fed them; leave it out here")
    if own["views"] < 0:
        raise ValueError(f"--views {own['views']}: must be 0 or more")
    if not own["shard_size"] > 0:
        raise ValueError(f"--shard_size {own['shard_size']}: must be above 0 MB")
    config.freeze(settings)
    config.fill(settings)
    return settings, own


def _trained(path: str) -> dict[str, Any]:
    """The keys of a configuration that a trained run settles: its backbone, and how it saw clips."""
    architecture, _ = checkpoint.backbone_of(path)
    options = dict(architecture["backbone"])
    own = {key: options.pop(key) for key in vars(config.BackboneChoice()) if key in options}
    given = architecture["input"]
    shown = config.keys_of_input(given["kind"], given["options"])
    return {"backbone": {**own, "options": options, "weights": None}, **shown}


def _backbone(settings: Namespace, data: ClipData, path: str | None) -> tuple[Recogniser, str]:
    """The frozen backbone behind no head, and where its weights come from; random ones are those of a training."""
    seed_everything(settings.seed)
    given, clip = settings.backbone, data.model_spec.shape[1:]
    weights = None if path else given.weights
    built = backbones.build(given.name, weights, clip=clip, **given.options)
    origin = f"of {path}" if path else given.weights or f"random, seed {settings.seed}"
    if path is not None:
        architecture, state = checkpoint.backbone_of(path)
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


def _index(settings: Namespace, data: ClipData, own: dict[str, Any], model: Recogniser, origin: str) -> dict[str, Any]:
    """What the tokens are made of and from, but for where they lie."""
    channels, grid = backbones.dry_run(model.backbone, model.spec)
    size = [*grid, channels]
    row = math.prod(size) * getattr(torch, own["dtype"]).itemsize
    return {
        "kind": KIND,
        "format": FORMAT,
        "complete": False,
        "settings": config.of_tokens(settings),
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


def _verify(cache: TokenCache) -> None:
    """Compares every file with its checksum and names those that differ."""
    damaged = []
    for name in tqdm(cache.shards.table, desc="verify", unit="shard", file=sys.stderr, disable=None):
        try:
            cache.shards.verify(name)
        except ValueError as error:
            damaged.append(str(error))
    if damaged:
        raise ValueError("\n".join(damaged))
    print(f"verified  {len(cache.shards.table)} files in {cache.folder}: all as they were written")


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.extract"))
