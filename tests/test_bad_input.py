"""Every mistake that a user can make with the programs: one message that names it, no traceback, and nothing begun."""

import re
import shutil

import pytest
import torch

import taggnn.evaluate
import taggnn.predict
import taggnn.train

CLIP = "train/left/left_000.mp4"
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def refused(program, tmp_path):
    """``refused(program, words)``: the message with which a program refused, after checking how it did so."""

    def refused(module, *words):
        ended = program(module, *words)
        assert ended.code == 2, ended
        name = f"{module.__name__}: "
        assert ended.err.startswith(name)
        assert ended.err.count(name) == 1
        assert "Traceback" not in ended.err
        return ended.err.rstrip("\n").removeprefix(name)

    return refused


@pytest.fixture
def train_refused(refused, tiny, tmp_path):
    def train_refused(*words):
        message = refused(taggnn.train, "--config", tiny, "--runs", tmp_path / "runs", *words)
        assert not (tmp_path / "runs").exists(), "a run folder was made before the mistake was told"
        return message

    return train_refused


@pytest.fixture
def evaluate_refused(refused, trained, videos, tmp_path):
    def evaluate_refused(*words, checkpoint=trained[0] / "best.ckpt", root=videos):
        out = tmp_path / "out"
        message = refused(taggnn.evaluate, "--checkpoint", checkpoint, "--data.root", root, "--out", out, *words)
        assert not out.exists()
        return message

    return evaluate_refused


def _written(path, text):
    path.write_text(text)
    return path


def test_root_that_is_not_there(train_refused):
    assert train_refused("--data.root", "nope") == "data root nope: no such folder"


def test_empty_root(train_refused, tmp_path):
    (tmp_path / "empty").mkdir()
    message = train_refused("--data.root", tmp_path / "empty")
    assert "expected class folders with videos, empty/<class>/<video>; found no folders" in message


def test_list_that_is_not_there(train_refused, videos):
    told = train_refused("--data.train_list", "nope.csv")
    assert told == f"nope.csv: no such list file, neither as it is nor in the root as {videos / 'nope.csv'}"


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("train", "a/b.mp4 0\n", "1 of 1 listed files do not exist: a/b.mp4 (line 1). The first was looked for at "),
        ("train", f"{CLIP} 0\ntrain/left/left_001.mp4 x\n", "line 2: label 'x' is not a number"),
        ("train", f"{CLIP} 1.5\n", "line 1, label: '1.5' is not a class number"),
        ("train", f"{CLIP} -1\n", "line 1, label: '-1' is not a class number"),
        ("train", "\n", "the list is empty"),
        ("val", f"{CLIP} 12\n", "line 1: label 12 is out of range; the classes are 0 to 7"),
        ("val", f"{CLIP} lift\n", "line 1: unknown class 'lift'; did you mean 'left'"),
    ],
    ids=["missing-file", "name-unknown-yet", "fraction", "negative", "empty", "out-of-range", "class-train-lacks"],
)
def test_list_with_a_wrong_row(option, text, message, train_refused, tmp_path):
    path = _written(tmp_path / "list.txt", text)
    told = train_refused(f"--data.{option}_list", path)
    assert told.startswith(str(path))
    assert message in told


