"""taggnn.reporting.figures and theme: values are drawn once, in proportion, and a figure becomes SVG that is safe in a page."""

import re
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taggnn.evaluation.calibration import reliability
from taggnn.reporting import figures
from taggnn.reporting.figures import gains, histogram, reliability_diagram, skyline, whiskers
from taggnn.reporting.theme import LIGHT, TIP, clean, svg

# Figures of clips are ratios of counts: none is smaller than one clip of a list.
share = st.integers(-30_000, 30_000).map(lambda count: count / 30_000)
few = settings(max_examples=25)


def tips(figure, axes=0):
    return [part.get_gid().removeprefix(TIP) for part in figure.axes[axes].patches if part.get_gid()]


def heights(figure, bars=0, axes=0):
    return [bar.get_height() for bar in figure.axes[axes].containers[bars]]


def labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_each_class_has_a_bar_largest_first():
    figure = skyline([("a", 5, 10), ("b <&>", 10, 10), ("none", 0, 4)])
    listed, kept, none = (heights(figure, bars) for bars in range(3))
    assert (listed, kept, len(none)) == ([10, 10, 4], [10, 5, 0], 1)
    assert tips(figure) == ["b <&>: 10 of 10 clips kept", "a: 5 of 10 clips kept", "none: 0 of 4 clips kept"]
    assert labels(figure.axes[0].xaxis) == ["b <&>", "a", "none"]


def test_a_long_tail_has_a_logarithmic_axis():
    (axes,) = skyline([("big", 1000, 1000), ("small", 1, 1)]).axes
    assert axes.get_yscale() == "log"
    assert {"1", "10", "100", "1\u202f000"} <= set(labels(axes.yaxis))
    bottom, small = axes.transAxes.inverted().transform(axes.transData.transform([(0, 0.5), (0, 1)]))[:, 1]
    assert bottom == pytest.approx(0)
    assert 0.05 < small < 0.2
    assert {text.get_text() for text in axes.texts} == {"more than 100: many-shot", "fewer than 20: few-shot"}


def test_many_classes_have_a_line_instead_of_names():
    classes = [(f"class{n}", n + 1, n + 1) for n in range(288)]
    figure = skyline(classes)
    assert heights(figure, 1) == [n + 0.5 for n in reversed(range(288))]
    assert labels(figure.axes[0].xaxis) == []
    drawn = svg(figure, "many")
    assert "288 classes" in drawn
    assert "class7: 8 of 8 clips kept" in drawn
    assert len(drawn) < 200_000


@pytest.mark.parametrize("drawn", [skyline([]), skyline([("a", 0, 0)]), histogram([], "x"), whiskers([]), gains([])])
def test_nothing_to_draw(drawn):
    assert drawn is None
    assert svg(drawn, "none") == ""
    assert gains([("a", 0.0, "same")]) is None
    assert reliability_diagram([]) is None


@few
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=60))
def test_any_counts_stay_inside_the_axes(counts):
    figure = skyline([(f"c{n}", min(pair), max(pair)) for n, pair in enumerate(counts)])
    if figure is not None:
        low, high = figure.axes[0].get_ylim()
        for bars in (0, 1):
            assert all(height >= 0 and low + height <= high + 1e-9 for height in heights(figure, bars))


@few
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200), st.integers(1, 6000))
def test_a_histogram_of_whole_numbers_counts_each_once(values, mark):
    figure = histogram(values, "frames", mark, "the model")
    counts = heights(figure)
    assert sum(counts) == len(values)
    for tip, count in zip(tips(figure), counts, strict=True):
        text, stated = tip.replace("\u202f", "").split(" frames: ")
        first, *last = (int(end) for end in text.split(" to "))
        assert int(stated) == count == sum(first <= value <= (last or [first])[0] for value in values)


@few
@given(st.lists(st.floats(0.01, 1e4, allow_nan=False), min_size=1, max_size=50))
def test_a_histogram_of_any_numbers_counts_each_once(values):
    assert sum(heights(histogram(values, "seconds"))) == len(values)


@few
@given(st.lists(st.tuples(share, share, share).map(sorted), min_size=1, max_size=5))
def test_whiskers_have_any_values_and_zero_inside(rows):
    (axes,) = whiskers([(f"<{n}>", middle, low, high) for n, (low, middle, high) in enumerate(rows)]).axes
    first, last = axes.get_xlim()
    for low, middle, high in rows:
        assert first <= min(0, 100 * low) <= 100 * middle <= max(0, 100 * high) <= last


