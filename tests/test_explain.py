"""python -m taggnn.explain from its command line to its page, for video, joints and heads with regions."""

import json

import av
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import taggnn
import taggnn.explain
from taggnn.cli import explaining
from taggnn.data.capabilities import capabilities_of
from taggnn.data.skeleton.source import SkeletonSource
from taggnn.data.video.source import VideoSource
from taggnn.explanation import Importance
from taggnn.explanation.explained import explained
from taggnn.io.loaded import Loaded
from taggnn.model import attach
from taggnn.reporting.importance_figure import maps_figure
from taggnn.reporting.importance_overlay import bone_values, overlaid
from taggnn.reporting.importance_video import frames

METHODS = ["attention", "gradient_x_token", "frame_occlusion", "random"]


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        for module in ("theme", "importance_figure"):
            patch.setattr(f"taggnn.reporting.{module}.DPI", 30)
        patch.setattr("taggnn.reporting.importance_video.SIDE", 32)
        yield


@pytest.fixture
def explain(trained, program):
    few = ("--draws", 3, "--curve_steps", 2)
    return lambda *words: program(taggnn.explain, *few, "--checkpoint", trained[0] / "best.ckpt", *words)


def test_a_page_a_picture_a_video_and_the_maps_of_each_clip(explain, trained, videos, tmp_path):
    clip = videos / "test" / "left" / "left_000.mp4"
    ended = explain(clip, "--out", tmp_path, "--methods", *METHODS, "--target", "right")
    assert ended.code == 0, ended.err
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".mp4", ".safetensors", ".json", ".html"}
    written = json.loads((tmp_path / "explanations.json").read_text())
    (row,) = written["clips"]
    loaded = taggnn.load(trained[0])
    assert (row["class"], row["predicted"]) == ("right", loaded.predict(clip).best.name)
    kept = [method for method in METHODS if method in row["methods"]]
    assert set(kept) | set(row["unsuited"]) == set(METHODS)
    maps = load_file(tmp_path / "01_left_000.safetensors")
    assert set(maps) == set(kept)
    assert all(tuple(values.shape) == loaded.model.grid for values in maps.values())
    with av.open(str(tmp_path / "01_left_000.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == loaded.spec.clip[0]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for method, found in written["methods"].items():
        assert f"{method:26}" in ended.out
        assert found["better"] == (
            "no better" not in next(line for line in ended.out.splitlines() if line.startswith(method))
        )
    assert page.count("no better than random</td>") == 2 * sum(
        not found["better"] for found in written["methods"].values()
    )
    assert "scale is that of one clip" in page
    assert 'href="01_left_000.mp4"' in page


def test_a_bad_file_is_named_and_the_others_are_explained(explain, videos, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    clip = videos / "test" / "left" / "left_000.mp4"
    ended = explain(bad, clip, "--out", tmp_path / "out", "--methods", "gradient_x_token", "--draws", 0)
    assert ended.code == 1
    assert str(bad) in ended.err
    written = json.loads((tmp_path / "out" / "explanations.json").read_text())
    assert [row["file"] for row in written["clips"]] == [str(clip)]
    assert [row["file"] for row in written["skipped"]] == [str(bad)]
    assert written["methods"] == {}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--methods", "oclusion"), "'occlusion'"),
        (("--target", "lefd"), "'left'"),
        (("--baseline", "zero"), "'zeros'"),
        (("--steps", "0"), "steps 0"),
        (("--draws", "-1"), "--draws -1"),
        (("--target", "99"), "unknown class"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_mistakes_are_named_before_work_starts(explain, program, trained, videos, tmp_path, words, named):
    clip, out = videos / "test" / "left" / "left_000.mp4", tmp_path / "out"
    ended = program(taggnn.explain, clip, "--checkpoint", trained[0] / "best.ckpt", "--out", out, *words)
    assert ended.code == 2
    assert named in ended.err
    assert not out.exists()


def test_files_that_are_not_there(explain):
    ended = explain("nothing.mp4")
    assert (ended.code, ended.out) == (2, "")
    assert "nothing.mp4" in ended.err


class Joints(nn.Module):
    """A linear layer on each joint, the mean over the persons."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 8)

    def forward(self, x):
        return self.linear(x.mean(-1).movedim(1, -1)).movedim(-1, 1)


def test_joints_and_bones_are_drawn_on_the_skeleton(tmp_path):
    torch.manual_seed(0)
    source = SkeletonSource(frames=6, persons=1)
    model = attach(Joints(), "tag", 3, input=source.spec, encoder_layers=1, encoder_heads=2)
    methods = ["occlusion", "edge_gradient"]
    found = explained(
        model, torch.randn(1, 3, 6, 25, 1), "one", ["a", "b", "c"], methods, capabilities_of(source), draws=0
    )
    assert found.maps["occlusion"].values.shape == (6, 25)
    plain = found.pictures.float()
    for method in methods:
        drawn = overlaid(found, found.maps[method], 160, 160, 0)
        assert drawn.shape == (6, 160, 160, 3)
        assert not torch.equal(drawn.float(), plain)
    # The strongest joint has the full colour of what it speaks for.
    values = found.maps["occlusion"].values
    full = torch.tensor([0xD5, 0x5E, 0x01] if values.max() == values.abs().max() else [0x00, 0x72, 0xB3])
    drawn = overlaid(found, found.maps["occlusion"], 160, 160, 0)
    frame = int(values.abs().amax(1).argmax())
    assert (drawn[frame].int() - full).abs().sum(-1).min() == 0
    assert frames(found).shape[0] == 6
    assert maps_figure(found).axes
    assert "left elbow" in str(found.positions)


def test_bones_have_the_edges_in_both_directions_or_the_mean_of_their_joints():
    values = torch.tensor([[1.0, 3.0, 8.0]])
    bones = [(1, 0), (2, 1)]
    assert bone_values(Importance(values, "occlusion", 0, True), bones).tolist() == [[2.0, 5.5]]
    index = torch.tensor([[0, 1, 2, 0], [1, 0, 1, 2]])
    of_edges = Importance(values, "edge_gradient", 0, True, "edge", torch.tensor([1.0, 2.0, 4.0, 8.0]), index)
    assert bone_values(of_edges, bones).tolist() == [[3.0, 4.0]]


def test_a_head_with_regions_has_its_tracklets(videos, tmp_path):
    torch.manual_seed(0)
    small = {"dim": 8, "regions": 2, "attention_heads": 2, "region_layers": 1, "enhancement_layers": 1}
    model = attach("small", "art", 3, clip=(4, 32, 32), backbone_options={"width": 8}, **small)
    model.spec = VideoSource(frames=4, size=32, short_side=36).spec
    loaded = Loaded(model.eval(), ("a", "b", "c"), {}, "mine")
    clip = videos / "test" / "left" / "left_000.mp4"
    (found,) = explaining.explain_files(loaded, [clip], ["attention"], None, draws=0)
    links = explaining.write_clip(tmp_path, 1, found, loaded)
    assert links.tracklets == "01_left_000_tracklets.png"
    assert {path.name for path in tmp_path.iterdir()} >= {
        links.tracklets,
        "01_left_000_tracklets.mp4",
        "01_left_000.png",
    }


def test_an_exported_model_is_refused():
    with pytest.raises(ValueError, match="does not show its tokens"):
        list(explaining.explain_files(Loaded(nn.Identity(), ("a",), {}, "x.onnx"), [], ["random"], None))
