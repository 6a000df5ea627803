"""taggnn.evaluation.intervals against resampling by plain loops, and how often its intervals hold the truth."""

import pytest
import torch

from taggnn.evaluation import intervals
from taggnn.evaluation.calibration import expected_calibration_error
from taggnn.evaluation.intervals import answers, calibrated_errors, interval, interval_of_ece, resample, wilson
from taggnn.evaluation.longtail import groups_of, masks
from taggnn.evaluation.metrics import confusion_matrix, summarise


def case(clips, classes, seed=0, occurring=None, grain=None):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(occurring or classes, (clips,), generator=draw)
    scores = torch.randn(clips, classes, generator=draw)
    scores[torch.arange(clips), labels] += 1.5
    if grain:
        scores = (scores * grain).round() / grain
    return scores.softmax(1), labels


@pytest.mark.parametrize("held", [8_000_000, 200], ids=["one block", "many blocks"])
@pytest.mark.parametrize(
    ("clips", "classes", "occurring", "grain"),
    [(40, 7, 5, None), (40, 7, 5, 1), (30, 3, 3, None), (1, 6, 6, None), (5, 1, 1, None)],
    ids=["lost and absent classes", "ties", "no top-5", "one clip", "one class"],
)
def test_every_resample_has_the_figures_of_its_own_clips(clips, classes, occurring, grain, held, monkeypatch):
    monkeypatch.setattr(intervals, "_HELD", held)
    drawn, weigh = [], intervals._weights
    monkeypatch.setattr(intervals, "_weights", lambda *given: drawn.append(weigh(*given)) or drawn[-1])
    probabilities, labels = case(clips, classes, occurring=occurring, grain=grain)
    counts = [500, *([50] * 3), *([2] * classes)][:classes]
    found = resample([answers(probabilities, labels)], masks(counts), resamples=25, seed=3)[0]
    for number, weights in enumerate(torch.cat(drawn, dim=1).T):
        assert weights.sum() == clips
        chosen = torch.arange(clips).repeat_interleave(weights.long())
        naive = summarise(probabilities[chosen], labels[chosen])
        for key in ("top1", "top5", "mca", "macro_f1", "ece"):
            expected = getattr(naive, key)
            assert (key in found) == (expected is not None)
            if expected is not None:
                assert found[key][number].item() == pytest.approx(expected, abs=1e-9), key
        for group in groups_of(confusion_matrix(probabilities[chosen], labels[chosen]), counts):
            figure = found[f"mca {group.name}"][number].item()
            assert figure == pytest.approx(float("nan") if group.mca is None else group.mca, nan_ok=True)


def test_each_clip_is_drawn_once_a_resample_on_average():
    weights = intervals._weights(20, 4000, torch.Generator().manual_seed(0))
    assert weights.mean() == 1
    # A binomial of 20 draws at 1 / 20 each.
    assert weights.mean(1).sub(1).abs().max() < 0.08
    assert weights.var(1).sub(19 / 20).abs().max() < 0.15


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    model = answers(*case(60, 6))
    ends = [interval(resample([model], seed=seed, resamples=200)[0]["mca"]) for seed in (0, 0, 1)]
    assert ends[0] == ends[1] != ends[2]


def test_models_are_resampled_together():
    model = answers(*case(60, 6))
    one, other = resample([model, model], resamples=50)
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(ValueError, match="labels differ"):
        resample([model, answers(*case(60, 6, seed=1))])
    with pytest.raises(ValueError, match="resamples 1"):
        resample([model], resamples=1)
    with pytest.raises(ValueError, match="no clips"):
        answers(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def test_logits_have_no_calibration_error():
    probabilities, labels = case(20, 6)
    assert answers(5 * probabilities.log(), labels).confidence is None
    assert "ece" not in resample([answers(5 * probabilities.log(), labels)], resamples=2)[0]


def test_percentiles_leave_out_resamples_without_a_figure():
    assert interval(torch.arange(101, dtype=torch.float64), 0.9) == pytest.approx((5, 95))
    assert interval(torch.tensor([1.0, torch.nan, 1.0])) == (1.0, 1.0)


def test_top1_agrees_with_wilsons_interval():
    probabilities, labels = case(2000, 4)
    low, high = interval(resample([answers(probabilities, labels)])[0]["top1"])
    assert (low, high) == pytest.approx(wilson(summarise(probabilities, labels).top1, 2000), abs=0.003)


def world(temperature):
    """An endless source of clips: rare classes, some of them easier than others."""
    prior = 1 / (1.0 + torch.arange(8))

    def draw(clips, seed):
        chance = torch.Generator().manual_seed(seed)
        labels = prior.multinomial(clips, replacement=True, generator=chance)
        scores = torch.randn(clips, 8, generator=chance)
        scores[torch.arange(clips), labels] += 1.5 + (labels % 3).float()
        return (scores * temperature).softmax(1), labels

    return draw


@pytest.mark.parametrize(("temperature", "least"), [(0.8, 0.88), (1.5, 0.8)], ids=["unsure", "nearly calibrated"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(temperature, least):
    draw, rounds = world(temperature), 200
    truth = summarise(*draw(300_000, seed=12345)).as_dict()
    hits = dict.fromkeys(("top1", "mca", "macro_f1", "ece"), 0)
    for seed in range(rounds):
        probabilities, labels = draw(300, seed)
        model, scores = answers(probabilities, labels), summarise(probabilities, labels)
        values = resample([model], resamples=200, seed=seed)[0]
        for key in hits:
            ends = interval_of_ece(model, scores.ece, values[key]) if key == "ece" else interval(values[key])
            hits[key] += ends[0] <= truth[key] <= ends[1]
    # 200 rounds of an interval that holds 95 times in 100 miss by more than 3 points once in 20.
    assert all(hits[key] / rounds >= (least if key == "ece" else 0.9) for key in hits), hits
    assert hits["top1"] / rounds <= 0.99


def test_the_interval_of_a_calibration_error_holds_it_and_reaches_zero_where_chance_explains_it():
    draw = torch.Generator().manual_seed(0)
    sure = 0.5 + 0.5 * torch.rand(150, generator=draw)
    labels = (torch.rand(150, generator=draw) > sure).long()
    probabilities = torch.stack([sure, 1 - sure], dim=1)
    model, error = answers(probabilities, labels), summarise(probabilities, labels).ece
    low, high = interval_of_ece(model, error, resample([model])[0]["ece"])
    assert low == 0
    assert error <= high
    # The percentiles alone would deny it.
    assert interval(resample([model])[0]["ece"])[0] > 0
    wrong = answers(probabilities, 1 - labels)
    error = summarise(probabilities, 1 - labels).ece
    low, high = interval_of_ece(wrong, error, resample([wrong])[0]["ece"])
    assert 0 < low < error < high


def test_errors_by_chance_are_those_of_drawn_labels():
    probabilities, labels = case(80, 4)
    model = answers(probabilities, labels)
    found = calibrated_errors(model, resamples=3000)
    draw = torch.Generator().manual_seed(9)
    naive = torch.tensor(
        [
            expected_calibration_error(model.confidence, torch.rand(80, generator=draw) < model.confidence)
            for _ in range(1000)
        ]
    )
    assert found.mean() == pytest.approx(naive.mean().item(), abs=0.005)
    assert found.quantile(0.95) == pytest.approx(naive.quantile(0.95).item(), abs=0.01)
