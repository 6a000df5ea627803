import pytest
import torch

from taggnn.backbones import BACKBONES, build
from taggnn.backbones.same_padding import same_padding
from taggnn.backbones.video.inception3d import Pool


@pytest.mark.parametrize(
    ("clip", "grid"), [((64, 224, 224), (8, 7, 7)), ((9, 33, 64), (2, 2, 2)), ((1, 32, 40), (1, 1, 2))], ids=str
)
def test_grid(clip, grid, dry_run):
    with torch.device("meta"):
        assert dry_run(build("i3d_inception"), clip) == (1024, grid)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [
        (4, 3, 1, 1, 1),
        (4, 3, 2, 0, 1),
        (5, 3, 2, 1, 1),
        (224, 7, 2, 2, 3),
        (5, 2, 2, 0, 1),
        (4, 2, 2, 0, 0),
        (1, 1, 1, 0, 0),
    ],
)
def test_padding_is_tensorflow_s_same(size, kernel, stride, before, after):
    out = -(-size // stride)
    assert max((out - 1) * stride + kernel - size, 0) == before + after
    x = torch.ones(1, 1, size, 1, 1)
    padded = same_padding(x, (kernel, 1, 1), (stride, 1, 1))[0, 0, :, 0, 0].tolist()
    assert padded == [0] * before + [1] * size + [0] * after


def test_axes_are_padded_each_by_its_own_size():
    assert same_padding(torch.ones(1, 1, 4, 5, 6), (3, 2, 1), (1, 2, 1)).shape == (1, 1, 6, 6, 6)


def test_pool_takes_maxima():
    x = torch.arange(5.0)[None, None, :, None, None]
    assert Pool((3, 1, 1), (2, 1, 1))(x).flatten().tolist() == [1, 3, 4]


def test_pixels_are_expected_between_minus_one_and_one():
    row = BACKBONES["i3d_inception"]
    assert [(value - row.mean[0]) / row.std[0] for value in (0, 1)] == [-1, 1]


def test_batchnorm_is_sonnet_s():
    with torch.device("meta"):
        norms = [m for m in build("i3d_inception").modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    assert len(norms) == 57
