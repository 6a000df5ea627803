"""Stored tokens: made once, gone on with, checked, and as good as the backbone that made them."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch

import taggnn.evaluate
import taggnn.extract
import taggnn.train
from taggnn import backbones
from taggnn.cli import build, config, resolve, terminal
from taggnn.data import shards
from taggnn.data.dataset import ClipDataset
from taggnn.data.samplers import seed_of
from taggnn.data.tokens import TokenCache, TokenSource
from taggnn.data.video import source
from taggnn.data.video.container import Container
from taggnn.data.video.reading import VideoError
from taggnn.evaluation.predictions import read_predictions, read_skipped
from taggnn.io import checkpoint, extraction

EPOCHS = 2


def killed(shard, words):
    """Ends the process with SIGKILL when it has written so many shards of tokens, and the backbone."""
    write, left = shards.write_shard, [shard + 1]

    def count(*given):
        write(*given)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    shards.write_shard = count
    return terminal.run(taggnn.extract.main, "taggnn.extract", list(map(str, words)))


@pytest.fixture(scope="module")
def recipe(videos, tmp_path_factory):
    """Videos as they are: what training sees of a clip is what evaluation sees."""
    path = tmp_path_factory.mktemp("recipes") / "plain.yaml"
    path.write_text(
        f"""
