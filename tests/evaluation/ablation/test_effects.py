"""Interventions on a trained model, each against the same done by hand."""

import math

import pytest
import torch
from torch import nn

from graphs import Chain, Clique, NoEdges
from taggnn.data.clips import Clip, ClipList
from taggnn.evaluation.ablation import INTERVENTIONS
from taggnn.evaluation.ablation.effects import measure
from taggnn.heads import ArtHead, PoolHead, TagHead
from taggnn.model import Recogniser
from taggnn.types import SKELETON_AXES, VIDEO_AXES, BadClip, Batch, InputSpec

GRID, CLASSES, CLIPS = (4, 3, 3), 5, 12


def recogniser(head, spec=None, grid=GRID):
    torch.manual_seed(0)
    spec = spec or InputSpec("video", VIDEO_AXES, (3, *GRID))
    backbone = nn.Conv3d(3, 16, 1) if len(grid) == 3 else Joints()
    built = Recogniser(backbone, head, spec, grid).eval()
    for parameter in built.head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


class Joints(nn.Module):
    def forward(self, x):
        return x.mean(-1).repeat(1, 4, 1, 1)


def tag(**options):
    return TagHead(16, GRID, CLASSES, encoder_layers=1, encoder_heads=4, conv="gcn", **options)


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(CLIPS, 3, *GRID, generator=torch.Generator().manual_seed(1))


def lists(bad=()):
    clips = tuple(Clip(f"/v/{i}.mp4", i % CLASSES, f"clip {i}") for i in range(CLIPS))
    return ClipList(clips, tuple("abcde"), "list")


def batches(x, size=5, bad=()):
    good = [i for i in range(len(x)) if i not in bad]
    for first in range(0, len(good), size):
        index = torch.tensor(good[first : first + size])
        yield Batch(x[index], index % CLASSES, index, [BadClip(f"clip {i}", "", "damaged") for i in bad if not first])


def effects(model, x, **options):
    found = measure(model, batches(x, **options.pop("batched", {})), lists(), "test", **options)
    return found, {effect.name: effect for effect in found.effects}


@torch.no_grad()
def by_hand(model, x, head=None, topology=None):
    tokens = model.features(x).tokens
    return (head or model.head)(tokens, topology=topology).logits


def figures(whole, other):
    """Accuracy, shift, relative shift and changed answers, written down again."""
    labels = torch.arange(CLIPS) % CLASSES
    moved = [math.dist(a, b) for a, b in zip(whole.tolist(), other.tolist(), strict=True)]
    size = sum(value**2 for row in whole.tolist() for value in row)
    return [
        (other.argmax(1) == labels).double().mean().item(),
        sum(moved) / len(moved),
        math.sqrt(sum(value**2 for value in moved) / size),
        (other.argmax(1) != whole.argmax(1)).double().mean().item(),
    ]


def shown(effect):
    return [effect.top1, effect.shift, effect.relative, effect.changed]


@pytest.mark.parametrize(
    ("name", "rule"), [("no_edges", NoEdges()), ("spatial_only", Clique()), ("temporal_only", Chain())]
)
def test_other_edges_are_those_of_a_head_called_with_them(inputs, name, rule):
    model = recogniser(tag())
    _, found = effects(model, inputs, names=[name])
    expected = figures(by_hand(model, inputs), by_hand(model, inputs, topology=rule))
    assert shown(found[name]) == pytest.approx(expected, abs=1e-6)
    assert expected[1] > 1e-4


def test_without_the_encoder_tokens_go_from_the_position_to_the_graph(inputs):
    model = recogniser(tag())
    whole = by_hand(model, inputs)
    _, found = effects(model, inputs)
    assert isinstance(model.head.encoder, nn.TransformerEncoder)
    model.head.encoder = nn.Identity()
    assert shown(found["encoder_off"]) == pytest.approx(figures(whole, by_hand(model, inputs)), abs=1e-6)


@pytest.mark.parametrize(("name", "order"), [("frames_reversed", [3, 2, 1, 0]), ("one_frame", [2, 2, 2, 2])], ids=str)
def test_frames_in_another_order(inputs, name, order):
    model = recogniser(tag())
    _, found = effects(model, inputs, names=[name])
    expected = figures(by_hand(model, inputs), by_hand(model, inputs[:, :, order]))
    assert shown(found[name]) == pytest.approx(expected, abs=1e-6)


