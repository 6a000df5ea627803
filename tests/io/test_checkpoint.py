"""Checkpoints of our own and the authors': what is written comes back, and what does not fit is named."""

import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import taggnn
from taggnn.backbones import r2plus1d_34
from taggnn.io import checkpoint
from taggnn.types import VIDEO_AXES, InputSpec

OPTIONS = {"frames": 4, "sampling": "uniform", "size": (32, 32), "mean": (0.45,) * 3, "std": (0.225,) * 3}
ARCHITECTURE = {
    "backbone": {"name": "small", "width": 8},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "input": InputSpec("video", VIDEO_AXES, (3, 4, 32, 32), OPTIONS).plain(),
    "classes": ["first", "zweite", "三"],
}
SPLIT_OPTIONS = {"seed": 5, "val_fraction": 0.1, "test_fraction": 0.2}


@pytest.fixture
def ours(checkpoint_of):
    """What training hands over at the end of an epoch."""
    return lambda **changes: checkpoint_of(ARCHITECTURE, **changes)


def test_our_own_checkpoint_rebuilds_its_model(tmp_path, ours):
    built, content = ours()
    checkpoint.save(tmp_path / "best.ckpt", content)
    loaded = taggnn.load(tmp_path / "best.ckpt")
    clip = torch.randn(2, 3, 4, 32, 32)
    assert not loaded.model.training
    with torch.no_grad():
        assert torch.equal(loaded.model(clip).logits, built(clip).logits)
    assert loaded.classes == ("first", "zweite", "三")
    assert loaded.spec.plain() == ARCHITECTURE["input"]
    assert loaded.architecture == ARCHITECTURE
    assert loaded.split_options == SPLIT_OPTIONS
    assert loaded.epoch == 8
    assert loaded.training_counts == (7, 7, 7)
    assert loaded.source == str(tmp_path / "best.ckpt")


def test_our_own_checkpoint_holds_tensors_and_plain_types_only(tmp_path, ours):
    _, content = ours()
    checkpoint.save(str(tmp_path / "last.ckpt"), content)
    assert os.listdir(tmp_path) == ["last.ckpt"]
    read = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert read.keys() == content.keys()
    again = checkpoint.read(str(tmp_path / "last.ckpt"))
    assert all(torch.equal(again["model"][key], value) for key, value in content["model"].items())
    assert again["architecture"] == ARCHITECTURE


def test_the_backbone_alone_is_read_whatever_the_head(tmp_path, ours):
    built, content = ours()
    checkpoint.save(tmp_path / "best.ckpt", content)
    architecture, state = checkpoint.backbone_of(tmp_path / "best.ckpt")
    assert architecture == ARCHITECTURE
    assert state.keys() == built.backbone.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in built.backbone.state_dict().items())


def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, ours):
    _, content = ours()
    path = tmp_path / "last.ckpt"
    checkpoint.save(path, content)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"disk full while writing .*last\.ckpt.*unchanged"):
        checkpoint.save(path, {**content, "seed": 8})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_disk_that_is_full_while_tensors_are_written_is_named(tmp_path, monkeypatch, ours):
    _, content = ours()

    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_: Full())
    with pytest.raises(OSError, match=r"disk full while writing .*last\.ckpt"):
        checkpoint.save(tmp_path / "last.ckpt", content)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def damaged(path, kind):
    """Writes a file with something wrong in it."""
    if kind == "truncated":
        torch.save({"state_dict": torch.randn(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("epoch,loss\n1,0.5\n")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "torch-pickle":
        torch.save({"state_dict": Evil()}, path)
    return path


@pytest.mark.parametrize("dataset", [None, "haa500"])
@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "pickle", "torch-pickle"])
def test_a_file_that_cannot_be_read_is_named_and_never_executed(tmp_path, monkeypatch, kind, dataset):
    monkeypatch.chdir(tmp_path)
    path = damaged(tmp_path / "best.ckpt", kind)
    with pytest.raises(ValueError, match=r"best\.ckpt.*(cannot be read|no state dict)") as caught:
        taggnn.load(path, dataset)
    assert f"{path.stat().st_size} bytes" in str(caught.value).replace(",", "")
    assert os.listdir(tmp_path) == ["best.ckpt"]


@pytest.mark.parametrize("dataset", [None, "haa500"])
def test_a_file_that_is_not_there_is_named(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt"):
        taggnn.load(tmp_path / "nowhere.ckpt", dataset)
    with pytest.raises(FileNotFoundError, match=r"not a file|a folder without best\.ckpt; give a run's folder"):
        taggnn.load(tmp_path, dataset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"stem.0.weight": torch.zeros(2)}, r"x\.pth: not written by taggnn\.train$"),
        ([torch.zeros(2)], r"x\.pth: not written by taggnn\.train$"),
        (torch.zeros(2), r"x\.pth: not written by taggnn\.train$"),
        ({"csnmodel.0.0.weight": torch.zeros(2)}, r"TAG-Head's authors: name its data set \(haa500, gym99, gym288\)"),
        ({"state_dict": {"backbone.0.0.weight": torch.zeros(2)}}, r"TAG-Head's authors: name its data set"),
        ({"state_dict": {}, "hyper_parameters": {"lr": 0.1}, "epoch": 1}, r"not written by taggnn\.train$"),
        (
            {"state_dict": {}, "hyper_parameters": {"spec": {}}, "epoch": 1},
            "earlier taggnn, which trained with Lightning",
        ),
        ({"format": checkpoint.FORMAT, "state_dict": {}}, r"not written by taggnn\.train$"),
    ],
    ids=["weights", "list", "tensor", "released", "released-nested", "lightning", "ours-of-lightning", "format-alone"],
)
def test_a_file_of_another_program_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        taggnn.load(tmp_path / "x.pth")


