"""A trained model in somebody's hands: files, frames and clips give the answers that training gave."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import taggnn
from taggnn.data import sources
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.views import clip_views
from taggnn.evaluation.predictions import read_predictions
from taggnn.io.calibrated import Calibration
from taggnn.io.loaded import Loaded, Prediction


@pytest.fixture(scope="module")
def loaded(trained):
    return taggnn.load(trained[0])


@pytest.fixture(scope="module")
def known(trained):
    return read_predictions(trained[0] / "predictions.csv")


def test_a_run_is_loaded_by_its_folder(loaded, trained):
    assert loaded.source == str(trained[0] / "best.ckpt")
    assert not loaded.model.training
    assert loaded.device == torch.device("cpu")


def test_what_is_written_of_it_is_read_again(loaded):
    known = replace(loaded, calibration=Calibration(1.5, 9, 2.0, 1.0, 0.5, 0.25))
    assert None not in vars(known).values(), "a field that a run does not fill cannot be compared"
    written = json.loads(json.dumps(known.plain()))
    assert Loaded.read(known.model, {"architecture": known.architecture, **written}, known.source) == known


def test_a_file_is_classified_as_training_classified_it(loaded, known, videos):
    found = loaded.predict(videos / known.names[3], top=8)
    torch.testing.assert_close(found.probabilities, known.probabilities[3].float(), atol=2e-6, rtol=0)
    assert found.source == str(videos / known.names[3])
    assert found.best == found.top[0]
    assert sorted(guess.label for guess in found.top) == list(range(8))
    for before, guess in zip((None, *found.top), found.top, strict=False):
        assert guess.name == loaded.classes[guess.label]
        assert guess.probability == float(found.probabilities[guess.label])
        assert before is None or before.probability >= guess.probability


def test_many_files_are_classified_as_they_are_asked_for_and_a_bad_one_is_reported(loaded, known, videos):
    bad = videos / "test" / "clockwise" / "a_text.mp4"
    answers = loaded.predict([videos / known.names[0], str(bad), videos / "gone.mp4", videos / known.names[1]], top=1)
    first = next(answers)
    assert isinstance(first, Prediction)
    assert first.error is None
    unread, gone, last = answers
    assert last.probabilities.shape == (8,)
    assert (unread.source, unread.top) == (str(bad), ())
    assert "not a video" in unread.error
    assert "no such file" in gone.error
    with pytest.raises(ValueError, match=r"a_text\.mp4: could not be read: not a video"):
        unread.best  # noqa: B018
    assert str(unread).startswith("could not be read: not a video")


def test_a_single_bad_file_is_an_error(loaded, videos):
    with pytest.raises(VideoError, match=r"a_text\.mp4: not a video"):
        loaded.predict(videos / "test" / "clockwise" / "a_text.mp4")


@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray], ids=["tensor", "array"])
def test_frames_in_memory_are_classified_as_their_file(kind, loaded, known, videos):
    path = videos / known.names[5]
    # The clips are as large as the model sees them: nothing is scaled, and everything is equal to the last bit.
    frames = kind(read_frames(path, range))
    found = loaded.predict(frames)
    assert found.source is None
    assert torch.equal(found.probabilities, loaded.predict(path).probabilities)


def test_frames_of_another_size_are_scaled(loaded, videos, known):
    frames = read_frames(videos / known.names[5], range)
    large = frames.repeat_interleave(2, 1).repeat_interleave(2, 2)
    clip = loaded.clip(frames)
    # Doubled and halved again; the filter reaches a pixel into the neighbours.
    assert float((loaded.clip(large) - clip).abs().mean() / clip.std()) < 0.1


def test_clips_are_classified_by_themselves_and_stacked(loaded, known, videos):
    clips = torch.stack([loaded.clip(videos / name) for name in known.names[:3]])
    logits = loaded.logits(clips)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    torch.testing.assert_close(logits.softmax(-1), known.probabilities[:3].float(), atol=2e-6, rtol=0)
    torch.testing.assert_close(
        loaded.predict(clips[1]).probabilities, known.probabilities[1].float(), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_several_views_are_averaged_whether_of_a_file_or_of_its_frames(average, loaded, known, videos):
    path = videos / known.names[2]
    found = loaded.predict(path, views=5, crops=2, average=average).probabilities
    # More than are in memory at once.
    logits = loaded.logits(torch.cat(list(clip_views(str(path), sources.of(loaded.spec), 5, 2, max_views=3))))
    assert len(logits) == 10
    expected = logits.softmax(-1).mean(0) if average == "probabilities" else logits.mean(0).softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert not torch.equal(found, loaded.predict(path).probabilities)
    frames = read_frames(path, range)
    assert torch.equal(found, loaded.predict(frames, views=5, crops=2, average=average).probabilities)


def test_a_part_of_a_file(loaded, videos, known):
    path = videos / known.names[0]
    frames = read_frames(path, range, start=0.1, stop=0.2)
    assert len(frames) < len(read_frames(path, range))
    cut = loaded.predict(path, start=0.1, stop=0.2).probabilities
    assert torch.equal(cut, loaded.predict(frames).probabilities)
    assert not torch.equal(cut, loaded.predict(path).probabilities)


def test_a_model_in_another_precision_takes_the_same_clips(trained, videos, known):
    finer = taggnn.load(trained[0])
    finer.model.double()
    found = finer.predict(videos / known.names[0]).probabilities
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, known.probabilities[0].float(), atol=2e-6, rtol=0)


def test_to_a_device_gives_the_same_object_and_refuses_what_cannot_be(loaded, monkeypatch):
    assert loaded.to("cpu") is loaded
    monkeypatch.setattr(loaded.model.head.propagation[0].kernel, "impl", "flex")
    with pytest.raises(ValueError, match="impl flex computes on CUDA, and this runs on cpu"):
        loaded.to("cpu")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.predict("x.mp4", top=0), "top 0: must be 1 or more"),
        (lambda model: model.predict(torch.zeros(4, 32, 32, 3)), r"float32 \(4, 32, 32, 3\): expected frames, uint8"),
        (lambda model: model.predict(np.zeros((32, 32, 3), np.uint8)), r"uint8 \(32, 32, 3\): expected frames"),
        (lambda model: model.predict(torch.zeros(0, 32, 32, 3, dtype=torch.uint8)), r"\(0, 32, 32, 3\): expected"),
        (lambda model: model.predict(torch.zeros(3, 4, 32, 32), start=1.0), "start and stop are seconds of a file"),
        (lambda model: model.predict(torch.zeros(3, 4, 32, 32), views=2), "a clip is one view already"),
        (lambda model: model.predict(["x.mp4"], views=0), "views must be 1 or more"),
        (lambda model: model.predict(["x.mp4"], crops=0), "crops must be 1 or more, not 0"),
        (lambda model: model.predict(["x.mp4"], average="max"), "unknown average 'max'"),
        (lambda model: model.logits(torch.zeros(3, 4, 32, 32)), r"clips .*\(3, 4, 32, 32\): expected floating point \(B, 3"),
        (lambda model: model.logits(torch.zeros(1, 3, 9, 32, 32)), r"tokens of grid .*built for"),
    ],
    ids=["top", "floats", "picture", "no-frames", "seconds", "clip-views", "views", "crops", "mean", "one-clip", "other-clip"],
)  # fmt: skip
def test_what_cannot_be_classified_is_refused_at_once(ask, message, loaded):
    with pytest.raises(ValueError, match=message):
        ask(loaded)


def test_paths_may_come_from_any_iterable(loaded, videos):
    answers = list(loaded.predict(Path(videos / "test" / "left").glob("*.mp4")))
    assert len(answers) == 1
    assert answers[0].top[0].name in loaded.classes
