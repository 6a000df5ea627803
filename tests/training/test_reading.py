"""Losses are read as they are, in their order."""

import torch

from taggnn.training.reading import Reading

CPU = torch.device("cpu")


def test_numbers_are_those_of_the_moment_and_in_order():
    first, second = torch.tensor(0.1, requires_grad=True), torch.tensor(float("inf"))
    reading = Reading([first, second], CPU)
    with torch.no_grad():
        first.add_(1)
    assert reading.wait() == [torch.tensor(0.1).item(), float("inf")]


def test_numbers_of_several_precisions_lose_nothing():
    third = torch.tensor(1 / 3, dtype=torch.float64)
    half = torch.tensor(1 / 3, dtype=torch.bfloat16)
    assert Reading([third, half], CPU).wait() == [third.item(), half.item()]


def test_without_losses_there_is_nothing_to_read():
    assert Reading([], CPU).wait() == []
