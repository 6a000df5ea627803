"""``python -m taggnn.extract``: a frozen backbone over every clip once, its tokens stored, so that heads train in minutes.

Takes the options of ``taggnn.train``, and where to write. The same command resumes an interrupted extraction and ends
with the same bytes.
"""

import math
import sys
import time
from collections.abc import Sequence
from typing import Literal

import torch
from tqdm import tqdm

from taggnn.cli import config, resolve, terminal
from taggnn.cli.extraction_setup import frozen_backbone, index_of, settings_of
from taggnn.cli.parser import Parser
from taggnn.data import shards
from taggnn.data.token_index import BACKBONE, CONFIG, INDEX
from taggnn.data.tokens import TokenCache
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
from taggnn.runtime.atomic import write_text
from taggnn.runtime.device import find_device
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    settings, own = settings_of(arguments, parser())
    folder = shards.resolve_folder(own["out"], "--out")
    if own["verify"]:
        _verify(TokenCache(folder))
        return
    shards.check_writable(folder, "--out")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = find_device(settings.device)
    data = resolve.clips_of(settings)
    data.prepare_data()
    data.setup()
    model, origin = frozen_backbone(settings, data, own["checkpoint"])
    print(model.describe())
    index = index_of(settings, data, own, model, origin)
    pieces = plan(data, own["views"], index["rows_a_shard"])
    left = left_to_do(folder, pieces, index)
    if changed := changed_videos(folder, pieces, index):
        print(f"changed   {len(changed)} clips whose video files have changed: their tokens are computed again")
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
        + (f"; {made} exist already" if made else "")
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
            raise KeyboardInterrupt("the same command resumes from here") from None
    seconds, count = time.perf_counter() - started, sum(len(piece.clips) for piece in left)
    if count:
        print(f"extracted {count:,} clips in {seconds / 60:.1f} min, {count / seconds:.1f} clips/s")
    cache = TokenCache(folder)
    for name, reason in cache.skipped[:5]:
        print(f"skipped   {one_line(f'{name}: {reason}')}")
    if len(cache.skipped) > 5:
        print(f"          and {len(cache.skipped) - 5} more, see {folder / INDEX}")
    print(f"tokens    {folder}\ntrain     python -m taggnn.train --data.tokens {folder}")


def parser() -> Parser:
    """Builds the command line of this program: that of ``taggnn.train``, and its own options."""
    built = config.parser(
        "taggnn.extract",
        "Stores the tokens of a frozen backbone for every clip; taggnn.train --data.tokens DIR then trains heads on them.",
    )
    add, option = built.add_argument, built.option
    add("--out", type=str, required=True, help="folder of the tokens; an unfinished one is resumed")
    option("--views", int, 0, "augmented views of each training clip; 0: none, training uses the view of evaluation")
    option("--dtype", Literal["float16", "float32"], "float16", "how tokens are stored")
    option("--shard_size", float, 256.0, "size of a shard in MB, of a million bytes")
    option("--checkpoint", str | None, None, "best.ckpt of a run whose backbone and clips to use")
    option("--verify", bool, False, "true: extract nothing, compare the files in --out with their checksums")
    return built


def _verify(cache: TokenCache) -> None:
    damaged = []
    for name in tqdm(cache.shards.table, desc="verify", unit="shard", file=sys.stderr, disable=None):
        try:
            cache.shards.verify(name)
        except ValueError as error:
            damaged.append(str(error))
    if damaged:
        raise ValueError("\n  ".join(damaged))
    print(f"verified  {len(cache.shards.table)} files in {cache.folder}: no file has changed")


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.extract"))
