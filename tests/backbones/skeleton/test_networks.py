"""Every skeleton network against a naive restatement: outputs, all gradients, running statistics, odd shapes."""

import pytest
import torch

from benchmarks.naive_skeletons import published
from graphs import skeleton as skeletons
from graphs.bones import adjacency_subsets, distance_subsets
from taggnn.backbones import BACKBONES, build, dry_run
from taggnn.types import SKELETON_AXES, InputSpec

NAMES = [name for name, row in BACKBONES.items() if row.kind == "skeleton"]
SUBSETS = {"st_gcn": distance_subsets}


def spec_of(skeleton, frames, persons, channels=3):
    joints = len(skeletons.find(skeleton))
    return InputSpec("skeleton", SKELETON_AXES, (channels, frames, joints, persons), {"skeleton": skeleton})


def pair(name, spec, width=16, depths=(2, 1)):
    """The network and its restatement with the same random weights, in float64 and training mode."""
    torch.manual_seed(0)
    ours = build(name, spec=spec, width=width, depths=depths).double()
    graph = SUBSETS.get(name, adjacency_subsets)(skeletons.find(spec.options["skeleton"])).double()
    channels, persons = spec.size("channel", "person")
    naive = published(name, graph, 4, channels, persons, width, list(depths)).double()
    state = {}
    for key, value in ours.state_dict().items():
        # Nothing that begins at zero or at one hides a part.
        noise = torch.rand_like(value) if value.is_floating_point() else value
        state[key] = value if key == "A" else noise if key.endswith("running_var") else value + 0.3 * (noise - 0.5)
        state[key] = state[key] if value.is_floating_point() else value
    ours.load_state_dict(state)
    missing, unexpected = naive.load_state_dict(state, strict=False)
    assert not unexpected
    assert {key.split(".")[0] for key in missing} <= {"fc", "fcn"}
    return ours, naive


SHAPES = [
    pytest.param("nw_ucla", 5, 1, 3, id="20 joints, one person"),
    pytest.param("ntu", 9, 2, 3, id="25 joints, two persons"),
    pytest.param("hand", 1, 1, 2, id="one frame, two coordinates"),
    pytest.param("openpose", 4, 3, 3, id="three persons, even frames"),
]


@pytest.mark.parametrize(("skeleton", "frames", "persons", "channels"), SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients_are_those_of_the_restatement(name, skeleton, frames, persons, channels):
    spec = spec_of(skeleton, frames, persons, channels)
    ours, naive = pair(name, spec)
    x = torch.randn(3, *spec.shape, dtype=torch.float64)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    tokens, maps = ours(found).tokens, naive.last_map(expected).mean(1).permute(0, 2, 3, 1)
    torch.testing.assert_close(tokens, maps)
    upstream = torch.randn(tokens.shape, dtype=torch.float64)
    (tokens * upstream).sum().backward()
    (maps * upstream).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    theirs = dict(naive.named_parameters())
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[key].grad, msg=lambda text, key=key: f"{key}: {text}")
    # Running statistics too.
    after = naive.state_dict()
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, after[key], msg=lambda text, key=key: f"{key}: {text}")


PUBLISHED = [
    # name, skeleton, persons, classes (0: without classifier), entries, parameters
    ("st_gcn", "ntu", 2, 60, 172, 3_098_832),
    ("agcn", "ntu", 2, 60, 352, 3_469_510),
    ("st_gcn++", "ntu", 2, 0, 690, 1_387_724),
    ("ctr_gcn", "nw_ucla", 1, 10, 822, 1_426_892),
    ("ctr_gcn", "ntu", 2, 120, 822, 1_462_092),
    # pyskl counts its graph as an entry, 441.
    ("aagcn", "ntu", 2, 0, 440, 3_766_248),
]


@pytest.mark.parametrize(("name", "skeleton", "persons", "classes", "entries", "parameters"), PUBLISHED)
def test_entries_and_parameters_are_the_published_ones(name, skeleton, persons, classes, entries, parameters):
    with torch.device("meta"):
        module = build(name, spec=spec_of(skeleton, 8, persons))
    assert len(module.state_dict()) + (2 if classes else 0) == entries
    assert sum(parameter.numel() for parameter in module.parameters()) + classes * 257 == parameters


@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation(name):
    spec = spec_of("coco", 6, 2)
    ours, naive = pair(name, spec, depths=(1, 2))
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    torch.testing.assert_close(ours.eval()(x).tokens.mean((1, 2)), naive.eval().features(x))


@pytest.mark.parametrize("skeleton", skeletons.SKELETONS)
@pytest.mark.parametrize("name", NAMES)
def test_any_skeleton(name, skeleton):
    spec = spec_of(skeleton, 7, 2)
    with torch.device("meta"):
        module = build(name, spec=spec, width=16, depths=(1, 1))
    assert dry_run(module, spec) == (32, (4, spec.shape[2]))


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"width": 18}, "width=18"),
        ({"depths": (2, 0)}, "depths"),
        ({"depths": ()}, "depths"),
        ({"width": -4}, "width=-4"),
    ],
    ids=str,
)
def test_sizes_that_make_no_network(option, key):
    with pytest.raises(ValueError, match=key):
        build("ctr_gcn", spec=spec_of("ntu", 8, 2), **option)


@pytest.mark.parametrize("name", NAMES)
def test_another_input_in_forward(name):
    module = build(name, spec=spec_of("ntu", 8, 1), width=16, depths=(1,))
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 20, 1\)"):
        module(torch.zeros(2, 3, 8, 20, 1))


def test_joints_that_do_not_mix_are_each_alone():
    spec = spec_of("nw_ucla", 8, 1)
    torch.manual_seed(0)
    for mixes in (True, False):
        ours = build("st_gcn", spec=spec, width=8, depths=(1, 1), mix_joints=mixes).eval()
        x = torch.randn(1, *spec.shape)
        moved = x.clone()
        moved[:, :, :, 3] += 1
        differs = (ours(moved).tokens - ours(x).tokens).abs().amax((0, 1, 3)) > 1e-6
        assert differs.nonzero().flatten().tolist() == [3] or mixes
        assert (differs.sum() > 1) == mixes
