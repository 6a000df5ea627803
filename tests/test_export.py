"""What export writes answers as the checkpoint does, by itself; what does not is not kept; what was changed is not opened."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

import taggnn
import taggnn.evaluate
import taggnn.predict
from taggnn import export, model
from taggnn.data.video.source import VideoSource
from taggnn.evaluation.predictions import read_predictions
from taggnn.io import environment, exported, exporters, metadata
from taggnn.io.loaded import Loaded
from taggnn.papers import PAPERS
from taggnn.types import TOKEN_AXES, InputSpec, Model, Output

FILES = {"safetensors": "model.safetensors", "torch": "model.pt2", "onnx": "model.onnx"}
# Every head, convolution, topology and read-out, and more backbones: minutes.
EVERY = bool(os.environ.get("TAGGNN_EVERY_EXPORT"))


def needs_onnx():
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if not environment.is_there(package):
            pytest.skip(f"needs {package}: pip install '.[export]'")


def built(head=None, backbone=None, clip=(4, 32, 32)):
    """A model of random weights, as ``taggnn.load`` would give it."""
    torch.manual_seed(0)
    tag = {"encoder_layers": 1, "encoder_heads": 4} if "name" not in (head or {}) else {}
    architecture = {
        "backbone": {"name": "small", "width": 8} | (backbone or {}),
        "head": {"name": "tag"} | tag | (head or {}),
        "input": VideoSource(frames=clip[0], size=list(clip[1:])).spec.plain(),
        "classes": ["a", "b", "c"],
    }
    recogniser = model.build(architecture)
    # As they start, the scores of the attention read-out are zero and its weights hide nothing.
    with torch.no_grad():
        for parameter in recogniser.head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Loaded(recogniser.eval(), ("a", "b", "c"), {"seed": 0}, "drawn", architecture=architecture)


@pytest.fixture(scope="module")
def folder(trained, program, tmp_path_factory):
    """The three files of a trained model, far from its checkpoint, which is gone."""
    needs_onnx()
    place = tmp_path_factory.mktemp("exported")
    run = place / "run"
    run.mkdir()
    shutil.copy(trained[0] / "best.ckpt", run)
    shutil.copy(trained[0] / "predictions.csv", run)
    ended = program(export, "--checkpoint", run, "--device", "cpu")
    assert ended.code == 0, ended.err
    files = place / "files"
    (run / "export").rename(files)
    shutil.rmtree(run)
    return files, ended


@pytest.fixture(scope="module")
def clip(videos, trained):
    return taggnn.load(trained[0]).clip(videos / "test" / "left" / "left_000.mp4")


def answers(ended):
    """file -> class -> probability"""
    assert ended.code == 0, ended.err
    said = [json.loads(line) for line in ended.out.splitlines()]
    return {one["file"]: {top["class"]: top["probability"] for top in one["top"]} for one in said}


@pytest.mark.parametrize("name", FILES)
def test_predict_says_what_the_checkpoint_says(name, folder, trained, videos, program):
    known = [videos / path for path in read_predictions(trained[0] / "predictions.csv").names]
    words = [*known, "--json", "--top", 8, "--device", "cpu", "--checkpoint"]
    expected = answers(program(taggnn.predict, *words, trained[0]))
    found = answers(program(taggnn.predict, *words, folder[0] / FILES[name]))
    assert len(found) == 8
    for file, classes in expected.items():
        assert found[file] == pytest.approx(classes, abs=1e-5)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("clips", [1, 2, 5])
def test_any_number_of_clips(name, clips, folder, trained):
    batch = torch.randn(clips, 3, 4, 32, 32)
    found = taggnn.load(folder[0] / FILES[name]).logits(batch)
    torch.testing.assert_close(found, taggnn.load(trained[0]).logits(batch), atol=1e-5, rtol=0)


def test_a_loaded_file_knows_what_the_checkpoint_knew(folder, trained):
    known = taggnn.load(trained[0])
    for name in FILES.values():
        found = taggnn.load(folder[0] / name)
        assert (found.classes, found.epoch, found.training_counts) == (
            known.classes,
            known.epoch,
            known.training_counts,
        )
        assert json.dumps(found.spec.plain()) == json.dumps(known.spec.plain())
        assert found.split_options == known.split_options
        assert str(found.device) == "cpu"
        entry = PAPERS["https://arxiv.org/abs/2604.11498"]
        assert entry in found.model.describe(bibtex=True)
        assert entry not in found.model.describe()


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_evaluate_measures_the_same(name, folder, trained, videos, program, tmp_path):
    words = ["--data.root", videos, "--device", "cpu", "--data.workers", 0]
    tables = []
    for file, out in ((trained[0], "checkpoint"), (folder[0] / FILES[name], "exported")):
        ended = program(taggnn.evaluate, *words, "--checkpoint", file, "--out", tmp_path / out)
        assert ended.code == 0, ended.err
        tables.append(read_predictions(tmp_path / out / "predictions.csv"))
    assert ("effect is not measured" in ended.out) == (name == "onnx")
    assert tables[0].names == tables[1].names
    torch.testing.assert_close(tables[0].probabilities, tables[1].probabilities, atol=1e-5, rtol=0)


def test_the_script_beside_it_gives_the_stored_logits_without_taggnn(folder, tmp_path):
    shutil.copytree(folder[0], tmp_path / "files")
    script = tmp_path / "files" / "infer.py"
    command = [sys.executable, "-I", str(script), "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    stored = tmp_path / "files" / "export.json"
    content = json.loads(stored.read_text())
    stored.write_text(json.dumps(content | {"logits": [value + 1e-3 for value in content["logits"]]}))
    assert subprocess.run(command, capture_output=True, cwd=tmp_path).returncode == 1
    ended = subprocess.run([*command[:3], content["clip"], "--top", "2"], capture_output=True, text=True, cwd=tmp_path)
    assert len(ended.stdout.splitlines()) == 3, ended.stderr


def test_the_onnx_file_names_its_free_axis_and_its_version(folder):
    model = pytest.importorskip("onnx").load(folder[0] / "model.onnx", load_external_data=False)
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert (model.model_version, model.producer_name) == (1, "taggnn")


def test_the_description_has_every_step_of_the_preprocessing(folder):
    steps = json.loads((folder[0] / "model.json").read_text())["preprocessing"]
    assert len(steps) >= 5
    options = json.loads((folder[0] / "model.json").read_text())["architecture"]["input"]["options"]
    for number in (options["frames"], *options["size"], options["mean"][0], options["std"][0]):
        assert any(str(number) in step for step in steps), number


def test_the_report_tells_differences_and_sizes(folder):
    files, ended = folder
    told = json.loads((files / "export.json").read_text())
    assert told["failed"] == {}
    assert told["environment"]["onnx"] != "not installed"
    for name, one in told["formats"].items():
        assert one["file"] == FILES[name]
        assert one["size"] == (files / FILES[name]).stat().st_size
        assert 0 <= one["difference"] < 1e-4
        assert one["same"] == one["clips"] == 6
        assert one["milliseconds"] > 0
        assert FILES[name] in ended.out
    assert told["formats"]["safetensors"]["difference"] == 0
    assert sorted(path.name for path in files.iterdir()) == sorted(
        [*FILES.values(), "model.json", "export.json", "infer.py", "MODEL_CARD.md"]
    )


@pytest.mark.parametrize("name", FILES.values())
def test_a_changed_byte_is_refused(name, folder, tmp_path):
    for file in folder[0].iterdir():
        shutil.copy(file, tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*damaged"):
        taggnn.load(tmp_path / name)


def test_a_cut_file_is_refused(folder, tmp_path):
    for name in ("model.pt2", "model.onnx"):
        content = (folder[0] / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=name):
            taggnn.load(tmp_path / name)


def replaced(path, changes, method=zipfile.ZIP_STORED):
    """An archive with other contents, its checksums right."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    prefix = next(iter(entries)).partition("/")[0]
    for name, change in changes.items():
        entries[f"{prefix}/{name}"] = change(entries.get(f"{prefix}/{name}", b""))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, part in entries.items():
            archive.writestr(name, part)
    return content.getvalue()