def test_a_dot_is_at_its_value_and_a_whisker_at_its_interval():
    figure = whiskers([("a", 0.1, 0.05, 0.2), ("b", 0.0, 0.0, 0.0)])
    drawn = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() in ("o", "|")]
    assert [list(map(round, points)) for points in drawn] == [[5, 20], [10], [0, 0], [0]]
    assert tips(figure)[0] == "a: +10.00 points, +5.00 to +20.00"
    assert labels(figure.axes[0].yaxis) == ["a", "b"]


@few
@given(st.lists(share, min_size=1, max_size=60))
def test_bars_go_up_for_a_gain_and_down_for_a_loss(values):
    figure = gains([(f"class <{n}>", value, "so") for n, value in enumerate(values)])
    assert (figure is None) == (not any(values))
    if figure is not None:
        low, high = figure.axes[0].get_ylim()
        assert heights(figure) == [100 * value for value in values]
        assert all(low <= 100 * value <= high for value in values)
        assert tips(figure)[0] == "class <0>: so"


def test_a_reliability_diagram_has_a_bar_of_accuracy_and_one_of_clips_for_each_bin_with_clips():
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.05, 0.55])
    right = torch.tensor([True, True, False, False, False, True])
    figure = reliability_diagram(reliability(confidence, right, 10))
    accuracy, gap = (figure.axes[0].containers[bars] for bars in (0, 1))
    # The first bin is over-confident, the second under-confident: its accuracy is 1, of which the top is green.
    assert [bar.get_height() for bar in accuracy] == pytest.approx([0, 0.55, 0.5])
    assert [bar.get_height() for bar in gap] == pytest.approx([0.05, 0.45, 0.45])
    colours = [bar.get_facecolor() for bar in gap]
    assert colours[0] == colours[2] != colours[1]
    assert [bar.get_x() + bar.get_width() / 2 for bar in accuracy] == pytest.approx([0, 5, 9])
    assert heights(figure, axes=1) == [1, 1, 4]
    assert [len(tips(figure, axes)) for axes in (0, 1)] == [3, 3]


HOSTILE = '<script>alert(1)</script>" onload="x'


def test_a_matrix_of_many_classes_has_a_bounded_number_of_cells(monkeypatch):
    for limit, value in (("CELLS", 4), ("NUMBERS_UP_TO", 1), ("NAMES_UP_TO", 1)):
        monkeypatch.setattr(figures, limit, value)
    matrix = torch.diag(torch.tensor([9, 9, 9, 9, 9, 9, 9, 9, 0, 0]))
    matrix[0, 7], matrix[1, 6], matrix[2, 2], matrix[3, 3] = 1, 3, 0, 0
    (axes,) = figures.confusion(matrix, [f"class {k}" for k in range(10)]).axes
    (image,) = axes.get_images()
    assert image.get_array().shape == (4, 4, 3)
    # Classes keep their numbers on the axes.
    assert image.get_extent() == [-0.5, 11.5, 11.5, -0.5]
    shares = figures._shares(matrix.numpy(), matrix.sum(1).numpy(), 3)
    assert shares[0, 2] == 3 / 12
    assert shares[0, 0] == pytest.approx((9 / 10 + 9 / 12) / 2)
    assert shares[2, 2] == shares[1, 1] == 1.0
    assert shares[3].tolist() == [0, 0, 0, 0]
    assert figures._absent(matrix.sum(1).numpy(), 3) == [(9, 12)]


@pytest.mark.parametrize("count", [1, 4, 40, 41, 999])
def test_a_matrix_has_a_cell_for_each_class_up_to_the_bound(count):
    counts = torch.eye(count, dtype=torch.long).numpy()
    assert figures.block_of(count) == 1
    assert (figures._shares(counts, counts.sum(1), 1) == counts).all()


@pytest.mark.parametrize(
    "figure",
    [
        skyline([(HOSTILE, 3, 4), ("日本 \ud800\x00", 2, 2), ("$x_1^", 1, 1)]),
        gains([(HOSTILE, 0.5, HOSTILE)]),
        whiskers([(HOSTILE, 0.1, 0.0, 0.2)]),
        histogram([1, 2, 3], HOSTILE, 2, HOSTILE),
        reliability_diagram(reliability(torch.tensor([0.5]), torch.tensor([True]))),
    ],
    ids=["skyline", "gains", "whiskers", "histogram", "reliability"],
)
def test_svg_is_well_formed_and_takes_its_colours_from_the_page(figure):
    drawn = svg(figure, HOSTILE)
    tree = ElementTree.fromstring(clean(drawn).replace("xlink:href", "href"))
    assert not [part for part in tree.iter() if part.tag in ("script", "style", "image") or part.get("onload")]
    assert not re.search(r"url\(|https?://", drawn)
    assert not re.search(r"(fill|stroke): #", drawn)
    assert f"fill: {LIGHT.muted}" not in drawn
    assert "fill: var(--muted)" in drawn
    assert svg(figure, HOSTILE) == drawn