LONGER = {"shape": [3, 8, 32, 32], "options": {**OPTIONS, "frames": 8}}


def changed(content, part, **changes):
    described = dict(content["architecture"])
    described[part] = {**described[part], **changes} if isinstance(described[part], dict) else changes[part]
    return {**content, "architecture": described}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("classes", {"classes": ["a", "b"]}), r"\(2 of \d+ entries\):\n.*classifier\.weight file \(3, 16\), model \(2, 16\)"),
        (("input", LONGER), r"head\.position\.tables\.0 file \(4, 2, 2, 16\), model \(8, 2, 2, 16\)"),
        (("head", {"dim": 8}), r"head\.position\.tables\.0 file \(4, 2, 2, 16\), model \(4, 2, 2, 8\)"),
        (("head", {"encoder_layers": 1}), r"not in the model: head\.encoder\.layers\.1\."),
        (("head", {"graph_layers": 2}), r"not in the file: head\.propagation\.1\."),
        (("backbone", {"width": 4}), r"backbone\.stem\.0\.weight file \(8, 3, 1, 5, 5\), model \(4, "),
        (("head", {"conv": "gcm"}), r"unknown convolution 'gcm'"),
    ],
    ids=["classes", "clip", "dim", "encoder", "graph", "width", "conv"],
)  # fmt: skip
def test_an_architecture_that_does_not_fit_the_weights(tmp_path, change, message, ours):
    part, changes = change
    torch.save(changed(ours()[1], part, **changes), tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=message):
        taggnn.load(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("input", {"shape": [3, 10**12, 32, 32]}, r"architecture\.input\.shape\[1\]: 10+ is not from 1 to"),
        ("input", {"shape": [3, 10**4, 10**4, 32]}, r"input\.shape: a clip of 9,600,000,000 numbers, more than"),
        ("input", {"shape": [3, 8, 32, 32]}, r"architecture\.input: its options make .* and its shape is"),
        ("input", {"options": {"frames": 10**12}}, r"input\.options\.frames: 10+ is larger than"),
        ("input", {"options": {"frame_cache": "somewhere"}}, r"input: unknown option of a video input 'frame_cache'"),
        ("input", {"shape": "abcd"}, r"input\.shape: expected a list, got 'abcd'"),
        ("input", {"kind": 7}, r"input\.kind: expected text, got 7"),
        ("head", {"dim": 10**9}, r"architecture\.head\.dim: 10+ is larger than its weights allow"),
        (
            "head",
            {"encoder_layers": 10**3},
            r"architecture\.head\.encoder_layers: 1000 is larger than its weights allow",
        ),
        ("head", {"encoder_layers": []}, r": no model can be built of its architecture: TypeError"),
        ("head", {"name": None}, r"architecture\.head\.name: expected text, got None"),
        ("backbone", {"width": float("nan")}, r"architecture\.backbone\.width: nan is larger"),
        ("classes", {"classes": [1, 2, 3]}, r"architecture\.classes\[0\]: expected text, got 1"),
        ("classes", {"classes": {}}, r"architecture\.classes: expected a list, got a mapping of 0"),
    ],
)
def test_a_field_of_another_kind_or_size_is_named(tmp_path, part, changes, message, ours):
    torch.save(changed(ours()[1], part, **changes), tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=rf"best\.ckpt.*{message}"):
        taggnn.load(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"progress": {"epoch": "8"}}, r"progress\.epoch: expected a whole number, got '8'"),
        ({"progress": {"epoch": -1}}, r"progress\.epoch: -1 is not from 0"),
        ({"progress": 8}, r"progress: expected keys and values, got 8"),
        ({"trained_on": {"counts": [1, None]}}, r"trained_on\.counts"),
        ({"model": {"a": 1.0}}, r"model\.a: expected Tensor, got 1\.0"),
        ({"split_options": {"seed": 5, "root": "/"}}, r"split_options: unknown key 'root'"),
        ({"split_options": {"seed": 10**30}}, r"split_options\.seed: a whole number beyond"),
    ],
)
def test_another_field_of_another_kind_is_named(tmp_path, changes, message, ours):
    torch.save({**ours()[1], **changes}, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=rf"best\.ckpt.*{message}"):
        taggnn.load(tmp_path / "best.ckpt")


