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
