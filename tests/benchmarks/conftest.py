"""Fixtures of the benchmark tests; the package benchmarks is not installed, so that its parent is put on the path."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit code and what it wrote."""

    code: int
    out: str
    err: str


def _run(module, *words):
    from benchmarks import program

    out, err = io.StringIO(), io.StringIO()
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = program.run(module.main, module.SCRIPT, [str(word) for word in words])
        except SystemExit as leaving:
            code = leaving.code or 0
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(random)
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def bench():
    """``bench(latency, "--grids", "G1")`` -> exit code, output, messages, as ``python benchmarks/latency.py`` ends."""
    return _run