@pytest.mark.parametrize("lacking", ["format", "architecture", "split_options", "input", "head", "backbone", "classes"])
def test_a_checkpoint_that_does_not_say_enough_is_refused(tmp_path, lacking, ours):
    _, content = ours()
    if lacking in content:
        del content[lacking]
    else:
        content["architecture"] = {key: value for key, value in ARCHITECTURE.items() if key != lacking}
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=rf"not written by taggnn|best\.ckpt.*: no {lacking} in it"):
        taggnn.load(tmp_path / "best.ckpt")


@pytest.mark.parametrize("given", [1, checkpoint.FORMAT + 1, str(checkpoint.FORMAT), None])
def test_a_checkpoint_of_another_format_is_refused_by_its_number(tmp_path, given, ours):
    torch.save(ours(format=given)[1], tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=rf"best\.ckpt: .*format {given!r}; .*reads format {checkpoint.FORMAT}"):
        taggnn.load(tmp_path / "best.ckpt")


def test_a_checkpoint_without_weights_is_refused(tmp_path, ours):
    _, content = ours()
    del content["model"]
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"best\.ckpt: no model in it"):
        taggnn.load(tmp_path / "best.ckpt")


CHILDREN = ("stem", "layer1", "layer2", "layer3", "layer4")
GRID = (4, 7, 7)


@pytest.fixture(scope="module", autouse=True)
def _cheap_backbone():
    """64 M random numbers are drawn in vain where a file replaces them, and the grid of 32 x 112 x 112 is known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)
        real = taggnn.backbones.dry_run

        def known(module, spec, grid=None):
            _, frames, *size = spec.shape
            return (512, (frames // 8, 7, 7)) if size == [112, 112] else real(module, spec, grid)

        patch.setattr("taggnn.backbones.dry_run", known)
        yield


@pytest.fixture(scope="module")
def authors(composition):
    """The authors' backbone, their head of HAA500, and a state dict of both with their names and shapes."""
    torch.manual_seed(0)
    whole = r2plus1d_34(359)
    backbone = nn.Sequential(*(getattr(whole, name) for name in CHILDREN))
    for i, (key, value) in enumerate(backbone.state_dict().items()):
        if value.ndim == 5:
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim:
            value.uniform_(0.2, 0.7)
        else:
            value.fill_(i)
    head = composition(GRID, 500, 512)
    return backbone.eval(), head.eval()


def published(authors, layout="current", numbered=True, nested=False):
    backbone, head = authors
    prefix = {"current": "csnmodel.", "earlier": "backbone."}[layout]
    state = {}
    for key, value in backbone.state_dict().items():
        child, _, rest = key.partition(".")
        state[f"{prefix}{child if numbered else CHILDREN[int(child)]}.{rest}"] = value
    state |= head.state_dict()
    if layout == "earlier":
        state = {key.replace("mlp_head.", "classifier."): value for key, value in state.items()}
        state["edge_index"] = head.edges
    return {"epoch": 3, "model_state_dict": state} if nested else state


@pytest.fixture
def load_released(tmp_path, monkeypatch):
    """``load_released`` of a state dict without the file of 250 MB between."""

    def load(state, dataset="haa500", **options):
        (tmp_path / "best.pth").touch()
        monkeypatch.setattr(torch, "load", lambda *_, **__: dict(state))
        return taggnn.load_released(tmp_path / "best.pth", dataset, **options)

    return load


