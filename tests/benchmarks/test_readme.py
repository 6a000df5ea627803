"""README's section is what the results say, and only between its markers."""

import copy
import re
from pathlib import Path

import pytest

from benchmarks import head, latency, program, readme, scaling, throughput
from taggnn import kernels
from taggnn.nn import convs

ROOT = Path(__file__).parents[2]
TEXT = f"before\n\n{readme.BEGIN}\nold\n{readme.END}\n\nafter\n"


@pytest.fixture(scope="module")
def results(bench, tiny, tmp_path_factory):
    """A folder of small results of all programs."""
    folder = tmp_path_factory.mktemp("repository") / "results"
    common = ("--iters", 1, "--threads", 1, "--backward")
    small = ("--grids", "B1-T2-2x3-C8-A2", "--convs", "gat", "gcn")
    for module, words, name in (
        (latency, small, "cpu-float32"),
        (scaling, ("--places", 1, 4, 9, "--sweeps", "places", "--convs", "gcn"), "cpu-float32-scaling"),
    ):
        ended = bench(module, *words, *common, "--out", folder / f"{name}.json")
        assert ended.code == 0, ended.err
    words = ("--config", tiny, "--clips", 4, "--rounds", 1, "--loader-workers", 0)
    ended = bench(throughput, *words, "--out", folder / "cpu-throughput-tiny.json")
    assert ended.code == 0, ended.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(head.PRESETS, "haa500", head.Preset(2, 16, 5))
        patch.setattr(head, "CHANNELS", 16)
        words = ("--head", "--presets", "haa500", "--batch", 2)
        ended = bench(latency, *words, *common, "--out", folder / "cpu-float32-head.json")
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def page(results):
    path = results.parent / "README.md"
    path.write_text(TEXT)
    return path


def run(bench, page, results, *words):
    pytest.importorskip("torch_scatter")
    pytest.importorskip("triton")
    return bench(readme, "--readme", page, "--results", results, *words)


def test_it_writes_between_the_markers_and_then_finds_nothing_to_do(bench, page, results):
    assert run(bench, page, results, "--check").code == 1
    assert page.read_text() == TEXT
    assert run(bench, page, results).code == 0
    written = page.read_text()
    assert written.startswith(f"before\n\n{readme.BEGIN}\n")
    assert written.endswith(f"\n{readme.END}\n\nafter\n")
    assert "\nold\n" not in written
    assert run(bench, page, results, "--check").code == 0
    assert run(bench, page, results).out == f"{page} is up to date\n"
    assert page.read_text() == written


def test_a_changed_result_is_out_of_date(bench, page, results, tmp_path):
    assert run(bench, page, results).code == 0
    for path in results.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = program.read(tmp_path / "cpu-float32.json")
    changed["rows"][0] |= {"median_ms": 1e6}
    next(row for row in changed["rows"] if row["impl"] == "structured")["faster_than_pyg"] = 123.0
    changed.pop("schema")
    program.write(tmp_path / "cpu-float32.json", changed)
    (tmp_path / "cpu-float32.png").unlink()
    (tmp_path / "cpu-float32-scaling.png").unlink()
    (tmp_path / "cpu-throughput-tiny.png").unlink()
    ended = run(bench, page, tmp_path, "--check")
    assert ended.code == 1
    assert "is out of date: run python benchmarks/readme.py" in ended.err


def test_every_number_is_one_of_the_results(page, results):
    found = readme.collected(results)
    text = readme.section(found, results, page)
    result = found["latency"][0][1]
    row = {(r["conv"], r["impl"], r["pass"]): r for r in result["rows"]}
    forward, both = row["gat", "structured", "forward"], row["gat", "structured", "forward+backward"]
    cells = next(line for line in text.splitlines() if line.startswith("| `gat` | B1-"))
    assert (
        f"{readme.layout.times(forward['faster_than_pyg'])} / {readme.layout.times(both['faster_than_pyg'])}" in cells
    )
    assert f"{readme.layout.digits(forward['times_projection'])} / " in cells
    assert readme.layout.times(1 / both["memory_of_pyg"]) in cells
    slope = next(s for s in found["scaling"][0][1]["slopes"] if s["impl"] == "structured" and s["pass"] == "forward")
    assert readme.layout.digits(slope["slope"]) in text
    stages = {(r["stage"], r["by"], r["pass"]): r for r in found["head"][0][1]["rows"]}
    cells = next(line for line in text.splitlines() if line.startswith("| `haa500` |"))
    for stage in ("head", "graph"):
        pair = [stages[stage, "ours", which]["faster_than_authors"] for which in ("forward", "forward+backward")]
        assert " / ".join(map(readme.layout.times, pair)) in cells
    result = found["throughput"][0][1]
    step = next(row for row in result["rows"] if row["part"] == "training step")
    cells = next(line for line in text.splitlines() if line.startswith("| whole step, clips in memory |"))
    assert f"| {readme.layout.digits(step['clips_per_s'])} | {readme.layout.digits(step['median_ms'])} (" in cells
    assert "| 100% |" in cells
    reading = next(row for row in result["rows"] if row["part"] == "reading")
    cells = next(line for line in text.splitlines() if line.startswith("| reading |"))
    assert f"| {readme.layout.times(reading['of_decode'])} |" in cells
    assert result["bottleneck"] in text
    assert "| training with the loader, 0 workers |" in text
    for kind in ("latency", "scaling", "head", "throughput"):
        assert f"`{found[kind][0][1]['machine']['command']}`" in text
    assert "](results/cpu-float32.png)" in text
    assert "](results/cpu-float32-scaling.png)" in text


