"""Prompts: sentences in which class names are read by a text encoder."""

import re
from collections.abc import Sequence

SLOT = "{}"
# For actions of any kind.
DEFAULT = (
    "{}",
    "a video of {}",
    "a person doing {}",
    "the action of {}",
    "a clip in which someone performs {}",
    "a demonstration of {}",
    "how to do {}",
    "a slow-motion recording of {}",
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


def read_prompts(lines: Sequence[tuple[int, str]], where: str) -> tuple[str, ...]:
    """The prompts of a file, one a line.

    Args:
        lines: (number, text) of the lines that are not empty.
        where: the file, for messages.

    Raises:
        ValueError: no prompt, one without ``{}``, or one twice; names the line.
    """
    found: dict[str, int] = {}
    for number, text in lines:
        if SLOT not in text:
            raise ValueError(f"{where}, line {number}: no {SLOT}, where the class name stands, in {text!r}")
        if found.setdefault(text, number) != number:
            raise ValueError(f"{where}, line {number}: {text!r} is in line {found[text]} already")
    if not found:
        raise ValueError(f"{where}: no prompt in it; expected one a line, such as {DEFAULT[1]!r}")
    return tuple(found)


def spoken(name: str) -> str:
    """A class name as it is read aloud: "front_flip" -> "front flip", "ApplyEyeMakeup" -> "Apply Eye Makeup"."""
    return " ".join(_CAMEL.sub(" ", name.replace("_", " ")).split()) or name


def filled(prompt: str, text: str) -> str:
    """A prompt with a text in it; other braces stay."""
    return prompt.replace(SLOT, text)
