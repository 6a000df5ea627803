"""Networks of the literature, classifier and all, behind ``taggnn.attach``: cut where their own classifiers begin."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.video.swin_transformer import SwinTransformer3d

import taggnn
from taggnn.types import SKELETON_AXES, InputSpec
from tests.backbones import networks

CLIP = (8, 32, 32)


class VideoSwin(SwinTransformer3d):
    """With a ``forward`` of its own, so that it counts as unknown."""

    def __init__(self):
        super().__init__([2, 4, 4], 12, [2, 2], [2, 2], [2, 2, 2], num_classes=5)

    def forward(self, x):
        return super().forward(x)


class Boxed(nn.Module):
    """A network inside another."""

    def __init__(self):
        super().__init__()
        self.net = networks.ResNet3D()

    def forward(self, x):
        return self.net(x).softmax(-1)


def channels_first(tokens):
    return tokens.movedim(-1, 1)


def averaged(tokens):
    return tokens.mean((1, 2, 3))


# Network, clip, options, where it is cut, what is removed, and the rest of the network as a function of the tokens.
CASES = {
    "ResNet3D": (
        networks.ResNet3D,
        CLIP,
        {},
        "output of layer2",
        "avgpool, fc (16 -> 5)",
        lambda n, x: n.fc(averaged(x)),
    ),
    "boxed": (
        Boxed,
        CLIP,
        {},
        "output of net.layer2",
        "net.fc (16 -> 5)",
        lambda n, x: n.net.fc(averaged(x)).softmax(-1),
    ),
    "ShuffleNet3D": (
        *(networks.ShuffleNet3D, (16, 64, 64), {}, "output of layer2", "classifier (48 -> 5)"),
        lambda n, x: n.classifier(averaged(x)),
    ),
    "MobileNet3D": (
        *(networks.MobileNet3D, CLIP, {}, "output of features", "classifier (40 -> 5)"),
        lambda n, x: n.classifier(averaged(x)),
    ),
    "DenseNet3D": (
        *(networks.DenseNet3D, CLIP, {}, "output of features, relu after it", "classifier (8 -> 5)"),
        lambda n, x: n.classifier(averaged(x)),
    ),
    "SqueezeNet3D": (
        *(networks.SqueezeNet3D, CLIP, {}, "output of features", "classifier (16 -> 5)"),
        lambda n, x: n.classifier(channels_first(x)).flatten(1),
    ),
    "C3D": (
        *(networks.C3D, CLIP, {}, "output of pool5", "fc6 (800 -> 32), dropout, fc7 (32 -> 32), fc8 (32 -> 5)"),
        lambda n, x: n.fc8(F.relu(n.fc7(F.relu(n.fc6(channels_first(x).flatten(1)))))),
    ),
    "TSM": (
        *(networks.TSM, CLIP, {"frames_in_batch": True}, "input of avgpool", "avgpool, dropout, new_fc (24 -> 5)"),
        lambda n, x: n.new_fc(x.mean((2, 3))).mean(1),
    ),
    "MoViNet": (
        *(networks.MoViNet, CLIP, {}, "output of conv7", "classifier (24 -> 5)"),
        lambda n, x: n.classifier(averaged(x)[..., None, None, None]).flatten(1),
    ),
    "UniFormer": (
        *(networks.UniFormer, CLIP, {}, "output of norm", "head (16 -> 5)"),
        lambda n, x: n.head(averaged(x)),
    ),
    "VideoSwin": (VideoSwin, CLIP, {}, "input of avgpool", "avgpool, head (24 -> 5)", lambda n, x: n.head(averaged(x))),
    "I3D": (
        *(networks.I3D, (16, 56, 56), {}, "output of Mixed_5c", "avg_pool, dropout, logits (24 -> 5)"),
        lambda n, x: n.logits(n.avg_pool(channels_first(x))).flatten(2),
    ),
    "SlowFast": (
        *(networks.SlowFast, (16, 32, 32), {"pathways": (4, 16)}, "output of s5.0 and the output of s5.1"),
        *("projection (20 -> 5)", lambda n, x: n.projection(averaged(x)).softmax(-1)),
    ),
    "TimeSformer": (
        *(networks.TimeSformer, (4, 32, 32), {"grid": (4, 2, 2), "class_tokens": 1, "token_order": "HWT"}),
        *("output of norm", "head (16 -> 5)", None),
    ),
}


def fed(name, clip):
    """The input of the whole network."""
    if name == "TSM":
        return clip.transpose(1, 2).flatten(0, 1)
    return [clip[:, :, [0, 5, 10, 15]], clip] if name == "SlowFast" else clip


@pytest.mark.parametrize("name", CASES)
def test_the_rest_of_the_network_makes_its_logits_of_the_tokens(name):
    make, size, options, place, removed, rest = CASES[name]
    torch.manual_seed(0)
    network = make().eval()
    built = taggnn.attach(network, "pool", clip=size, **options).eval()
    assert f"cut at the {place}" in built.found["tokens"]
    assert removed in built.found["backbone"]
    assert built.head.classifier.out_features == 5
    clip = torch.randn(2, 3, *size)
    with torch.no_grad():
        tokens = built.features(clip).tokens
        if rest is not None:
            torch.testing.assert_close(rest(network, tokens), copy.deepcopy(network)(fed(name, clip)))


@pytest.mark.parametrize("name", CASES)
def test_one_training_step_trains_every_weight_that_is_left(name):
    make, size, options, *_ = CASES[name]
    torch.manual_seed(0)
    network = make()
    before = copy.deepcopy(network.state_dict())
    model = taggnn.attach(network, "tag", 3, clip=size, dim=8, encoder_heads=2, **options)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    logits, _ = model(torch.randn(2, 3, *size))
    F.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
    optimiser.step()
    # The weights are those of the given network, whose classifier is left as it was.
    after = network.state_dict()
    learned = [key for key, _ in network.named_parameters() if not torch.equal(after[key], before[key])]
    classifiers = ("fc", "net.fc", "classifier", "new_fc", "head", "logits", "projection")
    assert learned
    assert not any(key.startswith(tuple(f"{one}." for one in classifiers)) for key in learned)


def test_tokens_whose_fastest_axis_is_time_are_sorted():
    network = networks.TimeSformer().eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    seen = []
    network.norm.register_forward_hook(lambda module, args, output: seen.append(output))
    built = taggnn.attach(
        network, "pool", 3, clip=(4, 32, 32), grid=(4, 2, 2), class_tokens=1, token_order="HWT"
    ).eval()
    with torch.no_grad():
        network(clip)
        tokens = built.features(clip).tokens
    torch.testing.assert_close(tokens, seen[-1][:, 1:].unflatten(1, (2, 2, 4)).permute(0, 3, 1, 2, 4))
    with pytest.raises(ValueError, match=r"token_order='TWO'.*'HWT'"):
        taggnn.attach(network, "pool", 3, clip=(4, 32, 32), grid=(4, 2, 2), class_tokens=1, token_order="TWO")
    with pytest.raises(ValueError, match=r"token_order='HWT' needs grid"):
        taggnn.attach(network, "pool", 3, clip=(4, 32, 32), class_tokens=1, token_order="HWT")
    with pytest.raises(ValueError, match=r"\(1, 17, 16\).*class_tokens=1: .*\(4, 2, 2\).*cut at the output of norm"):
        taggnn.attach(network, "pool", 3, clip=(4, 32, 32))


def test_a_layer_is_chosen_by_its_name():
    network, clip = networks.ResNet3D().eval(), torch.randn(2, 3, *CLIP)
    built = taggnn.attach(network, "pool", 3, clip=CLIP, layer="layer1").eval()
    assert "cut at the output of layer1" in built.found["tokens"]
    assert "removed: layer2 (8 -> 16), avgpool, fc (16 -> 5)" in built.found["backbone"]
    expected = network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(clip)))))
    torch.testing.assert_close(channels_first(built.features(clip).tokens), expected)
    with pytest.raises(ValueError, match=r"unknown layer of ResNet3D 'layer3'; did you mean 'layer"):
        taggnn.attach(network, "pool", 3, clip=CLIP, layer="layer3")


def test_what_follows_a_layer_does_not_change_its_features():
    class InPlace(networks.ResNet3D):
        def forward(self, x):
            x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
            x += 1
            return self.fc(self.layer2(x).mean((2, 3, 4)))

    network, clip = InPlace().eval(), torch.randn(2, 3, *CLIP)
    built = taggnn.attach(network, "pool", 3, clip=CLIP, layer="layer1").eval()
    expected = network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(clip)))))
    torch.testing.assert_close(channels_first(built.features(clip).tokens), expected)


def test_statistics_are_those_of_the_given_network():
    network = networks.ResNet3D()
    built = taggnn.attach(network, "pool", 3, clip=CLIP).train()
    built(torch.randn(2, 3, *CLIP))
    assert network.bn1.running_mean.abs().sum() > 0
    assert torch.equal(network.bn1.running_mean, built.backbone.module.network.bn1.running_mean)


def test_a_layer_may_be_chosen_where_the_rest_of_the_network_needs_a_larger_clip():
    with pytest.raises(ValueError, match=r"I3D failed on a clip of zeros \(1, 3, 8, 32, 32\)"):
        taggnn.attach(networks.I3D(), "pool", 3, clip=CLIP)
    built = taggnn.attach(networks.I3D(), "pool", 3, clip=CLIP, layer="Mixed_5c")
    assert built.grid == (4, 4, 4)
    # K is found where the whole network runs.
    assert taggnn.attach(networks.ResNet3D(), "pool", clip=CLIP, layer="layer1").head.classifier.out_features == 5


def test_logits_of_one_frame_are_not_read_as_tokens():
    """(B, K, 1) as piergiaj/pytorch-i3d yields them for 16 frames, whose grid of 2 frames is pooled to one."""
    built = taggnn.attach(networks.I3D(), "pool", clip=(4, 56, 56))
    assert built.grid == (2, 7, 7)
    assert built.head.classifier.weight.shape == (5, 24)


def test_logits_of_every_frame_are_not_read_as_tokens():
    class Framewise(networks.ResNet3D):
        def forward(self, x):
            x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
            return self.fc(x.mean((3, 4)).transpose(1, 2))

    built = taggnn.attach(Framewise(), "pool", clip=CLIP)
    assert built.grid == (2, 4, 4)
    assert built.head.classifier.weight.shape == (5, 16)


def test_tokens_of_a_transformer_without_classifier_are_not_cut():
    class Encoder(networks.TimeSformer):
        def forward(self, x):
            seen = []
            handle = self.norm.register_forward_hook(lambda module, args, output: seen.append(output))
            self.forward_features(x)
            handle.remove()
            return seen[0][:, 1:]

    with pytest.raises(ValueError, match=r"\(1, 16, 16\).*read as \(B, N, C\) with N = 16 tokens: state grid"):
        taggnn.attach(Encoder(), "pool", 3, clip=(4, 32, 32))
    built = taggnn.attach(Encoder(), "pool", 3, clip=(4, 32, 32), grid=(4, 2, 2), token_order="HWT")
    assert "removed: nothing" in built.found["backbone"]


@pytest.mark.parametrize("pool", [lambda x: x.mean(1), lambda x: x[:, 0], lambda x: x.amax(1, keepdim=True)[:, 0]])
def test_pooled_tokens_without_a_classifier_are_cut_before_their_pool(pool):
    class Pooled(networks.TimeSformer):
        def __init__(self):
            super().__init__()
            self.norm = nn.Sequential(nn.LayerNorm(16))

        def forward_features(self, x):
            return x

        def forward(self, x):
            return pool(self.norm(self.blocks[0](self.proj(x[:, :, 0]).flatten(2).transpose(1, 2), 1)))

    built = taggnn.attach(Pooled(), "pool", 3, clip=(4, 32, 32), grid=(1, 2, 2))
    assert "cut at the output of norm" in built.found["tokens"]


def test_what_a_stream_keeps_is_neither_changed_nor_shared():
    network = networks.MoViNet()
    network(torch.randn(2, 3, *CLIP)).sum().backward()
    kept = network.conv1.activation.clone()
    built = taggnn.attach(network, "pool", 3, clip=CLIP)
    assert torch.equal(network.conv1.activation, kept)
    built(torch.randn(4, 3, *CLIP))
    assert torch.equal(network.conv1.activation, kept)
    # Also where nothing is cut.
    taggnn.attach(nn.Sequential(network.conv1, network.blocks), "pool", 3, clip=CLIP)
    assert torch.equal(network.conv1.activation, kept)


def test_a_network_that_cannot_be_copied_is_named():
    network = networks.ResNet3D()
    network.source = (value for value in "abc")
    with pytest.raises(ValueError, match=r"ResNet3D cannot be copied: TypeError: .*generator"):
        taggnn.attach(network, "pool", 3, clip=CLIP)


@pytest.mark.parametrize("error", [ValueError, KeyError, NotImplementedError, AttributeError, ZeroDivisionError])
def test_any_error_of_a_network_is_named_with_its_input(error):
    class Failing(nn.Module):
        def forward(self, x):
            raise error("einops")

    with pytest.raises(
        ValueError, match=rf"Failing failed on a clip of zeros \(1, 3, 8, 32, 32\).*{error.__name__}: .?einops"
    ):
        taggnn.attach(Failing(), "pool", 3, clip=CLIP)


def test_options_of_networks_with_other_inputs_are_named():
    with pytest.raises(ValueError, match=r"SlowFast failed on .*pathways=\(8, 32\)"):
        taggnn.attach(networks.SlowFast(), "pool", 3, clip=CLIP)
    with pytest.raises(
        ValueError, match=r"SlowFast failed on a clip of zeros as list of 2 \[tensor \(1, 3, 4, 32, 32\)"
    ):
        taggnn.attach(networks.SlowFast(), "pool", 3, clip=(8, 32, 32), pathways=(4, 6))
    with pytest.raises(ValueError, match=r"pathways must be .* 1 to the 8 of the clip.*\(2, 9\)"):
        taggnn.attach(networks.SlowFast(), "pool", 3, clip=CLIP, pathways=(2, 9))
    with pytest.raises(ValueError, match=r"exclude each other"):
        taggnn.attach(networks.SlowFast(), "pool", 3, clip=CLIP, pathways=(2, 8), frames_in_batch=True)
    with pytest.raises(ValueError, match=r"Conv2d failed on .*frames_in_batch=True"):
        taggnn.attach(nn.Conv2d(3, 4, 8, 8), "pool", 3, clip=CLIP)
    with pytest.raises(ValueError, match=r"one clip went into .*8 came out.*frames_in_batch=True"):
        taggnn.attach(networks.TSM(), "pool", 3, clip=CLIP)
    with pytest.raises(ValueError, match=r"layer='x' is for your own module"):
        taggnn.attach("small", "pool", 3, clip=CLIP, layer="x")


def test_a_network_of_images_is_applied_to_each_frame():
    network, clip = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU()), torch.randn(2, 3, *CLIP)
    built = taggnn.attach(network, "pool", 3, clip=CLIP, frames_in_batch=True).eval()
    expected = torch.stack([network(clip[:, :, t]) for t in range(8)], 2)
    torch.testing.assert_close(channels_first(built.features(clip).tokens), expected)


def test_a_network_that_takes_the_frames_apart_itself():
    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 8, 8)

        def forward(self, clip):
            return self.conv(clip.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)

    network, clip = Apart(), torch.randn(2, 3, *CLIP)
    built = taggnn.attach(network, "pool", 3, clip=CLIP, frames_in_batch=True, grid=(8, 4, 4)).eval()
    expected = torch.stack([network.conv(clip[:, :, t]) for t in range(8)], 2)
    torch.testing.assert_close(channels_first(built.features(clip).tokens), expected)


def test_a_map_that_is_in_no_layer_asks_for_one():
    class Inline(networks.ResNet3D):
        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.fc((self.layer2(x) + self.layer2(x)).mean((2, 3, 4)))

    with pytest.raises(ValueError, match=r"last feature map \(1, 16, 2, 4, 4\) is computed by add.*layer=.*'layer2'"):
        taggnn.attach(Inline(), "pool", 3, clip=CLIP)
    assert taggnn.attach(Inline(), "pool", 3, clip=CLIP, layer="layer2").grid == (2, 4, 4)


def compiled(model, clip):
    torch._dynamo.reset()
    return torch.compile(model, backend="eager", fullgraph=True)(clip).logits


def exported(model, clip):
    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, clip):
            return self.model(clip).logits

    program = torch.export.export(Logits(), (clip,), dynamic_shapes={"clip": {0: torch.export.Dim.DYNAMIC}})
    return program.module()(clip)


@pytest.mark.parametrize("name", ["DenseNet3D", "TSM", "SlowFast", "UniFormer", "I3D"])
@pytest.mark.parametrize("how", [compiled, exported, lambda model, clip: copy.deepcopy(model)(clip).logits])
def test_a_cut_network_is_compiled_exported_and_copied(name, how):
    make, size, options, *_ = CASES[name]
    torch.manual_seed(0)
    model = taggnn.attach(make(), "pool", 3, clip=size, **options).eval()
    clip = torch.randn(3, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(how(model, clip), model(clip).logits)


def test_stages_of_a_cut_network_are_frozen_and_computed_again():
    clip, targets = torch.randn(2, 3, *CLIP), torch.tensor([0, 2])
    network = networks.ResNet3D()
    gradients = []
    for again in (False, True):
        options = {"freeze_stages": ["module.network.conv1"], "checkpointing": again}
        torch.manual_seed(0)
        model = taggnn.attach(copy.deepcopy(network), "pool", 3, clip=CLIP, backbone_options=options)
        F.cross_entropy(model(clip).logits, targets).backward()
        gradients.append({key: value.grad for key, value in model.named_parameters()})
    assert "layer1" in model.found["training"] or "1 of" in model.found["training"]
    for key, value in gradients[0].items():
        assert (value is None) == key.startswith(("backbone.module.network.conv1.", "backbone.module.network.bn1."))
        if value is not None:
            torch.testing.assert_close(gradients[1][key], value)


def test_auxiliary_classifiers_of_training_do_not_run():
    class Auxiliary(networks.ResNet3D):
        def __init__(self):
            super().__init__()
            self.aux = nn.Linear(16, 5)

        def forward(self, x):
            out = super().forward(x)
            return (out, self.aux(out)) if self.training else out

    model = taggnn.attach(Auxiliary(), "pool", 3, clip=CLIP).train()
    clip = torch.randn(2, 3, *CLIP)
    assert model(clip).logits.shape == (2, 3)
    # An exception cannot be exported, and evaluation needs none.
    model.eval()
    torch.testing.assert_close(exported(model, clip), model(clip).logits)


def test_a_rest_that_cannot_run_without_its_layers_does_not_run():
    class Rest(networks.ResNet3D):
        def forward(self, x):
            x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
            return self.fc(self.avgpool(x).view(len(x), 16))

    model, clip = taggnn.attach(Rest(), "pool", 3, clip=CLIP), torch.randn(2, 3, *CLIP)
    assert model.backbone.module.stops_early
    F.cross_entropy(model(clip).logits, torch.tensor([0, 2])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    torch._dynamo.reset()
    torch.testing.assert_close(compiled(model, clip), model(clip).logits)


def test_both_classifiers_of_two_networks_are_removed():
    class Fusion(nn.Module):
        def __init__(self):
            super().__init__()
            self.rgb, self.flow = networks.ResNet3D(), networks.MobileNet3D()

        def forward(self, x):
            return (self.rgb(x) + self.flow(x)) / 2

    model = taggnn.attach(Fusion(), "pool", clip=CLIP)
    assert "cut at the output of rgb.layer2 and the output of flow.features" in model.found["tokens"]
    assert "removed: rgb.avgpool, rgb.fc (16 -> 5), flow.classifier (40 -> 5)" in model.found["backbone"]
    model(torch.randn(2, 3, *CLIP)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_features_whose_channels_come_last_are_turned():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv3d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            return self.fc(self.norm(self.conv(x).permute(0, 2, 3, 4, 1)).mean((1, 2, 3)))

    network, clip = ChannelsLast().eval(), torch.randn(2, 3, *CLIP)
    tokens = taggnn.attach(network, "pool", clip=CLIP).eval().features(clip).tokens
    torch.testing.assert_close(tokens, network.norm(network.conv(clip).permute(0, 2, 3, 4, 1)))


@pytest.mark.parametrize("part", ["", "layer1"], ids=["whole", "a layer"])
def test_what_torch_compile_made_is_cut_as_its_module(part):
    network = networks.ResNet3D()
    if part:
        network.layer1 = torch.compile(network.layer1, backend="eager")
    model = taggnn.attach(network if part else torch.compile(network, backend="eager"), "pool", clip=CLIP)
    assert "cut at the output of layer2" in model.found["tokens"]
    assert not [key for key in model.state_dict() if "_orig_mod" in key]


def test_a_scripted_network_is_refused_by_name():
    network = networks.ResNet3D()
    network.layer1 = torch.jit.script(network.layer1)
    with pytest.raises(ValueError, match=r"ResNet3D has to be cut, and its layer1 is compiled by torch\.jit"):
        taggnn.attach(network, "pool", clip=CLIP)


def test_a_whole_network_of_joints_is_cut_before_its_pool():
    class Joints(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fcn = nn.Conv2d(3, 8, (3, 1), padding=(1, 0)), nn.Conv2d(8, 7, 1)

        def forward(self, x):
            clips, channels, frames, joints, persons = x.shape
            x = self.conv(x.permute(0, 4, 1, 2, 3).reshape(clips * persons, channels, frames, joints))
            x = F.avg_pool2d(x, x.shape[2:]).view(clips, persons, -1, 1, 1).mean(1)
            return self.fcn(x).view(clips, -1)

    model = taggnn.attach(Joints(), "pool", input=InputSpec("mine.Source", SKELETON_AXES, (3, 6, 5, 1)))
    assert (model.grid, model.head.classifier.out_features) == ((6, 5), 7)
