"""Writes the tables of benchmarks/README.md and the summary in README.md from the results; no number is typed by hand.

    python benchmarks/readme.py            # rewrites the text between the marker lines
    python benchmarks/readme.py --check    # changes nothing; exit code 1 where a page is out of date

The results are the JSON files in benchmarks/results that latency.py, fused.py, scaling.py, throughput.py, training.py and
exported.py wrote.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collections.abc import Callable
from typing import Any

from benchmarks import fused, layout, machine, program
from benchmarks.head import AUTHORS, OURS
from benchmarks.measure import BOTH, FORWARD, PROJECTION
from benchmarks.training import HEAD, PRECISIONS, STEP, note_of
from graphs import parse
from taggnn import kernels
from taggnn.nn import convs
from taggnn.reporting.model_tables import replaced
from taggnn.runtime import atomic

SCRIPT = "benchmarks/readme.py"
README, PAGE = Path(__file__).parents[1] / "README.md", Path(__file__).parent / "README.md"
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"
# The implementation that "auto" takes wherever it can.
SHOWN = "structured"
_CASE = "clique+chain", (8, 7, 7)

Results = dict[str, Any]


def parser() -> program.Parser:
    """The command line."""
    parser = program.Parser(prog=SCRIPT, description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing, only report whether the pages are up to date"
    )
    parser.add_argument("--readme", type=Path, default=README, help="the page with the summary (default README.md)")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="the page with all tables (default benchmarks/README.md)"
    )
    parser.add_argument("--results", type=Path, default=program.RESULTS, help="folder of the JSON files")
    return parser


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    found = collected(given.results)
    made = {given.readme: summary(found), given.page: section(found, given.page)}
    old = {page: page.read_text(encoding="utf-8") for page in made}
    new = {page: replaced(old[page], text, page, BEGIN, END) for page, text in made.items()}
    for page in new:
        if new[page] == old[page]:
            print(f"{page} is up to date")
        elif given.check:
            print(f"{page} is out of date: run python {SCRIPT}", file=sys.stderr)
        else:
            atomic.write_text(page, new[page])
            print(f"{page} is written")
    return int(given.check and new != old)


def collected(folder: Path) -> dict[str, list[tuple[Path, Results]]]:
    """The results of a folder by kind, CPU first.

    Raises:
        ValueError: a file is no result of this version, or of an interrupted measurement, or there is none.
    """
    kinds = ("latency", "fused", "head", "scaling", "throughput", "training", "exported", "skeletons")
    found: dict[str, list[tuple[Path, Results]]] = {kind: [] for kind in kinds}
    for path in sorted(folder.glob("*.json"), key=lambda path: (not path.name.startswith("cpu"), path.stem)):
        results = program.read(path)
        # For another section of README: taggnn.models writes both.
        if results.get("kind") == "overhead":
            continue
        if results.get("kind") not in found:
            raise ValueError(f"{path} has kind {results.get('kind')!r}, possible: {', '.join(found)}")
        if not results.get("complete", True):
            raise ValueError(f"{path} was interrupted: measure again by {results['machine']['command']}")
        found[results["kind"]].append((path, results))
    if not any(found.values()):
        raise ValueError(f"no results in {folder}: run python benchmarks/latency.py first")
    return found


def summary(found: dict[str, list[tuple[Path, Results]]]) -> str:
    """One short table: how many times as fast as PyG each convolution is on each grid of tokens."""
    files = [result for _, result in found["latency"] if result["settings"]["topology"] == _CASE[0]]
    rows = [(_where(result), row) for result in files for row in result["rows"] if row["impl"] == SHOWN]
    named = {(where, row["conv"], row["grid"], row["pass"]): row["faster_than_pyg"] for where, row in rows}
    grids = dict.fromkeys((row["grid"], row["size"]) for _, row in rows)
    passes = _passes([row for _, row in rows])
    table = [
        [
            f"`{conv}`, {where}",
            *(" / ".join(layout.times(named.get((where, conv, grid, which))) for which in passes) for grid, _ in grids),
        ]
        for where, conv in dict.fromkeys((where, row["conv"]) for where, row in rows)
    ]
    header = [f"{grid} ({size})" if grid != size else grid for grid, size in grids]
    return "\n\n".join(
        [
            f"*Written by `python {SCRIPT}`.* How many times as fast as `pyg` the implementation `{SHOWN}` is, "
            f"{' / '.join(passes)}; B clips, T frames, HxW tokens, C channels, A attention heads:",
            layout.markdown(["convolution", *header], table),
        ]
    )


def section(found: dict[str, list[tuple[Path, Results]]], page: Path) -> str:
    """All tables, for a page.

    Args:
        found: of `collected`.
        page: where the text goes; pictures are linked relative to it.
    """
    makers: dict[str, Callable[[Results], list[str]]] = {
        "latency": latency,
        "fused": fused_loops,
        "head": whole_head,
        "scaling": scaling,
        "throughput": throughput,
        "training": training,
        "exported": exported,
        "skeletons": skeletons,
    }
    parts = [f"*Written by `python {SCRIPT}` from the JSON files in `benchmarks/results`.*"]
    machines: list[str] = []
    for kind, files in found.items():
        for path, result in files:
            parts += makers[kind](result)
            facts = result["machine"]
            parts.append(f"`{facts['command']}`")
            # Repeated only where it is another one.
            where = f"Measured {facts['date']}, seed {facts['seed']}: {machine.hardware(facts)}."
            if where not in machines[-1:]:
                machines.append(where)
                parts.append(where)
            picture = path.with_suffix(".png")
            if picture.is_file():
                link = picture.resolve().relative_to(page.resolve().parent).as_posix()
                parts.append(f"![{_alt(kind, result)}]({link})")
    everything = [result for files in found.values() for _, result in files]
    if all(result["settings"]["device"] == "cpu" for result in everything):
        parts.append("Not yet measured on GPU.")
    return "\n\n".join([*parts, *support()])


def latency(result: Results) -> list[str]:
    """Ratios of the shown implementation to PyG, to dense and to the projection; the others compared with PyG."""
    rows = result["rows"]
    named = {(row["conv"], row["grid"], row["impl"], row["pass"]): row for row in rows}
    cases = list(dict.fromkeys((row["conv"], row["grid"]) for row in rows))
    passes = _passes(rows)
    sizes = dict.fromkeys(f"{row['grid']} = {row['size']}" for row in rows if row["grid"] != row["size"])
    named_sizes = f" {', '.join(sizes)} (clips, frames, positions, channels, attention heads)." if sizes else ""
    off = max((row["equal"]["error"] for row in rows if row["equal"] and row["impl"] != "pyg"), default=0.0)

    def cell(case: tuple[str, str], impl: str, key: str, shown: Callable[[float | None], str]) -> str:
        values = [named.get((*case, impl, which), {}).get(key) for which in passes]
        return " / ".join(map(shown, values)) if any(value is not None for value in values) else "-"

    columns: dict[str, tuple[str, Callable[[float | None], str]]] = {
        "ms": ("median_ms", layout.digits),
        "faster than `pyg`": ("faster_than_pyg", layout.times),
        "faster than `dense`": ("faster_than_dense", layout.times),
        "times its projection": ("times_projection", layout.digits),
        "less peak memory than `pyg`": ("memory_of_pyg", _less),
    }
    table = [[f"`{case[0]}`", case[1], *(cell(case, SHOWN, *column) for column in columns.values())] for case in cases]
    impls = [name for name in dict.fromkeys(row["impl"] for row in rows) if name not in ("pyg", SHOWN, PROJECTION)]
    topology = result["settings"]["topology"]
    parts = [
        f"**Convolutions by `{SHOWN}` on {_where(result)}**: medians, {' / '.join(passes)}, on `{topology}`.{named_sizes} "
        "*Its projection* is the convolution's own linear layers alone, *peak memory* what a call takes on top of "
        "what was there. No row has a time before its output and gradients were compared with PyG's: the largest error here is "
        f"{off:.0e} of a tensor's largest entry.",
        layout.markdown(["convolution", "grid", *columns], table),
    ]
    if impls:
        others = [
            [f"`{case[0]}`", case[1], *(cell(case, impl, "faster_than_pyg", layout.times) for impl in impls)]
            for case in cases
        ]
        parts.append("The others, faster than `pyg` (below 1: slower):")
        parts.append(layout.markdown(["convolution", "grid", *(f"`{impl}`" for impl in impls)], others))
    return [*parts, *_without(result)]


def fused_loops(result: Results) -> list[str]:
    """GAT and GATv2 by the fused loops, compared with the blocks."""
    rows, settings = result["rows"], result["settings"]
    off = max((row["error"] for row in rows if row["error"] is not None), default=0.0)
    header = [
        "convolution",
        "grid",
        "threads",
        "CPU ms",
        "faster than blocks, CPU time",
        "wall time",
        "times its projection",
    ]
    return [
        f"**Fused loops and the blocks they replace on {_where(result)}**: medians of {settings['rounds']} calls in turn, "
        f"{FORWARD} / {BOTH}, on `{settings['topology']}`; {settings['processor']}; built by {settings['loops']}. "
        "Other work ran on the machine, which CPU time shows less than wall time. Both were compared with PyG's output and "
        "gradients before, on G3 with those of blocks in float64, as an edge list needs too much memory there: the largest "
        f"error is {off:.0e} of a tensor's largest entry.",
        layout.markdown(header, fused.speedups(rows)),
    ]


def whole_head(result: Results) -> list[str]:
    """The whole head and its graph stage against the authors'."""
    rows, settings = result["rows"], result["settings"]
    named = {(row["preset"], row["stage"], row["by"], row["pass"]): row for row in rows}
    passes = _passes(rows)
    # column -> (stage, whose, key, how it is shown)
    columns: dict[str, tuple[str, str, str, Callable[[float | None], str]]] = {
        "ms": ("head", OURS, "median_ms", layout.digits),
        "whole head: faster": ("head", OURS, "faster_than_authors", layout.times),
        "encoder: faster": ("encoder", OURS, "faster_than_authors", layout.times),
        "graph stage: faster": ("graph", OURS, "faster_than_authors", layout.times),
        "encoder's share": ("encoder", OURS, "share_of_ours", _percent),
        "graph's share": ("graph", OURS, "share_of_ours", _percent),
        "theirs: graph's share": ("graph", AUTHORS, "share_of_authors", _percent),
        "less peak memory": ("head", OURS, "memory_of_authors", _less),
    }

    def cell(preset: str, stage: str, by: str, key: str, shown: Callable[[float | None], str]) -> str:
        return " / ".join(shown(named.get((preset, stage, by, which), {}).get(key)) for which in passes)

    presets = dict.fromkeys(row["preset"] for row in rows)
    table = [[f"`{preset}`", *(cell(preset, *column) for column in columns.values())] for preset in presets]
    backbone = [
        f"`{row['preset']}` {row['pass']} {layout.digits(row['median_ms'])} ms"
        for row in rows
        if row["stage"].startswith("backbone")
    ]
    return [
        f"**Whole head: `tag_released` against its authors' formulation on {_where(result)}** (in every call a PyG `Batch` of "
        f"the clips and PyG's APPNP), with the same weights: {' / '.join(passes)}, {settings['clips']} clips of "
        f"{settings['grid']} tokens with {settings['channels']} channels; {settings['mode']}.",
        layout.markdown(["preset", *columns], table),
        *([f"The backbone before it, R(2+1)D-34, on one clip: {', '.join(backbone)}."] if backbone else []),
        *_without(result),
    ]


