"""Every method of explanation, against a naive restatement, on video, joints and heads with regions."""

import pytest
import torch
from torch import nn

from taggnn import explanation, heads
from taggnn.explanation import METHODS, HeadInput, Importance, explain, explain_tokens, head_input
from taggnn.model import attach
from taggnn.types import Output

GRID, CLASSES = (3, 2, 2), 4


def subject(head="tag", grid=GRID, channels=8, seed=0, **options):
    torch.manual_seed(seed)
    if head == "tag":
        options = {"encoder_layers": 1, "encoder_heads": 2, **options}
    built = heads.build(head, channels, grid, CLASSES, **options).eval()
    if head == "tag":
        # Otherwise uniform: its scores start at zero.
        nn.init.normal_(built.readout.score.weight, std=3.0)
    tokens = torch.randn(1, *grid, channels)
    return HeadInput(built, tokens, None, tokens, built)


def test_attention_is_that_of_the_read_out():
    given = subject()
    found = explain_tokens(given, 1, "attention")
    assert torch.allclose(found.values, given.output(given.tokens).extras["weights"][0].detach())
    assert found.values.std() > 0.01
    assert (found.method, found.target, found.signed, found.unit) == ("attention", 1, False, "token")


def test_attention_of_regions_is_their_mean_weighted_by_frames():
    given = subject("art", dim=16, regions=2, attention_heads=2, region_layers=1, enhancement_layers=1)
    extras = given.output(given.tokens).extras
    wanted = torch.zeros(GRID)
    for frame in range(GRID[0]):
        for region in range(2):
            weight = extras["frame_weights"][0, frame, region]
            wanted[frame] += (weight * extras["regions"][0, frame, region] / 2).detach()
    assert torch.allclose(explain_tokens(given, 0, "attention").values, wanted, atol=1e-6)


def test_a_head_without_attention_says_so():
    with pytest.raises(ValueError, match="PoolHead has no read-out by attention"):
        explain_tokens(subject("pool"), 0, "attention")


def test_gradient_x_token_of_pooling_is_its_share_of_the_logit():
    given = subject("pool")
    weight = given.head.classifier.weight[2]
    wanted = torch.einsum("thwc,c->thw", given.tokens[0], weight) / 12
    assert torch.allclose(explain_tokens(given, 2, "gradient_x_token").values, wanted, atol=1e-6)


@pytest.mark.parametrize("baseline", ["zeros", "mean"])
@pytest.mark.parametrize("head", ["tag", "pool"])
def test_integrated_gradients_sum_to_the_difference_of_the_logits(head, baseline):
    given = subject(head)
    found = explain_tokens(given, 3, "integrated_gradients", baseline=baseline, steps=200, batch=7)
    other = given.baseline(baseline)
    wanted = (given.logits(given.tokens) - given.logits(other))[0, 3].item()
    assert found.values.sum().item() == pytest.approx(wanted, abs=1e-3)
    assert head == "pool" or abs(wanted) > 0.05


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_occlusion_is_that_of_a_loop(batch):
    given = subject()
    whole = given.logits(given.tokens)[0, 1].item()
    found = explain_tokens(given, 1, "occlusion", batch=batch).values
    for t in range(3):
        for h in range(2):
            for w in range(2):
                tokens = given.tokens.clone()
                tokens[0, t, h, w] = 0
                assert found[t, h, w].item() == pytest.approx(whole - given.logits(tokens)[0, 1].item(), abs=1e-5)


def test_occlusion_of_frames_is_that_of_a_loop():
    given = subject()
    whole, mean = given.logits(given.tokens)[0, 1].item(), given.tokens.flatten(1, 3).mean(1)
    found = explain_tokens(given, 1, "frame_occlusion", baseline="mean")
    for t in range(3):
        tokens = given.tokens.clone()
        tokens[0, t] = mean
        assert found.values[t].flatten().tolist() == pytest.approx(
            [whole - given.logits(tokens)[0, 1].item()] * 4, abs=1e-5
        )
    assert found.unit == "frame"
    assert found.rated.shape == (3,)


def test_random_maps_follow_their_seed():
    given = subject("pool")
    one, again, other = (explain_tokens(given, 0, "random", seed=seed).values for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_backbone_is_found_and_the_target_is_the_most_probable_class():
    model = attach("small", "tag", classes=3, clip=(4, 16, 16), backbone_options={"width": 4}, encoder_heads=2)
    x = torch.randn(1, 3, 4, 16, 16)
    with torch.inference_mode():
        found = explain(model, x)
        assert found.target == int(model(x).logits.argmax())
    assert isinstance(found, Importance)
    assert (tuple(found.values.shape), found.values.dtype) == (model.grid, torch.float32)
    assert found.of_frames.shape == model.grid[:1]


def test_joints_without_rows_and_columns():
    given = subject(grid=(3, 5))
    for method in ("attention", "gradient_x_token", "integrated_gradients", "occlusion", "frame_occlusion", "random"):
        assert explain_tokens(given, 0, method).values.shape == (3, 5), method


def test_mistakes():
    model = attach("small", "pool", classes=3, clip=(4, 16, 16), backbone_options={"width": 4})
    x = torch.randn(2, 3, 4, 16, 16)
    for message, call in {
        "of one clip; given 2": lambda: explain(model, x),
        "an exported model does not show": lambda: explain(nn.Identity(), x[:1]),
        "'occlusion'": lambda: explain(model, x[:1], method="oclusion"),
        "0 to 2": lambda: explain(model, x[:1], target=3),
        "'steps'": lambda: explain(model, x[:1], step=3),
        "steps 0": lambda: explain(model, x[:1], steps=0),
        "'zeros'": lambda: explain(model, x[:1], baseline="zero"),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()


def test_a_map_that_is_not_finite_is_refused():
    class Broken(nn.Module):
        def forward(self, tokens):
            return Output(tokens.flatten(1).log().sum(1, keepdim=True))

    tokens = torch.zeros(1, 2, 1, 1, 3)
    with pytest.raises(ValueError, match="not a finite number"):
        explain_tokens(HeadInput(Broken(), tokens, None, tokens, Broken()), 0, "gradient_x_token")


def test_a_head_without_gradients_says_what_is_possible():
    class Still(nn.Module):
        def forward(self, tokens):
            return Output(tokens.detach().flatten(1, -2).mean(1))

    tokens = torch.randn(1, 2, 1, 1, 3)
    given = HeadInput(Still(), tokens, None, tokens, Still())
    with pytest.raises(ValueError, match="possible: occlusion"):
        explain_tokens(given, 0, "integrated_gradients")
    assert explain_tokens(given, 0, "occlusion").values.shape == (2, 1, 1)


def test_rows_have_a_summary():
    assert all(row.summary and callable(row.run) for row in METHODS.values())
    assert head_input is explanation.head_input
