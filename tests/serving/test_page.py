"""The page, with a process that is an object here; and what a process answers it."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from taggnn import model
from taggnn.data.clips import Clip
from taggnn.data.skeleton.source import SkeletonSource
from taggnn.io import checkpoint
from taggnn.serving import analysis
from taggnn.serving.application import Service, application
from taggnn.serving.neighbours import Index, digest_of
from taggnn.serving.page import Page
from taggnn.serving.pool import Pool
from taggnn.serving.upload import Limits
from taggnn.types import VIDEO_AXES

HOSTILE = "<script>alert(1)</script>"
ABOUT = {
    "classes": ["a", HOSTILE],
    "input": {"kind": "video", "axes": ["channel", "frame"], "shape": [3, 2], "endings": [".mp4"]},
    "head": "tag", "backbone": "small", "epoch": 2, "version": "0.1.0", "neighbours": 3,
}  # fmt: skip
ANSWER = {
    "top": [{"class": HOSTILE, "label": 1, "probability": 0.75}, {"class": "a", "label": 0, "probability": 0.25}],
    "notes": [HOSTILE],
    "frames": ["QUJD", "QUJE"],
    "map": {"method": "occlusion", "signed": True, "unit": "token"},
    "over_time": [1.0, -0.5],
    "grid": None,
    "neighbours": [{"name": HOSTILE, "class": "a", "label": 0, "similarity": 0.5, "picture": None}],
}
METHODS = {"first": "one", "occlusion": "another"}


class Fake:
    def __init__(self, answer=ANSWER):
        self.answer, self.asked = answer, []

    def ask(self, request):
        self.asked.append(request)
        return self.answer


@pytest.fixture
def page(tmp_path, client):
    def made(answer=ANSWER):
        worker = Fake(answer)
        examples = [Clip("/videos/a.mp4", 0, "a.mp4"), Clip("/videos/b.mp4", 1, HOSTILE)]
        service = Service(Pool([worker], 1), tmp_path, ABOUT, Limits(1000, 5.0), (".mp4",))
        routes = Page("run", METHODS, examples, ABOUT["classes"], [HOSTILE]).routes(service)
        return client(application(service, routes)), worker

    return made


def test_the_page_has_a_form_and_loads_nothing_from_elsewhere(page):
    ask, _ = page()
    shown = ask("GET", "/")
    text = shown.body.decode()
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"""(?:src|href|action)=["'](?!data:)([^"']*)""", text) == ["/", "/app.js"]
    assert "http" not in text
    assert ask("GET", "/app.js").headers["content-type"].startswith("text/javascript")
    assert ask("GET", "/model").json["classes"] == ABOUT["classes"]


@pytest.mark.parametrize("chosen", ["upload", "example"])
def test_an_answer_is_shown_and_names_are_escaped(page, form_of, tmp_path, chosen):
    ask, worker = page()
    parts = [("clip", f"{HOSTILE}.mp4" if chosen == "upload" else "", b"clip" if chosen == "upload" else b"")]
    shown = ask("POST", "/", *form_of([*parts, ("example", None, b"1"), ("method", None, b"occlusion")]))
    text = shown.body.decode()
    assert shown.status == 200
    assert "<script>alert" not in text
    assert text.count("data:image/jpeg;base64,QUJ") == 2
    (request,) = worker.asked
    assert (request["do"], request["method"]) == ("look", "occlusion")
    if chosen == "example":
        assert request["clip"]["path"] == "/videos/b.mp4"
        assert "right" in text
    else:
        assert request["clip"]["path"].startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("clip", "", b"")], 400),
        ([("example", None, b"2")], 400),
        ([("example", None, b"../../etc/passwd")], 400),
        ([("example", None, b"0"), ("method", None, HOSTILE.encode())], 400),
        ([("clip", "x.mp4", b"1" * 2000)], 413),
        ([("clip", "x.mp4", b"bad")], 422),
    ],
    ids=["nothing", "no such clip", "no number", "no such map", "too large", "unreadable"],
)
def test_a_mistake_is_shown_on_the_page(page, form_of, tmp_path, parts, status):
    ask, worker = page({"error": HOSTILE})
    shown = ask("POST", "/", *form_of(parts))
    assert shown.status == status
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert b"No answer" in shown.body
    assert b"<script>alert" not in shown.body
    assert len(worker.asked) == (status == 422)
    assert list(tmp_path.iterdir()) == []


