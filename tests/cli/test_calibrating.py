import json
import shutil

import pytest
import torch
from torch.nn import functional as F

import taggnn
import taggnn.evaluate
import taggnn.predict
from taggnn.cli.calibrating import fitted
from taggnn.evaluation.predictions import read_predictions
from taggnn.io import checkpoint


@pytest.fixture(scope="module")
def calibrated(trained, videos, program, tmp_path_factory):
    """A copy of the checkpoint, calibrated, and the folder of the evaluation."""
    folder = tmp_path_factory.mktemp("calibrated")
    path = folder / "best.ckpt"
    shutil.copy(trained[0] / "best.ckpt", path)
    words = ["--checkpoint", path, "--data.root", videos, "--data.workers", 0, "--calibrate", "--risk", 0.9]
    ended = program(taggnn.evaluate, *words, "--out", folder / "out", "--graph_effect", "false")
    assert ended.code == 0, ended.err
    return path, folder / "out", ended


def test_the_checkpoint_keeps_all_else(calibrated, trained):
    before, after = checkpoint.read(trained[0] / "best.ckpt"), checkpoint.read(calibrated[0])
    assert set(after) - set(before) == {"calibration"}
    assert all(torch.equal(value, after["model"][key]) for key, value in before["model"].items())
    assert checkpoint.read_resumable(calibrated[0])["progress"] == before["progress"]


def test_predict_divides_the_logits(calibrated, videos):
    loaded = taggnn.load(calibrated[0])
    assert loaded.temperature == loaded.calibration.temperature != 1
    path = videos / "test" / "left" / "left_000.mp4"
    logits = loaded.logits(loaded.clip(path)[None])[0]
    found = loaded.predict(path).probabilities
    torch.testing.assert_close(found, (logits / loaded.temperature).softmax(0))


def test_results_have_the_error_before_and_after(calibrated, trained):
    results = json.loads((calibrated[1] / "results.json").read_text())
    plain = json.loads((trained[0] / "results.json").read_text())
    entry = results["calibration"]
    assert entry["measured"]["split"] == "test"
    assert entry["measured"]["ece"] == pytest.approx(plain["scores"]["test"]["ece"])
    assert entry["measured"]["loss"] == pytest.approx(plain["scores"]["test"]["loss"])
    assert results["scores"]["test"]["ece"] != entry["measured"]["ece"]
    assert results["scores"]["test"]["top1"] == plain["scores"]["test"]["top1"]
    assert entry["loss_after"] <= entry["loss_before"]
    for name, text in (("report.html", "Rejection"), ("predictions.csv", "p:")):
        assert text in (calibrated[1] / name).read_text()


def test_evaluation_and_predict_agree(calibrated, videos):
    known = read_predictions(calibrated[1] / "predictions.csv")
    loaded = taggnn.load(calibrated[0])
    for prediction, expected in zip(
        loaded.predict(videos / name for name in known.names), known.probabilities, strict=True
    ):
        torch.testing.assert_close(prediction.probabilities, expected, atol=2e-6, rtol=0)


def test_the_fit_is_that_of_the_validation_clips(calibrated, videos):
    loaded = taggnn.load(calibrated[0])
    labels, logits = [], []
    for label, name in enumerate(loaded.classes):
        for path in sorted((videos / "val" / name).glob(f"{name}_*.mp4")):
            labels.append(label)
            logits.append(loaded.logits(loaded.clip(path)[None])[0])
    found = fitted(torch.stack(logits), torch.tensor(labels), 0.9)
    assert found.clips == loaded.calibration.clips == len(labels)
    assert found.temperature == pytest.approx(loaded.calibration.temperature, rel=1e-3)
    loss = F.cross_entropy(torch.stack(logits) / found.temperature, torch.tensor(labels))
    assert found.loss_after == pytest.approx(loss.item(), rel=1e-4)


def test_rejection(calibrated, videos, program):
    path = videos / "test" / "left" / "left_000.mp4"
    loaded = taggnn.load(calibrated[0])
    best = loaded.predict(path).best.probability
    assert loaded.predict(path, reject=best + 0.01).rejected
    assert not loaded.predict(path, reject=best).rejected
    words = [path, "--checkpoint", calibrated[0], "--json"]
    assert json.loads(program(taggnn.predict, *words, "--reject", 1).out)["rejected"] is True
    stored = json.loads(program(taggnn.predict, *words, "--reject").out)
    assert stored.get("rejected", False) is (best < loaded.calibration.threshold)
    # The file is no number of the option before it.
    assert json.loads(program(taggnn.predict, *words[1:], "--reject", path).out) == stored
    assert "rejected" not in json.loads(program(taggnn.predict, *words).out)


def test_a_model_without_a_threshold_is_refused_by_name(trained, videos, program):
    words = [videos / "test" / "left" / "left_000.mp4", "--checkpoint", trained[0] / "best.ckpt", "--reject"]
    ended = program(taggnn.predict, *words)
    assert ended.code == 2
    assert "--calibrate" in ended.err


def test_exported_models_keep_it(calibrated, videos, tmp_path):
    from taggnn.io.exporters import export

    loaded = taggnn.load(calibrated[0])
    path = videos / "test" / "left" / "left_000.mp4"
    export(loaded, loaded.clip(path), tmp_path, ["safetensors"])
    again = taggnn.load(tmp_path / "model.safetensors")
    assert again.calibration == loaded.calibration
    torch.testing.assert_close(again.predict(path).probabilities, loaded.predict(path).probabilities)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--calibrate", "--split", "val"), "--split val"),
        (("--calibrate", "--risk", 2), "--risk"),
        (("--calibrate", "--data.folder", "val"), "--calibrate"),
        (("--calibration_list", "x.csv"), "--calibration_list"),
    ],
    ids=["same-split", "risk", "same-clips", "without-calibrate"],
)
def test_impossible_calibrations_are_refused(calibrated, videos, program, tmp_path, words, name):
    fixed = ["--checkpoint", calibrated[0], "--data.root", videos, "--data.workers", 0, "--out", tmp_path / "out"]
    before = calibrated[0].read_bytes()
    ended = program(taggnn.evaluate, *fixed, *words)
    assert ended.code == 2
    assert name in ended.err
    assert calibrated[0].read_bytes() == before


def test_a_damaged_calibration_is_named(calibrated, tmp_path):
    content = checkpoint.read(calibrated[0])
    content["calibration"]["temperature"] = 0
    checkpoint.save(tmp_path / "bad.ckpt", content)
    with pytest.raises(ValueError, match=r"bad.ckpt, calibration"):
        taggnn.load(tmp_path / "bad.ckpt")
