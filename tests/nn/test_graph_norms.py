import pytest
import torch

from taggnn.nn.graph_norms import NORMS, norm


def test_graph_norm_is_over_the_nodes_of_a_clip():
    torch.manual_seed(0)
    built, x = norm("graph", 4).double(), torch.randn(3, 2, 1, 5, 4, dtype=torch.float64)
    torch.nn.init.uniform_(built.norm.mean_scale)
    for clip, got in zip(x.flatten(1, 3), built(x).flatten(1, 3), strict=True):
        centred = clip - built.norm.mean_scale * clip.mean(0)
        torch.testing.assert_close(got, centred / (centred.square().mean(0) + 1e-5).sqrt())


def test_pair_norm_keeps_nodes_apart():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64) + 5
    for clip, got in zip(x.flatten(1, 2), norm("pair", 4)(x).flatten(1, 2), strict=True):
        centred = clip - clip.mean(0)
        torch.testing.assert_close(got, centred / (1e-5 + centred.square().sum(1).mean()).sqrt())


def test_names():
    assert isinstance(norm(True, 4), torch.nn.LayerNorm)
    assert isinstance(norm(False, 4), torch.nn.Identity)
    assert all(norm(name, 4)(torch.randn(1, 2, 3, 4)).shape == (1, 2, 3, 4) for name in NORMS)
    with pytest.raises(ValueError, match="'graph'"):
        norm("grph", 4)
