"""From a case to rows: first the gate, then memory and counts, then all that passed timed in turn."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import cost, gate, memory, passes, timing
from benchmarks.case import PROJECTION, Case
from benchmarks.sizes import name_of

FORWARD, BOTH = "forward", "forward+backward"
COMPILED = "+compile"
Row = dict[str, Any]


def measure(
    case: Case,
    impls: Sequence[str],
    compiled: bool = False,
    budget: float = 1.0,
    rounds: int | None = None,
    show: Callable[[str], object] = lambda stage: None,
    details: bool = True,
    longest: float | None = None,
    unchecked: bool = False,
    extra: Mapping[str, passes.Way] | None = None,
) -> tuple[list[Row], list[Row]]:
    """Measures the implementations of one convolution on one size, and its projection alone.

    Args:
        case: weights and inputs; its ``backward`` adds a row for forward and backward together.
        impls: names of ``taggnn.kernels.IMPLS``.
        compiled: measure each through torch.compile as well.
        budget, rounds: see ``timing.in_turn``.
        show: called with the current stage, for a progress bar.
        details: count memory and multiply-adds too.
        longest: seconds after which a call is too long to be repeated: it then has no row.
        unchecked: where the reference does not fit in memory, give rows all the same, with None for ``equal``.
        extra: further ways to compute it, by name.

    Returns:
        Rows, one for each implementation and pass, with ratios; and what has no row, each with ``impl``, ``why`` ("refused",
        "unequal", "memory", "time") and ``reason``.
    """
    about = {"conv": case.name, "grid": name_of(case.size), "size": str(case.size)}
    ways, left = ways_of(case, impls, compiled)
    ways |= extra or {}
    show("equality")
    verdicts, failed = judged(case, ways, longest, unchecked)
    left += failed
    rows: list[Row] = []
    for which in (FORWARD, BOTH) if case.backward else (FORWARD,):
        calls = {name: case.call(ways[name], which == BOTH) for name in verdicts}
        projection = case.projection()
        if projection and calls:
            calls[PROJECTION] = case.call(projection, which == BOTH)
        work = {}
        known = {}
        if details:
            show(f"memory of {which}")
            for name, call in calls.items():
                if name.endswith(COMPILED):
                    # Compiled again for this pass, which takes memory too.
                    call()
                start = time.perf_counter()
                work[name] = {"peak_bytes": memory.peak(call, case.device)}
                known[name] = time.perf_counter() - start
                work[name]["macs_counted"] = None if name.endswith(COMPILED) else cost.counted_macs(call)
        show(f"time of {which}")
        measured = timing.in_turn(calls, timing.clock(case.device), budget, rounds, known)
        for name, times in measured.items():
            verdict = verdicts.get(name)
            row = {**about, "impl": name, "pass": which, **times.row(), "equal": verdict and verdict.row()}
            rows.append({**row, **_work(case, which, times.median), **work.get(name, {})})
    add_ratios(rows)
    return rows, [{**about, **entry} for entry in left]


def add_ratios(rows: Iterable[Row]) -> None:
    """Adds the ratios to pyg, dense and the projection of the same convolution, size and pass; None where there is none."""
    rows = list(rows)
    key = ("conv", "size", "pass")
    found = {(*(row[part] for part in key), row["impl"]): row for row in rows}
    for row in rows:
        pyg, dense, projection = (
            found.get((*(row[part] for part in key), impl)) for impl in ("pyg", "dense", PROJECTION)
        )
        row["faster_than_pyg"] = pyg and pyg["median_ms"] / row["median_ms"]
        row["faster_than_dense"] = dense and dense["median_ms"] / row["median_ms"]
        row["times_projection"] = projection and row["median_ms"] / projection["median_ms"]
        if "peak_bytes" in row:
            row["memory_of_pyg"] = row["peak_bytes"] / pyg["peak_bytes"] if pyg and pyg["peak_bytes"] else None


def ways_of(case: Case, impls: Sequence[str], compiled: bool = False) -> tuple[dict[str, passes.Way], list[Row]]:
    """The implementations that take a convolution, and those that refuse it."""
    ways, left = {}, []
    for impl in impls:
        try:
            ways[impl] = case.way(impl)
            if compiled:
                ways[impl + COMPILED] = case.way(impl, compiled=True)
        except ValueError as error:
            left.append({"impl": impl, "why": "refused", "reason": _line(error)})
    return ways, left


def judged(
    case: Case, ways: dict[str, passes.Way], longest: float | None = None, unchecked: bool = False
) -> tuple[dict[str, gate.Verdict | None], list[Row]]:
    """The implementations that may be timed, each with its verdict, and those that may not."""
    reference, clips, own, peer = None, 1, None, None
    try:
        reference, clips = case.reference()
        if reference["output"].dtype != case.dtype:
            peer = case.answers(case.way("pyg"), clips)
            own, _ = gate.distance(reference, peer)
    except Exception as error:
        if not memory.is_shortage(error):
            raise
        if not unchecked:
            reason = "the reference needs more memory than there is, so there is nothing to compare with"
            return {}, [{"impl": name, "why": "memory", "reason": reason} for name in ways]
    verdicts: dict[str, gate.Verdict | None] = {}
    left: list[Row] = []
    for name, way in ways.items():
        start = time.perf_counter()
        try:
            found = case.answers(way, clips)
        # A kernel for another device, a compiler that fails: it has no row, and the reason is reported.
        except Exception as error:
            why = "memory" if memory.is_shortage(error) else "refused"
            left.append({"impl": name, "why": why, "reason": _line(error)})
            continue
        if name.endswith(COMPILED):
            # The first call compiled.
            start = time.perf_counter()
            case.answers(way, clips)
        spent = time.perf_counter() - start
        verdict = reference and gate.judge(reference, found, case.dtype, own, peer if name != "pyg" else None)
        # The reference is the yardstick: it is timed however far its precision takes it from itself.
        if verdict and not verdict.equal and name != "pyg":
            left.append({"impl": name, "why": "unequal", "reason": str(verdict)})
        elif longest is not None and spent > longest:
            left.append(
                {"impl": name, "why": "time", "reason": f"one call took {spent:.1f} s, more than {longest:g} s"}
            )
        else:
            verdicts[name] = verdict
    return verdicts, left


def _work(case: Case, which: str, seconds: float) -> Row:
    floor = cost.floor_bytes(case.conv, case.size, case.dtype, which == BOTH)
    rate = cost.bandwidth(case.device)
    return {
        "nodes": case.size.clips * case.size.nodes,
        "edges": case.size.clips * case.topology.num_edges(case.size.grid),
        "macs_projection": cost.projection_macs(case.conv, case.size),
        "macs_graph": cost.graph_macs(case.conv, case.topology, case.size),
        "floor_bytes": floor,
        "floor_share": floor / rate / seconds if rate else None,
    }


def _line(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
