"""Links of the repository's files become links between pages of the site."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "docs" / "site" / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "link", "turned"),
    [
        ("docs/index.md", "heads.md#options", "heads.md#options"),
        ("docs/index.md", "tutorial.ipynb", "tutorial.md"),
        ("docs/index.md", "../CONTRIBUTING.md#a-head", "contributing.md#a-head"),
        ("docs/index.md", "../benchmarks/results/report.png", "pictures/report.png"),
        ("docs/index.md", "https://arxiv.org/abs/2604.11498", "https://arxiv.org/abs/2604.11498"),
        ("docs/api/heads.md", "../heads.md", "../heads.md"),
        ("docs/api/heads.md", "../../benchmarks/README.md", "../benchmarks.md"),
        ("benchmarks/README.md", "results/cpu.png", "pictures/cpu.png"),
        ("CONTRIBUTING.md", "docs/research.md#kernels", "research.md#kernels"),
        ("docs/tutorial.ipynb", "sweeps.md", "sweeps.md"),
        ("docs/index.md", "#anchor", "#anchor"),
    ],
)
def test_links_are_turned(prepare, source, link, turned):
    assert prepare.with_links(f"see [it]({link}), f(x)[0](y)", source) == f"see [it]({turned}), f(x)[0](y)"


def test_every_file_that_becomes_a_page_is_there(prepare):
    assert all((ROOT / source).is_file() for source in prepare.PAGES)
    assert not [page for page in prepare.PAGES.values() if (ROOT / "docs" / page).exists()]
