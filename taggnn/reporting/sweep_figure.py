"""The figure of a sweep: the accuracy of every variant, seed by seed, and its difference to the reference."""

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from taggnn.evaluation.variants import Variant
from taggnn.reporting.figures import WIDTH, signed
from taggnn.reporting.theme import LIGHT, TIP, shorten, style

# Variants that are drawn; the table has all of them.
MOST = 60
# Letters of a name.
_LETTERS = 44


def sweep_figure(rows: Sequence[Variant], reference: str) -> Figure | None:
    """Draws accuracies on the left, small dots for the seeds and a large one for their mean; differences on the right.

    Args:
        rows: the variants.
        reference: what they are compared with.

    Returns:
        None without a variant.
    """
    rows = rows[:MOST]
    if not rows:
        return None
    theme = LIGHT
    figure = Figure(figsize=(WIDTH, 0.95 + 0.34 * len(rows)), facecolor=theme.surface)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for axes in (left, right):
        style(axes, theme)
        axes.grid(visible=False, axis="y")
    of_reference = next((row.accuracy.mean for row in rows if row.name == reference), None)
    if of_reference is not None:
        left.axvline(100 * of_reference, color=theme.muted, lw=0.9, ls=":")
    right.axvline(0, color=theme.muted, lw=0.9)
    for index, row in enumerate(rows):
        top1, apart = row.accuracy, row.difference
        of_seeds = [100 * share for share in row.of_seeds]
        left.plot(of_seeds, [index] * len(of_seeds), "o", ms=4, mew=1, mfc="none", mec=theme.right)
        left.plot([100 * top1.mean], [index], "o", color=theme.right, ms=7)
        seeds = ", ".join(f"{share:.1f}" for share in of_seeds)
        tip = f"{row.name}: {100 * top1.mean:.2f} % (seeds: {seeds})"
        if apart:
            ends = [100 * apart.low, 100 * apart.high]
            # An interval that knows of one seed only is drawn open.
            right.plot(ends, [index, index], "-|" if row.over_seeds else ":|", color=theme.right, lw=1.6, ms=8, mew=1.6)
            right.plot(
                [100 * apart.value],
                [index],
                "o",
                color=theme.right,
                ms=7,
                mfc=None if row.over_seeds else theme.surface,
            )
            tip += f"; {100 * apart.value:+.2f} points, {ends[0]:+.2f} to {ends[1]:+.2f}"
        for axes in (left, right):
            axes.axhspan(index - 0.5, index + 0.5, fc="none", lw=0, gid=TIP + tip, zorder=5)
    left.set_ylim(len(rows) - 0.5, -0.5)
    names = [shorten(row.name, _LETTERS) for row in rows]
    left.set_yticks(range(len(rows)), names, fontsize=9.5, color=theme.ink, parse_math=False)
    left.xaxis.set_major_locator(MaxNLocator(6))
    left.set_xlabel("top-1 in per cent", loc="right", fontsize=8, color=theme.muted)
    signed(right.xaxis)
    right.set_xlabel("difference in points, 95 %", loc="right", fontsize=8, color=theme.muted)
    return figure
