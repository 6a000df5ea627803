import math

import pytest
import torch

from taggnn.text.bank import TextBank
from taggnn.text.similarity import alike_pairs, close_pairs, similarity


@pytest.fixture
def bank():
    vectors = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    vectors[:, 4] = 7 * vectors[:, 2]
    return TextBank(vectors, tuple("abcde"), ("1", "2", "3"), "random")


def naive(bank):
    """The mean over prompts of unit vectors, then cosines, number by number."""
    means = []
    for k in range(len(bank.classes)):
        units = []
        for n in range(len(bank.prompts)):
            vector = bank.vectors[n, k].tolist()
            length = math.sqrt(sum(x * x for x in vector))
            units.append([x / length for x in vector])
        means.append([sum(column) / len(units) for column in zip(*units, strict=True)])
    lengths = [math.sqrt(sum(x * x for x in mean)) for mean in means]
    return [
        [sum(x * y for x, y in zip(a, b, strict=True)) / la / lb for b, lb in zip(means, lengths, strict=True)]
        for a, la in zip(means, lengths, strict=True)
    ]


def test_cosines_are_those_of_the_mean_over_prompts(bank):
    torch.testing.assert_close(similarity(bank), torch.tensor(naive(bank)), atol=1e-6, rtol=0)


def test_pairs_are_listed_once_the_most_alike_first(bank):
    matrix = similarity(bank)
    pairs = alike_pairs(matrix, 100)
    assert (pairs[0].one, pairs[0].other) == (2, 4)
    assert pairs[0].cosine == pytest.approx(1)
    assert {(one, other) for one, other, _ in pairs} == {(i, j) for i in range(5) for j in range(i + 1, 5)}
    assert [pair.cosine for pair in pairs] == sorted((pair.cosine for pair in pairs), reverse=True)
    assert alike_pairs(matrix, 2) == pairs[:2]
    assert close_pairs(matrix, 0.3) == sum(pair.cosine > 0.3 for pair in pairs)


def test_one_class_has_no_pair():
    matrix = similarity(TextBank(torch.ones(1, 1, 3), ("a",), ("{}",), "ones"))
    assert alike_pairs(matrix, 5) == []
    assert close_pairs(matrix) == 0