def test_random_ones_are_averaged_and_do_not_depend_on_the_batches(inputs):
    model = recogniser(tag())
    _, one = effects(model, inputs, names=["random_edges", "frames_shuffled"], draws=2)
    _, other = effects(model, inputs, names=["random_edges", "frames_shuffled"], draws=2, batched={"size": 3})
    for name in ("random_edges", "frames_shuffled"):
        assert one[name].draws == 2
        assert shown(one[name]) == pytest.approx(shown(other[name]), abs=1e-6)
        assert one[name].lowest <= one[name].top1 <= one[name].highest
        singles = [effects(model, inputs, names=[name], draws=1, seed=seed)[1][name].shift for seed in (0, 1)]
        assert one[name].shift == pytest.approx(sum(singles) / 2, abs=1e-6)
        assert singles[0] != singles[1]


def test_the_difference_has_its_interval_and_counts(inputs):
    found, rows = effects(recogniser(tag()), inputs)
    for effect in rows.values():
        if effect.reason:
            continue
        gain = effect.difference
        assert gain.value == pytest.approx(effect.top1 - found.top1)
        assert gain.low <= gain.value <= gain.high
        assert gain.value * CLIPS == pytest.approx(effect.only_altered - effect.only_intact)
        drops = sum(row.drop * row.clips for row in effect.classes)
        assert drops == pytest.approx(effect.only_intact - effect.only_altered)
        assert sum(row.clips for row in effect.classes) == CLIPS
        assert [row.drop for row in effect.classes] == sorted((row.drop for row in effect.classes), reverse=True)


def test_weights_parts_and_topology_are_as_before(inputs):
    model = recogniser(tag())
    before, kernel = {key: value.clone() for key, value in model.state_dict().items()}, model.head.propagation[0].kernel
    effects(model, inputs)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.head.propagation[0].kernel is kernel
    assert str(model.head.propagation[0].topology) == "clique+chain"


def test_a_clip_that_cannot_be_read_is_named_and_left_out(inputs):
    found, _ = effects(recogniser(tag()), inputs, names=["no_edges"], batched={"bad": (1,)})
    assert found.clips == CLIPS - 1
    assert [one.name for one in found.skipped] == ["clip 1"]


PARTS = ["no_edges", "spatial_only", "temporal_only", "random_edges"]


@pytest.mark.parametrize(
    ("head", "absent"),
    [
        (lambda: PoolHead(16, GRID, CLASSES), [*PARTS, "encoder_off", "joints_shuffled"]),
        (lambda: tag(topology="chain"), ["spatial_only", "temporal_only", "joints_shuffled"]),
        (lambda: tag(topology="none"), [*PARTS, "joints_shuffled"]),
        (
            lambda: ArtHead(16, GRID, CLASSES, dim=16, enhancement_layers=1, region_layers=1),
            [*PARTS, "joints_shuffled"],
        ),
    ],
    ids=["pool", "tag chain", "tag none", "art"],
)
def test_what_does_not_apply_has_its_reason(inputs, head, absent):
    _, found = effects(recogniser(head()), inputs, draws=1)
    assert [name for name, effect in found.items() if effect.reason] == absent
    assert all(effect.draws == 0 and math.isnan(effect.top1) for effect in found.values() if effect.reason)


def test_regions_of_art_with_a_graph_lose_their_edges_too(inputs):
    head = ArtHead(16, GRID, CLASSES, dim=16, enhancement_layers=1, region_layers=1, graph_layers=1, conv="gcn")
    model = recogniser(head)
    _, found = effects(model, inputs, names=["no_edges"])
    expected = figures(by_hand(model, inputs), by_hand(model, inputs, topology=NoEdges()))
    assert shown(found["no_edges"]) == pytest.approx(expected, abs=1e-6)


def test_joints_and_bones_of_a_skeleton():
    spec, grid = InputSpec("skeleton", SKELETON_AXES, (4, 5, 17, 1)), (5, 17)
    head = TagHead(16, grid, CLASSES, encoder_layers=0, conv="gcn", topology="bones(skeleton=coco)+chain")
    x = torch.randn(CLIPS, *spec.shape, generator=torch.Generator().manual_seed(2))
    _, found = effects(recogniser(head, spec, grid), x, draws=1)
    assert [name for name, effect in found.items() if effect.reason] == ["encoder_off"]
    assert found["joints_shuffled"].shift > 0
    assert found["spatial_only"].facts["edges"] == 2 * 5 * 16
    assert found["random_edges"].facts["kept"] < 0.5


@pytest.mark.parametrize(("options", "key"), [({"names": ["edges"]}, "--rows"), ({"draws": 0}, "--draws")])
def test_what_is_impossible_is_refused(inputs, options, key):
    with pytest.raises(ValueError, match=key):
        effects(recogniser(tag()), inputs, **options)


def test_every_row_says_what_it_does():
    for row in INTERVENTIONS.values():
        assert row.title
        assert row.summary
