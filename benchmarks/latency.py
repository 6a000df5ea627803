"""Time of the implementations of a convolution, after each was compared with PyG's under the same weights.

    python benchmarks/latency.py                      # cpu, float32: gat gcn gatv2 transformer on three sizes
    python benchmarks/latency.py --device cuda --dtype bfloat16 --backward
    python benchmarks/latency.py --head --backward    # the whole TAG-Head against its authors' formulation
    python benchmarks/latency.py --backward --grids S1 --topology "bones(skeleton=ntu)+chain" --impls pyg structured

Prints a table and writes benchmarks/results/DEVICE-DTYPE.json and a plot (--head: DEVICE-DTYPE-head.json).
A row that is not equal has no time; the exit code is then 1.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse

import torch
from tqdm import tqdm

from benchmarks import head, layout, machine, measure, memory, program, sizes
from benchmarks.case import Case
from graphs import Topology
from taggnn import kernels
from taggnn.names import unknown
from taggnn.nn import convs

SCRIPT = "benchmarks/latency.py"
CONVS = ["gat", "gcn", "gatv2", "transformer"]
GRIDS = ["G1", "G2", "G3"]


def parser() -> program.Parser:
    """The command line."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument(
        "--convs", nargs="+", default=CONVS, help=f"of {', '.join(convs.CONVS)} (default {' '.join(CONVS)})"
    )
    parser.add_argument("--impls", nargs="+", help=f"of {', '.join(kernels.IMPLS)} (default: all that run here)")
    parser.add_argument(
        "--grids", nargs="+", default=GRIDS,
        help=f"{', '.join(f'{name} = {size}' for name, size in sizes.SIZES.items())}, or a form (default {' '.join(GRIDS)})",
    )  # fmt: skip
    parser.add_argument("--batch", type=program.positive, help="clips, instead of the grid's own")
    parser.add_argument("--compile", action="store_true", help="measure each through torch.compile as well")
    parser.add_argument("--head", action="store_true", help="measure the whole head instead, for its three presets")
    parser.add_argument("--backbone", action="store_true", help="with --head: R(2+1)D-34 on one clip too")
    parser.add_argument(
        "--presets", nargs="+", default=list(head.PRESETS), help="with --head: of " + ", ".join(head.PRESETS)
    )
    parser.add_argument(
        "--max-seconds",
        type=program.seconds,
        default=120.0,
        help="of one call, beyond: no row (default 120; none for --head)",
    )
    program.add_common(parser)
    return parser


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    program.set_threads(given.threads)
    device, dtype = program.device_of(given.device), program.dtype_of(given.dtype)
    path = program.out_path(given.out, device, given.dtype, "head" if given.head else "latency")
    for option in (
        ("backbone", "presets") if not given.head else ("convs", "impls", "grids", "compile", "topology", "reach")
    ):
        if getattr(given, option) != parser().get_default(option):
            raise ValueError(f"--{option} has no effect {'with' if given.head else 'without'} --head")
    if given.head:
        return head.main(given, device, dtype, path, machine.describe(device, given.seed, SCRIPT, arguments))
    topology, impls, cases = checked(given)
    facts = machine.describe(device, given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n")
    rows, left = [], []
    # disable=None: no bar where nobody watches.
    with memory.limited(device), tqdm(total=len(cases), unit="case", disable=None, file=sys.stderr) as bar:
        for name, size in cases:
            case = Case(name, size, topology, device, dtype, given.seed, given.backward)

            def show(stage: str, about: str = f"{name} {sizes.name_of(size)}") -> None:
                bar.set_description(f"{about}: {stage}")

            found, without = measure.measure(
                case, impls, given.compile, given.budget, given.iters, show, longest=given.max_seconds
            )
            rows += found
            left += without
            tqdm.write(block(found, without, case), file=sys.stdout)
            del case
            bar.update()
    settings = {
        "device": str(device),
        "dtype": given.dtype,
        "topology": str(topology),
        "backward": given.backward,
        "compile": given.compile,
        "budget_s": given.budget,
        "iters": given.iters,
        "max_seconds": given.max_seconds,
        "caches": "warm, the same inputs in every call",
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32) if device.type == "cuda" else None,
    }
    program.write(path, {"kind": "latency", "machine": facts, "settings": settings, "rows": rows, "left_out": left})
    # Here, because a result is worth more than its picture.
    from benchmarks import plots

    picture = plots.latency(rows, path.with_suffix(".png"))
    print("\n".join(str(written) for written in (path, picture) if written))
    return 1 if any(entry["why"] == "unequal" for entry in left) else 0


def checked(given: argparse.Namespace) -> tuple[Topology, list[str], list[tuple[str, sizes.Size]]]:
    """Topology, implementations, and (convolution, size) pairs; every mistake is reported before anything is measured."""
    topology = program.topology_of(given.topology, given.reach)
    impls = program.names(given.impls or kernels.IMPLS)
    for impl in impls:
        if impl not in kernels.IMPLS:
            raise unknown("implementation", impl, kernels.IMPLS)
    chosen = [sizes.parse(text) for text in program.names(given.grids)]
    if given.batch:
        chosen = [sizes.with_clips(size, given.batch) for size in chosen]
    for size in chosen:
        topology.checked(size.grid)
    names = program.names(given.convs)
    for name in names:
        for size in chosen:
            # Built on the meta device: no memory, only the mistakes.
            with torch.device("meta"):
                Case.build(name, size)
    return topology, impls, [(name, size) for size in chosen for name in names]


def block(rows: list[measure.Row], left: list[measure.Row], case: Case) -> str:
    """The table of one convolution on one size."""
    if not rows:
        lines = [f"{case.name} on {sizes.title_of(case.size)}: no implementation to time"]
    else:
        first = rows[0]
        lines = [
            f"{case.name} on {sizes.title_of(case.size)}: {first['nodes']:,} nodes, {first['edges']:,} edges, "
            f"MACs {layout.count(first['macs_projection'])} projection + {layout.count(first['macs_graph'])} graph"
        ]
        floor = ["floor"] if first["floor_share"] is not None else []
        header = [
            "impl",
            "pass",
            "ms",
            "20-80 %",
            "vs pyg",
            "vs dense",
            "of proj.",
            "MiB",
            "of pyg",
            "MACs seen",
            "error",
        ]
        lines.append(layout.table(header + floor, [_cells(row, bool(floor)) for row in rows], left=2))
        moved = ", ".join(
            f"{row['pass']} {layout.mebibytes(row['floor_bytes'])} MiB" for row in rows if row["impl"] == first["impl"]
        )
        lines.append(f"least that can move: {moved}")
    lines += [f"{entry['impl']}: no row ({entry['why']}: {entry['reason']})" for entry in left]
    return "\n".join(lines) + "\n"


def _cells(row: measure.Row, floor: bool) -> list[str]:
    spread = f"{layout.digits(row['q20_ms'])} - {layout.digits(row['q80_ms'])}"
    cells = [
        row["impl"],
        {measure.FORWARD: "fwd", measure.BOTH: "fwd+bwd"}[row["pass"]],
        layout.digits(row["median_ms"]),
        spread,
        layout.times(row["faster_than_pyg"]),
        layout.times(row["faster_than_dense"]),
        layout.times(row["times_projection"]),
        layout.mebibytes(row["peak_bytes"]),
        layout.share(row["memory_of_pyg"]),
        layout.count(row["macs_counted"]),
        f"{row['equal']['error']:.0e}" if row["equal"] else "-",
    ]
    return cells + ([f"{row['floor_share']:.0%}"] if floor else [])


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
