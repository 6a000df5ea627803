"""Runs all parts, one after the other, each in a process of its own with a limit of its own; see benchmarks/gpu.sh.

A part that fails, or does not end in time, costs no other its results; what it had written stays.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import layout, program
from taggnn.names import unknown

SCRIPT = "benchmarks/gpu.sh"
# Seconds of all parts together on a GPU; a CPU, with Triton's interpreter, may take longer.
LIMIT, LONGER_ON_CPU = 590.0, 6
_STEP = ("--backbone", "small", "--frames", "4", "--size", "32", "--batch_size", "2", "--iters", "1")


@dataclass(frozen=True)
class Part:
    """A program that writes one JSON file.

    Args:
        module: of the program.
        seconds: after which it is ended.
        words: of its command line.
        quick: further words of a small run.
    """

    module: str
    seconds: float
    words: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)


def _training(precision: str, mode: str, seconds: float) -> Part:
    words = ("--recipe", "gym99", "--precisions", precision, "--modes", mode)
    return Part("benchmarks.training", seconds, (*words, "--budget", "3"), _STEP)


# In the order of their worth.
PARTS = {
    "equality": Part("benchmarks.gpu.equality", 120),
    "resume": Part("benchmarks.gpu.resume", 60),
    "precision": Part("benchmarks.gpu.precision", 30),
    "group": Part("benchmarks.gpu.group", 40),
    "training-float32": _training("32-true", "eager", 70),
    "training-bfloat16": _training("bf16-mixed", "eager", 60),
    "attention": Part("benchmarks.gpu.attention", 130),
    "head": Part(
        "benchmarks.latency", 40, ("--head", "--backward", "--presets", "gym99"), ("--batch", "1", "--iters", "1")
    ),
    "cudagraphs": Part("benchmarks.gpu.cudagraphs", 50),
    "prediction": Part("benchmarks.gpu.prediction", 30),
    "training-compiled": _training("bf16-mixed", "compiled", 120),
}


def parser() -> program.Parser:
    """The command line."""
    built = program.Parser(prog=SCRIPT, description=__doc__)
    built.add_argument("--device", default="cuda", help="cuda (default), or cpu with stand-ins")
    built.add_argument("--quick", action="store_true", help="small sizes and few calls: a try that all parts run")
    built.add_argument("--parts", nargs="+", default=list(PARTS), help=f"of {', '.join(PARTS)} (default: all)")
    built.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the JSON files (default runs/gpu)")
    return built


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    device = program.device_of(given.device)
    for name in given.parts:
        if name not in PARTS:
            raise unknown("part", name, PARTS)
    given.out.mkdir(parents=True, exist_ok=True)
    longer = LONGER_ON_CPU if device.type == "cpu" else 1
    until, rows = time.monotonic() + longer * LIMIT, []
    for name in given.parts:
        began = time.monotonic()
        print(f"\n== {name}", flush=True)
        outcome = run(name, given, device, min(longer * PARTS[name].seconds, until - began))
        rows.append([name, outcome, f"{time.monotonic() - began:.0f} s", str(given.out / f"{name}.json")])
    print(f"\n{layout.table(['part', 'outcome', 'time', 'file'], rows, left=4)}")
    return int(any(row[1] != "ok" for row in rows))


def run(name: str, given: argparse.Namespace, device: torch.device, seconds: float) -> str:
    """Runs a part; "ok", or what is wrong with it. Its file is there in any case."""
    part, path = PARTS[name], given.out / f"{name}.json"
    path.unlink(missing_ok=True)
    words = [*part.words, "--device", str(device), "--out", str(path), *(part.quick if given.quick else ())]
    environment = dict(os.environ)
    if device.type == "cpu":
        environment["TRITON_INTERPRET"] = "1"
    outcome = "not begun: the time of all parts is over"
    if seconds > 0:
        try:
            code = subprocess.run(
                [sys.executable, "-m", part.module, *words], env=environment, timeout=seconds
            ).returncode
            outcome = "ok" if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            outcome = f"not done in {seconds:.0f} s"
    if not path.is_file() and outcome == "ok":
        outcome = "wrote nothing"
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
    else:
        content = {"kind": f"gpu-{name}", "rows": [], "left_out": []}
    program.write(path, {**content, "part": name, "outcome": outcome})
    return outcome


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
