"""The generated tables hold the results, and only the text between the markers changes."""

import re

import pytest

from benchmarks import head, latency, layout, program, readme, scaling, throughput
from benchmarks.measure import BOTH, FORWARD
from taggnn import kernels
from taggnn.nn import convs

TEXT = f"before\n\n{readme.BEGIN}\nold\n{readme.END}\n\nafter\n"


@pytest.fixture(scope="module")
def results(bench, tiny, tmp_path_factory):
    """A folder of small results of all programs."""
    folder = tmp_path_factory.mktemp("repository") / "results"
    common = ("--iters", 1, "--threads", 1, "--backward")
    small = ("--grids", "B1-T2-2x3-C8-A2", "--convs", "gat", "gcn")
    for module, words, name in (
        (latency, small, "cpu-float32"),
        (scaling, ("--positions", 1, 4, 9, "--sweeps", "positions", "--convs", "gcn"), "cpu-float32-scaling"),
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
def pages(results):
    """The two pages, with old text between their markers."""
    found = results.parent / "README.md", results.parent / "PAGE.md"
    for page in found:
        page.write_text(TEXT)
    return found


def run(bench, pages, results, *words):
    pytest.importorskip("torch_scatter")
    pytest.importorskip("triton")
    return bench(readme, "--readme", pages[0], "--page", pages[1], "--results", results, *words)


def test_both_pages_are_written_between_the_markers_and_then_up_to_date(bench, pages, results):
    assert run(bench, pages, results, "--check").code == 1
    assert [page.read_text() for page in pages] == [TEXT, TEXT]
    assert run(bench, pages, results).code == 0
    written = [page.read_text() for page in pages]
    for text in written:
        assert text.startswith(f"before\n\n{readme.BEGIN}\n")
        assert text.endswith(f"\n{readme.END}\n\nafter\n")
        assert "\nold\n" not in text
    assert run(bench, pages, results, "--check").code == 0
    assert run(bench, pages, results).code == 0
    assert [page.read_text() for page in pages] == written
    rows = {(row["conv"], row["impl"], row["pass"]): row for row in program.read(results / "cpu-float32.json")["rows"]}
    for conv in ("gat", "gcn"):
        pair = [layout.times(rows[conv, "structured", which]["faster_than_pyg"]) for which in (FORWARD, BOTH)]
        assert all(" / ".join(pair) in text for text in written)
    assert "](results/cpu-float32.png)" in written[1]


def test_a_changed_result_is_out_of_date_and_an_interrupted_one_refused(bench, pages, results, tmp_path):
    assert run(bench, pages, results).code == 0
    for path in results.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = program.read(tmp_path / "cpu-float32.json")
    next(row for row in changed["rows"] if row["impl"] == "structured")["faster_than_pyg"] = 123.0
    changed.pop("schema")
    program.write(tmp_path / "cpu-float32.json", changed)
    assert run(bench, pages, tmp_path, "--check").code == 1
    program.write(tmp_path / "cpu-float32.json", changed | {"complete": False})
    ended = run(bench, pages, tmp_path)
    assert ended.code == 2
    assert "cpu-float32.json was interrupted" in ended.err


def test_the_sections_of_all_kinds_hold_their_figures(pages, results):
    found = readme.collected(results)
    text = readme.section(found, pages[1])
    slope = next(s for s in found["scaling"][0][1]["slopes"] if s["impl"] == "structured" and s["pass"] == FORWARD)
    stages = {(r["stage"], r["by"], r["pass"]): r for r in found["head"][0][1]["rows"]}
    pair = [stages["graph", "ours", which]["faster_than_authors"] for which in (FORWARD, BOTH)]
    step = next(row for row in found["throughput"][0][1]["rows"] if row["part"] == "training step")
    for figure in (
        layout.digits(slope["slope"]),
        " / ".join(map(layout.times, pair)),
        f"| {layout.digits(step['clips_per_s'])} | {layout.digits(step['median_ms'])} (",
        *(files[0][1]["machine"]["command"] for files in found.values() if files),
    ):
        assert figure in text


def test_a_measurement_that_failed_is_listed(pages, results):
    found = readme.collected(results)
    entry = {"conv": "gatv2", "grid": "G3", "impl": "dense", "why": "memory", "reason": "can't allocate"}
    found["latency"][0][1]["left_out"] += [entry, entry | {"impl": "flex", "why": "refused"}]
    text = readme.section(found, pages[1])
    assert "`gatv2` by `dense` on G3" in text
    assert "`gatv2` by `flex`" not in text


@pytest.mark.parametrize("text", ["nothing\n", f"{readme.BEGIN}\n", TEXT + TEXT, f"{readme.END}\n{readme.BEGIN}\n"])
def test_a_page_without_its_two_markers_is_left_as_it_is(text, bench, pages, results):
    pages[1].write_text(text)
    assert run(bench, pages, results).code == 2
    assert [page.read_text() for page in pages] == [TEXT, text]


def test_an_empty_folder_of_results_is_refused(bench, pages, tmp_path):
    ended = run(bench, pages, tmp_path)
    assert ended.code == 2
    assert "no results" in ended.err


@pytest.mark.skipif(not list(program.RESULTS.glob("*.json")), reason="nothing was measured yet")
def test_the_pages_of_this_repository_are_up_to_date(bench):
    ended = run(bench, (readme.README, readme.PAGE), program.RESULTS, "--check")
    assert ended.code == 0, ended.err


def test_the_table_of_support_is_what_the_implementations_say():
    pytest.importorskip("torch_scatter")
    pytest.importorskip("triton")
    _, table, *rest = readme.support()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][1:] == [f"`{impl}`" for impl in kernels.IMPLS]
    # The others know the grid, and run on edge lists only.
    names = [name for name, row in convs.CONVS.items() if str(row.builder).startswith("torch_geometric.")]
    assert [line[0] for line in lines[2:]] == [f"`{name}`" for name in names]
    for name, cells in zip(names, lines[2:], strict=True):
        for impl, cell in zip(kernels.IMPLS, cells[1:], strict=True):
            conv = convs.build(name, 8)
            if cell == "yes":
                kernels.find(conv, readme.parse("clique+chain"), (8, 7, 7), impl)
                continue
            number = re.fullmatch(r"no \((\d+)\)", cell)[1]
            with pytest.raises(ValueError, match="impl") as refusal:
                kernels.find(conv, readme.parse("clique+chain"), (8, 7, 7), impl)
            assert f"{number}. {refusal.value}" in rest[0].splitlines()
