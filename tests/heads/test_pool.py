"""The pooling baseline: a linear model of the mean token."""

import pytest
import torch

from taggnn.heads.pool import PoolHead


def test_logits_are_linear_in_the_mean_of_all_tokens():
    torch.manual_seed(0)
    head = PoolHead(6, (1, 3, 2), 4).eval()
    tokens = torch.randn(3, 1, 3, 2, 6)
    logits, extras = head(tokens)
    mean = sum(tokens[:, 0, h, w] for h in range(3) for w in range(2)) / 6
    torch.testing.assert_close(extras["pooled"], mean)
    torch.testing.assert_close(logits, mean @ head.classifier.weight.T + head.classifier.bias)


def test_any_grid_works_and_resize_stores_it():
    head = PoolHead(6, (1, 3, 2), 4).eval()
    head.resize([2, 1, 5])
    assert head.grid == (2, 1, 5)
    assert head(torch.randn(1, 2, 1, 5, 6)).logits.shape == (1, 4)


def test_ordered_has_a_weight_for_each_frame():
    torch.manual_seed(0)
    head = PoolHead(6, (3, 2, 2), 4, ordered=True).eval()
    tokens = torch.randn(2, 3, 2, 2, 6)
    weights = head.classifier.weight.split(6, 1)
    want = head.classifier.bias + sum(tokens[:, t].mean((1, 2)) @ weights[t].T for t in range(3))
    torch.testing.assert_close(head(tokens).logits, want)
    head.resize((3, 4, 4))
    with pytest.raises(ValueError, match="ordered"):
        head.resize((2, 4, 4))


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    head = PoolHead(64, (1, 1, 1), 8, dropout=0.5)
    tokens = torch.ones(1, 1, 1, 1, 64)
    assert not torch.equal(head(tokens).logits, head(tokens).logits)
    head.eval()
    assert torch.equal(head(tokens).logits, head(tokens).logits)
