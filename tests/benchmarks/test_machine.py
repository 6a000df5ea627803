"""What stands beside a result."""

import json
import re

import torch

from benchmarks import machine


def test_the_facts_are_plain_and_complete():
    facts = machine.describe(torch.device("cpu"), 3, "benchmarks/latency.py", ["--out", "a b.json"])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["command"] == "python benchmarks/latency.py --out 'a b.json'"
    assert facts["seed"] == 3
    assert facts["gpu"] == "none used"
    assert facts["threads"] == torch.get_num_threads()
    assert facts["torch"] == torch.__version__.split("+")[0] or facts["torch"] == torch.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["date"])
    assert {"cpu", "system", "python", "torch_geometric", "torch_scatter", "triton"} <= facts.keys()


def test_the_facts_are_told_in_two_lines():
    facts = machine.describe(torch.device("cpu"), 0, "benchmarks/latency.py", [])
    first, second = machine.sentence(facts | {"threads": 1, "triton": "not installed"}).splitlines()
    assert "1 thread;" in first
    assert "triton" not in first
    assert f"torch {facts['torch']}" in first
    assert second.endswith(": python benchmarks/latency.py")
    assert machine.hardware(facts | {"gpu": "H200", "threads": 2}).startswith("H200; ")


def test_there_is_a_core():
    assert machine.cores() >= 1
