"""What works on every backbone works on skeleton networks: stages, recomputation, frozen statistics, export, other sizes."""

import pytest
import torch
from torch import nn

from taggnn import model
from taggnn.backbones import BACKBONES, stages, tuning_of
from taggnn.types import SKELETON_AXES, InputSpec

NAMES = [name for name, row in BACKBONES.items() if row.kind == "skeleton"]
POSES = InputSpec("skeleton", SKELETON_AXES, (3, 6, 17, 2), {"skeleton": "coco"})


def recogniser(name, head="pool", **options):
    torch.manual_seed(0)
    head = {"name": head, "dim": 16, "encoder_heads": 2} if head == "tag" else {"name": head, "dropout": 0.0}
    backbone = {"name": name, "width": 32, "depths": [1, 1], **options}
    return model.build({"backbone": backbone, "head": head, "input": POSES.plain(), "classes": ["a", "b", "c"]})


@pytest.mark.parametrize("name", NAMES)
def test_the_blocks_are_the_stages(name):
    module = recogniser(name, depths=[2, 1]).backbone
    found = stages(module)
    assert len(found) == 3
    assert sorted(p for stage in found for p in stage.parameters) == sorted(p for p, _ in module.named_parameters())
    # The norm of the coordinates belongs to the first.
    assert "data_bn.weight" in found[0].parameters


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_stage_stays_as_it_is(name):
    one = recogniser(name, freeze_stages=1).train()
    (frozen,) = tuning_of(one.backbone).frozen[:1]
    before = {key: value.clone() for key, value in one.backbone.get_submodule(frozen).state_dict().items()}
    one(torch.randn(2, *POSES.shape)).logits.sum().backward()
    assert all(p.grad is None for p in one.backbone.get_submodule(frozen).parameters())
    after = one.backbone.get_submodule(frozen).state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert any(p.grad is not None for p in one.backbone.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_recomputed_stages_give_the_same_gradients_and_statistics(name):
    results, x = [], torch.randn(3, *POSES.shape)
    for checkpointing in (False, True):
        one = recogniser(name, checkpointing=checkpointing).train()
        one(x).logits.square().sum().backward()
        results.append(({key: p.grad for key, p in one.named_parameters()}, dict(one.named_buffers())))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", NAMES)
def test_frozen_statistics(name):
    one = recogniser(name, frozen_bn=True).train()
    before = {key: value.clone() for key, value in one.named_buffers()}
    one(torch.randn(2, *POSES.shape)).logits.sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in one.named_buffers())


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name):
    one, x = recogniser(name, plug="sf").eval(), torch.randn(2, *POSES.shape)
    with torch.autocast("cpu", torch.bfloat16):
        half = one(x).logits
    torch.testing.assert_close(half.float(), one(x).logits, rtol=0.1, atol=0.1)


class Logits(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).logits


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_program_takes_any_number_of_clips(name):
    one = recogniser(name, plug="sf").eval()
    clips = torch.export.Dim("clips", min=1, max=64)
    program = torch.export.export(Logits(one), (torch.randn(2, *POSES.shape),), dynamic_shapes=({0: clips},))
    for count in (1, 5):
        x = torch.randn(count, *POSES.shape)
        torch.testing.assert_close(program.module()(x), one(x).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_other_frames_but_not_other_joints(name):
    one = recogniser(name, head="tag").eval()
    one.resize(frame=9)
    assert one.grid == (5, 17)
    assert one(torch.randn(2, 3, 9, 17, 2)).logits.shape == (2, 3)
    with pytest.raises(ValueError, match="joint 18"):
        one.resize(joint=18)


def test_a_frozen_backbone_gives_a_clip_the_same_tokens_in_any_batch():
    one = recogniser("ctr_gcn", frozen=True)
    x = torch.randn(5, *POSES.shape)
    tokens = one.features(x).tokens
    assert torch.equal(one.features(x[3:4]).tokens, tokens[3:4])
