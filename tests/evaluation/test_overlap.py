import pytest
import torch

from taggnn.evaluation.overlap import Overlap


def naive(windows, stride, frames):
    """Every step from all windows."""
    rows = []
    for begin in range(0, frames, stride):
        middle = (begin + min(begin + stride, frames)) / 2
        total, weights = 0, 0
        for start, stop, answer in windows:
            if start <= middle < stop:
                weight = (stop - start) / 2 + 0.5 - abs(middle - (start + stop) / 2)
                total, weights = total + weight * answer.double(), weights + weight
        rows.append(total / weights)
    return rows


@pytest.mark.parametrize("frames", [5, 12, 13, 47, 120], ids="{}-frames".format)
@pytest.mark.parametrize(("length", "stride"), [(12, 3), (12, 12), (12, 5), (7, 1)])
def test_equals_the_naive_mean(frames, length, stride):
    generator = torch.Generator().manual_seed(frames)
    starts = [s for s in range(0, frames, stride) if s + length <= frames]
    windows = [(s, s + length) for s in starts]
    if not windows or windows[-1][1] < frames:
        windows.append((max(0, frames - length), frames))
    windows = [(*ends, torch.rand(4, generator=generator).softmax(0)) for ends in windows]
    overlap = Overlap(stride)
    found = [step for window in windows for step in overlap.add(*window)]
    found += overlap.end(frames)
    assert [number for number, _ in found] == list(range(-(-frames // stride)))
    for (_, mine), other in zip(found, naive(windows, stride, frames), strict=True):
        torch.testing.assert_close(mine, other)
        assert mine.sum().item() == pytest.approx(1)


def test_steps_come_while_the_video_runs():
    overlap = Overlap(2)
    for number in range(100):
        list(overlap.add(2 * number, 2 * number + 8, torch.ones(1)))
        assert len(overlap._windows) <= 6
    assert overlap._step >= 98
