"""Docstrings as Markdown: they are written to be read in the code, where ``Formula::`` and a bare ``*grid`` need no escape."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Prepares every docstring of a package for the site."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        _prepare(pkg)


def _prepare(of: griffe.Object) -> None:
    if of.docstring is not None:
        of.docstring.value = as_markdown(of.docstring.value)
        # The arguments of a named tuple are its fields.
        if isinstance(of, griffe.Class) and any(str(base).endswith("NamedTuple") for base in of.bases):
            of.docstring.value = of.docstring.value.replace("\nArgs:\n", "\nAttributes:\n")
    for member in of.members.values():
        if not isinstance(member, griffe.Alias):
            _prepare(member)


def as_markdown(text: str) -> str:
    """A docstring of this project as Markdown: blocks after ``::`` are fenced, a star before a name is escaped."""
    lines: list[str] = []
    margin: str | None = None  # that of the paragraph whose block this line is in
    for line in text.split("\n"):
        if margin is not None and line.strip() and not line.startswith(f"{margin} "):
            while not lines[-1]:
                lines.pop()
            lines += [f"{margin}```", ""]
            margin = None
        if margin is not None:
            lines.append(f"{margin}{line[len(margin) :].removeprefix('    ')}".rstrip())
        elif line.endswith("::"):
            margin = line[: len(line) - len(line.lstrip())]
            lines += [line[:-1], "", f"{margin}```text"]
        else:
            lines.append(_escaped(line))
    if margin is not None:
        lines.append(f"{margin}```")
    # The blank line after the paragraph stands before the fence.
    return re.sub(r"(```text\n)\n", r"\1", "\n".join(lines))


def _escaped(line: str) -> str:
    # Between double backticks everything is code.
    parts = line.split("``")
    parts[::2] = [re.sub(r"(?<![\w*\\])\*(?=\w)", r"\\*", part) for part in parts[::2]]
    return "``".join(parts)
