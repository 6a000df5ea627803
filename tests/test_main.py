"""``taggnn PROGRAM ...`` is ``python -m taggnn.PROGRAM ...``."""

import configparser
import sys
from pathlib import Path

import taggnn
import taggnn.__main__ as command

ROOT = Path(__file__).parents[1]


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["taggnn", *words])
    try:
        return command.main()
    except SystemExit as ended:
        return ended.code


def test_without_a_name_every_program_is_listed(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == list(command.PROGRAMS)
    assert max(map(len, out.splitlines())) <= 80
    files = {path.stem for path in (ROOT / "taggnn").glob("*.py") if "terminal.run(main" in path.read_text()}
    assert files == set(command.PROGRAMS)


def test_an_unknown_program_is_refused(monkeypatch, capsys):
    assert run(monkeypatch, "trian") == 2
    assert "did you mean 'train'" in capsys.readouterr().err


def test_the_version_is_printed(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"taggnn {taggnn.__version__}\n"


def test_the_words_after_the_name_go_to_the_program(monkeypatch, capsys):
    assert run(monkeypatch, "report", "nowhere") == 2
    assert capsys.readouterr().err.startswith("taggnn.report: nowhere ")


def test_the_console_script_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "taggnn = taggnn.__main__:main" in setup["options.entry_points"]["console_scripts"]
