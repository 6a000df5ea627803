"""SF-Head against a naive restatement, its published facts, its losses and where it is put."""

import pytest
import torch
from torch.nn import functional as F

import taggnn
from benchmarks import naive_skeletons
from taggnn import model
from taggnn.backbones import BACKBONES, build
from taggnn.backbones.plugs import PLUGS, SFHead
from taggnn.backbones.skeleton.network import plugs_of
from taggnn.training.losses import loss_names, loss_weights
from taggnn.types import SKELETON_AXES, InputSpec

NAMES = [name for name, row in BACKBONES.items() if row.kind == "skeleton"]
POSES = InputSpec("skeleton", SKELETON_AXES, (3, 6, 17, 2), {"skeleton": "coco"})
SMALL = {"width": 32, "depths": [2, 1]}
BOTH = ("consistency", "redundancy")


def pair(channels, groups, **options):
    torch.manual_seed(0)
    ours, naive = SFHead(channels, groups=groups, **options).double(), naive_skeletons.SFHead(channels, groups).double()
    for value in ours.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) / 2)
    naive.load_state_dict(ours.state_dict())
    return ours, naive


@pytest.mark.parametrize("shape", [(2, 64, 5, 7), (1, 32, 1, 3), (3, 128, 4, 1)], ids=str)
@pytest.mark.parametrize("joint_major", [False, True], ids=["frames first", "joints first in memory"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_outputs_and_gradients_are_those_of_the_restatement(shape, joint_major, training):
    ours, naive = pair(shape[1], 8)
    x = torch.randn(shape, dtype=torch.float64)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    given = found.mT.contiguous().mT if joint_major else found
    one, losses = ours.train(training)(given)
    two = naive.train(training)(expected)
    assert losses == {}
    torch.testing.assert_close(one, two)
    upstream = torch.randn(shape, dtype=torch.float64)
    (one * upstream).sum().backward()
    (two * upstream).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    theirs = dict(naive.named_parameters())
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[key].grad, msg=lambda text, key=key: f"{key}: {text}")
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, naive.state_dict()[key])


@pytest.mark.parametrize(("channels", "parameters"), [(64, 320), (128, 336), (256, 368)])
def test_parameters_are_the_published_ones(channels, parameters):
    assert sum(parameter.numel() for parameter in SFHead(channels).parameters()) == parameters


def test_a_network_of_ten_blocks_has_3392_more():
    spec = BACKBONES["ctr_gcn"].spec
    with torch.device("meta"):
        bare, plugged = build("ctr_gcn", spec=spec), build("ctr_gcn", spec=spec, plug="sf")
    count = [sum(parameter.numel() for parameter in module.parameters()) for module in (bare, plugged)]
    assert count[1] - count[0] == 3392


def test_gates_and_mixture_at_the_start():
    plug = SFHead(32).eval()
    x = torch.randn(2, 32, 5, 7)
    y, _ = plug(x)
    # Group 0 has one channel of each part; the shuffle puts the first half on even channels.
    gate = torch.sigmoid(torch.tensor(1.0))
    assert gate.item() == pytest.approx(0.7311, abs=1e-4)
    torch.testing.assert_close(y[:, 0], x[:, 0] * gate)
    torch.testing.assert_close(y[:, 2], x[:, 2] * gate)
    torch.testing.assert_close(y[:, 6], x[:, 3])
    assert plug.w.softmax(0).tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("channels", "groups", "possible"), [(48, 8, "1, 2, 3, 4, 6, 12"), (6, 2, "none"), (64, 0, "1, 2, 4, 8, 16")]
)
def test_channels_that_do_not_divide(channels, groups, possible):
    with pytest.raises(ValueError, match=rf"groups={groups} with {channels} channels.*: {possible}$"):
        SFHead(channels, groups=groups)


