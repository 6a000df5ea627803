"""Time of GAT and GATv2 by the fused C++ loops and by the blocks that they replace, in turn in one process.

    python benchmarks/fused.py                     # G1 G2 G3, forward and with backward, one thread and all cores
    python benchmarks/fused.py --grids G2 --convs gatv2 --threads 1

Both are compared with PyG's answers and gradients first, on G3 with the blocks' in float64; what differs has no time and the
exit code is 1. Medians of wall time, and of the process's CPU time, which other work on the machine changes less. Writes
runs/benchmarks/cpu-float32-fused.json.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import gate, layout, machine, measure, passes, program, sizes
from benchmarks.case import PROJECTION, Case
from graphs import parse
from taggnn import kernels
from taggnn.kernels.structured.fused import library
from taggnn.names import unknown

SCRIPT = "benchmarks/fused.py"
CONVS = ["gat", "gatv2"]
GRIDS = ["G1", "G2", "G3"]
TOPOLOGY = "clique+chain"
FUSED, BLOCKS = "fused", "blocks"
_MOST_BYTES = 5 * 2**30


def parser() -> program.Parser:
    """The command line."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument("--convs", nargs="+", default=CONVS, help=f"of {', '.join(CONVS)} (default both)")
    parser.add_argument("--grids", nargs="+", default=GRIDS, help=f"as of latency.py (default {' '.join(GRIDS)})")
    parser.add_argument("--threads", nargs="+", type=program.positive, help="of PyTorch (default: 1, and all cores)")
    parser.add_argument("--rounds", type=program.positive, default=9, help="calls of each (default 9)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs (default 0)")
    parser.add_argument("--out", type=Path, help=f"JSON file (default in {program.OWN})")
    return parser


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    names, grids = program.names(given.convs), [sizes.parse(text) for text in program.names(given.grids)]
    for name in names:
        if name not in CONVS:
            raise unknown("convolution", name, CONVS)
    device = torch.device("cpu")
    path = program.out_path(given.out, device, "float32", "fused")
    threads = given.threads or list(dict.fromkeys([1, machine.cores()]))
    loops = library.load()
    if loops is None:
        raise ValueError(f"there are no fused loops here: {library.describe()}")
    facts = machine.describe(device, given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n{processor()}; loops built by {loops.built_by}\n")
    rows, left = [], []
    cases = [(name, size) for size in grids for name in names]
    with tqdm(total=len(cases), unit="case", disable=None, file=sys.stderr) as bar:
        for name, size in cases:
            found, without = measured(
                Case(name, size, parse(TOPOLOGY), device, torch.float32, given.seed, True), threads, given.rounds
            )
            rows += found
            left += without
            tqdm.write(
                table(found) + "".join(f"\n{entry['impl']}: {entry['reason']}" for entry in without), file=sys.stdout
            )
            bar.update()
    settings = {
        "device": "cpu", "dtype": "float32", "topology": TOPOLOGY, "rounds": given.rounds, "threads": threads,
        "loops": loops.built_by, "processor": processor(),
    }  # fmt: skip
    program.write(path, {"kind": "fused", "machine": facts, "settings": settings, "rows": rows, "left_out": left})
    print(path)
    return 1 if left else 0


def measured(case: Case, threads: list[int], rounds: int) -> tuple[list[measure.Row], list[measure.Row]]:
    """The rows of one convolution on one size, and what has none because it is not equal to PyG."""
    ways = {way: way_of(case, way) for way in (FUSED, BLOCKS)}
    torch.set_num_threads(max(threads))
    verdicts, left = judged(case, ways)
    rows: list[measure.Row] = []
    projection = case.projection()
    assert projection is not None
    for count in threads:
        torch.set_num_threads(count)
        for which in (measure.FORWARD, measure.BOTH):
            calls = {name: case.call(ways[name], which == measure.BOTH) for name in verdicts}
            calls[PROJECTION] = case.call(projection, which == measure.BOTH)
            times = in_turn(calls, rounds)
            for name, (wall, cpu) in times.items():
                verdict = verdicts.get(name)
                row = {
                    "conv": case.name, "grid": sizes.name_of(case.size), "size": str(case.size), "threads": count,
                    "pass": which, "impl": name, "median_ms": 1e3 * median(wall), "cpu_ms": 1e3 * median(cpu),
                    "least_ms": 1e3 * min(wall),
                    "least_cpu_ms": 1e3 * min(cpu), "samples": len(wall), "error": verdict and verdict.error,
                }  # fmt: skip
                rows.append(row)
            add_ratios(rows[-len(times) :])
    return rows, left


def judged(case: Case, ways: dict[str, passes.Way]) -> tuple[dict[str, gate.Verdict], list[measure.Row]]:
    """The ways that may be timed, and those that may not: the first clip of each compared with the reference in float64.

    The reference is PyG, or, where its edge list takes more than ``_MOST_BYTES``, the blocks, which tests compare with PyG.
    """
    impl = "pyg" if case.edge_bytes(torch.float64) <= _MOST_BYTES else "structured"
    conv, x, upstream = copy.deepcopy(case.conv).double(), case.x[:1].double(), case.upstream[:1].double()
    kernel = kernels.find(conv, case.topology, case.size.grid, impl)
    # At a kink float32 may go the other way than float64: then the reference in float32 decides.
    peer = case.answers(case.way("pyg") if impl == "pyg" else ways[BLOCKS], 1)
    reference = gate.answers(lambda x: kernel(conv, x), x, dict(conv.named_parameters()), upstream)
    verdicts: dict[str, gate.Verdict] = {}
    left: list[measure.Row] = []
    own = gate.distance(reference, peer)[0]
    for name, way in ways.items():
        verdict = gate.judge(reference, case.answers(way, 1), case.dtype, own, peer)
        if verdict.equal:
            verdicts[name] = verdict
        else:
            about = {"conv": case.name, "grid": sizes.name_of(case.size), "size": str(case.size)}
            left.append({**about, "impl": name, "why": "unequal", "reason": f"{verdict}, against {impl}"})
    return verdicts, left


def add_ratios(rows: list[measure.Row]) -> None:
    """Adds to the rows of one measurement how much faster than blocks they are, and the multiple of the projection."""
    named = {row["impl"]: row for row in rows}
    for row in rows:
        for clock in ("median_ms", "cpu_ms"):
            suffix = "" if clock == "median_ms" else "_cpu"
            row[f"faster_than_blocks{suffix}"] = named[BLOCKS][clock] / row[clock] if BLOCKS in named else None
            row[f"times_projection{suffix}"] = row[clock] / named[PROJECTION][clock]


def way_of(case: Case, name: str) -> passes.Way:
    """The convolution by the loops, or by blocks; a backward pass follows its forward pass."""
    way = case.way("structured")

    def blocks(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        with without_loops():
            return way(x)

    return way if name == FUSED else blocks


@contextmanager
def without_loops() -> Iterator[None]:
    """As on a machine without a compiler."""
    os.environ["TAGGNN_FUSED"] = "0"
    try:
        yield
    finally:
        del os.environ["TAGGNN_FUSED"]


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of wall time and of CPU time of every call, one after the other in each round, after one that is not counted."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            found[name][0].append(time.perf_counter() - wall)
            found[name][1].append(time.process_time() - cpu)
    return found


def processor() -> str:
    """Model, family and cache of the CPU, as lscpu has them; nothing where /proc is missing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "CPU not known"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = {
        name: facts[name] for name in ("model name", "cpu family", "model", "stepping", "cache size") if name in facts
    }
    vectors = [
        flag
        for flag in ("avx2", "avx512f", "amx_tile", "asimd", "sve")
        if flag in facts.get("flags", facts.get("Features", ""))
    ]
    return ", ".join([*(f"{name} {value}" for name, value in known.items()), *vectors])


def table(rows: list[measure.Row]) -> str:
    """The table of one case."""
    if not rows:
        return "no rows"
    header = [
        "impl",
        "pass",
        "threads",
        "ms",
        "CPU ms",
        "vs blocks",
        "vs blocks, CPU",
        "of proj.",
        "of proj., CPU",
        "error",
    ]
    cells = [
        [
            row["impl"], row["pass"], str(row["threads"]), layout.digits(row["median_ms"]), layout.digits(row["cpu_ms"]),
            layout.times(row["faster_than_blocks"]), layout.times(row["faster_than_blocks_cpu"]),
            layout.digits(row["times_projection"]), layout.digits(row["times_projection_cpu"]),
            f"{row['error']:.0e}" if row["error"] is not None else "-",
        ]
        for row in rows
    ]  # fmt: skip
    return f"{rows[0]['conv']} on {rows[0]['grid']} = {rows[0]['size']}\n{layout.table(header, cells, left=2)}\n"


def speedups(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A line for each convolution, grid and number of threads: CPU time and wall time, forward / forward+backward."""
    named = {(row["conv"], row["grid"], row["threads"], row["impl"], row["pass"]): row for row in rows}
    found = []
    for conv, grid, threads in dict.fromkeys((row["conv"], row["grid"], row["threads"]) for row in rows):
        pair = [named.get((conv, grid, threads, FUSED, which)) for which in (measure.FORWARD, measure.BOTH)]

        def cell(key: str, shown: Callable[[float | None], str], pair: list[dict[str, Any] | None] = pair) -> str:
            return " / ".join(shown(row and row[key]) for row in pair)

        found.append([
            f"`{conv}`", grid, str(threads), cell("cpu_ms", layout.digits), cell("faster_than_blocks_cpu", layout.times),
            cell("faster_than_blocks", layout.times), cell("times_projection_cpu", layout.digits),
        ])  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