CODE = "__import__('pathlib').Path('executed').touch()"


def renamed(old, name):
    """The program with another name of its input, in the graph and in the signature."""
    return old.replace(b'"clip"', json.dumps(name).encode())


def guarded(old):
    """The program with a check of its inputs."""
    return old.replace(b'"range_constraints"', f'"guards_code": ["{CODE}"], "range_constraints"'.encode())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data/weights/model.pt", lambda old: b"anything"),
        ("data/sample_inputs/model.pt", lambda old: pickle.dumps(Calls())),
        ("data/constants/opaque_obj_0", lambda old: pickle.dumps(Calls())),
        ("data/weights/model_weights_config.json", lambda old: old.replace(b"false", b"true")),
        ("models/model.json", lambda old: old.replace(b"torch.ops.aten.relu_.default", b"os.system")),
        ("models/model.json", lambda old: old.replace(b"torch.ops.aten.relu_.default", b"torch.ops.aten.from_file")),
        ("models/model.json", lambda old: renamed(old, f"clip={CODE}")),
        ("models/model.json", lambda old: old.replace(b"Symbol('s", f"{CODE} or Symbol('s".encode())),
        ("models/model.json", guarded),
        ("models/model.json", lambda old: old.replace(b"Symbol('s", b"Pow(9, Pow(9, Pow(9, 9))) + Symbol('s")),
        ("models/model.json", lambda old: b"anything"),
    ],
    ids=[
        "legacy",
        "inputs",
        "object",
        "pickled weights",
        "a function",
        "a file",
        "input",
        "size",
        "guard",
        "endless",
        "",
    ],
)
def test_nothing_of_a_program_is_run(name, change, folder, tmp_path, monkeypatch):
    """The model is built from its architecture and its weights: whatever its program says does not matter."""
    path = tmp_path / "model.pt2"
    before = folder[0] / "model.pt2"
    path.write_bytes(replaced(before, {name: change}))
    monkeypatch.chdir(tmp_path)
    batch = torch.randn(2, 3, 4, 32, 32)
    assert torch.equal(taggnn.load(path).logits(batch), taggnn.load(before).logits(batch))
    assert os.listdir(tmp_path) == ["model.pt2"]


