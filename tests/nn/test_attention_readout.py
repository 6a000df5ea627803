import pytest
import torch

from taggnn.heads import TagHead
from taggnn.nn.attention_readout import FrameReadout


def test_positions_first_then_frames():
    torch.manual_seed(0)
    built, x = FrameReadout(4).double(), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    pooled, weights = built(x)
    for clip, got, shares in zip(x, pooled, weights.view(2, 3, 5), strict=True):
        frames = torch.cat([built.of_positions(frame[None])[0] for frame in clip])
        torch.testing.assert_close(got, built.of_frames(frames[None])[0][0])
        torch.testing.assert_close((shares[..., None] * clip).sum((0, 1)), got)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))


def test_only_the_recurrent_one_knows_the_order_of_frames():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 2, 6)
    plain, recurrent = FrameReadout(6), FrameReadout(6, recurrent=True)
    torch.testing.assert_close(plain(x.flip(1))[0], plain(x)[0])
    assert not torch.allclose(recurrent(x.flip(1))[0], recurrent(x)[0], atol=1e-3)
    with pytest.raises(ValueError, match="even"):
        FrameReadout(5, recurrent=True)


@pytest.mark.parametrize("name", ["frames", "gru"])
@pytest.mark.parametrize("grid", [(3, 2, 2), (4, 5), (4,)], ids=str)
def test_a_head_of_any_grid_has_them(name, grid):
    head = TagHead(8, grid, 3, readout=name, encoder_layers=0).eval()
    out = head(torch.randn(2, *grid, 8))
    assert out.logits.shape == (2, 3)
    assert out.extras["weights"].shape == (2, *grid)
    assert out.extras["weights"].sum().item() == pytest.approx(2)
