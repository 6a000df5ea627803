"""Draws README's picture of the pipeline from a trained TAG-Head and a real clip: nothing in it is made up.

    python benchmarks/pipeline.py RUN_DIR/best.ckpt CLIP.mp4 [--out benchmarks/results/pipeline.png]

Axes: T frames, H W token grid.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
from itertools import pairwise

import matplotlib
import torch

# Before pyplot, so that no screen is needed.
matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import ConnectionPatch

import taggnn
from graphs import TEMPORAL, graph
from taggnn.data import sources
from taggnn.data.video.source import VideoSource

INK, SPATIAL_COLOUR, TEMPORAL_COLOUR, BAR = "#24292f", "#56b4e9", "#e69f00", "#0072b2"
SHOWN = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/pipeline.png"))
    given = parser.parse_args()

    loaded = taggnn.load(given.checkpoint)
    model = loaded.model
    source = sources.of(loaded.spec)
    clip = loaded.clip(given.clip)
    with torch.inference_mode():
        logits, extras = model(clip[None])
    if "weights" not in extras:
        parser.error("the picture shows an attention read-out; this checkpoint has another")
    frames, height, width = model.grid
    pixels = _pixels(clip, source)
    weights = extras["weights"][0]

    figure = plt.figure(figsize=(12, 4.7), facecolor="white")
    rows = figure.add_gridspec(
        3, SHOWN + 3, height_ratios=(1, 1.15, 1), left=0.11, right=0.985, top=0.92, bottom=0.03, hspace=0.12
    )
    columns = torch.linspace(0, frames - 1, SHOWN).round().long().tolist()
    graph_axes = []
    for column, t in enumerate(columns):
        seen = figure.add_subplot(rows[0, column])
        seen.imshow(pixels[round(t * (len(pixels) - 1) / max(frames - 1, 1))])
        seen.set_title(f"frame {t + 1} of {frames}", fontsize=9, color=INK)
        nodes = figure.add_subplot(rows[1, column])
        _draw_frame(nodes, model.head.topology, height, width)
        graph_axes.append(nodes)
        attended = figure.add_subplot(rows[2, column])
        attended.imshow(weights[t], cmap="cividis", vmin=0, vmax=float(weights.max()))
        for axes in (seen, nodes, attended):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(False)
    for left, right in pairwise(graph_axes):
        for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
            figure.add_artist(
                ConnectionPatch(
                    _point(*corner),
                    _point(*corner),
                    "data",
                    "data",
                    axesA=left,
                    axesB=right,
                    color=TEMPORAL_COLOUR,
                    lw=1.0,
                    alpha=0.8,
                )
            )
    one = graph(model.head.topology, model.grid)
    temporal = int((one.edge_type == TEMPORAL).sum())
    for row, text in enumerate(
        (
            "clip",
            f"graph on {frames}x{height}x{width}\ntokens: {one.num_edges - temporal:,}\nedges in frames,\n{temporal:,} between",
            "read-out:\nweight of\neach token",
        )
    ):
        box = rows[row, 0].get_position(figure)
        figure.text(0.008, (box.y0 + box.y1) / 2, text, fontsize=10.5, color=INK, va="center")
    _draw_answer(figure.add_subplot(rows[:, SHOWN + 1 :]), logits[0].softmax(-1), loaded.classes, given.clip)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, dpi=110)
    print(f"{given.out}: {model.found['head']}")


def _pixels(clip: torch.Tensor, source: VideoSource) -> torch.Tensor:
    """The normalised clip as pictures again. **Shapes:** (3, T, H, W) -> (T, H, W, 3) in [0, 1]"""
    if source.transform.per_clip_norm:
        # Its own mean and deviation are not known: shown from its darkest to its brightest point.
        return ((clip - clip.min()) / (clip.max() - clip.min())).permute(1, 2, 3, 0)
    mean, std = (torch.tensor(part).reshape(3, 1, 1, 1) for part in (source.mean, source.std))
    return (clip * std + mean).clamp(0, 1).permute(1, 2, 3, 0)


def _draw_frame(axes: plt.Axes, topology: object, height: int, width: int) -> None:
    edges = graph(topology, (1, height, width)).edge_index
    points = [_point(x, y) for y in range(height) for x in range(width)]
    for source, target in edges.T.tolist():
        if source < target:
            axes.plot(
                *zip(points[source], points[target], strict=True), color=SPATIAL_COLOUR, lw=0.5, alpha=0.7, zorder=1
            )
    axes.scatter(*zip(*points, strict=True), s=12, color=INK, zorder=2)
    axes.set_xlim(-0.5, 0.6 * (width - 1) + 0.5)
    axes.set_ylim(height - 0.5, -0.45 * (width - 1) - 0.5)
    axes.set_aspect("equal")


def _point(x: float, y: float) -> tuple[float, float]:
    """A frame seen from its side, so that the lines to its neighbours do not run along its own."""
    return 0.6 * x, y - 0.45 * x


def _draw_answer(axes: plt.Axes, probabilities: torch.Tensor, classes: tuple[str, ...], clip: Path) -> None:
    best = probabilities.topk(min(6, len(classes)))
    names = [classes[label].replace("_", " ") for label in best.indices.tolist()]
    axes.barh(range(len(names)), best.values, color=BAR, height=0.6)
    for row, (name, value) in enumerate(zip(names, best.values.tolist(), strict=True)):
        axes.text(0.0, row - 0.42, f"{name}  {value:.1%}", fontsize=10, color=INK, va="bottom")
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.set_xlim(0, 1)
    axes.set_axis_off()
    axes.set_title(f"answer (truth: {clip.parent.name.replace('_', ' ')})", fontsize=9.5, color=INK, loc="left")


if __name__ == "__main__":
    main()
