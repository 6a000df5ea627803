import pytest
import torch

from taggnn.evaluation.intervals import Answers
from taggnn.evaluation.seeds import difference_over_seeds, interval_over_seeds, over_seeds


def model(right):
    right = torch.tensor(right)
    labels = torch.zeros(len(right), dtype=torch.long)
    return Answers(labels, (~right).long(), None, 2)


def drawn(share, clips=400, seeds=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [model((torch.rand(clips, generator=generator) < share).tolist()) for _ in range(seeds)]


def test_mean_and_spread_of_seeds():
    found = over_seeds([model([True, True, False, False]), model([True, True, True, False])])
    assert (found.mean, found.lowest, found.highest, found.seeds) == (0.625, 0.5, 0.75, 2)
    assert found.std == pytest.approx(0.125 * 2**0.5)


def test_one_seed_has_no_spread():
    assert over_seeds([model([True, False])]).std == 0


def test_a_difference_is_the_mean_over_seeds_and_clips():
    first = [model([True, False, False, False]), model([False, False, False, False])]
    second = [model([True, True, False, False]), model([True, True, True, False])]
    assert difference_over_seeds(first, second).value == pytest.approx((1 + 3) / 8)


def test_the_interval_holds_a_true_difference_and_excludes_nothing():
    found = difference_over_seeds(drawn(0.6), drawn(0.8, seed=1))
    assert found.low < 0.2 < found.high
    assert found.low > 0.05


def test_equal_models_have_an_interval_without_width():
    same = drawn(0.5)
    found = difference_over_seeds(same, same)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_seeds_that_differ_widen_the_interval():
    """Over clips alone both would have intervals of one width."""
    first = [model([False] * 200) for _ in range(4)]
    alike = [model([True] * 100 + [False] * 100) for _ in range(4)]
    apart = [model([True] * 200 if number % 2 else [False] * 200) for number in range(4)]
    narrow, wide = (difference_over_seeds(first, second) for second in (alike, apart))
    assert narrow.value == wide.value == 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_groups_are_drawn_with_all_of_their_clips():
    """Against a naive resample; clips that are alike inside of groups widen the interval."""
    groups = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])
    gains = torch.tensor([[1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    nothing = [model([False] * 8) for _ in range(2)]
    found = difference_over_seeds(nothing, [model(row.tolist()) for row in gains], 200, 5, groups)
    draw, values = torch.Generator().manual_seed(5), []
    for _ in range(200):
        seeds, drawn_groups = (torch.randint(count, (count,), generator=draw).tolist() for count in (2, 4))
        clips = [clip for group in drawn_groups for clip in range(8) if groups[clip] == group]
        values.append(sum(float(gains[seed, clip]) for seed in seeds for clip in clips) / (2 * len(clips)))
    ends = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert (found.low, found.high) == pytest.approx(tuple(ends.tolist()))
    assert found.value == pytest.approx(gains.double().mean().item())
    alike = torch.arange(400) // 100
    right = [model((torch.arange(400) < 200).tolist()) for _ in range(2)]
    over_clips, over_groups = (interval_over_seeds(right, each) for each in (None, alike))
    assert over_groups[1] - over_groups[0] > 3 * (over_clips[1] - over_clips[0])


@pytest.mark.parametrize("second", [1, 2], ids=["other seeds", "other clips"])
def test_what_cannot_be_paired_is_refused(second):
    first = drawn(0.5, seeds=2)
    other = drawn(0.5, seeds=second, clips=400 if second == 1 else 300)
    with pytest.raises(ValueError, match=r"seeds|clips"):
        difference_over_seeds(first, other)