def test_class_folder_in_val_that_train_lacks(train_refused, videos, tmp_path):
    for place in ("train/left", "train/right", "val/lefd"):
        (tmp_path / "set" / place).mkdir(parents=True)
        shutil.copy(videos / CLIP, tmp_path / "set" / place / "a.mp4")
    message = train_refused("--data.root", tmp_path / "set")
    assert "unknown class 'lefd'; did you mean 'left'? Possible: left, right (the classes that train has)" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tag.conv", "gatt"], "unknown convolution 'gatt'; did you mean 'gat' or 'gatv2'?"),
        (["--tag.conv_options", "{headz: 2}"], "unknown option of convolution gat 'headz'; did you mean 'heads'?"),
        (["--tag.conv_options", "{heads: 5}"], "convolution gat: 64 channels cannot be shared by heads=5"),
        (["--tag.readout", "atention"], "unknown read-out 'atention'; did you mean 'attention'?"),
        (["--tag.topology", "cliqe"], "unknown topology 'cliqe'; did you mean 'clique'?"),
        (["--tag.graph_activation", "gelo"], "unknown activation 'gelo'; did you mean 'gelu'"),
        (["--tag.impl", "fast"], "unknown implementation 'fast'"),
        pytest.param(["--tag.impl", "flex"], "impl flex computes on CUDA, and this runs on cpu", marks=NO_CUDA),
        (["--tag.encoder_heads", "5"], "an encoder of 64 channels cannot have 5 attention heads"),
        (["--backbone.name", "smal"], "unknown backbone 'smal'; did you mean 'small'?"),
        (["--backbone.options", "{widht: 2}"], "unknown option of backbone small 'widht'; did you mean 'width'?"),
        (["--backbone.weights", "kinetics"], "Small has no published weights 'kinetics': give the path of a file"),
        (["--backbone.weights", "nope.pth"], "weights file nope.pth does not exist"),
        (["--video.frames", "0"], "video.frames must be 1 or more, not 0"),
        (["--data.batch_size", "0"], "data.batch_size 0: must be 1 or more"),
        (["--video.size", "0"], "video.size (0, 0): at least 1 pixel"),
        (["--video.short_side", "0"], "video.short_side 0: possible are 1 or more"),
        (["--data.workers", "-1"], "data.workers -1: must be 0 or more"),
        (["--video.flip", "2"], "video.flip 2.0: possible are 0 to 1"),
        (["--video.temporal_jitter", "2"], "video.temporal_jitter 2.0: possible are 0 to 1"),
        (
            ["--video.temporal_scale", "[0, 1]"],
            "video.temporal_scale (0.0, 1.0): expected 0 < smallest <= largest <= 1",
        ),
        (["--video.color_jitter", "2"], "video.color_jitter 2.0: possible are 0 to 1"),
        (["--video.scale", "[0, 1]"], "video.scale (0.0, 1.0): expected 0 < smallest <= largest <= 1"),
        (["--data.classes", "nope.txt"], "nope.txt: no such file of class names"),
        (["--data.val_fraction", "2"], "val_fraction 2.0"),
        (["--precision", "f8"], "precision: unknown value 'f8'. Possible: 32-true, bf16-mixed"),
        pytest.param(
            ["--precision", "16-mixed"], "precision 16-mixed: needs a GPU; on a CPU bf16-mixed", marks=NO_CUDA
        ),
        (["--compile", "fast"], "compile: expected true or false or default or reduce-overhead"),
        (["--optim.ema", "1"], "optim.ema 1.0: possible are 0 to 0.999999"),
        (["--patience", "0"], "patience 0: possible are 1 or more"),
        (["--loggers", "[tensorbord]"], "unknown logger 'tensorbord'; did you mean 'tensorboard'?"),
        (["--device", "gpuu"], "on this machine: unknown device 'gpuu'"),
        pytest.param(["--device", "cuda"], "on this machine: unknown device 'cuda'", marks=NO_CUDA),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_name_or_number_that_cannot_be(words, message, train_refused):
    assert train_refused(*words).startswith(message)


def test_name_of_weights(train_refused, tmp_path):
    path = _written(tmp_path / "r3d.yaml", "backbone: {name: r3d_18, weights: KINETICS400_V2}\n")
    message = train_refused("--config", path, "--backbone.options", "{}")
    assert "KINETICS400_V2" in message
    assert "did you mean 'KINETICS400_V1'" in message


def test_clips_larger_than_the_memory(program, tiny, tmp_path):
    ended = program(taggnn.train, "--config", tiny, "--runs", tmp_path, "--video.size", "1000000")
    assert ended.code == 1
    assert ended.err.startswith("taggnn.train: out of memory; a smaller data.batch_size, video.frames or video.size")


@pytest.mark.parametrize("bad", ["train", "val", "test"])
def test_split_without_a_usable_clip(bad, tiny, program, tmp_path):
    words = []
    for split in ("train", "val", "test"):
        names = ("clockwise/a_text", "clockwise/a_empty") if split == bad else ("left/left_000", "right/right_000")
        rows = "".join(f"{split}/{name}.mp4 {label}\n" for label, name in enumerate(names))
        words += [f"--data.{split}_list", _written(tmp_path / f"{split}.txt", rows)]
    words += ["--train.epochs", "1", "--compare", "[]"]
    ended = program(taggnn.train, "--config", tiny, "--runs", tmp_path / "runs", *words)
    assert ended.code == 2
    long_name = {"train": "training", "val": "validation", "test": "test"}[bad]
    assert re.search(rf"none of the .*{long_name} clips could be (used|read); ", ended.err)
    assert ("clockwise/a_text.mp4: not a video" if bad != "test" else "skipped.csv") in ended.err


def test_checkpoint_that_is_not_there(evaluate_refused):
    assert evaluate_refused(checkpoint="nope.ckpt") == "checkpoint nope.ckpt: no such file"


@pytest.mark.parametrize("part", [0, 0.5, 0.99])
def test_checkpoint_cut_short(part, evaluate_refused, trained, tmp_path):
    whole = (trained[0] / "best.ckpt").read_bytes()
    path = tmp_path / "best.ckpt"
    path.write_bytes(whole[: int(part * len(whole))])
    assert evaluate_refused(checkpoint=path).startswith(f"checkpoint {path}: cannot be read (")