class Calls:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def stretched(old):
    """Sizes of 10^12 numbers, all of them the first one of their storage."""
    content = json.loads(old)
    one = next(iter(content["config"].values()))["tensor_meta"]
    one["sizes"], one["strides"] = ([{"as_int": count} for _ in "ab"] for count in (10**6, 0))
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data/weights/model_weights_config.json", stretched, "do not hold"),
        ("data/weights/model_weights_config.json", lambda old: old.replace(b'"dtype": 7', b'"dtype": 99'), "damaged"),
        ("data/weights/model_weights_config.json", lambda old: b"[]", "damaged"),
        ("data/weights/model_weights_config.json", lambda old: old.replace(b"stem.0", b"'+x+'"), "does not fit"),
        ("data/weights/weight_0", lambda old: old[:-4], "do not hold"),
    ],
)
def test_weights_in_another_form_are_named(name, change, message, folder, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(replaced(folder[0] / "model.pt2", {name: change}))
    with pytest.raises(ValueError, match=rf"model\.pt2.*{message}"):
        taggnn.load(path)


def test_a_packed_archive_is_not_unpacked(folder, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(replaced(folder[0] / "model.pt2", {"data/weights/weight_0": lambda _: bytes(10**7)}, 8))
    assert path.stat().st_size < 2 * 10**6
    with pytest.raises(ValueError, match=r"model\.pt2: not opened: its entry \S+ is compressed"):
        taggnn.load(path)


def test_repacking_alone_is_no_reason_to_refuse(folder, tmp_path, clip):
    path = tmp_path / "model.pt2"
    path.write_bytes(replaced(folder[0] / "model.pt2", {}))
    found = taggnn.load(path).logits(clip[None])
    torch.testing.assert_close(found, taggnn.load(folder[0] / "model.pt2").logits(clip[None]))


def in_a_loop(graph):
    helper = pytest.importorskip("onnx").helper
    graph.node.append(helper.make_node("Loop", ["", ""], [], body=helper.make_graph([], "body", [], [])))


def named_otherwise(graph):
    graph.node[0].domain = "mine"


def outside(graph):
    tensor = graph.initializer[0]
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="secret.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_a_loop, r"operator ai\.onnx\.Loop"),
        (named_otherwise, r"operator mine\."),
        (outside, "weights .* in another file"),
        (lambda graph: setattr(graph.node[0], "op_type", "ImageDecoder"), "ImageDecoder"),
    ],
)
def test_an_onnx_file_with_other_parts_is_not_run(change, message, folder, tmp_path, monkeypatch):
    """Its digest is right: it only tells damage."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = onnx.ModelProto.FromString((folder[0] / "model.onnx").read_bytes())
    meta = json.loads(next(prop.value for prop in model.metadata_props if prop.key == metadata.META))
    del model.metadata_props[:]
    change(model.graph)
    (tmp_path / "model.onnx").write_bytes(exported.sealed(model.SerializeToString(), meta))
    monkeypatch.setattr(runtime, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=rf"model\.onnx: not opened, .*{message}"):
        taggnn.load(tmp_path / "model.onnx")


def test_files_of_others_are_refused(folder, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "text.pt2").write_text("no model")
    (tmp_path / "plain.pt2").write_bytes(replaced(folder[0] / "model.pt2", {"extra/taggnn.json": lambda old: b"[]"}))
    shutil.copy(folder[0] / "model.safetensors", tmp_path)
    (tmp_path / "half.onnx").write_bytes((folder[0] / "model.onnx").read_bytes()[:-1000])
    for name, reason in [
        ("text.onnx", "not written by taggnn.export"),
        ("half.onnx", "cut off, or not written by taggnn.export"),
        ("text.pt2", "cannot be read"),
        ("plain.pt2", "not written by taggnn.export"),
    ]:
        with pytest.raises(ValueError, match=reason):
            taggnn.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"model\.json: no such file"):
        taggnn.load(tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text((folder[0] / "model.json").read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(ValueError, match="not the file that"):
        taggnn.load(tmp_path / "model.safetensors")
    for name in ("gone.onnx", "gone.pt2", "gone.safetensors"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            taggnn.load(tmp_path / name)


@pytest.mark.parametrize("name", ["onnx"])
def test_clips_it_was_not_made_for_are_refused(name, folder):
    program = taggnn.load(folder[0] / FILES[name]).model
    for shape in [(1, 3, 4, 32, 33), (1, 3, 5, 32, 32), (3, 4, 32, 32), (0, 3, 4, 32, 32)]:
        with pytest.raises(ValueError, match=r"takes video \(B, 3, 4, 32, 32\)"):
            program(torch.zeros(shape))
    tokens = InputSpec("tokens", TOKEN_AXES, (4, 2, 2, 8))
    with pytest.raises(ValueError, match=r"not tokens \(.*an exported program has its backbone in it"):
        program.accepting(tokens)
    assert program.accepting(program.spec) is program
    assert isinstance(program, Model)
    output = program(program.spec.example(2))
    assert isinstance(output, Output)
    assert (output.extras, output.losses) == ({}, {})
    with pytest.raises(ValueError, match="cpu"):
        program.to("meta")


def test_a_format_that_answers_otherwise_is_not_kept(trained, program, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(exported.TorchProgram, "__call__", lambda self, clip: self._run(clip) + 0.01)
    (tmp_path / "model.pt2").write_text("an old one")
    words = ["--checkpoint", trained[0], "--out", tmp_path, "--formats", "torch,safetensors", "--device", "cpu"]
    ended = program(export, *words, "--clip", videos / "test" / "left" / "left_000.mp4")
    assert ended.code == 1
    assert "torch was not written: its logits differ from the model's by 0.01" in ended.err
    assert (tmp_path / "model.pt2").read_text() == "an old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "MODEL_CARD.md",
        "export.json",
        "model.json",
        "model.pt2",
        "model.safetensors",
    ]
    told = json.loads((tmp_path / "export.json").read_text())
    assert list(told["failed"]) == ["torch"]
    assert list(told["formats"]) == ["safetensors"]


def test_without_the_packages_a_sentence_names_them(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "is_there", lambda package: package != "onnxscript")
    loaded = built({"name": "pool"})
    written, failed = exporters.export(loaded, torch.randn(3, 4, 32, 32), tmp_path, ["onnx", "safetensors"])
    assert failed == {"onnx": "needs onnxscript: pip install onnxscript"}
    assert list(written) == ["safetensors"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"model\.onnx: ONNX Runtime is not installed: pip install onnxruntime"):
        taggnn.load(folder[0] / "model.onnx")


def test_mistakes_are_told_before_work(trained, program, folder, tmp_path):
    alone = tmp_path / "best.ckpt"
    shutil.copy(trained[0] / "best.ckpt", alone)
    for words, reason in [
        (["--checkpoint", alone], "--clip: give a video"),
        (["--checkpoint", alone, "--formats", "onx"], "unknown format 'onx'; did you mean 'onnx'?"),
        (["--checkpoint", alone, "--formats", ""], "--formats: none given"),
        (["--checkpoint", alone, "--clip", tmp_path / "gone.mp4"], "gone.mp4"),
        (["--checkpoint", folder[0] / "model.onnx"], "is exported already"),
    ]:
        ended = program(export, *words)
        assert ended.code == 2
        assert reason in ended.err
        assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == [alone]


def test_a_head_that_is_not_finite_is_not_exported(tmp_path):
    loaded = built({"name": "pool"})
    torch.nn.init.constant_(loaded.model.head.classifier.bias, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        exporters.export(loaded, torch.randn(3, 4, 32, 32), tmp_path)


def check(loaded, tmp_path, formats=tuple(FILES)):
    if "onnx" in formats:
        needs_onnx()
    clip = torch.randn(loaded.spec.shape)
    written, failed = exporters.export(loaded, clip, tmp_path, formats)
    assert failed == {}
    # A program that does not listen to its clip would agree with nothing else.
    assert loaded.logits(torch.stack([clip, -clip])).diff(dim=0).abs().max() > 1e-3
    assert {one.same for one in written.values()} == {6}


CONVS = ["gcn", "gat", "gatv2", "sage", "transformer", "appnp", "gin", "graphconv"]
SUITE = [
    ({"conv": "gatv2", "reach": 2}, {"frozen": True}, ["torch", "onnx"]),
    ({"name": "tag_released", "ffn": 16}, {}, ["torch"]),
    ({"name": "pool"}, {}, ["torch"]),
    ({"conv": "transformer", "impl": "dense"}, {}, ["torch"]),
    ({"conv": "sage", "conv_options": {"aggr": "max"}, "impl": "pyg"}, {}, ["torch"]),
    ({"conv": "gcn", "conv_options": {"improved": True}}, {}, ["torch"]),
]
WIDE = [
    *(
        {"conv": conv, "topology": topology}
        for conv in CONVS
        for topology in ("clique+chain", "clique", "chain", "none")
    ),
    *({"conv": conv, "impl": impl} for conv in CONVS for impl in ("dense", "pyg")),
    *({"conv": conv, "conv_options": {"add_self_loops": False}} for conv in ("gcn", "gat", "gatv2")),
    *({"conv": conv, "conv_options": {"aggr": "max"}} for conv in ("sage", "graphconv", "gin")),
    *({"readout": readout} for readout in ("mean", "max")),
    {"position": "factorised", "norm_first": False, "encoder_activation": "relu"},
    {"graph_layers": 0},
    {"graph_layers": 3},
    {"encoder_layers": 0},
]


@pytest.mark.parametrize(("head", "backbone", "formats"), SUITE, ids=lambda part: str(part)[:40])
def test_heads_and_backbones(head, backbone, formats, tmp_path):
    check(built(head, backbone), tmp_path, formats)


@pytest.mark.skipif(not EVERY, reason="minutes; TAGGNN_EVERY_EXPORT=1 runs it")
@pytest.mark.parametrize("head", WIDE, ids=lambda head: "-".join(map(str, head.values())))
def test_every_head(head, tmp_path):
    check(built(head), tmp_path)
