"""The short help of every program: on one screen, and only of options that there are."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from taggnn.cli import completing, config
from taggnn.completion import parser_of
from taggnn.runtime.programs import FOLDER, PROGRAMS, answer_help, short_help

ROOT = Path(__file__).parents[1]
# Lines of two screens of a small terminal.
LONGEST = 50


@pytest.fixture(scope="module")
def train():
    return options_of(parser_of("train")) | {"--help"}


def options_of(parser):
    return {name for action in parser._actions for name in action.option_strings}


def test_every_program_has_a_text_and_every_text_a_program():
    assert {path.stem for path in FOLDER.iterdir()} == set(PROGRAMS)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_python_m_prints_it_without_importing_pytorch(word):
    command = [sys.executable, "-X", "importtime", "-m", "taggnn.train", "--data.root", "videos", word]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == short_help("train")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "taggnn" in imported
    assert "torch" not in imported


@pytest.mark.parametrize(
    "started",
    [
        ["python", "-m", "pytest", "--help"],
        ["python", "x.py", "--help"],
        ["python", "-m", "taggnn.train"],
        ["python", "-m"],
    ],
    ids=" ".join,
)
def test_other_command_lines_are_left_alone(started, capsys):
    answer_help(started)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_fits_the_screen(program):
    lines = short_help(program).splitlines()
    assert len(lines) <= LONGEST
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_options_are_those_of_the_program(program, train):
    text, possible = short_help(program), options_of(parser_of(program))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text))
    assert mentioned - possible - (train if program in ("sweep", "extract") else set()) <= {"--data.tokens"}
    assert "--help-all" in mentioned


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_examples_are_of_the_program_and_its_recipes_are_there(program):
    examples = short_help(program).partition("\nexamples\n")[2].splitlines()
    assert examples
    for line in examples:
        words = shlex.split(line.split(" > ")[0])
        assert words[:2] == ["taggnn", program]
        named = [after for word, after in itertools.pairwise(words) if word == "--config"]
        assert set(named) <= set(config.recipes())


@pytest.mark.parametrize("program", ["train", "compare"])
def test_help_is_short_and_help_all_has_every_option(program, capsys):
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as ended:
            parser_of(program).parse_args([option])
        assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(short_help(program))
    rest = out[len(short_help(program)) :]
    possible = {name for name in options_of(parser_of(program)) if name.startswith("--")}
    # Neither the library's own, which is hidden, nor what only the command line before the parser takes.
    assert possible - {"--print_shtab", "--resume"} <= set(re.findall(r"--[\w.+-]+", rest))
    assert not re.search("[\x00-\x08]", rest)


def test_the_short_help_imports_no_pytorch():
    code = """
import sys, taggnn.__main__ as command
for words in ([], ["--version"], ["train", "--help"], ["sweep", "-h"]):
    sys.argv = ["taggnn", *words]
    assert command.main() == 0
print([name for name in ("torch", "jsonargparse", "yaml", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("option", "hint", "value"),
    [
        ("--config", str, "demo"),
        ("--tag.conv", str, "gatv2"),
        ("--art.impl", str, "structured"),
        ("--backbone.frozen", bool, "true"),
        ("--data.dataset", str, "gym99"),
    ],
)
def test_values_are_completed(option, hint, value):
    assert value in completing.values(option, hint)


def test_completion_has_every_program_and_option():
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    script = completing.script("bash", {name: parser_of(name) for name in ("runs", "compare")})
    assert all(word in script for word in ("runs", "compare", "--sort", "--resamples"))


def test_completion_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(ImportError, match=r"taggnn\[completion\]"):
        completing.script("bash", {})


def test_torch_is_there():
    # So that the test of the import above tests something.
    assert "torch" in sys.modules
    assert torch.__version__
