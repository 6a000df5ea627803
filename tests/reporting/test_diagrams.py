"""taggnn.reporting.diagrams: every drawing is XML, inside its frame, and in proportion to the figures."""

from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taggnn.evaluation.calibration import reliability
from taggnn.reporting.bars import LEFT, WIDTH
from taggnn.reporting.diagrams import gains, reliability_diagram, whiskers

# Figures of clips are ratios of counts: none is smaller than one clip of a list.
share = st.integers(-30_000, 30_000).map(lambda count: count / 30_000)


def parts(drawn, tag, kind):
    return [part for part in ElementTree.fromstring(drawn).iter(tag) if part.get("class") == kind]


def at(drawn, label, key):
    """Where the mark of an axis with this label stands."""
    (found,) = [part for part in ElementTree.fromstring(drawn).iter("text") if part.text == label]
    return float(found.get(key))


def inside(drawn):
    tree = ElementTree.fromstring(drawn)
    height = float(tree.find("svg").get("viewBox").split()[3])
    for part in tree.iter():
        for key, most in (("x", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("cx", WIDTH), ("y", height), ("cy", height)):
            if part.get(key) is not None:
                assert -0.2 <= float(part.get(key)) <= most + 0.2, (part.tag, part.attrib)
        assert float(part.get("height") or 0) >= 0
    return True


@given(st.lists(st.tuples(share, share, share).map(sorted), min_size=1, max_size=5))
def test_whiskers_hold_any_figures(rows):
    assert inside(whiskers([(f"<{n}>", middle, low, high) for n, (low, middle, high) in enumerate(rows)], "x"))


def test_a_dot_lies_where_its_value_is():
    drawn = whiskers([("a", 0.1, 0.05, 0.2), ("b", 0.0, 0.0, 0.0)], "two")
    first, second = (float(dot.get("cx")) for dot in parts(drawn, "circle", "dot"))
    zero = float(parts(drawn, "line", "zero")[0].get("x1"))
    low, high = (float(parts(drawn, "line", "whisker")[0].get(key)) for key in ("x1", "x2"))
    assert second == zero == at(drawn, "0", "x")
    assert first == at(drawn, "+10", "x")
    assert (high - zero) == pytest.approx(2 * (first - zero), abs=0.2)
    assert (low - zero) == pytest.approx((first - zero) / 2, abs=0.2)
    assert "a: +10.00 points, +5.00 to +20.00" in drawn
    assert whiskers([], "none") == ""


@given(st.lists(share, min_size=1, max_size=60))
def test_gains_hold_any_figures(values):
    drawn = gains([(f"class <{n}>", value, "so") for n, value in enumerate(values)], "x")
    assert drawn == "" if not any(values) else inside(drawn)


def test_bars_go_up_for_a_gain_and_down_for_a_loss():
    drawn = gains([("a", 0.4, "4 of 10"), ("b", 0.0, "same"), ("c", -0.2, "less")], "x")
    (up,) = parts(drawn, "rect", "front")
    none, down = parts(drawn, "rect", "lost")
    assert float(up.get("height")) == pytest.approx(2 * float(down.get("height")), abs=0.2)
    assert float(none.get("height")) == 0
    # The text of a mark is set 4 below its line.
    assert float(up.get("y")) == pytest.approx(at(drawn, "+40", "y") - 4, abs=0.2)
    assert float(up.get("y")) + float(up.get("height")) == pytest.approx(float(down.get("y")), abs=0.2)
    assert "a: 4 of 10" in drawn


def test_a_reliability_diagram_has_a_bar_of_accuracy_and_one_of_clips_for_each_bin_with_clips():
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.05])
    drawn = reliability_diagram(reliability(confidence, torch.tensor([True, True, False, False, False]), 10))
    heights = [float(part.get("height")) for part in parts(drawn, "rect", "front")]
    # The first bin is all wrong; of the last half is right.
    assert heights[0] == 0
    assert heights[2] == pytest.approx(0.5 * 260)
    assert heights[3] == pytest.approx(4 * heights[1])
    over = [float(part.get("height")) for part in parts(drawn, "rect", "over")]
    assert over == pytest.approx([0.05 * 260, 0.45 * 260], abs=0.1)
    assert parts(drawn, "rect", "under") == []
    assert inside(drawn)
    assert float(parts(drawn, "line", "even")[0].get("x1")) == LEFT
    assert reliability_diagram([]) == ""


def test_a_bin_that_is_more_right_than_sure_is_told_from_one_that_is_less():
    drawn = reliability_diagram(reliability(torch.tensor([0.55, 0.55]), torch.tensor([True, True]), 10))
    (under,) = parts(drawn, "rect", "under")
    assert float(under.get("height")) == pytest.approx(0.45 * 260, abs=0.1)
    assert parts(drawn, "rect", "over") == []
