"""taggnn.attach: what it accepts, what it finds out, and how it refuses."""

import dataclasses
import sys

import pytest
import torch
import torchvision
from torch import nn

import taggnn
from graphs import Chain
from taggnn import model
from taggnn.heads import HEADS, PoolHead, TagHead
from taggnn.papers import PAPERS
from taggnn.types import SKELETON_AXES, TOKEN_AXES, VIDEO_AXES, Features, InputSpec, Model, Output

CLIP = (4, 32, 48)
WIDTH = {"width": 4}


def video(*clip):
    return InputSpec("video", VIDEO_AXES, (3, *clip))


def small(head="pool", classes=3, **options):
    return taggnn.attach("small", head, classes, clip=CLIP, backbone_options=WIDTH, **options)


class Five(nn.Module):
    """Yields (B, 6, T, H/2, W/2)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 6, 1, stride=(1, 2, 2))

    def forward(self, clip):
        return self.conv(clip)


class Three(Five):
    """Yields (B, N, 6), time slowest."""

    def forward(self, clip):
        return self.conv(clip).flatten(2).transpose(1, 2)


class Pair(Five):
    def forward(self, clip):
        return self.conv(clip), {"slow": clip}


class Logits(Five):
    def forward(self, clip):
        return self.conv(clip).mean((2, 3, 4))


@pytest.mark.parametrize(
    ("make", "clip", "grid", "channels", "removed"),
    [
        (torchvision.models.video.r3d_18, (2, 16, 32), (1, 1, 2), 512, "fc (512 -> 400)"),
        (torchvision.models.video.s3d, (16, 32, 64), (2, 1, 2), 1024, "classifier (1024 -> 400)"),
    ],
    ids=["r3d_18", "s3d"],
)
def test_an_instance_of_torchvision(make, clip, grid, channels, removed):
    module = make()
    built = taggnn.attach(module, "pool", 3, clip=clip).eval()
    with torch.no_grad():
        logits, _ = built(torch.randn(1, 3, *clip))
    assert logits.shape == (1, 3)
    assert built.grid == grid
    assert built.head.classifier.in_features == channels
    found = built.describe()
    assert type(module).__name__ in found
    assert removed in found
    assert f"clip {' x '.join(map(str, clip))} -> grid {' x '.join(map(str, grid))}" in found
    assert f"{channels} channels" in found
    theirs = {id(parameter) for parameter in module.parameters()}
    assert all(id(parameter) in theirs for parameter in built.backbone.parameters())


def test_an_mvit_of_torchvision_brings_its_own_clip():
    block = torchvision.models.video.mvit.MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 1, 1])
    module = torchvision.models.video.MViT((32, 48), 4, [block, block], False, False, False, False, num_classes=5)
    built = taggnn.attach(module, "pool", 3).eval()
    assert built.spec == video(4, 32, 48)
    assert built.grid == (2, 8, 12)
    tokens = built.features(torch.randn(2, *built.spec.shape)).tokens
    assert tokens.shape == (2, 2, 8, 12, 8)
    assert "class token" in built.describe()


def test_the_clip_of_a_name_reaches_the_head():
    built = small("tag", dim=8, encoder_layers=1, encoder_heads=2)
    assert (built.spec, built.grid) == (video(*CLIP), (4, 2, 3))
    assert isinstance(built.head, TagHead)
    assert built.head.position.grid == (4, 2, 3)
    logits, extras = built(torch.randn(1, 3, *CLIP))
    assert logits.shape == (1, 3)
    assert extras["propagated"].shape == (1, 4, 2, 3, 8)


def test_describe_counts_parameters_and_edges():
    built = small("tag", conv="gcn")
    backbone, tokens, head, papers = built.describe().split("\n")
    count = sum(p.numel() for p in built.backbone.parameters()) / 1e6
    assert backbone == f"backbone  small, {count:.2f} M parameters; removed: nothing"
    assert tokens == "tokens    clip 4 x 32 x 48 -> grid 4 x 2 x 3 = 24 tokens of 32 channels"
    assert head.startswith("head      tag, ")
    assert head.endswith("3 classes; graph clique+chain, 156 edges a clip, computed by impl structured")
    assert papers == "papers    https://arxiv.org/abs/2604.11498"


def test_describe_has_the_entries_of_the_papers_in_use_only():
    assert small("tag").describe(bibtex=True) == f"{small('tag').describe()}\n\n{PAPERS[HEADS['tag'].papers[0]]}"
    assert small("pool").describe(bibtex=True) == small("pool").describe()
    assert "papers" not in small("pool").found
    both = small("tag_art").describe(bibtex=True)
    assert (
        [entry in both for entry in PAPERS.values()] == [address in both for address in PAPERS] == [True, False, True]
    )


def test_the_forward_pass_is_backbone_then_head():
    built = small().eval()
    clip = torch.randn(2, 3, *CLIP)
    tokens = built.backbone(clip).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(built.features(clip).tokens, tokens)
    torch.testing.assert_close(built(clip).logits, built.head(tokens).logits)


def test_the_dry_run_leaves_no_trace():
    module = Five()
    module.norm = nn.BatchNorm3d(6)
    module.train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    taggnn.attach(module, "pool", 2, clip=(2, 4, 6))
    assert module.training
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())


def test_own_modules_with_five_axes_and_with_three():
    clip = torch.randn(2, 3, 2, 4, 6)
    five, three = Five(), Three()
    three.load_state_dict(five.state_dict())
    plain = taggnn.attach(five, "pool", 2, clip=(2, 4, 6))
    stated = taggnn.attach(three, "pool", 2, clip=(2, 4, 6), grid=(2, 2, 3))
    assert plain.grid == stated.grid == (2, 2, 3)
    torch.testing.assert_close(plain.features(clip).tokens, stated.features(clip).tokens)
    assert "Five" in plain.describe()
    assert "nothing removed" in plain.describe()


def test_the_controls_of_fine_tuning_are_for_own_modules_too():
    module = nn.Sequential(Five(), nn.Conv3d(6, 6, 1), nn.BatchNorm3d(6))
    options = {"freeze_stages": 1, "layer_decay": 0.5, "checkpointing": True, "frozen_bn": True}
    built = taggnn.attach(module, "pool", 2, clip=(2, 4, 6), backbone_options=options)
    built(torch.randn(1, 3, 2, 4, 6)).logits.sum().backward()
    assert [name for name, p in built.backbone.named_parameters() if p.grad is None] == ["0.conv.weight", "0.conv.bias"]
    assert built.found["training"] == (
        "BatchNorm statistics frozen; 0 of 2 stages frozen; "
        "learning rate x 0.5 a stage, 0.25 (0) to 0.5 (1); 1 stages computed again in the backward pass"
    )


def test_a_frozen_backbone_has_no_other_controls():
    spec = {"backbone": {"name": "small", "width": 4, "frozen": True, "layer_decay": 0.5}, "head": {"name": "pool"}}
    with pytest.raises(ValueError, match=r"backbone.frozen leaves nothing .*: learning rate x 0.5 a stage"):
        model.build({**spec, "input": video(4, 32, 48).plain(), "classes": ["a", "b"]})
    spec = {"backbone": {"name": "small", "width": 4, "frozen": True, "bn_momentum": 0.5}, "head": {"name": "pool"}}
    with pytest.raises(ValueError, match=r"backbone.frozen leaves nothing .*: BatchNorm momentum 0.5"):
        model.build({**spec, "input": video(4, 32, 48).plain(), "classes": ["a", "b"]})
    # It says of statistics what frozen says too.
    spec["backbone"] = {"name": "small", "width": 4, "frozen": True, "frozen_bn": True}
    assert model.build({**spec, "input": video(4, 32, 48).plain(), "classes": ["a", "b"]}).frozen


class Token(Five):
    """Yields a dataclass with (B, 1 + N, 6) in it, the class token first."""

    def forward(self, clip):
        tokens = self.conv(clip).flatten(2).transpose(1, 2)
        return Nested(
            tokens.mean(1), {"states": [None, torch.cat([tokens.new_full((len(clip), 1, 6), 9.0), tokens], 1)]}
        )


@dataclasses.dataclass
class Nested:
    pooled: torch.Tensor
    inner: dict


class Streams(nn.Module):
    """Two pathways, the fast one at four times the frames and twice the size."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Conv3d(3, 6, 1, stride=(4, 4, 4))
        self.fast = nn.Conv3d(3, 2, 1, stride=(1, 2, 2))

    def forward(self, clip):
        return [self.slow(clip), self.fast(clip)]


