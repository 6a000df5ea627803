"""Region queries against PyTorch's own attention, which computes keys and values."""

import pytest
import torch
from torch import nn

from taggnn.nn.region_attention import CrossAttention, RegionAttention

SHAPES = [(2, 3, 7, 8, 2), (1, 1, 1, 4, 1), (3, 5, 2, 12, 4), (2, 2, 49, 16, 8)]


def theirs(ours):
    """``nn.MultiheadAttention`` with the weights of a ``CrossAttention``; a bias of the keys is in it, at random."""
    channels = ours.query.in_features
    attention = nn.MultiheadAttention(channels, ours.heads, batch_first=True).double()
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        attention.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.randn(channels).double(), ours.value.bias]))
        attention.out_proj.load_state_dict(ours.out.state_dict())
    return attention


@pytest.mark.parametrize(("clips", "regions", "positions", "channels", "heads"), SHAPES, ids=str)
def test_folded_projections_are_multi_head_attention(clips, regions, positions, channels, heads):
    torch.manual_seed(0)
    ours = CrossAttention(channels, heads).double()
    for parameter in ours.parameters():
        parameter.data.copy_(torch.randn_like(parameter))
    reference = theirs(ours)
    inputs = [torch.randn(clips, count, channels).double() for count in (regions, positions)]
    one, two = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    found, attention = ours(*one)
    expected, weights = reference(two[0], two[1], two[1])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(attention, weights)
    upstream = torch.randn_like(found)
    (found * upstream).sum().backward()
    (expected * upstream).sum().backward()
    for mine, other in zip(one, two, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    gradients = torch.cat([ours.query.weight.grad, ours.key.weight.grad, ours.value.weight.grad])
    torch.testing.assert_close(gradients, reference.in_proj_weight.grad)
    torch.testing.assert_close(ours.value.bias.grad, reference.in_proj_bias.grad[2 * channels :])
    torch.testing.assert_close(ours.out.weight.grad, reference.out_proj.weight.grad)


def test_gradcheck_in_float64():
    torch.manual_seed(0)
    layers = RegionAttention(4, layers=2, heads=2, dropout=0.0).double()
    inputs = [torch.randn(2, count, 4, dtype=torch.float64, requires_grad=True) for count in (2, 3)]
    assert torch.autograd.gradcheck(layers, inputs)


def test_attention_sums_to_one_over_the_positions_of_each_frame():
    torch.manual_seed(0)
    found, attention = RegionAttention(8, layers=3, heads=2)(torch.randn(2, 3, 8), torch.randn(2, 5, 8))
    assert found.shape == (2, 3, 8)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))


def test_a_region_answers_to_its_own_query_only():
    torch.manual_seed(0)
    layers, queries, positions = RegionAttention(8, heads=2).eval(), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    whole, _ = layers(queries, positions)
    alone, _ = layers(queries[:, 1:2], positions)
    torch.testing.assert_close(whole[:, 1:2], alone)


def test_a_query_chooses_positions_and_is_no_part_of_the_response():
    torch.manual_seed(0)
    layers = RegionAttention(8, heads=2).eval()
    # With one position there is nothing to choose.
    whole, _ = layers(torch.randn(1, 3, 8), torch.randn(1, 1, 8))
    torch.testing.assert_close(whole, whole[:, :1].expand(1, 3, 8))


@pytest.mark.parametrize(
    ("options", "message"), [({"heads": 3}, "3 attention heads"), ({"layers": 0}, "1 layer or more; given 0")]
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RegionAttention(8, **options)
