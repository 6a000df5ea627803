"""Pictures of the results: time against size, both axes logarithmic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

# Before pyplot, so that no screen is needed.
matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from taggnn.runtime import atomic

# Colours that colour-blind readers can tell apart (Okabe and Ito), and a marker each.
STYLES = {
    "pyg": ("#d55e00", "o"),
    "scatter": ("#cc79a7", "v"),
    "dense": ("#e69f00", "s"),
    "structured": ("#0072b2", "D"),
    "flex": ("#009e73", "^"),
    "triton": ("#56b4e9", "P"),
    "projection": ("#6e7781", None),
}
_INK = "#24292f"


def latency(rows: Sequence[dict[str, Any]], path: Path) -> Path | None:
    """Draws a panel for each convolution and pass: time against the nodes of the batch; None where there is nothing to draw."""
    convs, passes = (list(dict.fromkeys(row[part] for row in rows)) for part in ("conv", "pass"))
    if not rows:
        return None
    figure, axes = _panels(len(passes), len(convs))
    for line, which in enumerate(passes):
        for column, conv in enumerate(convs):
            panel = axes[line][column]
            shown = [row for row in rows if row["conv"] == conv and row["pass"] == which]
            for impl in dict.fromkeys(row["impl"] for row in shown):
                points = sorted((row["nodes"], row["median_ms"]) for row in shown if row["impl"] == impl)
                _line(panel, points, impl)
            # A size without a short name is labelled by its nodes alone.
            names = {row["nodes"]: "" if row["grid"] == row["size"] else f"{row['grid']}\n" for row in shown}
            ticks = {nodes: f"{name}{nodes:,}" for nodes, name in sorted(names.items())}
            _finish(panel, ticks)
            panel.set_title(f"{conv}, {which}", fontsize=10, color=_INK, loc="left")
            if line == len(passes) - 1:
                panel.set_xlabel("grid and nodes of its batch", fontsize=9)
            if column == 0:
                panel.set_ylabel("ms, median", fontsize=9)
    return _save(figure, axes, path)


def scaling(rows: Sequence[dict[str, Any]], slopes: Sequence[dict[str, Any]], path: Path) -> Path | None:
    """Draws a panel for each convolution and axis that was swept, the fitted slopes in its legend."""
    convs, sweeps = (list(dict.fromkeys(row[part] for row in rows)) for part in ("conv", "sweep"))
    if not rows:
        return None
    fitted = {(slope["conv"], slope["sweep"], slope["impl"], slope["pass"]): slope["slope"] for slope in slopes}
    passes = list(dict.fromkeys(row["pass"] for row in rows))
    lines = [(conv, which) for conv in convs for which in passes]
    figure, axes = _panels(len(lines), len(sweeps))
    for line, (conv, which) in enumerate(lines):
        for column, sweep in enumerate(sweeps):
            panel = axes[line][column]
            shown = [row for row in rows if (row["conv"], row["sweep"], row["pass"]) == (conv, sweep, which)]
            for impl in dict.fromkeys(row["impl"] for row in shown):
                points = sorted((row["value"], row["median_ms"]) for row in shown if row["impl"] == impl)
                slope = fitted.get((conv, sweep, impl, which))
                _line(panel, points, impl, "" if slope is None else f", slope {slope:.2f}")
            values = sorted({row["value"] for row in shown})
            _finish(panel, {value: f"{value:,}" for value in values})
            panel.set_title(f"{conv}, {which}", fontsize=10, color=_INK, loc="left")
            panel.set_xlabel(sweep, fontsize=9)
            panel.legend(fontsize=8, frameon=False)
            if column == 0:
                panel.set_ylabel("ms, median", fontsize=9)
    return _save(figure, axes, path, legend=False)


# Rows of the picture of the throughput: the kind of part, its colour and its label in the legend.
_PARTS = {
    "decode": ("#6e7781", "bare decode"),
    "load": ("#56b4e9", "loading"),
    "model": ("#e69f00", "model, clips in memory"),
    "whole": ("#0072b2", "loading and model"),
}


def throughput(result: dict[str, Any], path: Path) -> Path:
    """Draws a bar for each part of training: milliseconds a clip, with its quantiles and the clips a second."""
    rows, settings = result["rows"], result["settings"]
    figure, panel = plt.subplots(figsize=(7.6, 0.36 * len(rows) + 1.5), layout="constrained")
    figure.patch.set_facecolor("white")
    longest = max(row["q80_ms"] for row in rows)
    for index, row in enumerate(rows):
        colour, label = _PARTS[_kind(row["part"])]
        ms = row["median_ms"]
        spread = [[max(ms - row["q20_ms"], 0)], [max(row["q80_ms"] - ms, 0)]]
        panel.barh(index, ms, 0.66, color=colour, label=label)
        panel.errorbar(ms, index, xerr=spread, fmt="none", ecolor=_INK, elinewidth=0.9, capsize=2)
        right = max(row["q80_ms"], ms) + 0.015 * longest
        panel.text(right, index, f"{row['clips_per_s']:,.3g} clips/s", va="center", fontsize=8.5, color=_INK)
    with_workers = f"training, {settings['workers']} worker{'s' if settings['workers'] != 1 else ''}"
    names = [with_workers if row["part"] == "training" else row["part"] for row in rows]
    panel.set_yticks(range(len(rows)), names, fontsize=9, color=_INK)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.22 * longest)
    panel.set_xlabel("ms a clip: median, whiskers from the 20 % to the 80 % quantile", fontsize=9, color=_INK)
    size = "x".join(map(str, settings["size"]))
    panel.set_title(
        f"{settings['data']}: {settings['frames']} frames of {size}, backbone {settings['backbone']}",
        fontsize=10, color=_INK, loc="left",
    )  # fmt: skip
    panel.tick_params(labelsize=8.5, colors=_INK)
    panel.grid(axis="x", color="#d0d7de", lw=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    return _save(figure, [[panel]], path)


def ablation(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draws the accuracy of each row: a point for the mean, whiskers for the spread over seeds, the reference as a line."""
    figure, panel = plt.subplots(figsize=(7.2, 0.36 * len(rows) + 1.1), layout="constrained")
    figure.patch.set_facecolor("white")
    panel.axvline(100 * rows[0]["top1"]["mean"], color="#6e7781", lw=1, ls=":")
    for index, row in enumerate(rows):
        top1, difference = row["top1"], row.get("difference")
        mean = 100 * top1["mean"]
        panel.plot([100 * top1["lowest"], 100 * top1["highest"]], [index, index], color="#0072b2", lw=1.4)
        panel.plot(mean, index, "o", color="#0072b2", ms=5)
        text = f"{mean:.1f}"
        if difference:
            value, low, high = (100 * difference[key] for key in ("value", "low", "high"))
            text += f"   {value:+.1f} ({low:+.1f} to {high:+.1f})"
        panel.text(1.02, index, text, va="center", fontsize=8.5, color=_INK, transform=panel.get_yaxis_transform())
    panel.set_yticks(range(len(rows)), [row["row"] for row in rows], fontsize=9, color=_INK)
    panel.invert_yaxis()
    panel.set_xlabel("top-1 in per cent: mean, lowest and highest seed", fontsize=9, color=_INK)
    panel.set_title("mean, and difference to the first row (95 %)", fontsize=9, color=_INK, loc="right")
    panel.tick_params(labelsize=8.5, colors=_INK)
    panel.grid(axis="x", color="#d0d7de", lw=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    return _save(figure, [[panel]], path, legend=False)


def _kind(part: str) -> str:
    if part == "bare decode":
        return "decode"
    if part.startswith(("reading", "loader")):
        return "load"
    return "whole" if part == "training" else "model"


def _panels(lines: int, columns: int) -> tuple[plt.Figure, list[list[plt.Axes]]]:
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(3.1 * columns + 0.6, 2.9 * lines + 0.5),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    figure.patch.set_facecolor("white")
    return figure, axes


def _line(panel: plt.Axes, points: list[tuple[int, float]], impl: str, more: str = "") -> None:
    base, _, compiled = impl.partition("+")
    colour, marker = STYLES.get(base, (_INK, "x"))
    style = ":" if base == "projection" else "--" if compiled else "-"
    panel.plot(*zip(*points, strict=True), style, color=colour, marker=marker, ms=4.5, lw=1.5, label=impl + more)


def _finish(panel: plt.Axes, ticks: dict[int, str]) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(labelsize=8, colors=_INK)
    panel.grid(which="major", color="#d0d7de", lw=0.5)
    panel.spines[["top", "right"]].set_visible(False)


def _save(figure: plt.Figure, axes: Any, path: Path, legend: bool = True) -> Path:
    if legend:
        found = {}
        for panel in figure.axes:
            handles, labels = panel.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
        figure.legend(found.values(), found, loc="outside upper center", ncols=len(found), fontsize=9, frameon=False)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
    plt.close(figure)
    return path
