"""Options that several programs share."""

from collections.abc import Callable
from typing import Any

from taggnn.io.checkpoint import RELEASED


def add_checkpoint(add: Callable[..., Any], exported: bool = True) -> None:
    """Adds ``--checkpoint``, ``--dataset`` and ``--trust`` to a command line, by its parser's ``add_argument``.

    Args:
        add: the method.
        exported: whether the program takes exported models as well.
    """
    also = ", what taggnn.export wrote," if exported else ""
    add(
        "--checkpoint",
        type=str,
        required=True,
        help=f"a run's folder or checkpoint{also} or a file that TAG-Head's authors published",
    )
    add("--dataset", type=str | None, default=None, help=f"for the authors' files: {', '.join(RELEASED)}")
    add(
        "--trust",
        action="store_true",
        help="allow the checkpoint to name your own code (by dotted path), which is then imported and run",
    )