data: {{root: {videos}, batch_size: 4, workers: 0}}
video: {{frames: 4, short_side: 32, size: 32, sampling: uniform, flip: 0, scale: [1, 1], ratio: [1, 1]}}
backbone: {{options: {{width: 8, drop: 0.3}}}}
tag: {{encoder_layers: 1, encoder_heads: 4, dim: 32}}
train: {{epochs: {EPOCHS}}}
device: cpu
threads: 1
"""
    )
    return path


FLIP_PAIRS = ["--data.flip_pairs", '{"left": "right", "clockwise": "counter_clockwise"}']
AUGMENTED = [
    "--video.sampling",
    "segment",
    "--video.flip",
    "0.5",
    "--video.scale",
    "[0.5,1]",
    "--video.random_erasing",
    "0.5",
]
EXTRACT = ["--dtype", "float32", "--shard_size", "0.04", "--device", "cpu"]


@pytest.fixture(scope="module")
def tokens(recipe, program, tmp_path_factory):
    """Tokens in float32 of the plain recipe, in several shards."""
    folder = tmp_path_factory.mktemp("tokens") / "plain"
    ended = program(taggnn.extract, "--config", recipe, "--out", folder, *EXTRACT)
    assert ended.code == 0, ended.err
    return folder, ended


def run(program, tmp_path, *words):
    ended = program(taggnn.train, "--runs", tmp_path, *words)
    assert ended.code == 0, ended.err
    return Path(re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1])


def samples(folder, split, train=False):
    source = TokenSource(folder)
    return ClipDataset(getattr(source.splits, split), source, train)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def losses(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds", "clips/s")}
            for row in csv.DictReader(file)
        ]


def assert_same_run(run, reference):
    assert losses(run) == losses(reference)
    ours, theirs = (read_predictions(folder / "predictions.csv") for folder in (run, reference))
    assert torch.equal(ours.probabilities, theirs.probabilities)
    assert ours.names == theirs.names
    assert {clip.name for clip in read_skipped(run / "skipped.csv")} == {
        clip.name for clip in read_skipped(reference / "skipped.csv")
    }
    ours, theirs = (checkpoint.read(folder / "best.ckpt")["model"] for folder in (run, reference))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_index_says_what_the_tokens_are(tokens):
    folder, ended = tokens
    index = json.loads((folder / "index.json").read_text())
    assert index["complete"]
    assert (index["dtype"], index["tokens"], index["views"]) == ("float32", [4, 2, 2, 64], 0)
    assert index["settings"]["backbone.options"] == {"width": 8, "drop": 0.3}
    assert index["weights"]["origin"] == "random, seed 42"
    row = index["splits"]["train"]["clips"][5]
    assert {"name", "label", "path", "tokens"} == set(row)
    assert len(index["shards"]) > 4
    bad = {clip["name"]: clip["tokens"] for clip in index["splits"]["val"]["clips"] if isinstance(clip["tokens"], str)}
    assert len(bad) == 5
    assert "empty" in bad["val/clockwise/a_empty.mp4"]
    for said in (
        "47 x 4.1 kB = 0.2 MB in 7 shards",
        "GB free",
        "clips/s",
        "skipped   train/train/clockwise/a_audio.mp4",
        "and 10 more",
    ):
        assert said in ended.out, said


def test_tokens_are_those_of_the_backbone(tokens, recipe):
    folder, _ = tokens
    settings = config.parse(["--config", str(recipe)])
    resolve.fill(settings)
    data = resolve.clips_of(settings)
    cache = TokenCache(folder)
    backbone = backbones.build("small", width=8)
    backbone.load_state_dict(cache.backbone_state())
    stored, clips = samples(folder, "val"), data.samples("val")
    for place in (5, 9):
        with torch.no_grad():
            expected = backbone.eval()(clips[place, 0].x[None])[0].permute(1, 2, 3, 0)
        torch.testing.assert_close(stored[place, 0].x, expected)
        assert stored[place, 0].label == clips[place, 0].label
    assert stored[0, 0] == clips[0, 0]


def test_a_head_trained_on_tokens_is_the_head_trained_behind_the_frozen_backbone(tokens, recipe, program, tmp_path):
    frozen = run(program, tmp_path / "frozen", "--config", recipe, "--backbone.frozen", "true")
    stored = run(program, tmp_path / "stored", "--data.tokens", tokens[0])
    assert_same_run(stored, frozen)
    assert len(losses(stored)) == EPOCHS


@pytest.mark.usefixtures("no_report")
def test_epochs_on_stored_views_are_those_on_augmented_videos(recipe, program, tmp_path, videos):
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    given = ["--config", recipe, "--data.root", root, *AUGMENTED, *FLIP_PAIRS]
    frozen = run(program, tmp_path / "frozen", *given, "--backbone.frozen", "true", "--head", "pool")
    ended = program(taggnn.extract, *given, "--out", tmp_path / "tokens", "--views", EPOCHS, *EXTRACT)
    assert ended.code == 0, ended.err
    # Nothing of them is needed any more.
    shutil.rmtree(root)
    stored = run(program, tmp_path / "stored", "--data.tokens", tmp_path / "tokens", "--head", "pool")
    assert_same_run(stored, frozen)


@pytest.mark.usefixtures("no_report")
def test_a_run_on_tokens_does_not_go_on_with_those_of_other_weights(tokens, recipe, program, tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(tokens[0], folder)
    begun = run(program, tmp_path / "runs", "--data.tokens", folder, "--head", "pool", "--train.epochs", 1)
    (begun / "results.json").unlink()
    shutil.rmtree(folder)
    ended = program(taggnn.extract, "--config", recipe, "--out", folder, *EXTRACT, "--seed", 1)
    assert ended.code == 0, ended.err
    ended = program(taggnn.train, "--resume", begun)
    assert ended.code == 2
    assert "cannot be resumed: its tokens are not those it began with: backbone weights '" in ended.err
    assert "seed 42 there, 1 given" in ended.err


def test_a_view_is_that_of_its_epoch_and_any_later_on(recipe, program, tmp_path):
    ended = program(taggnn.extract, "--config", recipe, *AUGMENTED, "--out", tmp_path, "--views", 3, *EXTRACT)
    assert ended.code == 0, ended.err
    stored = samples(tmp_path, "train", train=True)
    views = [stored[7, seed_of(42, epoch, 7)].x for epoch in range(3)]
    assert not any(torch.equal(views[a], views[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    later = [stored[7, seed_of(42, epoch, 7)].x for epoch in range(3, 40)]
    drawn = [next(n for n, view in enumerate(views) if torch.equal(view, one)) for one in later]
    assert set(drawn) == {0, 1, 2}
    assert not torch.equal(samples(tmp_path, "train")[7, 0].x, views[0])


def test_a_killed_extraction_goes_on_to_the_same_bytes(tokens, recipe, program, begin, tmp_path):
    words = ["--config", recipe, "--out", tmp_path / "c", *EXTRACT]
    ended = begin(killed, 3, words).end()
    assert ended.code == -signal.SIGKILL, ended.err
    assert len(list((tmp_path / "c").glob("train-*"))) == 3
    refused = program(taggnn.train, "--data.tokens", tmp_path / "c")
    assert (refused.code, "not finished" in refused.err) == (2, True)
    ended = program(taggnn.extract, *words)
    assert ended.code == 0, ended.err
    assert "3 exist already" in ended.out
    assert "retried" not in ended.out
    assert hashes(tmp_path / "c") == hashes(tokens[0])


def test_an_extraction_killed_behind_its_last_shard_is_finished(tokens, recipe, program, begin, tmp_path):
    words = ["--config", recipe, "--out", tmp_path / "c", *EXTRACT]
    ended = begin(killed, 7, words).end()
    assert ended.code == -signal.SIGKILL, ended.err
    assert not json.loads((tmp_path / "c" / "index.json").read_text())["complete"]
    ended = program(taggnn.extract, *words)
    assert ended.code == 0, ended.err
    assert "7 exist already" in ended.out
    assert hashes(tmp_path / "c") == hashes(tokens[0])


def test_an_interrupt_at_the_last_index_is_told_as_any_other(recipe, program, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(taggnn.extract, "completed", interrupted)
    ended = program(taggnn.extract, "--config", recipe, "--out", tmp_path / "c", *EXTRACT)
    assert (ended.code, "interrupted; the same command resumes from here" in ended.err) == (130, True)


def test_bytes_do_not_depend_on_loader_processes(tokens, recipe, program, tmp_path):
    ended = program(taggnn.extract, "--config", recipe, "--data.workers", 2, "--out", tmp_path, *EXTRACT)
    assert ended.code == 0, ended.err
    ours, theirs = hashes(tmp_path), hashes(tokens[0])
    # It has the number of processes in it.
    assert ours.pop("config.yaml") != theirs.pop("config.yaml")
    assert ours == theirs


def test_a_test_split_that_is_val_again_is_stored_once(recipe, program, tmp_path):
    words = ["--config", recipe, "--data.test_folder", "none", "--out", tmp_path, *EXTRACT]
    ended = program(taggnn.extract, *words)
    assert ended.code == 0, ended.err
    cache = TokenCache(tmp_path)
    assert cache.splits.test is cache.splits.val
    assert not list(tmp_path.glob("test-*"))
    assert torch.equal(samples(tmp_path, "test")[9, 0].x, samples(tmp_path, "val")[9, 0].x)


@pytest.mark.parametrize("name", ["val-00001.safetensors", "backbone.safetensors"])
def test_a_damaged_file_is_named_and_made_anew(tokens, recipe, program, tmp_path, name):
    folder = tmp_path / "c"
    shutil.copytree(tokens[0], folder)
    content = bytearray((folder / name).read_bytes())
    content[-5] ^= 4
    (folder / name).write_bytes(content)
    for refused in (
        program(taggnn.extract, "--out", folder, "--verify", "true"),
        program(taggnn.train, "--data.tokens", folder, "--runs", tmp_path / "runs"),
    ):
        assert refused.code == 2
        assert f"{folder / name}: damaged" in refused.err
    ended = program(taggnn.extract, "--config", recipe, "--out", folder, *EXTRACT)
    assert ended.code == 0, ended.err
    assert hashes(folder) == hashes(tokens[0])
    assert program(taggnn.extract, "--out", folder, "--verify", "true").code == 0


@pytest.mark.parametrize("place", ["tokens", "note"])
def test_a_damaged_shard_is_made_anew_when_the_first_repair_was_interrupted(
    tokens, recipe, program, tmp_path, monkeypatch, place
):
    folder, words = tmp_path / "c", ["--config", recipe, "--out", tmp_path / "c", *EXTRACT]
    shutil.copytree(tokens[0], folder)
    path = folder / "val-00000.safetensors"
    content = bytearray(path.read_bytes())
    at = -5 if place == "tokens" else content.index(b"not a video")
    content[at] ^= 4
    path.write_bytes(content)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(taggnn.extract, "extract", interrupted)
        assert program(taggnn.extract, *words).code == 130
    assert program(taggnn.extract, *words).code == 0
    assert hashes(folder) == hashes(tokens[0])


def test_tokens_of_a_changed_video_are_made_anew(recipe, program, tmp_path, videos):
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    words = ["--config", recipe, "--data.root", root, "--out", tmp_path / "c", *EXTRACT]
    assert program(taggnn.extract, *words).code == 0
    before, old = hashes(tmp_path / "c"), samples(tmp_path / "c", "train")
    names = [clip.name for clip in old.clips]
    changed, same = names.index("train/up/up_001.mp4"), names.index("train/down/down_000.mp4")
    old = old[changed, 0].x, old[same, 0].x
    shutil.copy(root / "train" / "down" / "down_000.mp4", root / "train" / "up" / "up_001.mp4")
    ended = program(taggnn.extract, *words)
    assert ended.code == 0, ended.err
    assert "changed   1 clips whose video files have changed" in ended.out
    new = samples(tmp_path / "c", "train")
    assert not torch.equal(new[changed, 0].x, old[0])
    torch.testing.assert_close(new[changed, 0].x, old[1])
    # The one shard, and the index.
    assert sum(before[name] != now for name, now in hashes(tmp_path / "c").items()) == 2


@pytest.mark.parametrize("how", ["file", "luck"])
def test_a_skipped_clip_is_tried_again(recipe, program, tmp_path, videos, monkeypatch, how):
    root, name = tmp_path / "videos", "val/clockwise/a_empty.mp4"
    shutil.copytree(videos, root)
    good = root / "val" / "left" / "left_000.mp4"
    words = ["--config", recipe, "--data.root", root, "--out", tmp_path / "c", *EXTRACT]
    if how == "file":
        assert program(taggnn.extract, *words).code == 0
        shutil.copy(good, root / name)
        said = "changed   1 clips"
    else:
        shutil.copy(good, root / name)
        read = source.read_views

        def busy(path, *given, **options):
            if path.endswith(name):
                raise VideoError(path, "given up after 60 s")
            return read(path, *given, **options)

        with monkeypatch.context() as patched:
            patched.setattr(source, "read_views", busy)
            assert program(taggnn.extract, *words).code == 0
        said = "retried   15 skipped clips: 1 can be read now"
    assert len(TokenCache(tmp_path / "c").skipped) == 15
    ended = program(taggnn.extract, *words)
    assert ended.code == 0, ended.err
    assert said in ended.out
    assert len(TokenCache(tmp_path / "c").skipped) == 14
    again = hashes(tmp_path / "c")
    ended = program(taggnn.extract, *words)
    assert "retried   14 skipped clips: 0 can be read now" in ended.out
    assert hashes(tmp_path / "c") == again


@pytest.mark.parametrize("key", ["label", "name", "start"])
def test_tokens_of_another_list_are_refused(tokens, recipe, program, tmp_path, key):
    folder = tmp_path / "c"
    shutil.copytree(tokens[0], folder)
    index = json.loads((folder / "index.json").read_text())
    index["splits"]["train"]["clips"][7][key] = {"label": 6, "name": "other.mp4", "start": 0.5}[key]
    # By hand, without the checksum that tells damage.
    (folder / "index.json").write_text(json.dumps({key: value for key, value in index.items() if key != "checksum"}))
    ended = program(taggnn.extract, "--config", recipe, "--out", folder, *EXTRACT)
    assert ended.code == 2
    assert "the train clips differ" in ended.err


def test_without_training_views_it_is_no_matter_how_training_sees_clips(tokens, recipe, program):
    training = [
        "--video.flip",
        "0.5",
        "--video.scale",
        "[0.5,1]",
        "--video.random_erasing",
        "0.5",
        "--video.randaugment",
        "2",
    ]
    training += ["--video.temporal_jitter", "0.5", "--video.decoder", "pyav", *FLIP_PAIRS]
    before = hashes(tokens[0])
    ended = program(taggnn.extract, "--config", recipe, *training, "--out", tokens[0], *EXTRACT)
    assert ended.code == 0, ended.err
    assert "7 exist already" in ended.out
    assert hashes(tokens[0]) == before
    checked("--data.tokens", tokens[0], *training)


@pytest.mark.parametrize(
    "words", [[], ["--video.decoder", "pyav"], ["--video.decoder", "torchcodec", "--video.frame_cache", "s"]]
)
def test_the_decoder_that_is_used_is_compared(recipe, words):
    settings = config.parse(["--config", str(recipe), *words])
    assert resolve.of_tokens(settings)["video.decoder"] == "pyav"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--video.frame_cache", "s"], "and video.frame_cache s: one of them is possible"),
        (["--data.root=v"], "data.root and data.tokens: the clips are those of the tokens"),
    ],
    ids=["frame_cache", "root"],
)
def test_what_contradicts_tokens_is_refused(tokens, program, words, said):
    ended = program(taggnn.train, "--data.tokens", tokens[0], *words)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("yes", ["true", "True", "yes"])
def test_verify_extracts_nothing_however_yes_is_written(program, tmp_path, yes):
    ended = program(taggnn.extract, "--verify", yes, "--out", tmp_path / "c")
    assert ended.code == 2
    assert "no such folder; expected a folder of taggnn tokens" in ended.err
    assert not (tmp_path / "c").exists()


def test_a_checkpoint_of_another_backbone_is_refused_in_a_sentence(trained, videos, program, tmp_path):
    words = ["--checkpoint", trained[0] / "best.ckpt", "--data.root", videos, "--out", tmp_path / "c"]
    ended = program(taggnn.extract, *words, "--backbone.options.width", "16", *EXTRACT)
    assert ended.code == 2
    assert "its backbone is 'small', and does not fit 'small' with the options given here" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_file_is_no_folder_of_tokens(recipe, program, tmp_path, below):
    (tmp_path / "file").write_text("x")
    for words in (
        (taggnn.extract, "--config", recipe, "--out", tmp_path / "file" / below),
        (taggnn.train, "--data.tokens", tmp_path / "file" / below),
    ):
        ended = program(*words)
        assert ended.code == 2
        assert "is a file, not a folder" in ended.err
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--video.frames", "8"], "video.frames 4 there, 8 given"),
        (
            ["--video.sampling", "dense", "--video.stride", "2"],
            "video.sampling 'uniform' there, 'dense' given; video.stride 1",
        ),
        (["--video.grayscale", "true"], "video.grayscale False there, True given"),
        (["--backbone.options.width", "16"], "backbone.options {'width': 8, 'drop': 0.3} there, {'width': 16,"),
        (["--backbone.name", "r3d_18"], "backbone.name 'small' there, 'r3d_18' given"),
        (["--backbone.frozen", "false"], "backbone.frozen True there, False given"),
        (["--config", "miracl_words"], "data.train_list None there, 'train.csv' given; "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_differs_from_the_tokens_is_refused_and_named(tokens, program, words, said):
    ended = program(taggnn.train, "--data.tokens", tokens[0], *words)
    assert ended.code == 2
    assert said in ended.err
    assert str(tokens[0]) in ended.err


def checked(*words):
    settings = config.parse([str(word) for word in words])
    resolve.fill(settings)
    resolve.check_tokens(settings)
    return settings


def test_weights_are_compared_by_what_is_in_the_file(tokens, tmp_path):
    state = TokenCache(tokens[0]).backbone_state()
    torch.save(state, tmp_path / "same.pth")
    torch.save({key: value + 1 for key, value in state.items()}, tmp_path / "other.pth")
    checked("--data.tokens", tokens[0], "--backbone.weights", tmp_path / "same.pth")
    checked("--data.tokens", tokens[0], "--backbone.weights", tokens[0] / "backbone.safetensors")
    with pytest.raises(ValueError, match=r"backbone.weights '\w{64}' there, '\w{64}' given"):
        checked("--data.tokens", tokens[0], "--backbone.weights", tmp_path / "other.pth")


def test_tokens_of_an_earlier_version_are_refused_in_a_sentence(tokens, recipe, program, tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(tokens[0], folder)
    index = json.loads((folder / "index.json").read_text())
    del index["format"]
    # By hand, without the checksum that tells damage.
    (folder / "index.json").write_text(json.dumps({key: value for key, value in index.items() if key != "checksum"}))
    for words in (
        (taggnn.train, "--data.tokens", folder),
        (taggnn.extract, "--config", recipe, "--out", folder, *EXTRACT),
    ):
        ended = program(*words)
        assert ended.code == 2
        assert f"tokens {folder}: written by another version of taggnn" in ended.err
        assert "extract them again" in ended.err


def test_the_index_holds_what_the_whole_model_is_fed(tokens):
    source = TokenSource(tokens[0])
    assert source.model_spec.shape == (3, 4, 32, 32)
    assert source.model_spec.options["sampling"] == "uniform"
    assert source.spec.shape == (4, 2, 2, 64)
    assert source.spec.axes == ("frame", "height", "width", "channel")


def test_another_extraction_is_not_mixed_in(tokens, recipe, program, tmp_path):
    shutil.copytree(tokens[0], tmp_path / "c")
    before = hashes(tmp_path / "c")
    words = ["--config", recipe, "--out", tmp_path / "c", *EXTRACT, "--seed", "1", "--video.stride", "3"]
    ended = program(taggnn.extract, *words)
    assert ended.code == 2
    for said in (
        "holds the tokens of another extraction",
        "video.stride 1 there, 3 given",
        "weights",
        "seed 42 there, 1",
    ):
        assert said in ended.err
    assert hashes(tmp_path / "c") == before


def test_what_is_not_given_is_taken_from_the_extraction(tokens, recipe, tmp_path):
    alone = checked("--data.tokens", tokens[0], "--data.batch_size", 8)
    assert (alone.train.epochs, alone.tag.dim, alone.data.batch_size, alone.video.frames) == (EPOCHS, 32, 8, 4)
    # A recipe of its own settles all that the tokens do not follow from.
    own = tmp_path / "own.yaml"
    own.write_text("tag: {dim: 48}\noptim: {lr: 0.01}\n")
    beside = checked("--config", own, "--data.tokens", tokens[0])
    assert (beside.train.epochs, beside.tag.dim, beside.video.frames) == (30, 48, 4)
    assert beside.backbone.options == {"width": 8, "drop": 0.3}
    assert checked("--config", recipe, f"--data.tokens={tokens[0]}").backbone.frozen
    # A file may name the tokens, as the config.yaml of a run on them does.
    own.write_text(f"data: {{tokens: {tokens[0]}}}\ntag: {{dim: 48}}\n")
    named = checked("--config", own)
    assert (named.tag.dim, named.video.frames, named.backbone.frozen) == (48, 4, True)


def test_a_head_trained_on_tokens_answers_on_videos(tokens, videos, program, tmp_path):
    folder = run(program, tmp_path, "--data.tokens", tokens[0], "--optim.mixup", "0.3", "--seed", 7)
    # Another seed would hold other clips out, and draw another backbone.
    assert checkpoint.load(folder / "best.ckpt").split_options["seed"] == 42
    ended = program(
        *(taggnn.evaluate, "--checkpoint", folder / "best.ckpt", "--data.root", videos, "--device", "cpu"),
        *("--out", tmp_path / "evaluated", "--data.workers", 0, "--data.batch_size", 4),
    )
    assert ended.code == 0, ended.err
    ours, theirs = (read_predictions(place / "predictions.csv") for place in (folder, tmp_path / "evaluated"))
    # The tokens are equal to the last bit; a head's sums depend on the size of the batch where there are several threads.
    torch.testing.assert_close(ours.probabilities, theirs.probabilities, rtol=0, atol=1e-6)


def test_a_trained_backbone_is_taken_from_its_checkpoint(trained, videos, program, tmp_path):
    folder, _ = trained
    words = ["--checkpoint", folder / "best.ckpt", "--data.root", videos, "--out", tmp_path / "c", "--data.workers", 0]
    ended = program(taggnn.extract, *words, *EXTRACT)
    assert ended.code == 0, ended.err
    cache, state = TokenCache(tmp_path / "c"), checkpoint.load(folder / "best.ckpt").model.backbone.state_dict()
    assert cache.weights["digest"] == shards.digest(state)
    assert cache.input.options["frames"] == 4
    assert cache.input.shape == (3, 4, 32, 32)


def test_half_precision_is_close_and_too_large_values_are_refused(tokens, recipe, program, tmp_path):
    ended = program(taggnn.extract, "--config", recipe, "--out", tmp_path / "half", "--device", "cpu")
    assert ended.code == 0, ended.err
    half, full = (samples(folder, "val")[9, 0].x for folder in (tmp_path / "half", tokens[0]))
    assert half.dtype is torch.float16
    torch.testing.assert_close(half.float(), full, rtol=2**-10, atol=1e-6)
    state = TokenCache(tokens[0]).backbone_state()
    name = next(key for key in state if key.endswith("shortcut.2.weight"))
    torch.save({**state, name: state[name] * 1e7}, tmp_path / "large.pth")
    words = ["--config", recipe, "--out", tmp_path / "large", "--device", "cpu"]
    ended = program(taggnn.extract, *words, "--backbone.weights", tmp_path / "large.pth")
    assert ended.code == 2
    assert "not finite in torch.float16" in ended.err


def test_a_full_disk_is_told_before_the_work(recipe, program, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda place: usage)
    ended = program(taggnn.extract, "--config", recipe, "--out", tmp_path / "c", *EXTRACT)
    assert ended.code == 2
    assert "are still to be written" in ended.err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--views", "-1"], "--views -1: must be 0 or more"),
        (["--shard_size", "0"], "--shard_size 0.0: must be above 0 MB"),
        (["--dtype", "int8"], "unknown value 'int8'"),
        (["--data.tokens", "x"], "tokens are computed from videos"),
        (["--preview", "3"], "--preview: is an option of taggnn.train"),
        (["--out="], "--out: an empty path"),
        (["--video.frame_cache="], "--video.frame_cache: an empty path"),
        (["--checkpoint", "gone.ckpt"], "gone.ckpt: no such file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_option_is_refused(recipe, program, tmp_path, words, said):
    ended = program(taggnn.extract, "--config", recipe, "--out", tmp_path / "c", *words)
    assert ended.code == 2
    assert said in ended.err


def test_an_empty_path_of_tokens_is_refused(program):
    ended = program(taggnn.train, "--data.tokens=")
    assert (ended.code, "--data.tokens: an empty path" in ended.err) == (2, True)


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_what_holds_no_tokens_is_refused(program, tmp_path, what):
    if what == "folder":
        (tmp_path / "c").mkdir()
    ended = program(taggnn.train, "--data.tokens", tmp_path / "c")
    assert ended.code == 2
    assert "expected a folder of taggnn tokens" in ended.err


def test_how_a_backbone_would_learn_is_no_matter(tokens, recipe, program, tmp_path, capsys):
    learning = ["--backbone.layer_decay", "0.7", "--backbone.frozen_bn", "true", "--backbone.freeze_stages", "1"]
    ended = program(taggnn.extract, "--config", recipe, *learning, "--out", tmp_path / "c", *EXTRACT)
    assert ended.code == 0, ended.err
    ours, theirs = hashes(tmp_path / "c"), hashes(tokens[0])
    assert ours == theirs
    settings = checked("--config", recipe, *learning, "--data.tokens", tokens[0])
    data = build.data_of(settings)
    said = "frozen as a whole, so these keys have no effect: freeze_stages, frozen_bn, layer_decay"
    assert said in ended.out
    assert said in capsys.readouterr().out
    assert build.recogniser_of(settings, data, "pool", None).frozen


@pytest.mark.parametrize("views", [2, 5])
def test_views_of_a_clip_share_its_decode(views, recipe, program, tmp_path, monkeypatch):
    opened, open_one = Counter(), Container.__enter__
    monkeypatch.setattr(Container, "__enter__", lambda self: opened.update([str(self.path)]) or open_one(self))
    given = ["--config", recipe, *AUGMENTED, *FLIP_PAIRS, "--views", views, *EXTRACT]
    ended = program(taggnn.extract, *given, "--out", tmp_path / "together")
    assert ended.code == 0, ended.err
    good = {path: times for path, times in opened.items() if "/a_" not in path}
    trained = [times for path, times in good.items() if "/train/" in path]
    # Evaluation's view and three more are made at once.
    assert (len(trained), set(trained)) == (16, {1 if views == 2 else 2})
    assert {times for path, times in good.items() if "/train/" not in path} == {1}
    monkeypatch.setattr(extraction, "AT_ONCE", 1)
    ended = program(taggnn.extract, *given, "--out", tmp_path / "apart")
    assert ended.code == 0, ended.err
    assert hashes(tmp_path / "together") == hashes(tmp_path / "apart")
    # What is left to do is not the same views for all clips.
    whole = hashes(tmp_path / "together")
    for name in ("train-00000", "train-view1-00000", "train-view0-00001"):
        (tmp_path / "together" / f"{name}.safetensors").unlink()
    monkeypatch.undo()
    ended = program(taggnn.extract, *given, "--out", tmp_path / "together")
    assert ended.code == 0, ended.err
    assert hashes(tmp_path / "together") == whole
