"""Slopes of lines that are known."""

import pytest

from benchmarks import fit


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 2.5])
def test_the_exponent_is_found(power):
    assert fit.slope([(x, 3.0 * x**power) for x in (1, 5, 20, 300)]) == pytest.approx(power)


def test_noise_is_averaged_on_logarithms():
    assert fit.slope([(1, 2.0), (1, 0.5), (4, 4.0)]) == pytest.approx(1.0)


@pytest.mark.parametrize("points", [[], [(3, 1.0)], [(3, 1.0), (3, 2.0)]], ids=["none", "one", "the same twice"])
def test_a_slope_needs_two_sizes(points):
    with pytest.raises(ValueError, match="two different sizes"):
        fit.slope(points)


def test_a_slope_needs_positive_numbers():
    with pytest.raises(ValueError, match="positive"):
        fit.slope([(1, 1.0), (2, 0.0)])


def test_the_upper_half_is_taken_three_at_least():
    points = [(x, 1.0) for x in (4, 1, 3, 2)]
    assert fit.upper(points) == [(2, 1.0), (3, 1.0), (4, 1.0)]
    assert [x for x, _ in fit.upper([(x, 1.0) for x in range(9)])] == [4, 5, 6, 7, 8]
    assert fit.upper([(1, 1.0)]) == [(1, 1.0)]
