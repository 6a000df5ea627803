"""Growth of the cost of a convolution with the positions of a frame, with frames and with channels.

    python benchmarks/scaling.py                      # cpu, float32: gat and gcn by pyg, dense and structured
    python benchmarks/scaling.py --convs gatv2 --sweeps positions --backward

Prints times and the slopes of log time against log size over the larger half of the sizes, and writes
runs/benchmarks/DEVICE-DTYPE-scaling.json and a plot. An implementation is left out, by name, from the size on
at which one call takes longer than --max-seconds or memory runs out. Equality is checked first at every size whose edge-list
reference fits in memory; a size where it does not is marked.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import fit, layout, machine, measure, memory, program
from benchmarks.case import Case
from benchmarks.sizes import Size
from taggnn import kernels
from taggnn.names import unknown
from taggnn.nn import convs

SCRIPT = "benchmarks/scaling.py"
CONVS = ["gat", "gcn"]
IMPLS = ["pyg", "dense", "structured"]
# axis -> (values, the size of a value)
SWEEPS: dict[str, tuple[list[int], Callable[[int], Size]]] = {
    "positions": ([49, 100, 196, 400, 784, 1600], lambda positions: Size(1, 8, _sides(positions), 64, 4)),
    "frames": ([2, 4, 8, 16, 32, 64], lambda frames: Size(1, frames, (7, 7), 64, 4)),
    "channels": ([32, 64, 128, 256, 512], lambda channels: Size(1, 8, (7, 7), channels, 4)),
}


def parser() -> program.Parser:
    """The command line."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument(
        "--convs", nargs="+", default=CONVS, help=f"of {', '.join(convs.CONVS)} (default {' '.join(CONVS)})"
    )
    parser.add_argument(
        "--impls", nargs="+", default=IMPLS, help=f"of {', '.join(kernels.IMPLS)} (default {' '.join(IMPLS)})"
    )
    parser.add_argument("--sweeps", nargs="+", default=list(SWEEPS), help=f"of {', '.join(SWEEPS)} (default: all)")
    for axis, (values, _) in SWEEPS.items():
        listed = " ".join(map(str, values))
        parser.add_argument(
            f"--{axis}", nargs="+", type=program.positive, default=values, help=f"sizes (default {listed})"
        )
    parser.add_argument("--max-seconds", type=program.seconds, default=8.0, help="of one call (default 8)")
    program.add_common(parser)
    return parser


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    program.set_threads(given.threads)
    device, dtype = program.device_of(given.device), program.dtype_of(given.dtype)
    path = program.out_path(given.out, device, given.dtype, "scaling")
    topology = program.topology_of(given.topology, given.reach)
    convolutions, impls, sweeps = (program.names(part) for part in (given.convs, given.impls, given.sweeps))
    for kind, chosen, possible in (("implementation", impls, kernels.IMPLS), ("sweep", sweeps, SWEEPS)):
        for name in chosen:
            if name not in possible:
                raise unknown(kind, name, possible)
    points = {sweep: sorted(set(getattr(given, sweep))) for sweep in sweeps}
    for name in convolutions:
        for size in (SWEEPS[sweep][1](value) for sweep, values in points.items() for value in values):
            with torch.device("meta"):
                Case.build(name, size)
    facts = machine.describe(device, given.seed, SCRIPT, arguments)
    print(f"{machine.sentence(facts)}\n")

    rows, left = [], []
    total = len(convolutions) * sum(len(values) for values in points.values())
    with memory.limited(device), tqdm(total=total, unit="size", disable=None, file=sys.stderr) as bar:
        for name in convolutions:
            for sweep, values in points.items():
                found, without = swept(name, sweep, values, impls, topology, device, dtype, given, bar)
                rows += found
                left += without
                tqdm.write(block(name, sweep, found, without), file=sys.stdout)
    slopes = fitted(rows)
    settings = {
        "device": str(device),
        "dtype": given.dtype,
        "topology": str(topology),
        "backward": given.backward,
        "sizes": {
            sweep: {str(value): str(SWEEPS[sweep][1](value)) for value in values} for sweep, values in points.items()
        },
        "max_seconds": given.max_seconds,
        "budget_s": given.budget,
        "iters": given.iters,
    }
    results = {"machine": facts, "settings": settings, "rows": rows, "slopes": slopes, "left_out": left}
    program.write(path, {"kind": "scaling", **results})
    # Here, because a result is worth more than its picture.
    from benchmarks import plots

    picture = plots.scaling(rows, slopes, path.with_suffix(".png"))
    print("\n".join(str(written) for written in (path, picture) if written))
    return 1 if any(entry["why"] == "unequal" for entry in left) else 0


