import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taggnn.data.frame_sampling import SAMPLERS, Dense, RandomInSegment, Uniform, build, spread

quick = settings(derandomize=True, max_examples=150, database=None)
lengths = st.integers(1, 3000)
counts = st.integers(1, 70)
scales = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda pair: tuple(sorted(pair)))
samplers = st.one_of(
    st.builds(Uniform, counts, st.floats(0, 1), scales),
    st.builds(RandomInSegment, counts, scales),
    st.builds(Dense, counts, st.integers(1, 9)),
)
generators = st.one_of(st.none(), st.integers(0, 2**31).map(lambda seed: torch.Generator().manual_seed(seed)))


@quick
@given(samplers, lengths, generators)
def test_indices_are_as_many_as_given_in_range_and_ascending(sampler, n, generator):
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
    assert np.abs(indices - np.linspace(0, n - 1, frames)).max() < 1.01
    assert indices[0] == 0
    assert frames == 1 or indices[-1] == n - 1


# A processor without fused multiply-add rounds twice.
FUSED = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@pytest.mark.skipif(not FUSED, reason="torch.linspace rounds otherwise without fused multiply-add")
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 12, 16, 25, 32, 48, 64, 100, 128])
def test_uniform_is_the_released_arithmetic_for_every_length(frames):
    for n in range(1, 1201):
        assert Uniform(frames)(n) == torch.linspace(0, n - 1, frames).long().tolist(), n


def test_float64_would_choose_other_frames_at_64():
    differ = [n for n in range(1, 1201) if Uniform(64)(n) != np.linspace(0, n - 1, 64).astype(int).tolist()]
    assert len(differ) == 69


def test_a_video_of_more_frames_than_float32_counts_stays_in_range():
    assert Uniform(4)(2**25 + 4)[-1] == 2**25 + 3


@quick
@given(counts, lengths, st.floats(0, 1), scales)
def test_evaluation_knows_neither_jitter_nor_crops(frames, n, jitter, scale):
    assert Uniform(frames, jitter, scale)(n) == Uniform(frames)(n)
    assert RandomInSegment(frames, scale)(n) == RandomInSegment(frames)(n)


@quick
@given(counts, lengths, st.floats(0, 1), st.integers(0, 2**31))
def test_jitter_moves_no_index_further_than_given(frames, n, jitter, seed):
    plain = Uniform(frames)(n)
    moved = Uniform(frames, jitter)(n, torch.Generator().manual_seed(seed))
    # Half a distance to each side, one frame for the rounding, one where sorting swapped neighbours.
    most = jitter * (n - 1) / max(frames - 1, 1) / 2 + 1
    assert all(abs(a - b) <= most for a, b in zip(plain, moved, strict=True))
    if n <= frames:
        assert moved == plain


def test_jitter_reaches_every_frame_and_favours_no_side():
    generator = torch.Generator().manual_seed(0)
    drawn = np.array([Uniform(5, jitter=1.0)(41, generator) for _ in range(2000)])
    assert set(drawn.ravel()) == set(range(41))
    assert abs(drawn[:, 1:-1].mean(0) - [10, 20, 30]).max() < 0.3
    assert np.all(np.diff(drawn) >= 0)


def test_jitter_leaves_no_trace_where_it_is_off():
    generator = torch.Generator().manual_seed(0)
    assert Uniform(5)(41, generator) == Uniform(5)(41)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())


@quick
@given(counts, lengths, scales, st.integers(0, 2**31))
def test_a_crop_in_time_is_as_long_as_given(frames, n, scale, seed):
    indices = Uniform(max(frames, 2), scale=scale)(n, torch.Generator().manual_seed(seed))
    length = indices[-1] - indices[0] + 1
    least, most = (max(round(n * part), min(n, max(frames, 2))) for part in scale)
    assert least <= length <= most


@pytest.mark.parametrize("kind", [Uniform, RandomInSegment])
def test_crops_in_time_lie_anywhere(kind):
    generator = torch.Generator().manual_seed(0)
    drawn = [kind(4, scale=(0.5, 0.5))(20, generator) for _ in range(500)]
    assert {index for indices in drawn for index in indices} == set(range(20))
    assert all(indices[-1] - indices[0] < 10 for indices in drawn)
    assert {indices[0] for indices in drawn} >= set(range(11))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("uniform", {"jitter": 1.5}, r"jitter 1\.5: possible are 0 to 1"),
        ("uniform", {"jitter": -0.1}, "jitter -0.1"),
        ("uniform", {"scale": (0.0, 1.0)}, "scale"),
        ("segment", {"scale": (0.9, 0.5)}, "scale"),
        ("uniform", {"scale": (0.5, 1.5)}, "scale"),
        ("uniform", {"stride": 2}, "unknown option 'stride'.*Possible: jitter, scale"),
        ("dense", {"stride": 0}, "stride must be 1 or more, not 0"),
        ("unifrom", {}, "unknown sampler 'unifrom'; did you mean 'uniform'"),
        *((name, {"frames": 0}, "frames must be 1 or more, not 0") for name in SAMPLERS),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **{"frames": 4} | options)


