"""The commands of docs/ that begin with ``taggnn``: programs and options that there are."""

import re
import shlex
from pathlib import Path

import pytest

from taggnn.completion import parser_of
from taggnn.runtime.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
COMMANDS = [
    (page.name, line)
    for page in sorted(ROOT.glob("docs/*.md"))
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if re.match(r"taggnn [a-z]", line)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value[:60])
def test_a_command_is_possible(page, line):
    _, program, *words = shlex.split(line.partition(" > ")[0], comments=True)
    assert program in PROGRAMS
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    built = [parser_of(program), *([parser_of("train")] if program == "sweep" else [])]
    possible = {name for one in built for action in one._actions for name in action.option_strings}
    assert options <= possible


def test_there_are_commands():
    assert {"train", "doctor", "completion"} <= {line.split()[1] for page, line in COMMANDS if page == "console.md"}