def scaling(result: Results) -> list[str]:
    """Fitted slopes."""
    slopes = result["slopes"]
    named = {(slope["conv"], slope["sweep"], slope["impl"], slope["pass"]): slope["slope"] for slope in slopes}
    impls = list(dict.fromkeys(slope["impl"] for slope in slopes))
    passes = _passes(slopes)

    def cell(*line: str) -> str:
        return " / ".join(layout.digits(named.get((*line, which))) for which in passes)

    lines = dict.fromkeys((slope["conv"], slope["sweep"]) for slope in slopes)
    table = [[f"`{conv}`", sweep, *(cell(conv, sweep, impl) for impl in impls)] for conv, sweep in lines]
    header = ["convolution", "by", *(f"`{impl}`" if impl != PROJECTION else impl for impl in impls)]
    return [
        f"**Growth on {_where(result)}**: the exponent p of time = c sizeᵖ, fitted over the larger half of the sizes, "
        f"{' / '.join(passes)}.",
        layout.markdown(header, table),
        *_without(result),
    ]


def throughput(result: Results) -> list[str]:
    """Clips a second of each part of training, and where the bottleneck is."""
    settings = result["settings"]
    size = "x".join(map(str, settings["size"]))
    shown = {
        "training step": "whole step, clips in memory",
        "training": f"training with the loader, {settings['workers']} worker{'s' if settings['workers'] != 1 else ''}",
    }
    table = [
        [
            shown.get(row["part"], row["part"]),
            layout.digits(row["clips_per_s"]),
            f"{layout.digits(row['median_ms'])} ({layout.digits(row['q20_ms'])} to {layout.digits(row['q80_ms'])})",
            _percent(row["of_step"]),
            layout.times(row["of_decode"]),
        ]
        for row in result["rows"]
    ]
    return [
        f"**Where the time of training goes: `{settings['data']}` on {_where(result)}**, recipe `{settings['recipe']}`, backbone "
        f"`{settings['backbone']}`: medians over {settings['rounds']} passes through {settings['clips']} clips, "
        f"{settings['frames']} frames of {size} each, batches of {settings['batch']}, files in the cache, PyAV {settings['av']}. "
        "*Bare decode* is PyAV alone on one thread up to the last frame needed; *reading* gives the same frames, scaled; "
        "backbone and head are timed forward and backward.",
        layout.markdown(
            ["part", "clips/s", "ms a clip (20 to 80 %)", "of a training step", "times the bare decode"], table
        ),
        result["bottleneck"],
    ]


