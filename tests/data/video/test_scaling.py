"""Size and colours of scaled pictures, against arithmetic in floating point."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from taggnn.data.video.scaling import Scaler, scaled_size

av = pytest.importorskip("av")


def test_scaled_size_rounds_the_longer_side_to_even_pixels():
    assert scaled_size(1920, 1080, 128) == (228, 128)
    assert scaled_size(1080, 1920, 128) == (128, 228)
    assert scaled_size(3, 2, 1) == (2, 1)
    assert scaled_size(1000, 400, 127) == (318, 127)
    assert scaled_size(401, 400, 127) == (128, 127)
    assert scaled_size(400, 400, 127) == (127, 127)
    assert scaled_size(640, 360, None) == (640, 360)
    # Nothing to scale: nothing is changed.
    assert scaled_size(51, 37, 37) == (51, 37)
    with pytest.raises(ValueError, match="short_side must be 1 or more, not 0"):
        scaled_size(640, 360, 0)


def picture(height, width):
    """Soft colours with an edge, bright and dark corners."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(7 * x + 3 * y + k) + np.cos(9 * y - 4 * x * k) for k in range(3)]
    rgb = 128 + 50 * np.stack(waves, -1) + 40 * (x + y > 0.9)[..., None]
    return rgb.clip(0, 255).round().astype(np.uint8)


def exact(frame, height, width):
    """BT.601 or 709 of a stored 4:2:0 frame and a triangle filter, in float64, (H, W, 3)."""
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size) for plane in frame.planes]
    y, u, v = (
        torch.tensor(plane[:, : stored.width].astype(np.float64))[None, None]
        for plane, stored in zip(planes, frame.planes, strict=True)
    )
    u, v = (F.interpolate(chroma, size=y.shape[2:], mode="bilinear") - 128 for chroma in (u, v))
    if frame.format.name != "yuvj420p" and frame.color_range != 2:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    red, blue = (0.2126, 0.0722) if frame.colorspace == 1 else (0.299, 0.114)
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    rgb = torch.cat([r, (y - red * r - blue * b) / (1 - red - blue), b], 1).clamp(0, 255)
    return F.interpolate(rgb, size=(height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("colorspace", [1, 5], ids=["bt709", "bt601"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("height", "width", "short_side"), [(240, 320, 96), (104, 250, 128), (201, 203, 100)])
def test_colours_are_those_of_exact_arithmetic(pix_fmt, colorspace, full, height, width, short_side):
    frame = av.VideoFrame.from_ndarray(picture(height, width), format="rgb24").reformat(format=pix_fmt)
    frame.colorspace, frame.color_range = colorspace, 2 if full else 1
    found = Scaler(short_side)(frame).astype(np.float64)
    height, width = found.shape[:2]
    expected = exact(frame, height, width)
    error = np.abs(found - expected).mean()
    one_call = frame.to_ndarray(format="rgb24", height=height, width=width).astype(np.float64)
    # Older versions of PyAV take full range for limited and BT.709 for 601, here as in one call.
    if pix_fmt == "yuv420p" and not full and (colorspace == 5 or int(av.__version__.split(".")[0]) >= 17):
        assert error < 1.5
    assert error <= np.abs(one_call - expected).mean()


def test_a_frame_that_keeps_its_size_is_only_converted():
    frame = av.VideoFrame.from_ndarray(picture(38, 52), format="rgb24").reformat(format="yuv420p")
    assert np.array_equal(Scaler(None)(frame), frame.to_ndarray(format="rgb24"))
    assert np.array_equal(Scaler(38)(frame), frame.to_ndarray(format="rgb24"))


def test_all_pictures_have_the_size_of_the_first():
    scale = Scaler(20)
    for height, width in ((40, 60), (60, 40), (41, 61)):
        frame = av.VideoFrame.from_ndarray(picture(height, width), format="rgb24").reformat(format="yuv420p")
        assert scale(frame).shape == (20, 30, 3)
