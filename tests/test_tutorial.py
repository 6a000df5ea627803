"""The notebook in docs/ runs from its first cell to its last, on fewer clips and epochs than a reader takes."""

import ast
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
# Values for the cell tagged "parameters", as papermill replaces them.
SMALL = {"clips": 2, "epochs": 1, "size": 32, "seeds": 1, "convolutions": ["gcn"], "topologies": ["chain"]}


def sources(kind):
    return ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == kind]


@pytest.fixture
def as_main(monkeypatch, tmp_path):
    """An empty module in the part of the program, and an empty working folder."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    # Trainings of the sweep import taggnn and graphs from here.
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    # A notebook shows its figures itself.
    plt.switch_backend("agg")
    yield main
    plt.close("all")
    sys.modules.pop("mine", None)


def test_every_cell_runs(as_main, tmp_path):
    for cell in CELLS:
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), "tutorial.ipynb", "exec"), vars(as_main))
        if "parameters" in cell["metadata"].get("tags", []):
            assert set(SMALL) <= set(vars(as_main))
            vars(as_main).update(SMALL)
    found = vars(as_main)
    assert found["run"].is_finished
    assert {name: list(of) for name, of in found["sweep"].runs.items()} == {"conv=gcn,topology=chain": [0]}
    assert found["values"].shape == found["tokens"].shape[1:4]
    assert (tmp_path / "runs" / "motion" / "report.html").is_file()


def test_outputs_are_those_of_a_whole_run_and_name_no_machine():
    counts = [cell["execution_count"] for cell in CELLS if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = json.dumps([cell.get("outputs") for cell in CELLS])
    assert '"output_type": "error"' not in outputs
    # A POSIX path from the root, or a user's folder.
    assert not re.findall(r"[\s\"'(](/(?:home|root|tmp|work|usr)/[^\s\"']*)", outputs)


def test_links_lead_to_pages():
    for target in re.findall(r"\]\(([^)#:]+)\)", "\n".join(sources("markdown"))):
        assert (NOTEBOOK.parent / target).is_file(), target


def test_code_is_plain_python():
    for source in sources("code"):
        ast.parse(source)