def test_nested_features_are_picked_and_a_class_token_dropped():
    clip = torch.randn(2, 3, 2, 4, 6)
    plain, nested = Three(), Token()
    nested.load_state_dict(plain.state_dict())
    built = taggnn.attach(nested, "pool", 2, clip=(2, 4, 6), grid=(2, 2, 3), features="inner.states.1", class_tokens=1)
    expected = taggnn.attach(plain, "pool", 2, clip=(2, 4, 6), grid=(2, 2, 3)).features(clip).tokens
    torch.testing.assert_close(built.features(clip).tokens, expected)
    assert "of the output, inner.states.1 is taken; the first 1 of the tokens dropped" in built.describe()
    with pytest.raises(ValueError, match=r"got Nested of 2 \['pooled': tensor .* Pick one: features='inner.states.1'"):
        taggnn.attach(nested, "pool", 2, clip=(2, 4, 6))
    with pytest.raises(
        ValueError, match=r"N = 13 tokens, but the stated grid \(2, 2, 3\) has 12; .* state class_tokens=1"
    ):
        taggnn.attach(nested, "pool", 2, clip=(2, 4, 6), grid=(2, 2, 3), features="inner.states.1")


def test_pathways_are_fused_on_the_coarsest_grid():
    module = Streams()
    clip = torch.randn(2, 3, 8, 8, 16)
    built = taggnn.attach(
        module, "tag", 2, clip=(8, 8, 16), dim=4, encoder_heads=2, backbone_options={"checkpointing": True}
    )
    assert (built.grid, built.head.project[0].in_features) == ((2, 2, 4), 8)
    tokens = built.features(clip).tokens
    slow, fast = module(clip)
    for t in range(2):
        for y in range(2):
            for x in range(4):
                box = fast[:, :, 4 * t : 4 * t + 4, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((2, 3, 4))
                torch.testing.assert_close(tokens[:, t, y, x], torch.cat([slow[:, :, t, y, x], box], 1))
    assert (
        "2 pathways (6 x 2 x 2 x 4, 2 x 8 x 4 x 8) averaged to 2 x 2 x 4 and concatenated on channels"
        in built.describe()
    )
    built(clip).logits.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_channels_other_than_512_are_projected():
    for name in ("tag", "tag_released"):
        built = taggnn.attach(Five(), name, 2, clip=(2, 4, 6), **({"dim": 512} if name == "tag" else {}))
        assert [type(part) for part in built.head.project] == [nn.Linear, nn.LayerNorm]
        assert built.head.project[0].weight.shape == (512, 6)


def test_a_head_of_ones_own():
    asked = []

    def head(channels, grid, classes, dropout=0.0):
        asked.append((channels, grid, classes, dropout))
        return PoolHead(channels, grid, classes, dropout=dropout)

    built = taggnn.attach(Five(), head, 4, clip=(2, 4, 6), dropout=0.5)
    assert asked == [(6, (2, 2, 3), 4, 0.5)]
    assert "head      head, 28 parameters, 4 classes" in built.describe()
    assert built(torch.randn(1, 3, 2, 4, 6)).logits.shape == (1, 4)


def test_pooled_features_are_cut_before_the_pool():
    module, clip = Logits(), torch.randn(2, 3, 2, 4, 6)
    built = taggnn.attach(module, "pool", 2, clip=(2, 4, 6))
    torch.testing.assert_close(built.features(clip).tokens, module.conv(clip).movedim(1, -1))
    assert "cut at the output of conv" in built.found["tokens"]


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Three(), {}, r"\(1, 12, 6\).*N = 12 tokens: state grid=\(T, H, W\), time slowest.*\(3, 2, 2\)"),
        (Three(), {"grid": (2, 2, 2)}, r"N = 12 tokens, but the stated grid \(2, 2, 2\) has 8"),
        (Five(), {"grid": (2, 3, 2)}, r"\(1, 6, 2, 2, 3\).*stated grid is \(2, 3, 2\)"),
        (
            Pair(),
            {},
            r"got tuple of 2 \[tensor \(1, 6, 2, 2, 3\) float32, dict of 1 \['slow': tensor.*features='0' or features='1.slow'",
        ),
        (
            Pair(),
            {"features": "1.fast"},
            r"features='1.fast': no 'fast' .* it has '0' \(1, 6, 2, 2, 3\), '1.slow' \(1, 3, 2, 4, 6\)",
        ),
        (
            Five(),
            {"class_tokens": 1},
            r"class_tokens=1 is for \(B, N, C\); the backbone yields tensor \(1, 6, 2, 2, 3\)",
        ),
        (Five(), {"class_tokens": -1}, r"class_tokens must be a whole number, 0 or more; given -1"),
        (Three(), {"class_tokens": 1, "grid": (2, 2, 3)}, r"N = 11 tokens, but the stated grid"),
        ("small", {"features": "x"}, r"features='x' is for your own module.*small"),
        (nn.Sequential(nn.Flatten(), nn.Linear(144, 6)), {}, r"tensor \(1, 6\) float32.*remove pool and classifier"),
        (nn.Linear(2, 2), {}, r"Linear failed on a clip of zeros \(1, 3, 2, 4, 6\)"),
        (Five(), {"clip": (2, 4)}, r"clip must be three positive integers \(T, H, W\), got \(2, 4\)"),
        (Five(), {"clip": (0, 4, 6)}, r"clip must be three positive integers"),
        (Five(), {"grid": (2, 2.0, 3)}, r"grid must be positive integers"),
        (Five(), {"weights": "default"}, r"weights are for a backbone given by name"),
        (
            Five(),
            {"backbone_options": {"width": 3}},
            r"unknown option of a backbone that is a Five 'width'.*freeze_stages",
        ),
        (Five(), {"backbone_options": {"freeze_stages": 1}}, r"freeze_stages: 1 of 1 stages"),
        (Five(), {"head": "tga"}, r"unknown head 'tga'; did you mean 'tag'"),
        (Five(), {"head": "tag", "cnov": "gcn"}, r"unknown option of head tag 'cnov'; did you mean .*'conv'"),
        (Five(), {"head": "tag", "dim": 8, "conv": "gcm"}, r"unknown convolution 'gcm'; did you mean 'gcn'"),
        (Five(), {"classes": 0}, r"classes=0"),
        (Five(), {"classes": -1}, r"classes=-1"),
        ("smal", {}, r"unknown backbone 'smal'; did you mean 'small'"),
        ("r2plus1d_43", {}, r"unknown backbone 'r2plus1d_43'; did you mean .*'r2plus1d_34_8_ig65m'"),
        (
            "small",
            {"backbone_options": {"widht": 3}},
            r"unknown option of backbone small 'widht'; did you mean 'width'",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_attached_is_refused(module, options, message):
    given = {"head": "pool", "classes": 2, "clip": (2, 4, 6), **options}
    with pytest.raises(ValueError, match=message):
        taggnn.attach(module, **given)


def test_the_number_of_classes_must_be_said():
    with pytest.raises(ValueError, match=r"number of classes: this backbone has no classifier"):
        taggnn.attach(Five())


def test_build_reads_a_specification_of_plain_types():
    spec = {
        "backbone": {"name": "small", "width": 4, "frozen_bn": True},
        "head": {"name": "tag", "dim": 8, "encoder_layers": 0, "conv": "sage"},
        "input": video(4, 32, 48).plain(),
        "classes": ["a", "b"],
    }
    before = repr(spec)
    torch.manual_seed(0)
    built = model.build(spec).eval()
    torch.manual_seed(0)
    same = taggnn.attach(
        "small",
        "tag",
        2,
        clip=CLIP,
        backbone_options={"width": 4, "frozen_bn": True},
        dim=8,
        encoder_layers=0,
        conv="sage",
    ).eval()
    clip = torch.randn(1, 3, *CLIP)
    assert repr(spec) == before
    assert torch.equal(built(clip).logits, same(clip).logits)
    assert built.state_dict().keys() == same.state_dict().keys()


def test_classes_default_to_those_of_the_removed_classifier():
    built = taggnn.attach(torchvision.models.video.r3d_18(num_classes=7), "pool", clip=(4, 32, 32))
    assert built(torch.zeros(1, 3, 4, 32, 32)).logits.shape == (1, 7)
    with pytest.raises(ValueError, match="number of classes"):
        taggnn.attach("small", "pool")


def test_resize_moves_the_whole_model_to_another_clip():
    built = taggnn.attach(
        "small", "tag", classes=5, clip=(4, 32, 32), backbone_options={"width": 8}, encoder_heads=4
    ).eval()
    built.resize((6, 48, 32))
    assert built.grid == (6, 3, 2)
    assert built.head.grid == built.grid
    assert built(torch.zeros(2, 3, 6, 48, 32)).logits.shape == (2, 5)
    assert "6 x 48 x 32" in built.describe()


def test_a_topology_of_ones_own_reaches_the_head():
    built = taggnn.attach("small", classes=2, clip=(2, 32, 32), backbone_options={"width": 8}, topology=Chain(reach=2))
    assert built.head.topology == Chain(reach=2)


def frozen(**options):
    spec = {
        "backbone": {"name": "small", "width": 4, "frozen": True, **options},
        "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
        "input": video(4, 16, 32).plain(),
        "classes": ("a", "b"),
    }
    return model.build(spec)


def test_a_frozen_backbone_is_never_in_training_and_gets_no_gradient():
    built = frozen(drop=0.9).train()
    assert built.head.training
    before = {key: value.clone() for key, value in built.backbone.state_dict().items()}
    clip = torch.randn(3, 3, 4, 16, 32)
    tokens = built.features(clip).tokens
    assert not tokens.requires_grad
    built(clip).logits.sum().backward()
    assert all(parameter.grad is None for parameter in built.backbone.parameters())
    assert all(parameter.grad is not None for parameter in built.head.parameters() if parameter.requires_grad)
    # What of the clip an answer hangs on can still be asked.
    assert built.features(clip.clone().requires_grad_()).tokens.requires_grad
    # Neither dropout nor a statistic that moves.
    assert torch.equal(built.features(clip).tokens, tokens)
    assert all(torch.equal(value, before[key]) for key, value in built.backbone.state_dict().items())


def test_tokens_of_a_frozen_backbone_do_not_depend_on_the_batch():
    built = frozen(width=24)
    clips = torch.randn(16, 3, 4, 16, 32)
    whole = built.features(clips).tokens
    for rows in ([5], [3, 9], [1, 2, 15], list(range(15, -1, -1))):
        assert torch.equal(built.features(clips[rows]).tokens, whole[rows])


def test_a_frozen_backbone_answers_as_it_would_in_evaluation():
    spec = {
        "backbone": {"name": "small", "width": 4},
        "head": {"name": "pool"},
        "input": video(4, 16, 32).plain(),
        "classes": ("a", "b"),
    }
    built, clip = model.build(spec).eval(), torch.randn(5, 3, 4, 16, 32)
    plain = built.features(clip).tokens
    built.freeze()
    assert "frozen" in built.describe()
    torch.testing.assert_close(built.features(clip).tokens, plain)


def test_stored_tokens_are_taken_by_a_view_that_shares_the_head():
    built = frozen()
    clip = torch.randn(3, 3, 4, 16, 32)
    tokens = built.features(clip).tokens
    assert built.accepting(built.spec) is built
    view = built.accepting(stored(tokens)).eval()
    built.eval()
    assert isinstance(view, Model)
    assert view.head is built.head
    assert set(view.state_dict()) == {key for key in built.state_dict() if key.startswith("head.")}
    assert torch.equal(view(tokens).logits, built(clip).logits)
    # As they are stored, and as they are computed with.
    assert torch.equal(view(tokens.half()).logits, built.head(tokens.half().float()).logits)
    with pytest.raises(ValueError, match=r"takes tokens \(B, 4, 1, 2, 32\)"):
        view(tokens[:, :2])


def stored(tokens):
    return InputSpec("tokens", TOKEN_AXES, tuple(tokens.shape[1:]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (video(4, 16, 48), r"takes video \(channel 3, frame 4, height 16, width 32\).*given video .*width 48"),
        (InputSpec("video", VIDEO_AXES, (1, 4, 16, 32)), r"channel 3.*given video \(channel 1"),
        (InputSpec("tokens", TOKEN_AXES, (4, 2, 2, 32)), r"of grid \(4, 1, 2\) and 32 channels; given tokens"),
        (
            InputSpec("tokens", TOKEN_AXES, (4, 1, 2, 31)),
            r"of grid \(4, 1, 2\) and 32 channels; given tokens .*channel 31",
        ),
        (InputSpec("mine.Source", SKELETON_AXES, (3, 4, 16, 32)), "given mine.Source"),
    ],
    ids=["size", "gray", "grid", "channels", "kind"],
)
def test_other_inputs_are_refused_by_name(spec, message):
    with pytest.raises(ValueError, match=message):
        frozen().accepting(spec)


def test_a_grey_model_refuses_colour():
    built = taggnn.attach("small", "pool", 2, clip=CLIP, backbone_options={**WIDTH, "in_channels": 1})
    with pytest.raises(ValueError, match=r"takes video \(channel 1, .*given video \(channel 3"):
        built.accepting(video(*CLIP))
    architecture = {"backbone": {"name": "small", **WIDTH, "in_channels": 1}, "head": {"name": "pool"}}
    again = model.build({**architecture, "input": video(*CLIP).plain(), "classes": ["a", "b"]})
    assert again.spec.shape == (1, *CLIP)


SKELETON = InputSpec("mine.Source", SKELETON_AXES, (3, 6, 5, 2))


class Joints(nn.Module):
    """(B, 3, T, V, M) -> tokens of grid (T / 2, V), with two losses in training."""

    def __init__(self, width=8, losses=("spread", "each")):
        super().__init__()
        self.conv = nn.Conv3d(3, width, (2, 1, 1), stride=(2, 1, 1))
        self.losses = losses

    def forward(self, x):
        tokens = self.conv(x).mean(-1).permute(0, 2, 3, 1)
        made = {"spread": tokens.var(), "each": tokens.square().mean((1, 2, 3))}
        return Features(tokens, {name: made[name] for name in self.losses} if self.training else {})


class Graded(nn.Module):
    """A head with a loss a clip; in extras what it was given."""

    def __init__(self, channels, grid, classes, *, name="margin"):
        super().__init__()
        self.linear, self.name, self.grid = nn.Linear(channels, classes), name, tuple(grid)

    def forward(self, tokens, targets=None):
        logits = self.linear(tokens.flatten(1, -2).mean(1))
        losses = {} if targets is None else {self.name: logits.gather(1, targets[:, None])[:, 0]}
        return Output(logits, {"tokens": tokens}, losses)


def test_losses_of_backbone_and_head_come_out_together():
    built = taggnn.attach(Joints(), Graded, 4, input=SKELETON).train()
    assert (built.spec, built.grid) == (SKELETON, (3, 5))
    assert (
        "mine.Source (channel 3, frame 6, joint 5, person 2) -> grid 3 x 5 = 15 tokens of 8 channels"
        in built.describe()
    )
    x, targets = torch.randn(2, *SKELETON.shape), torch.tensor([1, 3])
    output = built(x, targets)
    assert {name: tuple(loss.shape) for name, loss in output.losses.items()} == {
        "spread": (),
        "each": (2,),
        "margin": (2,),
    }
    assert output.logits.shape == (2, 4)
    assert output.extras["tokens"].shape == (2, 3, 5, 8)
    assert torch.equal(output.losses["margin"], output.logits[[0, 1], targets])
    sum(loss.sum() for loss in output.losses.values()).backward()
    assert all(parameter.grad is not None for parameter in built.parameters())
    # Without targets there is nothing to train; in evaluation the backbone has none either.
    assert built(x).losses == {}
    assert set(built.eval()(x, targets).losses) == {"margin"}


def test_a_loss_that_both_have_is_refused():
    built = taggnn.attach(Joints(), Graded, 4, input=SKELETON, name="each").train()
    x = torch.randn(2, *SKELETON.shape)
    with pytest.raises(ValueError, match="loss 'each': the backbone and the head both"):
        built(x, torch.tensor([1, 3]))
    assert built.eval()(x, torch.tensor([1, 3])).losses.keys() == {"each"}


class Plain(nn.Module):
    """A head that answers with whatever it is told to, and knows no targets."""

    def __init__(self, channels, grid, classes, *, form="logits"):
        super().__init__()
        self.linear, self.form = nn.Linear(channels, classes), form

    def forward(self, tokens):
        logits = self.linear(tokens.flatten(1, -2).mean(1))
        return {"logits": logits, "pair": (logits, {"tokens": tokens}), "list": [logits]}[self.form]


@pytest.mark.parametrize("form", ["logits", "pair"])
def test_a_head_that_answers_with_logits_or_a_pair_is_a_head_too(form):
    built = taggnn.attach(Joints(losses=("spread",)), Plain, 4, input=SKELETON, form=form).train()
    output = built(torch.randn(2, *SKELETON.shape), torch.tensor([1, 3]))
    assert isinstance(output, Output)
    assert output.logits.shape == (2, 4)
    assert set(output.losses) == {"spread"}
    assert set(output.extras) == ({"tokens"} if form == "pair" else set())
    view = built.accepting(InputSpec("tokens", ("frame", "joint", "channel"), (3, 5, 8)))
    assert isinstance(view(torch.randn(2, 3, 5, 8), torch.tensor([1, 3])), Output)


def test_a_head_that_answers_otherwise_is_refused():
    built = taggnn.attach(Joints(), Plain, 4, input=SKELETON, form="list")
    with pytest.raises(ValueError, match=r"Plain: a head must return .*got list of 1"):
        built(torch.randn(2, *SKELETON.shape))


MODULE = """
from torch import nn

class Backbone(nn.Module):
    clip = (4, 8, 8)
    def __init__(self, width=8, in_channels=3):
        super().__init__()
        self.conv = nn.Conv3d(in_channels, width, (1, 4, 4), stride=(1, 4, 4))
    def forward(self, x):
        return self.conv(x)

class Head(nn.Module):
    def __init__(self, channels, grid, classes, *, bias=True):
        super().__init__()
        self.linear = nn.Linear(channels, classes, bias=bias)
    def forward(self, tokens):
        return self.linear(tokens.mean((1, 2, 3)))

def nothing(channels, grid, classes):
    return None

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, and the name to import it by."""
    (tmp_path / "own_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import own_parts

    yield own_parts
    del sys.modules["own_parts"]


def test_parts_of_ones_own_by_dotted_path_class_and_instance(own):
    options = {"backbone_options": {"width": 4, "freeze_stages": 0}}
    by_path = taggnn.attach("own_parts.Backbone", "own_parts.Head", 3, bias=False, **options)
    by_class = taggnn.attach(own.Backbone, own.Head, 3, bias=False, **options)
    by_instance = taggnn.attach(own.Backbone(4), own.Head(4, (4, 2, 2), 3, bias=False), clip=(4, 8, 8))
    for built in (by_path, by_class, by_instance):
        assert (built.spec, built.grid) == (video(4, 8, 8), (4, 2, 2))
        assert built(torch.randn(2, *built.spec.shape)).logits.shape == (2, 3)
        assert "8 parameters" not in built.describe()
        assert "12 parameters, 3 classes" in built.describe()
    by_class.load_state_dict(by_path.state_dict())
    by_instance.load_state_dict(by_path.state_dict())


def test_an_architecture_may_name_parts_of_ones_own(own, tmp_path):
    torch.save(own.Backbone(4, in_channels=2).state_dict(), tmp_path / "own.pth")
    architecture = {
        "backbone": {"name": "own_parts.Backbone", "width": 4, "in_channels": 2, "frozen": True, "frozen_bn": False},
        "head": {"name": "own_parts.Head"},
        "input": InputSpec("mine.Flow", VIDEO_AXES, (2, 4, 8, 8)).plain(),
        "classes": ["a", "b"],
    }
    built = model.build(architecture, str(tmp_path / "own.pth"))
    assert built.spec == InputSpec("mine.Flow", VIDEO_AXES, (2, 4, 8, 8))
    assert built.frozen
    assert torch.equal(built.backbone.conv.weight, torch.load(tmp_path / "own.pth")["conv.weight"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backbone": "own_parts.Bakbone"}, "unknown backbone in own_parts 'Bakbone'; did you mean 'Backbone'"),
        ({"backbone": "own_prats.Backbone"}, "cannot import 'own_prats'"),
        ({"backbone": "own_parts.number"}, "backbone own_parts.number: expected a class or a function"),
        ({"backbone_options": {"widht": 3}}, "unknown option of backbone own_parts.Backbone 'widht'; did you mean 'width'"),
        ({"head": "own_parts.number"}, "head 'own_parts.number' is no class, callable or module"),
        ({"head": "own_parts.nothing"}, "head own_parts.nothing must give a torch.nn.Module; it gave None"),
        ({"head": "own_parts.Head", "bais": False}, "unknown option of head own_parts.Head 'bais'; did you mean 'bias'"),
        ({"head": PoolHead(8, (4, 2, 2), 3), "dropout": 0.1}, "PoolHead is built already: it takes no options; given dropout"),
        ({"clip": (4, 8, 8), "input": SKELETON}, r"clip=\(4, 8, 8\) and input=mine.Source .* both"),
        ({"input": SKELETON}, r"Backbone failed on a clip of zeros \(1, 3, 6, 5, 2\), mine.Source \(channel 3, frame 6"),
    ],
)  # fmt: skip
def test_parts_that_cannot_be_had_are_named(own, given, message):
    with pytest.raises(ValueError, match=message):
        taggnn.attach(**{"backbone": "own_parts.Backbone", "head": "pool", "classes": 3, **given})


def test_resizing_by_the_names_of_axes():
    built = small()
    built.resize(frame=6, width=32)
    assert (built.spec, built.grid) == (video(6, 32, 32), (6, 2, 2))
    built.resize((3, 4, 48, 32))
    assert (built.spec, built.grid) == (video(4, 48, 32), (4, 3, 2))
    with pytest.raises(ValueError, match="video has no axis 'joint'; it has channel, frame"):
        built.resize(joint=3)
    with pytest.raises(ValueError, match=r"resize takes a shape, or sizes by name, of channel, frame.*given \(3, 4\)"):
        built.resize((3, 4))
    with pytest.raises(ValueError, match=r"Plain has no resize\(grid\)"):
        taggnn.attach(Joints(), Plain, 4, input=SKELETON).resize(frame=8)


@pytest.mark.parametrize("train", [True, False])
def test_a_whole_model_compiles_in_one_graph_and_answers_alike(train):
    built = taggnn.attach(Joints(), Graded, 4, input=SKELETON).train(train)
    compiled = torch.compile(built, fullgraph=True, backend="aot_eager")
    x, targets = torch.randn(2, *SKELETON.shape), torch.tensor([1, 3])
    expected, found = built(x, targets), compiled(x, targets)
    assert isinstance(found, Output)
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.losses.keys() == expected.losses.keys()
    assert len(found.losses) == (3 if train else 1)
    for name, loss in expected.losses.items():
        torch.testing.assert_close(found.losses[name], loss)


def test_a_whole_model_is_exported_with_its_output():
    built = small("tag", dim=8, encoder_layers=1, encoder_heads=2).eval()
    program = torch.export.export(built, (built.spec.example(2),), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})
    clip = torch.randn(3, *built.spec.shape)
    found = program.module()(clip)
    assert isinstance(found, Output)
    torch.testing.assert_close(found.logits, built(clip).logits)
    assert found.extras.keys() == built(clip).extras.keys()


class WithClassToken(nn.Module):
    """A backbone with a vector of the whole clip."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, clip):
        tokens = self.layer(clip.movedim(1, -1))
        return Features(tokens, class_token=2 * tokens.mean((1, 2, 3)))


class OfClassToken(nn.Module):
    def __init__(self, channels, grid, classes):
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, tokens, class_token=None):
        return self.classifier(class_token)


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
def test_a_class_token_reaches_the_heads_that_name_it(frozen):
    built = taggnn.attach(WithClassToken(), OfClassToken, classes=3, clip=(2, 4, 4))
    if frozen:
        built.freeze()
    clips = torch.randn(3, 3, 2, 4, 4)
    expected = built.head.classifier(2 * built.backbone(clips).tokens.mean((1, 2, 3)))
    torch.testing.assert_close(built.eval()(clips).logits, expected)
    # Other heads do not notice it.
    assert taggnn.attach(WithClassToken(), "pool", classes=3, clip=(2, 4, 4))(clips).logits.shape == (3, 3)
