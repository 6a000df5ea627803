"""docs/errors.md has the messages that the programs print."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("docs_errors", ROOT / "docs" / "errors.py")
errors = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(errors)
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", errors.MISTAKES, ids=lambda mistake: mistake.what)
def test_the_page_has_what_is_printed(mistake):
    assert errors.row(mistake) in PAGE.splitlines(), "python docs/errors.py writes the page anew"


def test_the_page_has_nothing_else():
    assert PAGE.startswith(errors.HEAD)
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(rows) - 1 == len(errors.MISTAKES) >= 15


def test_a_mistake_that_is_none_is_refused():
    with pytest.raises(AssertionError, match="expected one message"):
        errors.message(errors.Mistake("none", "taggnn train --help"))
