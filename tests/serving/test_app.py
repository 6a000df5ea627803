"""``python -m taggnn.app``: the index of the training clips is made once, from the run's own configuration."""

import shutil

import pytest

import taggnn.app
from taggnn.serving import server
from taggnn.serving.neighbours import FILE, Index, digest_of


@pytest.fixture
def started(extra, trained, program, monkeypatch, tmp_path):
    """``started(*words)``: the end of the program, and what its server would have been."""
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    calls = []
    monkeypatch.setattr(server, "run", lambda job, options, routes: calls.append((job, options)))
    return run, calls, lambda *words: program(taggnn.app, run, "--device", "cpu", *words)


def test_the_index_is_made_once_and_anew_for_other_weights(started):
    run, calls, start = started
    ended = start()
    assert (ended.code, ended.err.count("Traceback")) == (0, 0), ended.err
    digest = digest_of(run / "best.ckpt")
    index = Index.read(run / FILE, digest)
    # The training split has 16 clips and files that cannot be read.
    assert len(index.clips) == 16
    assert calls[0][0].options["index"] == str(run / FILE)
    assert calls[0][1].host == "127.0.0.1"
    before = (run / FILE).stat().st_mtime_ns
    assert start().code == 0
    assert (run / FILE).stat().st_mtime_ns == before
    Index(index.vectors, index.clips, "of other weights").write(run / FILE)
    assert start().code == 0
    assert Index.read(run / FILE, digest) is not None


def test_without_the_training_clips_there_is_a_page_with_a_note(started, tmp_path):
    run, calls, start = started
    ended = start("--data.root", str(tmp_path / "moved"))
    assert ended.code == 0
    assert "No nearest training clips" in ended.err
    (run / "config.yaml").unlink()
    assert start().code == start("--neighbours", "false").code == 0
    assert [job.options["index"] for job, _ in calls] == [None] * 3
    assert not (run / FILE).exists()