def training(result: Results) -> list[str]:
    """A step of a released recipe with our head and with its authors', and what the head's part gains."""
    rows, settings = result["rows"], result["settings"]
    named = {(row["precision"], row["mode"], row["part"], row["by"]): row for row in rows}
    # column -> (part, whose, key, how it is shown)
    columns: dict[str, tuple[str, str, str, Callable[[float | None], str]]] = {
        "clips/s": (STEP, OURS, "clips_per_s", layout.digits),
        "theirs": (STEP, AUTHORS, "clips_per_s", layout.digits),
        "whole step: faster": (STEP, OURS, "faster_than_authors", layout.times),
        "head's part: faster": (HEAD, OURS, "faster_than_authors", layout.times),
        "head's share": (HEAD, OURS, "share_of_step", _percent),
        "theirs: head's share": (HEAD, AUTHORS, "share_of_step", _percent),
        "MiB a step": (STEP, OURS, "peak_bytes", layout.mebibytes),
        "less than theirs": (STEP, OURS, "memory_of_authors", _less),
    }
    ways = dict.fromkeys((row["precision"], row["mode"]) for row in rows)
    table = [
        [
            PRECISIONS[precision],
            mode,
            *(shown(named.get((precision, mode, part, by), {}).get(key)) for part, by, key, shown in columns.values()),
        ]
        for precision, mode in ways
    ]
    notes = [note_of(entry) for entry in result["left_out"]]
    return [
        f"**A training step of `{settings['recipe']}` on {_where(result)}**, with `tag_released` and with its authors' "
        f"formulation of the head: backbone `{settings['backbone']}`, {settings['batch']} clips of "
        f"{' x '.join(map(str, settings['clip']))} in memory; forward, backward, {settings['optimiser']}, dropout as released; "
        "the head's part is the head alone, forward and backward. Both have the same weights, were found equal before and were "
        "timed in turn. Memory is a step's peak on top of weights and optimiser.",
        layout.markdown(["precision", "mode", *columns], table),
        *([f"{'; '.join(notes)}."] if notes else []),
    ]


