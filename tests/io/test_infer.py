"""The script beside an exported ONNX file: every step from a video to the input of the model, in NumPy, as taggnn does it."""

import ast
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.video.source import VideoSource
from taggnn.data.video.transforms import cut, stretched
from taggnn.io import infer


def test_it_needs_no_package_but_three():
    tree = ast.parse(Path(infer.__file__).read_text())
    found = {name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    found |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found <= {"argparse", "av", "collections", "json", "numpy", "onnxruntime", "pathlib", "sys", "typing"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Few frames and many, an even and an odd size."""
    folder, made = tmp_path_factory.mktemp("clips"), []
    for frames, height, width in ((3, 64, 96), (23, 50, 38)):
        small = np.random.default_rng(0).integers(0, 256, (frames, height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        path = folder / f"{frames}.mp4"
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for picture in small.repeat(8, 1).repeat(8, 2)[:, :height, :width]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))))
            container.mux(stream.encode(None))
        made.append(path)
    return made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampling": "segment", "short_side": 40, "size": 32},
        {"sampling": "dense", "stride": 2, "short_side": None, "size": 30},
        {"frames": 1, "size": [40, 24], "short_side": 48},
        {"stretch": True, "size": [20, 36], "short_side": 40},
        {"size": 112, "short_side": 32},
        {"grayscale": True, "per_clip_norm": True, "mean": 0.3, "std": (0.2, 0.3, 0.4)},
    ],
    ids=str,
)
def test_the_input_is_that_of_evaluation(options, clips):
    source = VideoSource(**{"frames": 8, **options})
    for path in clips:
        expected = source(Clip(path=str(path), name="a", label=0), None).x
        found = infer.prepared(str(path), source.spec.plain())
        assert (found.dtype, found.shape) == (np.float32, tuple(expected.shape))
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampling", ["uniform", "segment", "dense"])
def test_the_frames_are_those_of_evaluation_for_any_length(sampling):
    for frames in (1, 2, 7, 64):
        source = VideoSource(frames, sampling, stride=3)
        for n in (1, 2, 6, 63, 64, 65, 300, 1199):
            assert infer.frame_indices(n, source.spec.options) == list(source.sampler(n))


@pytest.mark.parametrize("before", [(72, 128), (33, 57), (128, 170), (7, 5)], ids=str)
@pytest.mark.parametrize("after", [(40, 64), (112, 112)], ids=str)
def test_pictures_are_resized_to_the_last_bit(before, after):
    pictures = np.random.default_rng(0).integers(0, 256, (2, *before, 3), dtype=np.uint8)
    channels_first = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    for expected, found in (
        (stretched(channels_first, after, keep=False), infer.resized(pictures, *after)),
        (cut(channels_first, after), infer.center_crop(pictures, *after)),
    ):
        np.testing.assert_array_equal(found, expected.permute(0, 2, 3, 1).numpy())


def test_the_temperature_of_a_calibrated_model_divides_the_logits(monkeypatch, capsys):
    for calibration, share in (({"temperature": 2.0}, "73.11 %"), (None, "88.08 %")):
        meta = {"architecture": {"classes": ["a", "b"]}, "calibration": calibration}
        monkeypatch.setattr(infer, "load", lambda _, meta=meta: (None, meta))
        monkeypatch.setattr(infer, "logits", lambda *_: np.array([0.0, 2.0]))
        assert infer.main(["clip.mp4"]) == 0
        assert f"{share}  b" in capsys.readouterr().out
