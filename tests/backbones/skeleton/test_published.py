"""Checkpoints in the published names and shapes of every family: read, recognised, as accurate as the published network."""

from pathlib import Path

import pytest
import torch

import taggnn
from benchmarks.naive_skeletons import published
from graphs import skeleton as skeletons
from graphs.bones import adjacency_subsets, distance_subsets
from taggnn.backbones import BACKBONES, build

HAGRID = Path(__file__).parents[4] / "shared" / "data" / "checkpoints" / "stgcnpp_hagrid.pth"


def network(name, skeleton="ntu", classes=7, channels=3, persons=2, width=16, depths=(2, 1)):
    torch.manual_seed(0)
    subsets = distance_subsets if name == "st_gcn" else adjacency_subsets
    made = published(name, subsets(skeletons.find(skeleton)), classes, channels, persons, width, list(depths))
    for key, value in made.state_dict().items():
        if value.is_floating_point() and key != "A":
            value.copy_(torch.rand_like(value) if key.endswith("var") else value + 0.3 * (torch.rand_like(value) - 0.5))
    return made.eval()


def as_pyskl(state, name):
    """The same entries as pyskl names them."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("fc."):
            renamed[f"cls_head.fc_cls.{key.removeprefix('fc.')}"] = value
        elif key[0] == "l" and name == "ctr_gcn":
            block, _, rest = key.partition(".")
            renamed[f"backbone.net.{int(block[1:]) - 1}.{rest.replace('gcn1.PA', 'gcn1.A')}"] = value
        else:
            renamed[f"backbone.{key}"] = value
    graph = next(value for key, value in state.items() if key.endswith((".PA", ".A")))
    return renamed if name == "st_gcn++" else {"backbone.A": graph, **renamed}


def as_authors(state):
    """AAGCN's entries as its authors name them."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("gcn."):
            _, number, part, *rest = key.split(".")
            part = part if part == "residual" else f"{part}1"
            key = f"l{int(number) + 1}.{part}.{'.'.join(rest)}".replace("gcn1.A", "gcn1.PA")
        renamed[key] = value
    return renamed


FORMS = {
    "plain": lambda state, name: state,
    "DataParallel": lambda state, name: {f"module.{key}": value for key, value in state.items()},
    "pyskl": as_pyskl,
    "authors": lambda state, name: as_authors(state),
}
CASES = [
    (name, form) for name in ("st_gcn", "agcn", "aagcn", "st_gcn++", "ctr_gcn") for form in ("plain", "DataParallel")
]
CASES += [("aagcn", "pyskl"), ("st_gcn++", "pyskl"), ("ctr_gcn", "pyskl"), ("aagcn", "authors")]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_a_file_of_every_family_gives_the_logits_of_its_network(tmp_path, name, form):
    made = network(name)
    torch.save(FORMS[form](made.state_dict(), name), tmp_path / "net.pt")
    loaded = taggnn.load_released(tmp_path / "net.pt", frames=9)
    x = torch.randn(2, 3, 9, 25, 2)
    torch.testing.assert_close(loaded.model(x).logits, made(x), rtol=1e-4, atol=1e-4)
    backbone = loaded.architecture["backbone"]
    assert (backbone["name"], backbone["width"], backbone["depths"]) == (name, 16, [2, 1])
    assert loaded.spec.options == {"skeleton": "ntu"}
    assert loaded.classes == tuple("0123456")


@pytest.mark.parametrize("name", ["agcn", "aagcn", "ctr_gcn"])
def test_persons_joints_and_channels_are_those_of_the_file(tmp_path, name):
    torch.save({"state_dict": network(name, "nw_ucla", 3, 2, 1).state_dict()}, tmp_path / "net.pt")
    loaded = taggnn.load_released(tmp_path / "net.pt", classes=("a", "b", "c"))
    assert loaded.spec.shape == (2, 64, 20, 1)
    assert loaded.spec.options == {"skeleton": "nw_ucla"}
    assert loaded.classes == ("a", "b", "c")
    with pytest.raises(ValueError, match="persons=2"):
        taggnn.load_released(tmp_path / "net.pt", persons=2)


def test_a_network_that_does_not_store_its_persons(tmp_path):
    torch.save(network("st_gcn++", "hand", channels=2).state_dict(), tmp_path / "net.pt")
    assert taggnn.load_released(tmp_path / "net.pt").spec.shape == (2, 64, 21, 1)
    assert taggnn.load_released(tmp_path / "net.pt", persons=3, frames=10).spec.shape == (2, 10, 21, 3)