def exported(result: Results) -> list[str]:
    """Recognisers and their exported programs."""
    table = []
    for row in result["rows"]:
        ways = row["ways"]
        cells = [f"`{row['model'].replace(':', '`, `')}`", " x ".join(map(str, row["clip"]))]
        cells.append(layout.digits(ways["eager"]["median_ms"]))
        for way in ("torch", "onnx"):
            cells.append(f"{layout.digits(ways[way]['median_ms'])} ({layout.times(ways[way]['faster_than_eager'])})")
            cells.append(f"{ways[way]['difference']:.0e}")
        table.append(cells)
    clips = result["settings"]["clips"]
    return [
        f"**Exported models, {clips} clip{'s' if clips > 1 else ''} on {_where(result)}**: head `tag` on random weights, timed "
        "in turn with the recogniser itself; in brackets how many times as fast; *differs* is the largest difference of a logit.",
        layout.markdown(
            ["backbone, conv", "clip", "eager ms", "torch.export ms", "differs", "ONNX Runtime ms", "differs"], table
        ),
    ]


def skeletons(result: Results) -> list[str]:
    """Skeleton networks compared with their papers' code, and with SF-Head in every block."""
    table = []
    for row in result["rows"]:
        authors = row["step"]["authors"]["median_ms"]
        clips = f"{row['data']}, {row['batch']} of {' x '.join(map(str, row['clip']))}"
        for way in ("authors", "ours", "ours, sf"):
            step, inference = row["step"][way]["median_ms"], row["inference"].get(way, {}).get("median_ms")
            cells = [layout.digits(step), layout.times(authors / step), layout.digits(inference)]
            table.append([f"`{row['network']}`", clips, way, *cells, f"{row['macs'][way] / 1e9:.4f}"])
    return [
        f"**Skeleton networks on {_where(result)}**: a training step as the papers' code has it and as ours, equal in float64 "
        "before they were timed; `sf` is SF-Head in every block.",
        layout.markdown(
            ["network", "clips (C, T, V, M)", "way", "step ms", "as fast", "inference ms", "GMAC a clip"], table
        ),
    ]