def test_what_has_no_row_is_said(page, results):
    found = readme.collected(results)
    entry = {"conv": "gatv2", "grid": "G3", "impl": "dense", "why": "memory", "reason": "can't allocate"}
    found["latency"][0][1]["left_out"] += [entry, entry | {"impl": "flex", "why": "refused"}]
    found["scaling"][0][1]["left_out"] += [entry | {"sweep": "places", "value": 1600, "why": "time", "reason": "9 s"}]
    text = readme.section(found, results, page)
    assert "No row: `gatv2` by `dense` on G3 (more memory than there was)." in text
    assert "No row: `gatv2` by `dense` from 1600 places on (9 s)." in text


def test_an_interrupted_measurement_is_refused(bench, page, results, tmp_path):
    result = program.read(results / "cpu-throughput-tiny.json")
    result.pop("schema")
    program.write(tmp_path / "cpu-throughput-tiny.json", result | {"complete": False})
    ended = run(bench, page, tmp_path)
    assert ended.code == 2
    assert "was interrupted: measure again by python benchmarks/throughput.py --config tiny.yaml" in ended.err


def test_a_gpu_that_was_not_used_is_said(page, results):
    found = readme.collected(results)
    assert "Not yet measured on GPU." in readme.section(found, results, page)
    measured = copy.deepcopy(found)
    measured["latency"][0][1]["settings"]["device"] = "cuda"
    assert "Not yet measured on GPU." not in readme.section(measured, results, page)


def test_the_table_of_support_is_what_the_implementations_say():
    pytest.importorskip("torch_scatter")
    pytest.importorskip("triton")
    _, table, *rest = readme.support()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][1:] == [f"`{impl}`" for impl in kernels.IMPLS]
    assert [line[0] for line in lines[2:]] == [f"`{name}`" for name in convs.CONVS]
    for name, cells in zip(convs.CONVS, lines[2:], strict=True):
        for impl, cell in zip(kernels.IMPLS, cells[1:], strict=True):
            conv = convs.build(name, 8)
            if cell == "yes":
                kernels.find(conv, readme.parse("clique+chain"), (8, 7, 7), impl)
                continue
            number = re.fullmatch(r"no \((\d+)\)", cell)[1]
            with pytest.raises(ValueError, match="impl") as refusal:
                kernels.find(conv, readme.parse("clique+chain"), (8, 7, 7), impl)
            assert f"{number}. {refusal.value}" in rest[0].splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing\n", "must have the line '<!-- performance: begin -->' exactly once; found 0"),
        (f"{readme.BEGIN}\n", "must have the line '<!-- performance: end -->' exactly once; found 0"),
        (TEXT + TEXT, "exactly once; found 2"),
        (f"{readme.END}\n{readme.BEGIN}\n", "before '<!-- performance: begin -->'"),
    ],
    ids=["none", "no end", "twice", "turned"],
)
def test_markers_that_are_not_there_are_said(text, said, bench, page, results):
    page.write_text(text)
    ended = run(bench, page, results)
    assert ended.code == 2
    assert said in ended.err
    assert page.read_text() == text


def test_no_results_are_said(bench, page, tmp_path):
    ended = run(bench, page, tmp_path)
    assert ended.code == 2
    assert "run python benchmarks/latency.py first" in ended.err


@pytest.mark.skipif(not list(program.RESULTS.glob("*.json")), reason="nothing was measured yet")
def test_the_readme_of_this_repository_is_up_to_date(bench):
    ended = run(bench, ROOT / "README.md", program.RESULTS, "--check")
    assert ended.code == 0, ended.err
