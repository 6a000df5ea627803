"""Bars as SVG: every class and every value is drawn once, in proportion, whatever the figures are."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggnn.reporting.bars import HEIGHT, histogram, skyline


def rects(svg, kind):
    found = [part for part in ElementTree.fromstring(svg).iter("rect") if part.get("class") == kind]
    return [float(part.get("height")) for part in found]


def titles(svg):
    return [part.text for part in ElementTree.fromstring(svg).iter("title")]


def counts(svg):
    return [int(title.rsplit(": ", 1)[1].replace("\u202f", "")) for title in titles(svg)]


def test_each_class_has_a_bar_largest_first():
    svg = skyline([("a", 5, 10), ("b <&>", 10, 10), ("none", 0, 4)])
    assert rects(svg, "front") == [HEIGHT, HEIGHT / 2, 0]
    assert rects(svg, "back") == [HEIGHT, HEIGHT, 0.4 * HEIGHT]
    assert titles(svg) == ["b <&>: 10 of 10 clips kept", "a: 5 of 10 clips kept", "none: 0 of 4 clips kept"]
    assert len(rects(svg, "none")) == 1
    assert ">b &lt;&amp;&gt;</text>" in svg


def test_a_long_tail_stands_on_powers_of_ten():
    svg = skyline([("big", 1000, 1000), ("small", 1, 1)])
    low = rects(svg, "front")[1]
    assert 0.05 * HEIGHT < low < 0.2 * HEIGHT
    assert {"1", "10", "100"} <= set(re.findall(r'text-anchor="end">([^<]+)</text>', svg))


def test_many_classes_have_no_names_but_a_line():
    svg = skyline([(f"class{n}", n + 1, n + 1) for n in range(288)])
    assert len(rects(svg, "front")) == 288
    assert not re.search(r"rotate\(", svg)
    assert "288 classes" in svg
    assert len(svg) < 200_000


@pytest.mark.parametrize("classes", [[], [("a", 0, 0)]])
def test_nothing_to_draw(classes):
    assert skyline(classes) == ""
    assert histogram([], "frames") == ""


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=60))
def test_any_figures_give_a_drawing_inside_its_frame(figures):
    svg = skyline([(f"c{n}", min(pair), max(pair)) for n, pair in enumerate(figures)]) or "<svg/>"
    for kind in ("front", "back"):
        assert all(0 <= height <= HEIGHT + 0.05 for height in rects(svg, kind))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200), st.integers(1, 6000))
def test_a_histogram_of_whole_numbers_counts_each_once(values, mark):
    svg = histogram(values, "frames", mark, "the model")
    assert sum(counts(svg)) == len(values)
    for title, count in zip(titles(svg), counts(svg), strict=True):
        first, *last = [int(text.replace("\u202f", "")) for text in title.split(" frames")[0].split(" to ")]
        assert sum(first <= value <= (last or [first])[0] for value in values) == count


@given(st.lists(st.floats(0.01, 1e4, allow_nan=False), min_size=1, max_size=50))
def test_a_histogram_of_any_numbers_counts_each_once(values):
    assert sum(counts(histogram(values, "seconds"))) == len(values)
