"""A TAG-Head behind every backbone of video in the table: one training step on a reduced clip."""

import os

import pytest
import torch
from torch.nn import functional as F

from taggnn import attach
from taggnn.backbones import BACKBONES

VIDEO = [name for name, row in BACKBONES.items() if row.kind == "video"]
# Larger or equal twins of structures that are in the suite; TAGGNN_EVERY_BACKBONE=1 takes their steps too.
TWINS = {name for name in BACKBONES if name.startswith(("r2plus1d_34", "slowfast_r101"))}
TWINS |= {"slow_r50_4x16", "x3d_xs", "x3d_m", "x3d_l", "swin3d_s", "swin3d_b"}


@pytest.mark.parametrize("name", VIDEO)
def test_one_training_step(name):
    if name in TWINS and not os.environ.get("TAGGNN_EVERY_BACKBONE"):
        pytest.skip("a smaller one of the same structure is in the suite; TAGGNN_EVERY_BACKBONE=1 runs it")
    torch.manual_seed(0)
    clip = (8, 48, 48) if name == "s3d" else (4, 32, 32)
    model = attach(name, "tag", classes=3, clip=clip)
    before = {key: value.detach().clone() for key, value in model.named_parameters() if value.numel() < 5000}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    logits, _ = model(torch.randn(4, 3, *clip))
    assert logits.shape == (4, 3)
    F.cross_entropy(logits, torch.tensor([0, 2, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    optimiser.step()
    moved = {key for key, value in model.named_parameters() if key in before and not torch.equal(value, before[key])}
    assert any(key.startswith("backbone.") for key in moved)
    assert any(key.startswith("head.") for key in moved)
