"""What pages tell a reader to run is there: topologies are drawn, make has the targets, benchmarks exist."""

import re
import shlex
from pathlib import Path

import pytest

from graphs import __main__ as graphs

ROOT = Path(__file__).parents[2]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))])
BLOCKS = "\n".join(
    block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE) if kind in ("", "bash")
)
DRAWN = sorted(set(re.findall(r"^python -m graphs (.*)$", BLOCKS, re.MULTILINE)))


@pytest.mark.parametrize("words", DRAWN, ids=lambda words: words.partition("#")[0].strip())
def test_a_topology_is_drawn(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert graphs.main(shlex.split(words, comments=True)) == 0
    assert [path.name.startswith("topology.") for path in tmp_path.iterdir()] == [True]
    capsys.readouterr()


def test_make_has_the_targets():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z][\w-]*)", BLOCKS, re.MULTILINE))
    assert named
    assert named <= targets


def test_benchmarks_are_there():
    for path in re.findall(r"python (benchmarks/\w+\.py)", TEXT):
        assert (ROOT / path).is_file(), path


def test_pictures_say_what_they_show():
    assert not re.findall(r"!\[\s*\]\([^)]*\)", TEXT)
