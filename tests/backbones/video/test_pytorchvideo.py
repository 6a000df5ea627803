"""Equal weights give equal features: PyTorchVideo's own models up to their pools, and ours."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taggnn.backbones import build

hub = pytest.importorskip("pytorchvideo.models.hub")
slowfast = pytest.importorskip("pytorchvideo.models.slowfast")


def fused_by_eight():
    """SlowFast 4x16, for which its hub has weights and no builder."""
    return slowfast.create_slowfast(
        slowfast_fusion_conv_kernel_size=(5, 1, 1),
        slowfast_fusion_conv_stride=(8, 1, 1),
        head_pool_kernel_sizes=((4, 7, 7), (32, 7, 7)),
    )


# Ours, theirs, a clip, how many blocks of theirs are features.
PAIRS = {
    "slow_r50_8x8": (hub.slow_r50, (4, 40, 56), 5),
    "i3d_r50_8x8": (hub.i3d_r50, (5, 40, 56), 6),
    "c2d_r50_8x8": (hub.c2d_r50, (4, 40, 56), 6),
    "r2plus1d_r50_16x4": (hub.r2plus1d_r50, (5, 40, 56), 5),
    "csn_r101_32x2": (hub.csn_r101, (9, 40, 56), 5),
    "slowfast_r50_4x16": (fused_by_eight, (16, 40, 56), 5),
    "slowfast_r50_8x8": (hub.slowfast_r50, (16, 40, 56), 5),
    "slowfast_r101_8x8": (hub.slowfast_r101, (8, 40, 56), 5),
    "slowfast_r101_16x8": (hub.slowfast_16x8_r101_50_50, (8, 40, 56), 5),
    "x3d_xs": (hub.x3d_xs, (4, 40, 56), 5),
    "x3d_l": (hub.x3d_l, (3, 40, 56), 5),
}


def randomised(module):
    """Weights under which every layer shows: BatchNorm that shifts and scales, no zero at the end of a block."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            for tensor, low, high in ((part.weight, 0.5, 1.5), (part.running_var, 0.5, 1.5)):
                tensor.data.uniform_(low, high, generator=generator)
            for tensor in (part.bias, part.running_mean):
                tensor.data.uniform_(-0.2, 0.2, generator=generator)
    return module


def their_features(model, blocks, clip, alpha):
    x = clip
    if alpha:
        # PackPathway of their tutorial.
        picked = torch.linspace(0, clip.shape[2] - 1, clip.shape[2] // alpha).long()
        x = [clip.index_select(2, picked), clip]
    for block in model.blocks[:blocks]:
        x = block(x)
    if alpha:
        return torch.cat([x[0], F.avg_pool3d(x[1], (alpha, 1, 1))], 1)
    if isinstance(model.blocks[-1].pool, nn.Module) and hasattr(model.blocks[-1].pool, "pre_conv"):
        pool = model.blocks[-1].pool
        x = pool.pre_act(pool.pre_norm(pool.pre_conv(x)))
    return x


@pytest.mark.parametrize("name", PAIRS)
def test_equal_weights_give_equal_features(name):
    maker, clip, blocks = PAIRS[name]
    torch.manual_seed(0)
    theirs, ours = randomised(maker()).eval(), build(name).eval()
    state = theirs.state_dict()
    left_out = set(state) - set(ours.state_dict())
    assert all("proj" in key or "post_conv" in key for key in left_out)
    ours.load_state_dict({key: value for key, value in state.items() if key not in left_out})
    alpha = (8 if name.endswith("4x16") else 4) if name.startswith("slowfast") else 0
    frames = torch.randn(1, 3, *clip)
    with torch.no_grad():
        expected, found = their_features(theirs, blocks, frames, alpha), ours(frames)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found / expected.std(), expected / expected.std(), rtol=1e-5, atol=1e-5)
