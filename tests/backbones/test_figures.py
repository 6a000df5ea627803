"""Parameters and multiply-adds against the published figures, classifier included."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from taggnn.backbones import BACKBONES, build

# Outputs and inputs of the removed linear layers, in the order they follow each other.
CLASSIFIERS = {"x3d": [(432, 2048, False), (2048, 400, True)]}
# PyTorchVideo's model zoo adds this many for each element that goes through BatchNorm, in all rows but two.
BATCHNORM = 5


@pytest.fixture(autouse=True)
def counted_in_full():
    """The fused encoder of evaluation hides its products from the counter."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def classifier(name):
    """Parameters and multiply-adds a clip of what was removed; 400 classes everywhere."""
    layers = CLASSIFIERS.get(name.split("_")[0], [(BACKBONES[name].channels, 400, True)])
    products = sum(inputs * outputs for inputs, outputs, _ in layers)
    return products + sum(outputs for _, outputs, bias in layers if bias), products


def count(name, clip):
    """Parameters, multiply-adds, and elements that go through BatchNorm; nothing is computed."""
    with torch.device("meta"):
        module, frames = build(name, clip=clip).eval(), torch.zeros(1, 3, *clip)
    normed = []
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.register_forward_hook(lambda _part, _given, out: normed.append(out.numel()))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(frames)
    parameters, products = classifier(name)
    own = sum(p.numel() for p in module.parameters())
    return own + parameters, counter.get_total_flops() / 2 + products, sum(normed)


@pytest.mark.parametrize("name", [name for name, row in BACKBONES.items() if row.parameters and row.kind == "video"])
def test_parameters_and_multiply_adds_are_the_published_ones(name):
    row = BACKBONES[name]
    assert row.figures
    parameters, macs, normed = count(name, row.figures_clip or row.clip)
    # Some are published with two digits.
    assert parameters / 1e6 == pytest.approx(row.parameters, rel=0.002 if row.parameters > 10 else 0.01)
    with_norms = macs + BATCHNORM * normed
    assert any(value / 1e9 == pytest.approx(row.gmacs, rel=0.003, abs=0.006) for value in (macs, with_norms))


def test_slowfast_at_the_crop_it_is_trained_with():
    assert count("slowfast_r50_8x8", (32, 224, 224))[1] / 1e9 == pytest.approx(50.3, abs=0.05)
