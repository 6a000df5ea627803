"""Loads clips again and again, good and damaged, of several sizes, and measures whether the memory of the process grows.

    python benchmarks/leak.py                                            # small synthetic clips and damaged files
    python benchmarks/leak.py --loads 100000 --every 5000 --out a.json
    python benchmarks/leak.py --config folder --data.root DIR            # any data set and recipe, as taggnn.train takes them

Clips are loaded in this process as a worker of a training's loader loads them, epoch after epoch; ``--video.frame_cache DIR`` and
``--video.decoder`` count. All options but those below are those of taggnn.train. Reads /proc, so it needs Linux.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import os
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import loading, machine, program
from benchmarks.throughput import without_folders
from taggnn.cli import build, config, terminal
from taggnn.data.dataset import ClipDataset
from taggnn.data.samplers import SeededSampler
from taggnn.data.synthetic import MOTIONS, make_clip, write_video
from taggnn.types import BadClip

SCRIPT = "benchmarks/leak.py"
STATM = Path("/proc/self/statm")
# (frames, side in pixels) of the clips made here.
KINDS = ((8, 32), (24, 64), (24, 128), (10, 256))


def parser() -> program.Parser:
    """The command line, but for what ``taggnn.train`` reads."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument("--loads", type=program.positive, default=20_000, help="clips to load (default 20000)")
    parser.add_argument("--every", type=program.positive, help="loads between two readings (default a tenth of them)")
    parser.add_argument("--out", type=Path, help="JSON file; none is written without it")
    return parser


def main(arguments: list[str]) -> int:
    given, rest = parser().parse_known_args(arguments)
    if given.loads < 10:
        raise ValueError(f"--loads {given.loads}: 10 or more, since the first tenth is not counted")
    if not STATM.exists():
        raise ValueError(f"{STATM}: not there, and resident memory is read from it; Linux has it")
    path = program.out_path(given.out, torch.device("cpu"), "leak", "leak") if given.out else None
    with TemporaryDirectory(prefix="taggnn-leak-") as folder:
        if not rest:
            make_set(Path(folder))
            rest = ["--config", "demo", "--data.synthetic", "false", "--data.root", folder]
        settings = config.parse(rest, config.parser(SCRIPT))
        if settings.data.tokens is not None:
            raise ValueError("--data.tokens: clips are loaded from their video files, give these with --data.root")
        terminal.quiet()
        data = build.data_of(settings)
        clips = data.train_dataloader().dataset
        facts = machine.describe(torch.device("cpu"), settings.seed, SCRIPT, without_folders(arguments))
        print(
            f"{machine.sentence(facts)}\n{len(clips)} clips, {given.loads:,} loads\n\n{'loads':>12} {'resident MB':>12}"
        )
        found = measure(clips, settings.seed, given.loads, given.every or max(given.loads // 10, 1))
    print(f"\n{sentence(found)}")
    if path is not None:
        program.write(path, {"kind": "leak", "machine": facts, **found})
        print(path)
    return 0


def make_set(root: Path) -> None:
    """Writes small clips of several sizes and lengths into class folders, and five damaged files."""
    draw = np.random.default_rng(0)
    for name in list(MOTIONS)[:4]:
        (root / "train" / name).mkdir(parents=True)
        for frames, side in KINDS:
            for number in range(2):
                file = root / "train" / name / f"{side}_{number}.mp4"
                write_video(file, make_clip(name, frames, side, draw))
    whole = (root / "train" / "left" / "64_0.mp4").read_bytes()
    # Else some of the clips would be held out of training.
    (root / "val" / "left").mkdir(parents=True)
    (root / "val" / "left" / "held_out.mp4").write_bytes(whole)
    middle = len(whole) // 2
    damaged = {
        "empty": b"",
        "text": b"no video at all\n" * 20,
        "header": whole[:100],
        "truncated": whole[:middle],
        "hole": whole[:middle] + bytes(200) + whole[middle + 200 :],
    }
    for name, content in damaged.items():
        (root / "train" / "left" / f"damaged_{name}.mp4").write_bytes(content)


def measure(clips: ClipDataset, seed: int, loads: int, every: int) -> dict[str, Any]:
    """Loads clips and reads the resident memory at a tenth of the loads, at every so many, and at the end.

    Args:
        clips: as training has them.
        seed: of their order and draws.
        loads: how many.
        every: loads between two readings.
    """
    rows, bad, started, keys = [], 0, time.perf_counter(), _keys(len(clips), seed)
    first = loads // 10
    # disable=None: no bar where nobody watches.
    with loading.one_thread(), tqdm(total=loads, unit="clip", disable=None, file=sys.stderr) as bar:
        for number in range(1, loads + 1):
            bad += isinstance(clips[next(keys)], BadClip)
            bar.update()
            if number in (first, loads) or number % every == 0:
                rows.append({"loads": number, "resident_mb": resident() / 1e6})
                tqdm.write(f"{number:>12,} {rows[-1]['resident_mb']:>12.1f}")
    memory = {row["loads"]: row["resident_mb"] for row in rows}
    return {
        "clips": len(clips),
        "loads": loads,
        "bad": bad,
        "seconds": time.perf_counter() - started,
        "rows": rows,
        "growth_mb": memory[loads] - memory[first],
        "growth_from": first,
    }


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sentence(found: dict[str, Any]) -> str:
    """The growth in words."""
    counted = found["loads"] - found["growth_from"]
    return (
        f"{found['growth_mb']:+.1f} MB from {found['growth_from']:,} to {found['loads']:,} loads, "
        f"{1e3 * found['growth_mb'] / counted:+.3f} kB a load; {found['bad']:,} of the loads met a clip that cannot be read; "
        f"{found['loads'] / found['seconds']:,.0f} loads/s"
    )


def _keys(length: int, seed: int) -> Iterator[loading.Key]:
    sampler = SeededSampler(length, seed, shuffle=True)
    while True:
        yield from sampler
        sampler.set_epoch(sampler.epoch + 1)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