def test_what_is_random_already_is_not_jittered():
    assert build("uniform", 4, 0.5, [0.8, 1]) == Uniform(4, 0.5, (0.8, 1))
    assert build("segment", 4, 0.0, [0.8, 1]) == RandomInSegment(4, (0.8, 1))
    assert build("dense", 4, 0.0, [1.0, 1.0], stride=3) == Dense(4, 3)
    with pytest.raises(ValueError, match=r"temporal_jitter 0\.5: possible with sampling uniform; 'segment' draws"):
        build("segment", 4, 0.5, (1, 1))
    with pytest.raises(ValueError, match=r"temporal_scale \[0\.5, 1\]: possible with sampling uniform or segment"):
        build("dense", 4, 0, (0.5, 1))


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


@pytest.mark.parametrize(
    "sampler",
    [RandomInSegment(6), Dense(6, 2), Uniform(6, 1.0), Uniform(6, scale=(0.5, 1.0))],
    ids=["segment", "dense", "jitter", "scale"],
)
def test_chance_comes_from_the_given_generator_only(sampler):
    before = torch.random.get_rng_state()
    first, again = (sampler(500, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.random.get_rng_state())
    generator = torch.Generator().manual_seed(3)
    assert sampler(500, generator) != sampler(500, generator)


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize(
    "sampler", [*(build(name, 4) for name in SAMPLERS), *spread(Dense(4), 2), *spread(Uniform(4), 3)], ids=repr
)
def test_a_clip_without_frames_is_refused(sampler, n):
    with pytest.raises(ValueError, match=f"n must be 1 or more, not {n}"):
        sampler(n)


def test_build_finds_samplers_by_name():
    assert build("uniform", 32) == Uniform(32)
    assert build("segment", 8) == RandomInSegment(8)
    assert build("dense", 16, stride=4) == Dense(16, 4)


view_counts = st.integers(1, 12)


@quick
@given(samplers, lengths)
def test_the_only_view_of_one_is_the_choice_of_evaluation(sampler, n):
    assert sampler.view(n, 0, 1) == sampler(n)
    assert spread(sampler, 1) == [sampler]


@quick
@given(samplers, lengths, view_counts, generators)
def test_each_view_has_as_many_indices_as_asked_in_range_and_ascending(sampler, n, views, generator):
    for one in spread(sampler, views):
        indices = one(n, generator)
        assert len(indices) == one.frames == sampler.frames
        assert all(type(index) is int for index in indices)
        assert indices == sorted(indices)
        assert indices[0] >= 0
        assert indices[-1] < n


@quick
@given(st.sampled_from([Uniform, RandomInSegment]), counts, lengths, view_counts)
def test_views_together_are_the_choice_of_as_many_frames(kind, frames, n, views):
    together = [index for row in zip(*(one(n) for one in spread(kind(frames), views)), strict=True) for index in row]
    assert together == kind(frames * views)(n)


@quick
@given(counts, lengths, view_counts)
def test_a_view_of_segments_is_one_that_training_may_draw(frames, n, views):
    for one in spread(RandomInSegment(frames), views):
        assert all(n * t // frames <= index <= n * (t + 1) / frames for t, index in enumerate(one(n)))


@quick
@given(counts, st.integers(1, 9), lengths, st.integers(2, 12))
def test_dense_views_are_windows_from_the_beginning_to_the_end(frames, stride, n, views):
    windows = [one(n) for one in spread(Dense(frames, stride), views)]
    assert windows[0][0] == 0
    assert windows[-1][-1] == n - 1 or n - 1 < stride * (frames - 1)
    starts = [window[0] for window in windows]
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert max(steps) - min(steps) <= 1
    for window, start in zip(windows, starts, strict=True):
        assert window == [min(start + stride * t, n - 1) for t in range(frames)]
    if views % 2:
        assert abs(windows[views // 2][0] - Dense(frames, stride)(n)[0]) <= 1


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Dense(3, 2), [[0, 2, 4], [3, 5, 7], [5, 7, 9]]),
        (Uniform(3), [[0, 3, 6], [1, 4, 7], [2, 5, 9]]),
        (RandomInSegment(2), [[0, 5], [2, 7], [4, 9]]),
        (Uniform(1), [[0], [4], [9]]),
        (Dense(1), [[0], [5], [9]]),
    ],
    ids=repr,
)
def test_three_views_of_ten_frames(sampler, expected):
    assert [one(10) for one in spread(sampler, 3)] == expected
    assert [one(1) for one in spread(sampler, 3)] == [[0] * sampler.frames] * 3


def test_views_below_one_are_refused():
    with pytest.raises(ValueError, match="views must be 1 or more, not 0"):
        spread(Uniform(4), 0)