def test_a_switched_off_half_passes_its_input_on():
    x = torch.randn(2, 32, 3, 4)
    parts = x.unflatten(1, (8, 4))
    y = SFHead(32, extraction=False, aggregation=False)(x)[0]
    expected = torch.stack([parts[:, :, 0], parts[:, :, 2], parts[:, :, 1], parts[:, :, 3]], 2).flatten(1, 2)
    torch.testing.assert_close(y, expected.unflatten(1, (2, 16)).transpose(1, 2).flatten(1, 2))
    trained = {name for name, one in SFHead(32, extraction=False).named_parameters() if one.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"w", "cv", "tc", "tv"}


@pytest.mark.parametrize("form", ["pooled", "channels"])
def test_losses_are_their_formulas(form):
    ours, naive = pair(64, 8, losses=BOTH, redundancy=form)
    x = torch.randn(3, 64, 5, 7, dtype=torch.float64, requires_grad=True)
    _, losses = ours(x)
    f_t, f_s, f_r, x4 = (part.reshape(3, 8, 2, 5, 7) for part in naive.parts(x))
    near, same = [], []
    for clip in range(3):
        near += [
            1 - F.cosine_similarity(f_r[clip].reshape(-1), one[clip].reshape(-1).detach(), 0) for one in (f_t, f_s, x4)
        ]
        if form == "pooled":
            pooled = [one[clip].mean((2, 3)).reshape(-1) for one in (f_t, f_s)]
            same.append(F.cosine_similarity(*pooled, 0) ** 2)
        else:
            same += [
                F.cosine_similarity(f_t[clip, group, channel].reshape(-1), f_s[clip, group, channel].reshape(-1), 0)
                ** 2
                for group in range(8)
                for channel in range(2)
            ]
    expected = {"consistency": sum(near) / len(near), "redundancy": sum(same) / len(same)}
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
        found = torch.autograd.grad(loss, x, retain_graph=True)[0]
        torch.testing.assert_close(found, torch.autograd.grad(expected[name], x, retain_graph=True)[0])
    assert ours.eval()(x)[1] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"losses": ["consistancy"]}, "did you mean 'consistency'"),
        ({"redundancy": "chanels"}, "did you mean 'channels'"),
        ({"losses": ["consistency"], "aggregation": False}, "aggregation"),
    ],
    ids=str,
)
def test_unknown_losses(options, message):
    with pytest.raises(ValueError, match=message):
        SFHead(32, **options)


@pytest.mark.parametrize("name", NAMES)
def test_one_word_puts_it_into_every_block(name):
    module = build(name, spec=POSES, plug="sf", **SMALL)
    assert [(number, type(plug)) for number, plug in plugs_of(module)] == [(1, SFHead), (2, SFHead), (3, SFHead)]
    module(torch.randn(2, *POSES.shape)).tokens.sum().backward()
    assert all(one.grad is not None for one in module.parameters() if one.requires_grad)
    # The same seed gives the same network without it.
    torch.manual_seed(3)
    bare = build(name, spec=POSES, **SMALL).state_dict()
    torch.manual_seed(3)
    plugged = build(name, spec=POSES, plug="sf", **SMALL).state_dict()
    assert all(torch.equal(value, plugged[key]) for key, value in bare.items())