@pytest.mark.parametrize("content", [{"a": torch.zeros(2)}, [1, 2], {"model": {"x": torch.zeros(1)}}])
def test_checkpoint_of_something_else(content, evaluate_refused, tmp_path):
    torch.save(content, tmp_path / "other.ckpt")
    message = evaluate_refused(checkpoint=tmp_path / "other.ckpt")
    assert message == f"checkpoint {tmp_path / 'other.ckpt'}: not written by taggnn.train"


def test_checkpoint_of_the_authors_without_its_data_set(evaluate_refused, tmp_path):
    path = tmp_path / "gym99_best.pth"
    torch.save({"csnmodel.0.0.weight": torch.zeros(2), "pos_embedding": torch.zeros(1, 4, 4)}, path)
    message = evaluate_refused(checkpoint=path)
    assert "it looks like one of TAG-Head's authors: name its data set (haa500, gym99, gym288)" in message
    assert "did you mean 'gym99'" in evaluate_refused("--dataset", "gym9", checkpoint=path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", ["a", "b"], "other shape: head.classifier.weight file (8, 64), model (2, 64)"),
        ("head", {"name": "pool"}, "not in the model: head.position.tables.0"),
    ],
)
def test_checkpoint_that_does_not_fit_what_it_describes(key, value, message, evaluate_refused, trained, tmp_path):
    content = torch.load(trained[0] / "best.ckpt", weights_only=True)
    described = content["architecture"]
    described[key] = value
    torch.save(content, tmp_path / "changed.ckpt")
    told = evaluate_refused(checkpoint=tmp_path / "changed.ckpt")
    assert told.startswith(f"checkpoint {tmp_path / 'changed.ckpt'} does not fit the model")
    assert message in told


def test_a_checkpoint_whose_input_contradicts_itself(evaluate_refused, trained, tmp_path):
    content = torch.load(trained[0] / "best.ckpt", weights_only=True)
    content["architecture"]["input"]["shape"] = [3, 2, 32, 32]
    torch.save(content, tmp_path / "changed.ckpt")
    told = evaluate_refused(checkpoint=tmp_path / "changed.ckpt")
    assert told.startswith(f"checkpoint {tmp_path / 'changed.ckpt'}, architecture.input: ")
    assert "frame 4" in told
    assert "frame 2" in told


def test_other_classes_than_the_checkpoint(evaluate_refused, videos, tmp_path):
    (tmp_path / "set" / "test" / "jump").mkdir(parents=True)
    shutil.copy(videos / CLIP, tmp_path / "set" / "test" / "jump" / "a.mp4")
    message = evaluate_refused(root=tmp_path / "set")
    assert "unknown class 'jump'" in message
    assert "Possible: clockwise, counter_clockwise" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.list", "nope.txt"], "nope.txt: no such list file"),
        (["--data.folder", "nope"], "--data.folder nope: no such folder in "),
        (["--data.folder", "test/left"], "--data.folder test/left: expected class folders with videos in "),
        (["--data.folder", "test", "--data.list", "a.txt"], "--data.list and --data.folder both say which clips"),
        (["--data.batch_size", "0"], "data.batch_size 0: must be 1 or more"),
        (["--split", "tset"], "split: unknown value 'tset'; did you mean 'test'?"),
        (["--device", "gpu"], "on this machine: unknown device 'gpu'"),
        pytest.param(["--device", "cuda"], "on this machine: unknown device 'cuda'", marks=NO_CUDA),
        (["--data.rot", "x"], "unknown option --data.rot; did you mean data.root"),
        (["--data.workers", "some"], "data.workers: expected a whole number or null, got 'some'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_evaluation_of_what_is_not_there(words, message, evaluate_refused):
    assert evaluate_refused(*words).startswith(message)


def test_evaluation_without_root(evaluate_refused):
    assert evaluate_refused(root="nope") == "data root nope: no such folder"


def test_what_must_be_given(refused):
    assert refused(taggnn.evaluate) == "missing: --checkpoint, --data.root; see --help"
    assert refused(taggnn.predict, "a.mp4") == "missing: --checkpoint; see --help"
    assert refused(taggnn.predict, "--checkpoint", "a.ckpt") == "missing: files; see --help"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "x"], "top: expected a whole number, got 'x'"),
        (["--tpo", "3"], "unknown option --tpo; did you mean top? All of them: --help-all"),
        (["--top", "3", "b.mp4"], "unexpected 'b.mp4': options begin with --, and files come one after the other"),
    ],
)
def test_prediction_with_wrong_words(words, message, refused):
    assert refused(taggnn.predict, "a.mp4", "--checkpoint", "a.ckpt", *words) == message