def test_the_fake_checkpoint_has_the_published_names_and_shapes(authors):
    state = published(authors)
    assert {key.split(".")[0] for key in state} == {"csnmodel", "pos_embedding", "transformer", "mlp_head"}
    assert state["csnmodel.0.0.weight"].shape == (45, 3, 1, 7, 7)
    assert state["csnmodel.4.2.conv2.0.3.weight"].shape == (512, 1152, 3, 1, 1)
    assert state["csnmodel.2.0.conv2.0.0.weight"].shape == (288, 128, 1, 3, 3)
    assert state["pos_embedding"].shape == (1, 196, 512)
    assert state["transformer.layers.1.self_attn.in_proj_weight"].shape == (1536, 512)
    assert state["transformer.layers.0.linear1.weight"].shape == (512, 512)
    assert state["mlp_head.0.weight"].shape == (512,)
    assert state["mlp_head.1.weight"].shape == (500, 512)
    assert published(authors, "earlier")["edge_index"].shape == (2, 9702)


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "named"])
@pytest.mark.parametrize("layout", ["current", "earlier"])
def test_a_released_checkpoint_gives_the_logits_of_the_composition(authors, load_released, layout, numbered):
    backbone, head = authors
    loaded = load_released(published(authors, layout, numbered))
    ours = loaded.model
    assert not ours.training
    theirs = backbone.state_dict()
    own = ours.backbone.state_dict()
    assert len(own) == len(theirs)
    for key, value in theirs.items():
        child, _, rest = key.partition(".")
        assert torch.equal(own[f"{CHILDREN[int(child)]}.{rest}"], value), key
    with torch.no_grad():
        tokens = torch.randn(2, *GRID, 512)
        torch.testing.assert_close(ours.head(tokens).logits, head(tokens), rtol=1e-5, atol=1e-5)


def test_from_pixels_to_logits_through_a_file(authors, tmp_path):
    # The one test with the file itself and a clip that fills the grid: 4 x 7 x 7 from the fewest frames and pixels.
    backbone, head = authors
    torch.save(published(authors, nested=True), tmp_path / "haa500_best.pth")
    loaded = taggnn.load(tmp_path / "haa500_best.pth", "haa500")
    (tmp_path / "haa500_best.pth").unlink()
    clip = torch.randn(1, 3, 25, 97, 97)
    with torch.inference_mode():
        features = backbone(clip)
        expected = head(features.permute(0, 2, 3, 4, 1))
        got = loaded.model(clip).logits
    assert features.shape == (1, 512, *GRID)
    assert 0.01 < float(features.std()) < 100
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_what_the_authors_file_does_not_say(authors, load_released):
    loaded = load_released(published(authors))
    assert loaded.classes == tuple(map(str, range(500)))
    assert loaded.spec.shape == (3, 32, 112, 112)
    assert loaded.spec.options == {
        "frames": 32,
        "sampling": "uniform",
        "stride": 1,
        "short_side": 128,
        "size": [112, 112],
        "grayscale": False,
        "mean": [0.45, 0.45, 0.45],
        "std": [0.225, 0.225, 0.225],
        "stretch": False,
        "per_clip_norm": False,
    }
    names = tuple(f"class {i}" for i in range(500))
    assert load_released(published(authors), classes=names).classes == names
    with pytest.raises(ValueError, match="haa500 has 500 classes, 2 names were given"):
        load_released(published(authors), classes=("a", "b"))


@pytest.mark.parametrize("layout", ["current", "earlier"])
@pytest.mark.parametrize(
    "key",
    ["pos_embedding", "transformer.layers.1.norm2.bias", "mlp_head.1.weight", "csnmodel.3.1.conv1.0.1.running_var"],
)
def test_a_missing_entry_is_named_as_the_file_names_it(authors, load_released, layout, key):
    state = published(authors, layout)
    if layout == "earlier":
        key = key.replace("csnmodel.", "backbone.").replace("mlp_head.", "classifier.")
    shape = tuple(state.pop(key).shape)
    with pytest.raises(ValueError, match="1 of ") as caught:
        load_released(state)
    # Our table has three axes where theirs has one.
    assert f"not in the file: {key} {(4, 7, 7, 512) if key == 'pos_embedding' else shape}" in str(caught.value)
    assert "best.pth" in str(caught.value)


def test_an_unknown_entry_is_named(authors, load_released):
    state = {**published(authors), "mlp_head.2.weight": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match=r"\(1 of \d+ entries\):\n  not in the model: mlp_head\.2\.weight \(3, 4\)$"):
        load_released(state)


