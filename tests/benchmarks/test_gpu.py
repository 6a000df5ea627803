"""benchmarks/gpu.sh: no part costs another its results, and the parts run through on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as runner
from benchmarks.gpu import clips, cudagraphs, equality, floor, group, precision, resume
from benchmarks.gpu.record import Record
from taggnn.data.clips import Clip
from taggnn.kernels import flex

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
GOOD = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.write_text(json.dumps({"schema": 1, "kind": "gpu-good", "rows": [{"ms": 1.5}], "left_out": []}))
"""


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """A part that works, one that fails, one that never ends after a first row, and one that writes nothing."""
    programs = {
        "good": GOOD,
        "failing": "raise SystemExit(3)",
        "hanging": f"{GOOD}\nimport time\ntime.sleep(600)",
        "silent": "",
    }
    for name, text in programs.items():
        (tmp_path / f"{name}_part.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(runner, "LONGER_ON_CPU", 1)
    seconds = {"hanging": 1.5}
    table = {name: runner.Part(f"{name}_part", seconds.get(name, 60)) for name in programs}
    monkeypatch.setattr(runner, "PARTS", {"hanging": table.pop("hanging"), **table})
    return tmp_path / "out"


def test_no_part_costs_another_its_results(parts):
    words = ["--device", "cpu", "--out", str(parts), "--parts", *runner.PARTS]
    assert runner.main(words) == 1
    found = {name: json.loads((parts / f"{name}.json").read_text()) for name in runner.PARTS}
    assert {name: content["outcome"] for name, content in found.items()} == {
        "hanging": "not done in 2 s",
        "good": "ok",
        "failing": "exit code 3",
        "silent": "wrote nothing",
    }
    assert found["good"]["rows"] == found["hanging"]["rows"] == [{"ms": 1.5}]
    assert found["failing"]["rows"] == []


def test_no_part_begins_when_the_time_is_over(parts, monkeypatch):
    monkeypatch.setattr(runner, "LIMIT", 0.0)
    assert runner.main(["--device", "cpu", "--out", str(parts), "--parts", "good"]) == 1
    assert json.loads((parts / "good.json").read_text())["outcome"].startswith("not begun")


def test_all_parts_have_less_than_ten_minutes():
    assert runner.LIMIT < 600
    assert sum(part.seconds for part in runner.PARTS.values()) < 1.3 * runner.LIMIT


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown part 'equalty'"):
        runner.main(["--device", "cpu", "--out", str(tmp_path), "--parts", "equalty"])


def test_the_script_is_thin_and_names_what_is_there():
    text = (ROOT / "benchmarks" / "gpu.sh").read_text()
    assert text.startswith("#!/bin/sh")
    assert "benchmarks.gpu" in text
    assert os.access(ROOT / "benchmarks" / "gpu.sh", os.X_OK)


@pytest.fixture
def record(tmp_path):
    return Record("part", tmp_path / "part.json", {}, {})


def rows(record, work):
    work(record, CPU, True)
    assert record.end() == 0, record.content["left_out"]
    stored = json.loads(record.path.read_text())
    assert stored["complete"]
    return stored["rows"]


def test_rows_are_written_at_once_and_a_wrong_one_makes_the_part_fail(record):
    record.add({"ok": True})
    assert json.loads(record.path.read_text())["rows"] == [{"ok": True}]
    assert not json.loads(record.path.read_text())["complete"]
    with record.trying(what="b"):
        raise RuntimeError("no such kernel\nat all")
    assert record.content["left_out"] == [{"what": "b", "why": "failed", "reason": "RuntimeError: no such kernel"}]
    assert record.end() == 1


def test_an_overflow_skips_steps_and_training_goes_on(record):
    (row,) = rows(record, precision.work)
    assert row["skipped"] == row["skipped_counted"] > 0
    assert row["weights_kept_when_skipped"]


def test_a_group_of_one_process_is_as_none(record):
    assert [row["what"] for row in rows(record, group.work)] == ["collectives", "DDP", "SyncBatchNorm in the model"]


def test_a_replay_is_the_call_itself(record):
    found = rows(record, cudagraphs.work)
    assert {row["by"] for row in found} == {"eager", "captured"}
    assert all(row["error"] == 0 for row in found)


def test_an_interrupted_run_ends_as_if_it_had_not_been(record):
    (row,) = rows(record, resume.work)
    assert (row["unequal"], row["stopped_after_steps"]) == ([], 2)


def test_kernels_are_compared_with_what_the_cpu_can_give(record, monkeypatch):
    monkeypatch.setattr(equality, "IMPLS", ("flex", "structured"))
    monkeypatch.setattr(flex._Flex, "compiled", True)
    found = rows(record, equality.work)
    assert {(row["conv"], row["impl"]) for row in found} >= {("gat", "flex"), ("gatv2", "structured")}
    assert {row["dtype"] for row in found} == {"float32", "bfloat16"}
    assert {entry["why"] for entry in record.content["left_out"]} == {"refused"}


def test_an_unequal_kernel_fails_the_part(record, monkeypatch):
    monkeypatch.setattr(equality, "IMPLS", ("structured",))
    monkeypatch.setattr(equality, "CONVS", ("gat",))
    monkeypatch.setattr(flex._Flex, "compiled", True)
    plain = equality.measure.ways_of

    def off(case, impls):
        (way,) = plain(case, impls)[0].values()
        return {impls[0]: lambda x: 1.05 * way(x)}, []

    monkeypatch.setattr(equality.measure, "ways_of", off)
    equality.work(record, CPU, True)
    assert record.end() == 1
    assert {entry["why"] for entry in record.content["left_out"]} == {"unequal"}


def test_tritons_kernels_run_in_the_interpreter(tmp_path):
    pytest.importorskip("triton")
    code = (
        "import sys, torch; from benchmarks.gpu import equality; "
        "equality.IMPLS, equality.CONVS, equality.DTYPES = ('triton',), ('gat',), ('float32',); "
        "sys.exit(equality.main(sys.argv[1:]))"
    )
    words = ["--quick", "--device", "cpu", "--out", str(tmp_path / "e.json")]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "e.json").read_text())["rows"]
    assert [(row["impl"], row["ok"], row["gradients"]) for row in found] == [("triton", True, True)]


def test_the_floor_is_the_slower_of_bytes_and_multiply_adds():
    case = equality.Case(
        "gat", equality.parse("B1-T2-2x2-C8-A2"), equality.topology("clique+chain"), CPU, torch.float32
    )
    moved = floor.Rates(1.0, {"float32": 1e30}).seconds(case, "float32", False)
    assert moved == floor.cost.floor_bytes(case.conv, case.size, case.dtype, False)
    macs = 8 * 8 * 8 + floor.cost.graph_macs(case.conv, case.topology, case.size)
    assert floor.Rates(1e30, {"float32": 1.0}).seconds(case, "float32", True) == 6 * macs


def test_a_clip_of_noise_depends_on_its_name_and_seed():
    source = clips.Noise(2, 4)
    one, again, other = (source(Clip("x", 1, name), seed) for name, seed in (("a", 3), ("a", 3), ("b", 3)))
    assert torch.equal(one.x, again.x)
    assert not torch.equal(one.x, other.x)
    assert one.x.shape == source.spec.shape == clips.Noise.from_spec(source.spec).spec.shape