ARCHITECTURE = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "input": {
        "kind": "video", "axes": list(VIDEO_AXES), "shape": [3, 4, 32, 32], "options": {"frames": 4, "size": [32, 32]},
    },
    "classes": ["a", "b", "c"],
}  # fmt: skip


@pytest.fixture
def saved(checkpoint_of, tmp_path):
    path = tmp_path / "best.ckpt"
    checkpoint.save(path, checkpoint_of(ARCHITECTURE)[1])
    return path


def test_a_process_answers_with_classes_a_map_and_neighbours(saved, videos):
    clips = [Clip(str(path), 1, path.name) for path in sorted((videos / "test" / "left").glob("*.mp4"))]
    gone = Clip("/not/there.mp4", 0, "gone")
    loaded = checkpoint.load(saved)
    x = loaded.clip(clips[0].path)
    vector = analysis.representations(loaded.model, x[None])[0]
    index = Index(torch.cat([-vector, vector]), [gone, clips[0]], digest_of(saved))
    answer, about = analysis.build(str(saved), str(index.write(saved.with_name("n.safetensors"))), device="cpu")
    assert about["neighbours"] == 2
    assert set(about["maps"]) <= set(analysis.METHODS)
    for method, signed in (("gradient_x_token", True), ("attention", False)):
        found = answer({"do": "look", "clip": vars(clips[0]), "method": method})
        told = loaded.predict(clips[0].path, 3)
        assert [row["label"] for row in found["top"]] == [guess.label for guess in told.top]
        assert (found["map"]["method"], found["map"]["signed"], len(found["frames"])) == (method, signed, 4)
        assert max(abs(value) for value in found["over_time"]) == pytest.approx(1)
        assert [(one["name"], round(one["similarity"], 4)) for one in found["neighbours"]] == [
            (clips[0].name, 1.0), ("gone", -1.0),
        ]  # fmt: skip
        assert found["neighbours"][0]["picture"]
        assert found["neighbours"][1]["picture"] is None
    assert set(answer({"do": "predict", "path": clips[0].path, "top": 2})) == {"top"}
    assert set(answer({"do": "look", "clip": vars(gone), "method": "occlusion"})) == {"error"}
    unknown = answer({"do": "look", "clip": vars(clips[0]), "method": "none"})
    assert unknown["notes"]
    assert len(unknown["frames"]) == 4


def test_an_index_of_other_labels_is_refused(saved):
    path = Index(torch.ones(1, 16), [Clip("x", 3, "x")], digest_of(saved)).write(saved.with_name("n.safetensors"))
    with pytest.raises(ValueError, match="label"):
        analysis.build(str(saved), str(path), device="cpu")


def test_a_map_of_skeletons_has_a_pixel_for_each_joint_and_frame(checkpoint_of, tmp_path):
    spec = SkeletonSource(frames=4, persons=1).spec
    described = {**ARCHITECTURE, "backbone": {"name": "st_gcn"}, "input": spec.plain()}
    torch.manual_seed(0)
    built = model.build(described)
    # The fixture's own weights overflow in as many layers.
    checkpoint.save(tmp_path / "best.ckpt", checkpoint_of(described, model=built.state_dict())[1])
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 25, 3)).astype("float32"))
    answer, _ = analysis.build(str(tmp_path / "best.ckpt"), device="cpu")
    found = answer({"do": "look", "clip": vars(Clip(str(tmp_path / "x.npy"), 0, "x")), "method": "gradient_x_token"})
    assert found["notes"] == []
    frames, joints = built.grid
    with Image.open(io.BytesIO(base64.b64decode(found["grid"]))) as picture:
        assert (picture.size, picture.mode) == ((frames, joints), "RGBA")
        # The largest value of the clip is opaque.
        assert picture.getextrema()[3][1] == 255
    assert len(found["over_time"]) == frames
