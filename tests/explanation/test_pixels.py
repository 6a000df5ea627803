"""Maps of pixels by captum."""

import sys

import pytest
import torch

from taggnn.explanation import explain
from taggnn.model import attach


def model():
    torch.manual_seed(0)
    return attach("small", "pool", classes=3, clip=(4, 32, 32), backbone_options={"width": 4}).eval()


def test_without_captum_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ImportError, match=r"taggnn\[explain\]"):
        explain(model(), torch.randn(1, 3, 4, 32, 32), method="pixel_occlusion")


def test_occlusion_of_the_pixels_of_a_cell_is_that_of_a_loop():
    pytest.importorskip("captum", reason="needs captum")
    built, x = model(), torch.randn(1, 3, 4, 32, 32)
    found = explain(built, x, 1, "pixel_occlusion")
    assert found.pixels.shape == (4, 32, 32)
    with torch.no_grad():
        whole = built(x).logits[0, 1].item()
        frames, rows, columns = (size // cells for size, cells in zip((4, 32, 32), built.grid, strict=True))
        changed = x.clone()
        changed[:, :, :frames, :rows, columns : 2 * columns] = 0
        wanted = whole - built(changed).logits[0, 1].item()
    assert found.values[0, 0, 1].item() == pytest.approx(wanted, abs=1e-5)


def test_integrated_gradients_of_pixels_sum_to_the_difference_of_the_logits():
    pytest.importorskip("captum", reason="needs captum")
    built, x = model(), torch.randn(1, 3, 4, 32, 32)
    found = explain(built, x, 1, "pixel_integrated_gradients", steps=64)
    with torch.no_grad():
        wanted = (built(x).logits - built(torch.zeros_like(x)).logits)[0, 1].item()
    assert found.pixels.sum().item() == pytest.approx(wanted, abs=0.02)
    assert found.values.shape == built.grid