@pytest.mark.parametrize("name", ["st_gcn", "ctr_gcn", "st_gcn++"])
def test_a_published_file_is_a_start_for_own_classes(tmp_path, name, caplog):
    caplog.set_level("INFO")
    made = network(name)
    torch.save(as_pyskl(made.state_dict(), name) if name != "st_gcn" else made.state_dict(), tmp_path / "net.pt")
    options = {"width": 16, "depths": [2, 1], "freeze_stages": 1}
    model = taggnn.attach(name, "tag", 4, weights=tmp_path / "net.pt", backbone_options=options, dim=16)
    assert "classifier of 7 classes dropped" in caplog.text
    x = torch.randn(2, *BACKBONES[name].spec.resized(frame=6).shape)
    torch.testing.assert_close(model.eval().features(x).tokens.mean((1, 2)), made.features(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="does not fit"):
        build(name, weights=tmp_path / "net.pt", width=8, depths=[2, 1])


def test_a_plug_is_added_to_a_published_network(tmp_path, caplog):
    caplog.set_level("INFO")
    made = network("ctr_gcn", width=32)
    torch.save(made.state_dict(), tmp_path / "net.pt")
    plugged = build("ctr_gcn", weights=tmp_path / "net.pt", plug="sf", width=32, depths=[2, 1])
    assert "without plugs" in caplog.text
    theirs = made.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in plugged.state_dict().items() if ".plug." not in key)
    torch.save(plugged.state_dict(), tmp_path / "plugged.pt")
    again = build("ctr_gcn", weights=tmp_path / "plugged.pt", plug="sf", width=32, depths=[2, 1])
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in plugged.state_dict().items())


def test_weights_of_a_run_of_one_s_own(tmp_path):
    model = taggnn.attach("ctr_gcn", "pool", 3, backbone_options={"width": 8, "depths": [1]})
    torch.save(model.state_dict(), tmp_path / "own.pt")
    again = build("ctr_gcn", weights=tmp_path / "own.pt", width=8, depths=[1])
    assert all(torch.equal(value, model.backbone.state_dict()[key]) for key, value in again.state_dict().items())


def test_what_is_wrong_with_a_file_is_named(tmp_path):
    state, path = network("ctr_gcn").state_dict(), tmp_path / "net.pt"
    for change, message in [
        ({"l1.gcn1.PA": torch.zeros(3, 24, 24)}, "24 joints; give skeleton="),
        ({"l2.gcn1.bn.weight": torch.zeros(24)}, "16, 24, 32 channels"),
        ({"l3.gcn1.PA": torch.zeros(3, 20, 20)}, r"does not fit.*\n.*l3.gcn1.PA"),
        ({"l9.gcn1.PA": torch.zeros(3, 25, 25)}, r"blocks \[1, 2, 3, 9\]"),
        ({"l4.more": torch.zeros(1)}, "no entry l4.gcn1.bn.weight"),
    ]:
        torch.save({**state, **change}, path)
        with pytest.raises(ValueError, match=message):
            taggnn.load_released(path)
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")}, path)
    with pytest.raises(ValueError, match="without a classifier"):
        taggnn.load_released(path)
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="none of the published skeleton networks"):
        taggnn.load_released(path)
    torch.save({"pos_embedding": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="haa500"):
        taggnn.load_released(path)
    torch.save(state, path)
    with pytest.raises(ValueError, match="load_released"):
        taggnn.load(path)
    with pytest.raises(ValueError, match="7 classes, 2 names"):
        taggnn.load_released(path, classes=("a", "b"))


def test_a_published_file_that_is_at_hand():
    """pyskl's network of hand gestures: 40 classes, 21 joints in the plane."""
    if not HAGRID.is_file():
        pytest.skip(f"{HAGRID} is not there")
    loaded = taggnn.load_released(HAGRID, frames=10)
    assert loaded.architecture["backbone"] == {"name": "st_gcn++", "width": 64, "depths": [5, 1]}
    assert loaded.spec.shape == (2, 10, 21, 1)
    assert len(loaded.classes) == 40
    made = network("st_gcn++", "hand", 40, 2, 1, 64, (5, 1))
    state = torch.load(HAGRID, weights_only=True)
    state = {key.removeprefix("backbone.").replace("cls_head.fc_cls.", "fc."): value for key, value in state.items()}
    made.load_state_dict(state)
    x = torch.rand(2, 2, 10, 21, 1)
    logits = loaded.model(x).logits
    torch.testing.assert_close(logits, made.eval()(x), rtol=1e-4, atol=1e-4)
    # Two random hands are two different answers, given with confidence.
    assert logits.softmax(1).amax() > 0.1