def support() -> list[str]:
    """Which implementation computes which convolution, and the reasons of those that do not.

    Raises:
        ValueError: the package of an implementation is not installed.
    """
    topology, grid = parse(_CASE[0]), _CASE[1]
    reasons: dict[str, int] = {}
    table = []
    for name, row in convs.CONVS.items():
        if not str(row.builder).startswith("torch_geometric."):
            # What knows the grid runs on edge lists only.
            continue
        conv = convs.build(name, 8)
        cells = []
        for impl in kernels.IMPLS:
            try:
                kernels.find(conv, topology, grid, impl)
                cells.append("yes")
            except ValueError as error:
                if isinstance(error.__cause__, ImportError):
                    raise ValueError(f"the table of implementations needs all of them: {error}") from error
                cells.append(f"no ({reasons.setdefault(str(error), len(reasons) + 1)})")
        table.append([f"`{name}`", *cells])
    parts = [
        f"**Which implementation computes which convolution**, with default options on `{topology}`:",
        layout.markdown(["", *(f"`{impl}`" for impl in kernels.IMPLS)], table),
    ]
    if reasons:
        parts.append("\n".join(f"{number}. {reason}" for reason, number in reasons.items()))
    return parts


def _passes(rows: list[Results]) -> list[str]:
    return [which for which in (FORWARD, BOTH) if any(row["pass"] == which for row in rows)]


def _without(result: Results) -> list[str]:
    """Requested measurements without a row; refused combinations are in the table of support."""
    notes = [_left_out(entry) for entry in result["left_out"] if entry["why"] != "refused"]
    return [f"No row: {'; '.join(notes)}."] if notes else []


def _left_out(entry: dict[str, Any]) -> str:
    why = "more memory than there was" if entry["why"] == "memory" else entry["reason"]
    if "preset" in entry:
        return f"`{entry['preset']}` ({why})"
    where = f"from {entry['value']} {entry['sweep']} on" if "sweep" in entry else f"on {entry['grid']}"
    return f"`{entry['conv']}` by `{entry['impl']}` {where} ({why})"


def _where(result: Results) -> str:
    facts = result["machine"]
    threads = "1 CPU thread" if facts["threads"] == 1 else f"{facts['threads']} CPU threads"
    return f"{threads if facts['gpu'] == 'none used' else facts['gpu']}, {result['settings']['dtype']}"


def _alt(kind: str, result: Results) -> str:
    if kind == "throughput":
        return f"Milliseconds a clip of each part of training on {_where(result)}, {result['settings']['data']}"
    what = "Time against nodes of the batch" if kind == "latency" else "Time against size"
    return f"{what}, logarithmic, on {_where(result)}"


def _less(value: float | None) -> str:
    return layout.times(value and 1 / value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if value >= 0.095 else f"{value:.1%}"


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
