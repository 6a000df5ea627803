"""Files with the published names and shapes load strictly into every backbone, and what is wrong in one is named."""

import hashlib
import logging

import pytest
import torch
from torch import nn

from taggnn.backbones import BACKBONES, build, weights

RESNET = {"blocks.5.proj.weight": (400, 2048), "blocks.5.proj.bias": (400,)}
POOLED = {"blocks.6.proj.weight": (400, 2048), "blocks.6.proj.bias": (400,)}
PAIR = {"blocks.6.proj.weight": (400, 2304), "blocks.6.proj.bias": (400,)}
X3D = {"blocks.5.pool.post_conv.weight": (2048, 432, 1, 1, 1), **RESNET}
LOGITS = {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}

# What the publishers' own code builds: number of entries, beginning of the sha256 over the sorted lines "name shape", and
# the entries that only their classifier needs.
PUBLISHED = {
    "slow_r50_4x16": (320, "908b21ac4c77775a", RESNET),
    "slow_r50_8x8": (320, "908b21ac4c77775a", RESNET),
    "i3d_r50_8x8": (320, "60fa99d35e662721", POOLED),
    "c2d_r50_8x8": (320, "7b67fbaf620347b7", POOLED),
    "r2plus1d_r50_16x4": (416, "47558c931b117d8c", RESNET),
    "csn_r101_32x2": (626, "8cc407142dadb3c8", RESNET),
    "slowfast_r50_4x16": (662, "7702b9885c4ea50b", PAIR),
    "slowfast_r50_8x8": (662, "b64258d537dd0d36", PAIR),
    "slowfast_r101_4x16": (1274, "7a5eba3c10d13df0", PAIR),
    "slowfast_r101_8x8": (1274, "7a5eba3c10d13df0", PAIR),
    "slowfast_r101_16x8": (1274, "17bf0c4f691684e4", PAIR),
    "x3d_xs": (563, "92cf6db9a1a73822", X3D),
    "x3d_s": (563, "92cf6db9a1a73822", X3D),
    "x3d_m": (563, "92cf6db9a1a73822", X3D),
    "x3d_l": (1141, "c883ba03734c236d", X3D),
    "i3d_inception": (344, "97cd133f75d479bd", LOGITS),
}
# One of each structure.
FAMILIES = ["slow_r50_8x8", "i3d_r50_8x8", "r2plus1d_r50_16x4", "csn_r101_32x2", "slowfast_r50_8x8", "x3d_s"]
FAMILIES += ["i3d_inception"]


@pytest.fixture(autouse=True)
def without_initialisation(monkeypatch):
    """Random initialisation is slow and changes nothing here."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)


def on_meta(name, **options):
    with torch.device("meta"):
        return build(name, **options)


def fake(name):
    """A state dict with the published names and shapes, classifier included, and a value to recognise each entry by."""
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in on_meta(name).state_dict().items()}
    shapes |= {key: (shape, torch.float32) for key, shape in PUBLISHED[name][2].items()}
    return {
        key: torch.tensor(number % 100 + 1.0).to(dtype).expand(shape)
        for number, (key, (shape, dtype)) in enumerate(shapes.items())
    }


def save(tmp_path, content, **options):
    torch.save(content, tmp_path / "published.pyth", **options)
    return tmp_path / "published.pyth"


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(name):
    entries, digest, _ = PUBLISHED[name]
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in fake(name).items())
    assert len(lines) == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_published_file_loads_and_its_classifier_is_dropped(tmp_path, name, caplog):
    caplog.set_level(logging.INFO)
    state = fake(name)
    # PyTorchVideo's files hold more than the state dict.
    module = build(name, weights=save(tmp_path, {"model_state": state, "epoch": 3}))
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert "of 400 classes dropped" in caplog.text


def test_inception_s_file_is_older_than_batch_counters_and_zip_files(tmp_path):
    state = {key: value for key, value in fake("i3d_inception").items() if "num_batches" not in key}
    path = save(tmp_path, state, _use_new_zipfile_serialization=False)
    module = build("i3d_inception", weights=path)
    assert torch.equal(module.state_dict()["Mixed_5c.b3b.bn.bias"], state["Mixed_5c.b3b.bn.bias"])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_name_and_a_wrong_shape_are_named(tmp_path, name):
    state = fake(name)
    first, *_, last = (key for key in state if key.endswith("weight") and key not in PUBLISHED[name][2])
    state[f"{last}s"] = state.pop(last)
    state[first] = torch.ones(7)
    with pytest.raises(ValueError, match=r"published\.pyth does not fit") as caught:
        on_meta(name, weights=save(tmp_path, state))
    message = str(caught.value)
    assert f"not in the file: {last} (" in message
    assert f"not in the model: {last}s (" in message
    assert f"other shape: {first} file (7,), model (" in message


@pytest.mark.parametrize("name", FAMILIES)
def test_default_is_the_file_that_the_table_names(tmp_path, monkeypatch, name):
    fetched = []
    monkeypatch.setattr(weights, "fetch", lambda file: fetched.append(file.url) or save(tmp_path, fake(name)))
    on_meta(name, weights="default")
    assert len(fetched) == 1
    assert f"default ({fetched[0]})" in BACKBONES[name].weights


def test_where_nothing_is_published_default_is_refused():
    with pytest.raises(ValueError, match="slowfast_r101_4x16 has no published weights 'default'"):
        on_meta("slowfast_r101_4x16", weights="default")