@pytest.mark.parametrize(
    ("key", "shape"), [("pos_embedding", (1, 392, 512)), ("transformer.layers.0.linear1.weight", (1024, 512))]
)
def test_an_entry_of_another_shape_is_named_with_both(authors, load_released, key, shape):
    state = {**published(authors), key: torch.zeros(shape)}
    with pytest.raises(ValueError, match=r"\(1 of \d+ entries\)") as caught:
        load_released(state)
    assert f"other shape: {key} file {shape}, model " in str(caught.value)


def test_batch_counters_may_be_missing(authors, load_released):
    state = {k: v for k, v in published(authors).items() if not k.endswith("num_batches_tracked")}
    assert len(state) < len(published(authors))
    load_released(state)


def test_a_checkpoint_of_another_data_set_is_refused(authors, load_released):
    with pytest.raises(ValueError, match=r"does not fit the model") as caught:
        load_released(published(authors), "gym99")
    message = str(caught.value)
    assert "pos_embedding file (1, 196, 512), model (8, 7, 7, 512)" in message
    assert "transformer.layers.0.linear1.weight file (512, 512), model (1024, 512)" in message
    assert "mlp_head.1.weight file (500, 512), model (99, 512)" in message


def test_the_two_gym_sets_are_told_apart(authors, load_released, composition):
    backbone, _ = authors
    state = published((backbone, composition((8, 7, 7), 99, 1024)))
    assert load_released(state, "gym99").model.grid == (8, 7, 7)
    with pytest.raises(ValueError, match=r"file \(99, 512\), model \(288, 512\)"):
        load_released(state, "gym288")


def test_a_wrong_data_set_or_a_file_of_nobody_is_refused(load_released):
    with pytest.raises(ValueError, match=r"unknown data set of a released checkpoint 'gym9'; did you mean 'gym99'"):
        load_released({}, "gym9")
    with pytest.raises(ValueError, match=r"no key begins with csnmodel\. or backbone\..*stem\.0\.weight"):
        load_released({"stem.0.weight": torch.zeros(2)})


def test_the_lists_of_what_does_not_fit_are_cut(authors, load_released):
    state = {key: value for key, value in published(authors).items() if not key.startswith("csnmodel.2.")}
    with pytest.raises(ValueError, match=r"\n  and \d+ more$") as caught:
        load_released(state)
    assert str(caught.value).count("not in the file") == 20


def test_every_released_data_set_has_its_sizes():
    sizes = {name: (row.classes, row.frames, row.ffn) for name, row in checkpoint.RELEASED.items()}
    assert sizes == {"haa500": (500, 32, 512), "gym99": (99, 64, 1024), "gym288": (288, 64, 2048)}


RESUMED = {
    "progress": {"epoch": 1, "position": 0, "step": 3, "clips": 0, "losses": {}},
    "history": {
        "rows": [{"epoch": 1, "val/top1": 0.5}],
        "skipped": {"val/a": ["a", "a.mp4", "val", "gone"]},
        "spent": 0.1,
    },
    "loggers": {"wandb": "id"},
    "steps": {"left_out": 0, "overflows": 0},
    "optimiser": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]},
    "scaler": {},
}


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("progress", {"epoch": 1, "position": "x"}, r"progress\.position: expected a whole number"),
        ("history", {"rows": [], "skipped": {}}, "history: no spent in it"),
        ("history", {**RESUMED["history"], "rows": [{"seconds": 1.0}]}, r"history\.rows\[0\]: no epoch in it"),
        ("history", {**RESUMED["history"], "skipped": {"a": ["a"]}}, r"history\.skipped\.a: expected a list of 4"),
        (
            "optimiser",
            {"state": {"a": {}}, "param_groups": []},
            r"optimiser\.state: the key a: expected a whole number",
        ),
        ("steps", {"left_out": -1, "overflows": 0}, r"steps\.left_out: -1 is not from 0"),
        ("loggers", [], "loggers: expected keys and values"),
    ],
)
def test_what_resuming_needs_is_checked(tmp_path, part, value, message, ours):
    path = tmp_path / "last.ckpt"
    _, content = ours(**RESUMED)
    checkpoint.save(path, content)
    assert checkpoint.read_resumable(path)["progress"] == RESUMED["progress"]
    checkpoint.save(path, {**content, part: value})
    with pytest.raises(ValueError, match=rf"last\.ckpt, {message}"):
        checkpoint.read_resumable(path)
