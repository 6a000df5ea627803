import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taggnn.data.sampling import SAMPLERS, Dense, RandomInSegment, Uniform, build

quick = settings(derandomize=True, max_examples=150, deadline=None, database=None)
lengths = st.integers(1, 3000)
counts = st.integers(1, 70)
samplers = st.one_of(counts.map(Uniform), counts.map(RandomInSegment), st.builds(Dense, counts, st.integers(1, 9)))
generators = st.one_of(st.none(), st.integers(0, 2**31).map(lambda seed: torch.Generator().manual_seed(seed)))


@quick
@given(samplers, lengths, generators)
def test_indices_are_as_many_as_asked_in_range_and_ascending(sampler, n, generator):
    indices = sampler(n, generator)
    assert len(indices) == sampler.frames
    assert all(type(index) is int for index in indices)
    assert indices[0] >= 0
    assert indices[-1] < n
    assert indices == sorted(indices)


@quick
@given(counts, lengths, generators)
def test_uniform_is_the_released_rule_with_and_without_generator(frames, n, generator):
    indices = Uniform(frames)(n, generator)
    assert indices == [int(place) for place in np.linspace(0, n - 1, frames)]
    assert indices[0] == 0
    assert frames == 1 or indices[-1] == n - 1


def test_uniform_repeats_frames_of_a_short_clip_evenly():
    assert Uniform(8)(3) == [0, 0, 0, 0, 1, 1, 1, 2]
    assert Uniform(4)(1) == [0, 0, 0, 0]


@quick
@given(counts, lengths, st.integers(0, 2**31))
def test_each_segment_gives_one_frame_of_its_own(frames, n, seed):
    for generator in (None, torch.Generator().manual_seed(seed)):
        for t, index in enumerate(RandomInSegment(frames)(n, generator)):
            assert t * n // frames <= index <= -(-(t + 1) * n // frames) - 1


def test_segments_take_the_middle_in_evaluation():
    assert RandomInSegment(4)(16) == [2, 6, 10, 14]
    assert RandomInSegment(3)(10) == [1, 5, 8]
    assert RandomInSegment(4)(2) == [0, 0, 1, 1]


def test_segments_reach_every_frame_in_training():
    generator = torch.Generator().manual_seed(0)
    seen = {index for _ in range(200) for index in RandomInSegment(4)(10, generator)}
    assert seen == set(range(10))


@quick
@given(counts, st.integers(1, 9), lengths, generators)
def test_dense_keeps_its_stride_where_the_clip_is_long_enough(frames, stride, n, generator):
    indices = Dense(frames, stride)(n, generator)
    if n > stride * (frames - 1):
        assert [b - a for a, b in itertools.pairwise(indices)] == [stride] * (frames - 1)
    else:
        assert indices == [min(stride * t, n - 1) for t in range(frames)]


def test_dense_is_centred_in_evaluation_and_moves_in_training():
    assert Dense(4)(10) == [3, 4, 5, 6]
    assert Dense(3, stride=4)(11) == [1, 5, 9]
    generator = torch.Generator().manual_seed(0)
    assert {Dense(4)(10, generator)[0] for _ in range(200)} == set(range(7))


@pytest.mark.parametrize("sampler", [RandomInSegment(6), Dense(6, 2)], ids=["segment", "dense"])
def test_chance_comes_from_the_given_generator_only(sampler):
    before = torch.random.get_rng_state()
    first, again = (sampler(500, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.random.get_rng_state())
    generator = torch.Generator().manual_seed(3)
    assert sampler(500, generator) != sampler(500, generator)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("n", [0, -3])
def test_a_clip_without_frames_is_refused(name, n):
    with pytest.raises(ValueError, match=f"n must be 1 or more, not {n}"):
        build(name, 4)(n)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_frames_asked_is_refused(name):
    with pytest.raises(ValueError, match="frames must be 1 or more, not 0"):
        build(name, 0)


def test_build_finds_samplers_by_name():
    assert build("uniform", 32) == Uniform(32)
    assert build("segment", 8) == RandomInSegment(8)
    assert build("dense", 16, stride=4) == Dense(16, 4)


def test_build_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown sampler 'unifrom'; did you mean 'uniform'"):
        build("unifrom", 8)
    with pytest.raises(ValueError, match=r"sampler 'uniform': unknown option 'stride'.*Possible: none"):
        build("uniform", 8, stride=2)
    with pytest.raises(ValueError, match="stride must be 1 or more, not 0"):
        build("dense", 8, stride=0)
