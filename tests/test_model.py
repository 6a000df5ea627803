"""taggnn.attach: what it accepts, what it finds out, and how it refuses."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn

import taggnn
from graphs import Chain
from taggnn import model
from taggnn.heads import PoolHead, TagHead

CLIP = (4, 32, 48)
WIDTH = {"width": 4}


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
    assert built.clip == (4, 32, 48)
    assert built.grid == (2, 8, 12)
    tokens = built.tokens(torch.randn(2, 3, *built.clip))
    assert tokens.shape == (2, 2, 8, 12, 8)
    assert "class token" in built.describe()


def test_the_clip_of_a_name_reaches_the_head():
    built = small("tag", dim=8, encoder_layers=1, encoder_heads=2)
    assert (built.clip, built.grid) == (CLIP, (4, 2, 3))
    assert isinstance(built.head, TagHead)
    assert built.head.position.grid == (4, 2, 3)
    logits, extras = built(torch.randn(1, 3, *CLIP))
    assert logits.shape == (1, 3)
    assert extras["propagated"].shape == (1, 4, 2, 3, 8)


def test_describe_counts_parameters_and_edges():
    built = small("tag", conv="gcn")
    backbone, tokens, head = built.describe().split("\n")
    count = sum(p.numel() for p in built.backbone.parameters()) / 1e6
    assert backbone == f"backbone  small, {count:.2f} M parameters; removed: nothing"
    assert tokens == "tokens    clip 4 x 32 x 48 -> grid 4 x 2 x 3 = 24 tokens of 32 channels"
    assert head.startswith("head      tag, ")
    assert head.endswith("3 classes; graph clique+chain, 156 edges a clip, computed by impl structured")


def test_the_forward_pass_is_backbone_then_head():
    built = small().eval()
    clip = torch.randn(2, 3, *CLIP)
    tokens = built.backbone(clip).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(built.tokens(clip), tokens)
    torch.testing.assert_close(built(clip)[0], built.head(tokens).logits)


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
    torch.testing.assert_close(plain.tokens(clip), stated.tokens(clip))
    assert "Five" in plain.describe()
    assert "nothing removed" in plain.describe()


def test_the_controls_of_fine_tuning_are_for_own_modules_too():
    module = nn.Sequential(Five(), nn.Conv3d(6, 6, 1), nn.BatchNorm3d(6))
    options = {"freeze_stages": 1, "layer_decay": 0.5, "checkpointing": True, "frozen_bn": True}
    built = taggnn.attach(module, "pool", 2, clip=(2, 4, 6), backbone_options=options)
    built(torch.randn(1, 3, 2, 4, 6))[0].sum().backward()
    assert [name for name, p in built.backbone.named_parameters() if p.grad is None] == ["0.conv.weight", "0.conv.bias"]
    assert built.found["training"] == (
        "BatchNorm statistics frozen; 0 of 2 stages frozen; "
        "learning rate x 0.5 a stage, 0.25 (0) to 0.5 (1); 1 stages computed again in the backward pass"
    )


def test_a_frozen_backbone_has_no_other_controls():
    spec = {"backbone": {"name": "small", "width": 4, "frozen": True, "layer_decay": 0.5}, "head": {"name": "pool"}}
    with pytest.raises(ValueError, match=r"backbone.frozen leaves nothing .*: learning rate x 0.5 a stage"):
        model.build({**spec, "clip": [4, 32, 48], "classes": ["a", "b"]})
    spec = {"backbone": {"name": "small", "width": 4, "frozen": True, "bn_momentum": 0.5}, "head": {"name": "pool"}}
    with pytest.raises(ValueError, match=r"backbone.frozen leaves nothing .*: BatchNorm momentum 0.5"):
        model.build({**spec, "clip": [4, 32, 48], "classes": ["a", "b"]})
    # It says of statistics what frozen says too.
    spec["backbone"] = {"name": "small", "width": 4, "frozen": True, "frozen_bn": True}
    assert model.build({**spec, "clip": [4, 32, 48], "classes": ["a", "b"]}).frozen


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
    expected = taggnn.attach(plain, "pool", 2, clip=(2, 4, 6), grid=(2, 2, 3)).tokens(clip)
    torch.testing.assert_close(built.tokens(clip), expected)
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
    tokens = built.tokens(clip)
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
    built(clip)[0].sum().backward()
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
    assert built(torch.randn(1, 3, 2, 4, 6))[0].shape == (1, 4)


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
        ("small", {"features": "x"}, r"features and class_tokens are for a module of your own"),
        (Logits(), {}, r"tensor \(1, 6\) float32.*remove pool and classifier"),
        (nn.Linear(2, 2), {}, r"Linear failed on a clip of zeros \(1, 3, 2, 4, 6\)"),
        (Five(), {"clip": (2, 4)}, r"clip must be three positive integers \(T, H, W\), got \(2, 4\)"),
        (Five(), {"clip": (0, 4, 6)}, r"clip must be three positive integers"),
        (Five(), {"grid": (2, 2.0, 3)}, r"grid must be three positive integers"),
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
        "clip": [4, 32, 48],
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
    assert torch.equal(built(clip)[0], same(clip)[0])
    assert built.state_dict().keys() == same.state_dict().keys()


def test_classes_default_to_those_of_the_removed_classifier():
    built = taggnn.attach(torchvision.models.video.r3d_18(num_classes=7), "pool", clip=(4, 32, 32))
    assert built(torch.zeros(1, 3, 4, 32, 32))[0].shape == (1, 7)
    with pytest.raises(ValueError, match="number of classes"):
        taggnn.attach("small", "pool")


def test_resize_moves_the_whole_model_to_another_clip():
    built = taggnn.attach(
        "small", "tag", classes=5, clip=(4, 32, 32), backbone_options={"width": 8}, encoder_heads=4
    ).eval()
    built.resize((6, 48, 32))
    assert built.grid == (6, 3, 2)
    assert built.head.grid == built.grid
    assert built(torch.zeros(2, 3, 6, 48, 32))[0].shape == (2, 5)
    assert "6 x 48 x 32" in built.describe()


def test_a_topology_of_ones_own_reaches_the_head():
    built = taggnn.attach("small", classes=2, clip=(2, 32, 32), backbone_options={"width": 8}, topology=Chain(reach=2))
    assert built.head.topology == Chain(reach=2)


def frozen(**options):
    spec = {
        "backbone": {"name": "small", "width": 4, "frozen": True, **options},
        "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
        "clip": (4, 16, 32),
        "classes": ("a", "b"),
    }
    return model.build(spec)


def test_a_frozen_backbone_is_never_in_training_and_gets_no_gradient():
    built = frozen(drop=0.9).train()
    assert built.head.training
    before = {key: value.clone() for key, value in built.backbone.state_dict().items()}
    clip = torch.randn(3, 3, 4, 16, 32)
    tokens = built.tokens(clip)
    assert not tokens.requires_grad
    built(clip)[0].sum().backward()
    assert all(parameter.grad is None for parameter in built.backbone.parameters())
    assert all(parameter.grad is not None for parameter in built.head.parameters() if parameter.requires_grad)
    # What of the clip an answer hangs on can still be asked.
    assert built.tokens(clip.clone().requires_grad_()).requires_grad
    # Neither dropout nor a statistic that moves.
    assert torch.equal(built.tokens(clip), tokens)
    assert all(torch.equal(value, before[key]) for key, value in built.backbone.state_dict().items())


def test_tokens_of_a_frozen_backbone_do_not_depend_on_the_batch():
    built = frozen(width=24)
    clips = torch.randn(16, 3, 4, 16, 32)
    whole = built.tokens(clips)
    for rows in ([5], [3, 9], [1, 2, 15], list(range(15, -1, -1))):
        assert torch.equal(built.tokens(clips[rows]), whole[rows])


def test_a_frozen_backbone_answers_as_it_would_in_evaluation():
    spec = {
        "backbone": {"name": "small", "width": 4},
        "head": {"name": "pool"},
        "clip": (4, 16, 32),
        "classes": ("a", "b"),
    }
    built, clip = model.build(spec).eval(), torch.randn(5, 3, 4, 16, 32)
    plain = built.tokens(clip)
    built.freeze()
    assert "frozen" in built.describe()
    torch.testing.assert_close(built.tokens(clip), plain)


def test_a_batch_brings_its_clips_or_their_tokens():
    built = frozen()
    clip = torch.randn(3, 3, 4, 16, 32)
    tokens = built.tokens_in({"clip": clip}, "cpu")
    assert torch.equal(tokens, built.tokens(clip))
    assert torch.equal(built.tokens_in({"tokens": tokens.half()}, "cpu"), tokens.half().float())