def swept(
    name: str,
    sweep: str,
    values: list[int],
    impls: list[str],
    topology: Any,
    device: torch.device,
    dtype: torch.dtype,
    given: argparse.Namespace,
    bar: tqdm,
) -> tuple[list[measure.Row], list[measure.Row]]:
    """One convolution along one axis, from the smallest size up."""
    rows, left, still = [], [], list(impls)
    for value in values:
        bar.set_description(f"{name} {sweep} {value}")
        case = Case(name, SWEEPS[sweep][1](value), topology, device, dtype, given.seed, given.backward)
        found, without = measure.measure(
            case,
            still,
            budget=given.budget,
            rounds=given.iters,
            details=False,
            longest=given.max_seconds,
            unchecked=True,
        )
        where = {"sweep": sweep, "value": value}
        rows += [{**where, **row} for row in found]
        left += [{**where, **entry} for entry in without]
        # What was too much at one size is not tried at the next.
        still = [impl for impl in still if impl not in {entry["impl"] for entry in without}]
        bar.update()
    return rows, left


def fitted(rows: list[measure.Row]) -> list[dict[str, Any]]:
    """The slope of every line that has three sizes or more, and the sizes it was fitted on."""
    lines: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault((row["conv"], row["sweep"], row["pass"], row["impl"]), []).append(
            (row["value"], row["median_ms"])
        )
    slopes = []
    for (conv, sweep, which, impl), points in lines.items():
        if len(points) < 3:
            continue
        used = fit.upper(points)
        about = {"conv": conv, "sweep": sweep, "pass": which, "impl": impl}
        slopes.append({**about, "slope": fit.slope(used), "over": [value for value, _ in used]})
    return slopes


def block(name: str, sweep: str, rows: list[measure.Row], left: list[measure.Row]) -> str:
    """The table of one convolution along one axis; ``*`` marks a time whose equality could not be checked."""
    lines = []
    for which in dict.fromkeys(row["pass"] for row in rows):
        shown = [row for row in rows if row["pass"] == which]
        values = sorted({row["value"] for row in shown})
        slopes = {slope["impl"]: slope for slope in fitted(shown)}
        cells = []
        for impl in dict.fromkeys(row["impl"] for row in shown):
            found = {row["value"]: row for row in shown if row["impl"] == impl}
            marked = [_time(found.get(value), impl) for value in values]
            slope = slopes.get(impl)
            over = f"{slope['over'][0]}-{slope['over'][-1]}" if slope else "-"
            cells.append([impl, *marked, f"{slope['slope']:.2f}" if slope else "-", over])
        header = [f"ms by {sweep}", *map(str, values), "slope", "over"]
        lines.append(f"{name}, {which}\n{layout.table(header, cells)}")
    if any(row["equal"] is None and row["impl"] != measure.PROJECTION for row in rows):
        lines.append("* not checked at this size: the edge-list reference does not fit in memory")
    lines += [
        f"{entry['impl']}: left out from {entry['value']} on ({entry['why']}: {entry['reason']})" for entry in left
    ]
    return "\n".join(lines) + "\n"


def _time(row: measure.Row | None, impl: str) -> str:
    if row is None:
        return "-"
    return layout.digits(row["median_ms"]) + ("*" if row["equal"] is None and impl != measure.PROJECTION else "")


def _sides(positions: int) -> tuple[int, int]:
    """Height and width of a frame of so many positions, as near to a square as can be."""
    height = int(positions**0.5)
    while positions % height:
        height -= 1
    return height, positions // height


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