@pytest.mark.parametrize("position", ["between", "before", "after"])
@pytest.mark.parametrize("name", NAMES)
def test_the_plug_is_where_it_was_put(name, position):
    """A block with the plug equals its parts run one after the other."""
    torch.manual_seed(0)
    module = build(name, spec=POSES, plug="sf", plug_options={"position": position, "blocks": [2]}, **SMALL).eval()
    assert [number for number, _ in plugs_of(module)] == [2]
    (first, graph), (block, more), *_ = module.blocks()
    x, _ = first(module.folded(torch.randn(2, *POSES.shape)), *graph)
    gcn, tcn = (block.get_submodule(part) for part in block.names)

    def plug(value):
        return block.plug(value.mT)[0].mT if module.frames_last else block.plug(value)[0]

    y = gcn(plug(x) if position == "before" else x, *more)
    y = tcn(plug(y) if position == "between" else y)
    y = (plug(y) if position == "after" else y) + x
    torch.testing.assert_close(block(x, *more)[0], y.relu())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plug": "sff"}, "did you mean 'sf'"),
        ({"plug": "sf", "plug_options": {"grups": 4}}, "did you mean 'groups'"),
        ({"plug": "sf", "plug_options": {"position": "behind"}}, "between"),
        ({"plug": "sf", "plug_options": {"blocks": [0]}}, "from 1 to 3"),
        ({"plug": "sf", "plug_options": {"position": "before"}}, "block 1: .* 3 channels"),
        ({"plug": "sf", "plug_options": {"groups": 16}}, "block 1: .* 32 channels"),
        ({"plug_options": {"groups": 8}}, "groups"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_plug_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        build("ctr_gcn", spec=POSES, **SMALL, **options)


def test_the_description_of_a_model_names_it():
    notes = model.build(architecture(plug_options={"blocks": [1, 3]})).describe()
    assert "the mean over 2 persons; sf in 2 of 3 blocks, 632 parameters" in notes


def test_a_backbone_of_video_has_no_block_for_it():
    with pytest.raises(ValueError, match=r"small has no blocks for a plug; possible: .*ctr_gcn"):
        taggnn.attach("small", "pool", 2, backbone_options={"plug": "sf"})


class Loud(torch.nn.Module):
    def __init__(self, channels, by=2.0):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x * self.by


def test_a_plug_of_one_s_own_by_class_and_by_dotted_path():
    for given in (Loud, f"{__name__}.Loud"):
        module = build("agcn", spec=POSES, plug=given, plug_options={"by": 3.0}, **SMALL)
        assert [plug.by for _, plug in plugs_of(module)] == [3.0] * 3
        module(torch.randn(1, *POSES.shape))


def architecture(**options):
    return {
        "backbone": {"name": "ctr_gcn", **SMALL, "plug": "sf", **options},
        "head": {"name": "pool"},
        "input": POSES.plain(),
        "classes": ["a", "b"],
    }


def test_losses_reach_training_with_their_weights_and_cost_nothing_without_it():
    recogniser = model.build(architecture(plug_options={"losses": list(BOTH)}))
    x, targets = torch.randn(2, *POSES.shape), torch.tensor([0, 1])
    assert set(recogniser.train()(x, targets).losses) == set(BOTH)
    assert recogniser.eval()(x, targets).losses == {}
    assert loss_names(recogniser, POSES, 2) == list(BOTH)
    assert loss_weights(recogniser, {}, BOTH) == {"consistency": 0.1, "redundancy": 0.1}
    assert loss_weights(recogniser, {"redundancy": 0.5}, BOTH) == {"consistency": 0.1, "redundancy": 0.5}
    bare = model.build(architecture())
    assert bare.train()(x, targets).losses == {}


def test_losses_are_the_mean_over_blocks():
    torch.manual_seed(0)
    recogniser = model.build(architecture(plug_options={"losses": list(BOTH)})).train()
    found = []
    for _, plug in plugs_of(recogniser.backbone):
        plug.register_forward_hook(lambda _module, _given, output: found.append(output[1]["redundancy"]))
    losses = recogniser(torch.randn(2, *POSES.shape), torch.tensor([0, 1])).losses
    assert len(found) == 3
    torch.testing.assert_close(losses["redundancy"], sum(found) / 3)


def test_recomputed_stages_give_the_same_losses_and_gradients():
    x, targets, results = torch.randn(2, *POSES.shape), torch.tensor([0, 1]), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        one = model.build(architecture(plug_options={"losses": list(BOTH)}, checkpointing=checkpointing)).train()
        one.head.dropout.p = 0.0
        output = one(x, targets)
        (output.logits.sum() + sum(output.losses.values())).backward()
        results.append((output.losses, [p.grad for p in one.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0], results[1])


def test_the_table():
    assert PLUGS["sf"].paper.startswith("https://arxiv.org/abs/")
