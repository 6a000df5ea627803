"""A topology as a picture: frames in perspective, one after the other, and a line between nodes that share an edge.

Axes: T frames, H W token grid, N = T*H*W nodes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .batch import Graph, graph
from .describe import KINDS, count_kinds, plane, span
from .skeleton import Skeleton
from .topology import SPATIAL, TEMPORAL, Topology

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NODES = 10_000
MOST_EDGES = 5_000_000
# More lines than these make one dark patch.
_MOST_LINES = 600
_MOST_NUMBERS = 100
_WIDEST = 26.0

_INK, _SOFT, _PALE, _CHOSEN = "#22303c", "#66727d", "#c3ccd4", "#c22f4c"
_COLOURS = {SPATIAL: "#2f6fb4", TEMPORAL: "#e2711d"}
_WHERE = {SPATIAL: "inside a frame", TEMPORAL: "between frames"}

# A step along the width goes right and up, one along the height goes down: a frame is a plane seen from its side.
_ALONG_W = torch.tensor([0.66, 0.36])
_ALONG_H = torch.tensor([0.0, -1.0])


def picture(topology: Topology, grid: Sequence[int], skeleton: Skeleton | None = None) -> "Figure":
    """Draws the graph of a topology on a grid.

    Where all lines would hide each other only those of the middle node are drawn, and where all frames would, only
    those around the middle one; the picture says so.

    Args:
        topology: the rule.
        grid: its sizes, time first: (T, H, W) on video; another rank is laid out by ``graphs.describe.plane``.
        skeleton: draws the joints of a grid (T, V) by its layout; None (default) for a row.

    Raises:
        ValueError: ``grid`` does not fit the rule, or is too large: ``MOST_NODES`` to draw, ``MOST_EDGES`` to list.
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    one = graph(topology, grid)
    frames, height, width = plane(one.grid)
    shown, step = _shown((frames, height, width))
    start, end = (frame * height * width for frame in (shown.start, shown.stop))
    if end - start > MOST_NODES or one.num_edges > MOST_EDGES:
        raise ValueError(
            f"a grid of {' x '.join(map(str, one.grid))} is too large to draw: {end - start:,} nodes to draw and "
            f"{one.num_edges:,} edges, possible are {MOST_NODES:,} and {MOST_EDGES:,}; "
            "the rule looks the same on a smaller grid"
        )
    pairs, kinds = _pairs(*topology.edges(one.grid), one.num_nodes)
    within = ((pairs >= start) & (pairs < end)).all(0)
    middle = None
    if int(within.sum()) > _MOST_LINES:
        middle = ((frames // 2) * height + height // 2) * width + width // 2
        within &= (pairs == middle).any(0)
    pairs, kinds = pairs[:, within] - start, kinds[within]
    pos = torch.cartesian_prod(*(torch.arange(size) for size in (frames, height, width)))[start:end]

    t, h, w = (pos - pos[0]).float().T[..., None]
    if skeleton is not None:
        if len(skeleton) != height * width:
            raise ValueError(
                f"skeleton {skeleton.name} has {len(skeleton)} joints, a frame of the grid {height * width}"
            )
        w, h = _layout(skeleton).repeat(len(shown), 1).T[..., None]
        step = float(_ALONG_W[0] * (w.max() - w.min())) + 1.5
    where = t * torch.tensor([step, 0.0]) + h * _ALONG_H + w * _ALONG_W
    corners = _corners(t, h, w, step, len(shown))
    outermost = torch.cat([where, corners.flatten(0, 2)])
    left, bottom = (outermost.amin(0) - torch.tensor([0.6, 1.15])).tolist()
    right, top = (outermost.amax(0) + torch.tensor([0.6, 0.75])).tolist()
    across, up = right - left, top - bottom
    inch = min(1.1, 16 / across, 9 / up)
    size = max(7.0, inch * across), inch * up + 1.45
    figure = Figure(figsize=size, dpi=160, facecolor="white")
    axes = figure.add_axes((0.01, 0.5 / size[1], 0.98, inch * up / size[1]))
    axes.set_axis_off()
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")

    _draw_frames(axes, corners, shown, step)
    _draw_lines(axes, pos, where, pairs, kinds, straight=skeleton is not None)
    _draw_nodes(axes, where, inch, start, None if middle is None else middle - start, pairs)
    _write(figure, one, shown, middle)
    return figure


def save(topology: Topology, grid: Sequence[int], path: str | Path, skeleton: Skeleton | None = None) -> Path:
    """Writes the picture of a topology on a grid to a file.

    Args:
        topology: the rule.
        grid: its sizes, time first.
        path: the file; its suffix (.png, .svg, .pdf) chooses the format.
        skeleton: as for ``picture``.

    Raises:
        ValueError: the grid is too large to draw, or the suffix names no picture format.
        FileNotFoundError: the folder of ``path`` does not exist.
        ImportError: matplotlib is not installed.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {str(path.parent)!r} to write {path.name!r} to")
    figure = picture(topology, grid, skeleton)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return path


def _shown(grid: tuple[int, ...]) -> tuple[range, float]:
    # Frames are drawn apart; where that does not fit they overlap by half, and beyond that some are left out.
    frames, _, width = grid
    plane = float(_ALONG_W[0]) * (width - 1)
    tight = 0.4 + plane / 2
    room = max(_WIDEST - plane, 2 * tight)
    count = min(frames, 1 + int(room / tight))
    first = max(0, min(frames // 2 - count // 2, frames - count))
    return range(first, first + count), min(plane + 1.5, room / max(1, count - 1))


def _pairs(edge_index: Tensor, edge_type: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    low, high = edge_index.amin(0), edge_index.amax(0)
    keys = ((low * num_nodes + high) * len(KINDS) + edge_type).unique()
    pairs, kinds = keys // len(KINDS), keys % len(KINDS)
    return torch.stack([pairs // num_nodes, pairs % num_nodes]), kinds


def _layout(skeleton: Skeleton) -> Tensor:
    """Coordinates of joints in units of a grid, ``(w, h)`` with h downwards, spaced like its nodes. **Shapes:** -> (V, 2)"""
    coordinates = torch.tensor(skeleton.layout) * torch.tensor([1.0, -1.0])
    near = torch.cdist(coordinates, coordinates).fill_diagonal_(torch.inf).amin(1).median()
    return (coordinates - coordinates.amin(0)) * (1 / near)


def _corners(t: Tensor, h: Tensor, w: Tensor, step: float, frames: int) -> Tensor:
    """The corners of every frame: top left, top right, bottom left, bottom right. **Shapes:** -> (frames, 2, 2, 2)"""
    starts = t.view(frames, -1)[:, :1] * torch.tensor([step, 0.0])
    ends = [[y * _ALONG_H + x * _ALONG_W for x in (w.min(), w.max())] for y in (h.min(), h.max())]
    return starts[:, None, None] + torch.stack([torch.stack(row) for row in ends])


def _draw_frames(axes: "Axes", corners: Tensor, shown: range, step: float) -> None:
    from matplotlib.patches import Polygon

    out_w, out_h = 0.58 * _ALONG_W, 0.5 * _ALONG_H
    every = max(1, round(0.8 / step + 0.5)) if step < 0.8 else 1
    for number, (frame, corner) in enumerate(zip(shown, corners, strict=True)):
        outline = [
            corner[0, 0] - out_w - out_h,
            corner[0, -1] + out_w - out_h,
            corner[-1, -1] + out_w + out_h,
            corner[-1, 0] - out_w + out_h,
        ]
        face = Polygon(torch.stack(outline).numpy(), facecolor="#eef2f6", edgecolor=_PALE, linewidth=0.9, alpha=0.75)
        face.set_zorder(1)
        axes.add_patch(face)
        if number % every == 0:
            x, y = outline[3].tolist()
            axes.text(x, y - 0.12, f"t = {frame}", ha="left", va="top", fontsize=9, color=_SOFT)


def _draw_lines(axes: "Axes", pos: Tensor, where: Tensor, pairs: Tensor, kinds: Tensor, straight: bool = False) -> None:
    from matplotlib.collections import LineCollection

    s = torch.linspace(0, 1, 24)[:, None, None]
    for kind, colour in _COLOURS.items():
        a, b = pairs[:, kinds == kind]
        apart = (pos[b] - pos[a]).abs()
        # A straight line over other nodes would seem to end at them, so it is bent.
        if kind == SPATIAL and straight:
            bend = torch.zeros(len(a))
        elif kind == SPATIAL:
            bend = 0.32 * (torch.gcd(apart[:, 1], apart[:, 2]) > 1)
        else:
            bend = 0.14 + 0.1 * (apart[:, 0] - 1).clamp(max=5)
        start, end = where[a], where[b]
        along = end - start
        control = (start + end) / 2 + bend[:, None] * torch.stack([-along[:, 1], along[:, 0]], 1)
        curves = (1 - s) ** 2 * start + 2 * s * (1 - s) * control + s**2 * end
        width, alpha = (1.5, 0.9) if len(a) <= 200 else (0.9, 0.6)
        lines = LineCollection(list(curves.transpose(0, 1).numpy()), colors=colour, linewidths=width, alpha=alpha)
        lines.set_zorder(3 + kind)
        axes.add_collection(lines)


def _draw_nodes(axes: "Axes", where: Tensor, inch: float, first: int, middle: int | None, pairs: Tensor) -> None:
    points = min(19.0, 0.30 * 72 * inch)  # diameter

    def draw(nodes: Tensor, colour: str, zorder: int) -> None:
        x, y = nodes.T.numpy()
        axes.scatter(x, y, s=points**2, c=colour, edgecolors="white", linewidths=0.08 * points, zorder=zorder)

    if middle is None:
        draw(where, _INK, 5)
    else:
        # Nodes without a drawn edge lie under the lines.
        draw(where, _PALE, 2)
        draw(where[pairs.unique()], _INK, 5)
        draw(where[middle, None], _CHOSEN, 6)
    if len(where) <= _MOST_NUMBERS and points > 12:
        for node, (x, y) in enumerate(where.tolist(), start=first):
            axes.text(
                *(x, y, str(node)), ha="center", va="center_baseline", fontsize=0.46 * points, color="white", zorder=7
            )


def _write(figure: "Figure", one: Graph, shown: range, middle: int | None) -> None:
    from matplotlib.lines import Line2D

    inch = 1 / figure.get_figheight()
    frames = one.grid[0]
    about = f"{' × '.join(map(str, one.grid))} grid · {one.num_nodes:,} nodes · {one.num_edges:,} edges · degree {span(one)}"
    notes = ["edges in opposite directions share a line"]
    if middle is not None:
        notes.append(f"only the edges of node {middle:,} are drawn")
    if len(shown) < frames:
        notes.append(f"only frames {shown.start} to {shown.stop - 1} are drawn")
    rows: list[tuple[float, str, dict[str, Any]]] = [
        (0.14, str(one.topology), {"fontsize": 15, "color": _INK, "weight": "bold"}),
        (0.47, about, {"fontsize": 10, "color": _INK}),
        (0.7, "; ".join(notes), {"fontsize": 8.5, "color": _SOFT, "style": "italic"}),
    ]
    for down, text, style in rows:
        figure.text(0.5, 1 - down * inch, text, ha="center", va="top", **style)
    lines, names = [], []
    for (kind, colour), number in zip(_COLOURS.items(), count_kinds(one.topology, one.grid).values(), strict=True):
        lines.append(Line2D([], [], color=colour, linewidth=2.2))
        names.append(f"{KINDS[kind]}, {_WHERE[kind]}: {number:,}")
    legend: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.06 * inch), "labelcolor": _INK}
    figure.legend(lines, names, ncols=2, frameon=False, fontsize=10, **legend)
