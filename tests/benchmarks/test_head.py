"""The whole head: equal first, then ratios and shares that can be computed again."""

import pytest
import torch

from benchmarks import head, program
from benchmarks.authors import AuthorsHead
from benchmarks.head import AUTHORS, OURS, PRESETS, Preset
from benchmarks.measure import BOTH, FORWARD
from taggnn.heads import TagHead

SMALL = Preset(frames=2, ffn=16, classes=5)


@pytest.fixture(scope="module")
def measured():
    rows, left = head.measure(
        "small", SMALL, 2, torch.device("cpu"), torch.float32, backward=True, rounds=2, side=2, channels=16
    )
    assert left == []
    return {(row["stage"], row["by"], row["pass"]): row for row in rows}


def test_presets_are_the_released_ones():
    assert {name: (p.frames, p.ffn, p.classes) for name, p in PRESETS.items()} == {
        "haa500": (4, 512, 500),
        "gym99": (8, 1024, 99),
        "gym288": (8, 2048, 288),
    }


def test_every_stage_is_there_for_both(measured):
    stages = [("head", OURS), ("head", AUTHORS), ("encoder", OURS), ("encoder", AUTHORS)]
    stages += [("graph", OURS), ("graph", AUTHORS)]
    stages += [("classifier", OURS), ("classifier", AUTHORS)]
    assert set(measured) == {(*stage, which) for stage in stages for which in (FORWARD, BOTH)}


def test_rows_say_that_they_are_equal(measured):
    for row in measured.values():
        assert row["equal"]["equal"]
        assert row["equal"]["against"] == "float64"


def test_ratios_and_shares_follow_from_the_rows(measured):
    ours, theirs = (measured["graph", by, BOTH] for by in (OURS, AUTHORS))
    assert ours["faster_than_authors"] == pytest.approx(theirs["median_ms"] / ours["median_ms"])
    assert ours["memory_of_authors"] == pytest.approx(ours["peak_bytes"] / theirs["peak_bytes"])
    assert theirs["faster_than_authors"] is None
    for by in (OURS, AUTHORS):
        whole, part = measured["head", by, BOTH], measured["encoder", by, BOTH]
        assert part[f"share_of_{by}"] == pytest.approx(part["median_ms"] / whole["median_ms"])
    assert theirs["share_of_ours"] is None
    assert ours["share_of_authors"] is None


def test_stages_make_up_the_head():
    torch.manual_seed(0)
    ours = TagHead.released(16, (2, 2, 2), 5, ffn=16).eval()
    theirs = AuthorsHead(ours).eval()
    tokens = torch.randn(2, 2, 2, 2, 16)
    with torch.no_grad():
        x = head._encode(ours, tokens)
        torch.testing.assert_close(x, theirs.encode(tokens))
        x = head._propagate(ours, x)
        torch.testing.assert_close(head._classify(ours, x), ours(tokens).logits)


def test_the_backbone_is_a_stage_of_its_own(monkeypatch):
    module = torch.nn.Linear(4, 4)
    monkeypatch.setattr(head, "_backbone", lambda *_: (module, torch.ones(1, 4), module))
    cpu, small = torch.device("cpu"), {"rounds": 1, "backbone": True, "side": 2, "channels": 16}
    rows, left = head.measure("small", SMALL, 2, cpu, torch.float32, backward=True, **small)
    assert [row["stage"] for row in rows].count("backbone, one clip") == 2
    assert left == []

    def shortage(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(head, "_backbone", lambda *_: (shortage, torch.ones(1, 4), module))
    rows, left = head.measure("small", SMALL, 2, cpu, torch.float32, **small)
    assert len(rows) == 8
    assert left[0]["why"] == "memory"


@pytest.mark.parametrize(
    ("stage", "wrong", "found"),
    [
        ("encode", lambda x: x.roll(1, -1), "head: "),
        ("classify", lambda x: x * 1.01, "head: "),
        # A mean over nodes follows, which hides from the logits what the graph does.
        ("propagate", lambda x: x + (x - x.mean(1, keepdim=True)) * 1e-2, "graph: "),
    ],
)
def test_a_head_that_is_not_equal_has_no_rows(stage, wrong, found, monkeypatch):
    right = getattr(AuthorsHead, stage)
    monkeypatch.setattr(AuthorsHead, stage, lambda self, x: wrong(right(self, x)))
    rows, left = head.measure("small", SMALL, 2, torch.device("cpu"), torch.float32, rounds=1, side=2, channels=16)
    assert rows == []
    assert left[0]["why"] == "unequal"
    assert left[0]["reason"].startswith(found)


def test_the_command_line(bench, tmp_path, monkeypatch):
    from benchmarks import latency

    monkeypatch.setitem(PRESETS, "haa500", SMALL)
    monkeypatch.setattr(head, "SIDE", 2)
    path = tmp_path / "head.json"
    ended = bench(latency, "--head", "--presets", "haa500", "--batch", 2, "--iters", 1, "--threads", 1, "--out", path)
    assert ended.code == 0, ended.err
    assert len(program.read(path)["rows"]) == 8
