"""How the files of a source are examined by a check."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taggnn.data.audit.facts import FileFacts


@dataclass(frozen=True)
class Inspection:
    """What a source offers to a check; see ``Capabilities.inspection``.

    Args:
        facts: class of the facts of a file.
        module: the module that runs as a scanning process, see ``scan.serve``.
        reader: name and version of what reads the files: facts of another one are not reused.
        depths: depth -> what is read with it, for people.
        same: a sentence on which files count as the same.
        arguments: of that module (default: none).
        unfit: why a readable file does not fit the source's input; empty for one that does.
    """

    facts: type[FileFacts]
    module: str
    reader: Callable[[], str]
    depths: Mapping[str, str]
    same: str
    unfit: Callable[[Any], str] = field(default=lambda facts: "")
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """The command of a scanning process."""
        return sys.executable, "-m", self.module, *self.arguments
