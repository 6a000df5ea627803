import logging

import pytest
import torch
from torch import nn

from taggnn.backbones import build, r2plus1d_34, sequential_to_named, strip, weights

CHILDREN = ["stem", "layer1", "layer2", "layer3", "layer4"]


@pytest.fixture(scope="module")
def published():
    """A state dict with the names and shapes of the IG-65M checkpoint, 359 classes, and values to recognise it by.

    Expanded from one number a tensor, so that it costs no memory and a file of it stays small.
    """
    with torch.device("meta"):
        shapes = r2plus1d_34(359).state_dict()
    return {
        key: torch.tensor(i % 100 + 1.0).to(value.dtype).expand(value.shape)
        for i, (key, value) in enumerate(shapes.items())
    }


@pytest.fixture(autouse=True)
def without_initialisation(monkeypatch):
    """Random initialisation of 64 M parameters is slow and changes nothing here."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)


def as_sequential(state, prefix):
    return {
        f"{prefix}{CHILDREN.index(key.split('.')[0])}.{key.split('.', 1)[1]}": value
        for key, value in state.items()
        if not key.startswith("fc.")
    }


def save(tmp_path, state):
    torch.save(state, tmp_path / "ig65m.pth")
    return tmp_path / "ig65m.pth"


@pytest.mark.parametrize(("classes", "parameters"), [(359, 63_676_142), (400, 63_697_175)])
def test_parameter_count(classes, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in r2plus1d_34(classes).parameters()) == parameters


def test_traits_of_the_caffe2_original():
    with torch.device("meta"):
        model = r2plus1d_34(359)
    planes = [model.get_submodule(f"layer{i}")[0].conv2[0][0].out_channels for i in (2, 3, 4)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert planes == [288, 576, 1152]
    assert [len(model.get_submodule(name)) for name in CHILDREN[1:]] == [3, 4, 6, 3]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.9)}
    assert model.fc.weight.shape == (359, 512)


@pytest.mark.parametrize(("clip", "grid"), [((32, 112, 112), (4, 7, 7)), ((1, 100, 80), (1, 7, 5))], ids=str)
def test_grid(clip, grid, dry_run):
    with torch.device("meta"):
        assert dry_run(build("r2plus1d_34_32_ig65m"), clip) == (512, grid)


def test_features_through_the_model_s_own_head_are_its_logits():
    torch.manual_seed(0)
    model = r2plus1d_34(7).eval()
    clip = torch.randn(1, 3, 3, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.fc(model.avgpool(strip(model)(clip)).flatten(1)), model(clip))


def test_published_names_load_strictly(tmp_path, published, caplog):
    caplog.set_level(logging.INFO)
    module = build("r2plus1d_34_32_ig65m", weights=save(tmp_path, published))
    assert all(torch.equal(value, published[key]) for key, value in module.state_dict().items())
    assert "classifier fc of 359 classes dropped" in caplog.text


@pytest.mark.parametrize("prefix", ["", "csnmodel.", "backbone."])
def test_a_sequential_with_a_head_loads(tmp_path, published, prefix, caplog):
    caplog.set_level(logging.INFO)
    head = {"pos_embedding": torch.ones(1, 196, 512), "mlp_head.1.bias": torch.ones(99)} if prefix else {}
    module = build("r2plus1d_34_32_ig65m", weights=save(tmp_path, as_sequential(published, prefix) | head))
    assert all(torch.equal(value, published[key]) for key, value in module.state_dict().items())
    assert ("left out, not of the backbone: mlp_head, pos_embedding" in caplog.text) == bool(prefix)


def test_our_own_names_below_a_prefix_load(tmp_path, published):
    state = {f"backbone.{key}": value for key, value in published.items()}
    build("r2plus1d_34_8_kinetics", weights=save(tmp_path, state))


def test_sequential_to_named_is_what_a_sequential_of_the_children_stores():
    with torch.device("meta"):
        model = r2plus1d_34(359)
        state = nn.ModuleDict({"csnmodel": nn.Sequential(*list(model.children())[:-2])}).state_dict()
    named = sequential_to_named(state, "csnmodel.")
    expected = strip(model).state_dict()
    assert list(named) == list(expected)
    assert all(named[key].shape == expected[key].shape for key in expected)


def test_sequential_to_named_refuses_another_child():
    with pytest.raises(ValueError, match=r"csnmodel\.5\.weight: .* found '5'"):
        sequential_to_named({"csnmodel.0.0.weight": torch.ones(1), "csnmodel.5.weight": torch.ones(1)}, "csnmodel.")


def test_sequential_to_named_refuses_an_absent_prefix():
    with pytest.raises(ValueError, match=r"no entry begins with 'csnmodel\.'; the first are a\.b"):
        sequential_to_named({"a.b": torch.ones(1)}, "csnmodel.")


@pytest.mark.parametrize("prefix", [None, "csnmodel."], ids=["named", "sequential"])
def test_a_wrong_name_and_a_wrong_shape_are_named(tmp_path, published, prefix):
    state = dict(published)
    state["layer4.2.conv2.0.0.wieght"] = state.pop("layer4.2.conv2.0.0.weight")
    # The mid-planes of a plain torchvision VideoResNet with 34 layers.
    state["layer2.0.conv2.0.1.weight"] = torch.ones(230)
    with pytest.raises(ValueError, match=r"ig65m\.pth does not fit") as caught:
        build("r2plus1d_34_32_ig65m", weights=save(tmp_path, as_sequential(state, prefix) if prefix else state))
    assert "not in the file: layer4.2.conv2.0.0.weight (1152, 512, 1, 3, 3)" in str(caught.value)
    assert "not in the model: layer4.2.conv2.0.0.wieght" in str(caught.value)
    assert "other shape: layer2.0.conv2.0.1.weight file (230,), model (288,)" in str(caught.value)


def test_default_is_the_published_file(tmp_path, published, monkeypatch):
    fetched = []
    monkeypatch.setattr(weights, "fetch", lambda file: fetched.append(file) or save(tmp_path, published))
    build("r2plus1d_34_32_ig65m", weights="default")
    assert [file.name for file in fetched] == ["r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth"]
    assert fetched[0].sha256 == "449a7af9"


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="unknown weights of r2plus1d_34_32_ig65m 'ig65m'"):
        build("r2plus1d_34_32_ig65m", weights="ig65m")
