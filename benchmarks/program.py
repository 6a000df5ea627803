"""Shared by the benchmark programs: common options, mistakes reported in one line, results written whole.

Nothing here needs more than PyTorch: a machine with a GPU and little else can run them.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks import machine
from graphs import Topology, parse
from taggnn.names import unknown
from taggnn.runtime import atomic

# What is committed and what the tables are made of; written to with --out only.
RESULTS = Path(__file__).parent / "results"
# What a run of one's own writes without --out.
OWN = Path("runs") / "benchmarks"
SCHEMA = 1
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line; abbreviated options are not guessed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help lists what is possible\n")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the options that every measurement has."""
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtype", default="float32", help=f"{', '.join(DTYPES)} (default float32)")
    parser.add_argument("--backward", action="store_true", help="measure forward and backward together as well")
    parser.add_argument("--threads", type=positive, help="of PyTorch on the CPU (default: all cores)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs (default 0)")
    parser.add_argument("--topology", default="clique+chain", help="the edges (default clique+chain)")
    parser.add_argument("--reach", type=positive, default=1, help="frames the chain reaches (default 1)")
    parser.add_argument("--budget", type=seconds, default=1.0, help="seconds for each row (default 1)")
    parser.add_argument("--iters", type=positive, help="exactly so many calls for each row, whatever they take")
    parser.add_argument("--out", type=Path, help=f"JSON file (default in {OWN}); the plot is next to it")


def add_trainings(parser: argparse.ArgumentParser, kind: str, out: str) -> None:
    """Adds the options of programs that train several variants with several seeds.

    Args:
        parser: gets the options.
        kind: what a variant is called, in the singular.
        out: name of the folder without ``--out``.
    """
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help=f"of each {kind} (default 0 to 4)"
    )
    parser.add_argument("--out", type=Path, help=f"folder of runs and table (default {OWN / out})")
    parser.add_argument("--jobs", type=positive, default=1, help="trainings at one time (default 1)")
    parser.add_argument("--list", action="store_true", help=f"print every {kind} and stop")
    parser.add_argument("--table", action="store_true", help="train nothing, make the table of the finished runs")


def device_of(given: str) -> torch.device:
    """Reads ``--device``.

    Raises:
        ValueError: unknown, or not on this machine.
    """
    kind = given.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise unknown("device", given, ["cpu", "cuda"])
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"--device {given}: PyTorch {torch.__version__} finds no CUDA GPU on this machine; possible: cpu"
        )
    try:
        device = torch.device(given)
        torch.empty(1, device=device)
        if device.index is not None:
            # The clock's events are those of the current device.
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        here = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise unknown("device", given, here) from error
    return device


def dtype_of(given: str) -> torch.dtype:
    """Reads ``--dtype``.

    Raises:
        ValueError: unknown.
    """
    if given not in DTYPES:
        raise unknown("dtype", given, DTYPES)
    return DTYPES[given]


def topology_of(spec: str, reach: int) -> Topology:
    """Reads ``--topology`` and ``--reach``."""
    return parse(spec, reach=reach)


def set_threads(given: int | None) -> None:
    """Fixes PyTorch's threads, before anything is computed."""
    torch.set_num_threads(given or machine.cores())


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more, given {text}")
    return number


def seconds(text: str) -> float:
    """A positive number, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"a positive number of seconds, given {text}")
    return number


def names(given: Sequence[str]) -> list[str]:
    """Names given apart or joined by commas, each once, in order."""
    return list(dict.fromkeys(name for part in given for name in part.split(",") if name))


def out_path(given: Path | None, device: torch.device, dtype: str, kind: str) -> Path:
    """Where the JSON goes.

    Raises:
        ValueError: ``--out`` is no JSON file.
    """
    if given is None:
        return OWN / f"{device.type}-{dtype}{'' if kind == 'latency' else '-' + kind}.json"
    if given.suffix != ".json":
        raise ValueError(f"--out {given}: the results are written as JSON, end the name in .json")
    return given


def write(path: Path, results: dict[str, Any]) -> None:
    """Writes results as JSON, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps({"schema": SCHEMA, **results}, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Reads what ``write`` wrote.

    Raises:
        ValueError: no JSON of this schema.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error})") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        found = results.get("schema") if isinstance(results, dict) else type(results).__name__
        raise ValueError(f"{path} has schema {found!r}, this program reads {SCHEMA}: measure again")
    return results


def run(main: Callable[[list[str]], int | None], script: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program; a user's mistake is one line on stderr and exit code 2. ``TAGGNN_TRACEBACK=1`` shows its origin."""
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    try:
        return main(list(sys.argv[1:] if arguments is None else arguments)) or 0
    except KeyboardInterrupt:
        print(f"{script}: interrupted, nothing was written", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        if os.environ.get("TAGGNN_TRACEBACK"):
            raise
        print(f"{script}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
