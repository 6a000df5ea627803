"""The results of a part, written after every row: a part that is ended early leaves what it has."""

import argparse
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, program

Row = dict[str, Any]


class Record:
    """The JSON file of a part.

    Args:
        part: its name.
        path: the file.
        facts: of ``machine.describe``.
        settings: what was measured, as plain types.
    """

    def __init__(self, part: str, path: Path, facts: Row, settings: Row) -> None:
        self.path = path
        self.content: Row = {
            "kind": f"gpu-{part}",
            "complete": False,
            "machine": facts,
            "settings": settings,
            "rows": [],
            "left_out": [],
        }
        self.write()

    def write(self) -> None:
        program.write(self.path, self.content)

    def add(self, row: Row) -> None:
        """Adds a row and prints it; one with ``ok`` false makes the part fail."""
        self.content["rows"].append(row)
        self.write()
        print(
            "  ".join(f"{key} {_short(value)}" for key, value in row.items() if not isinstance(value, dict)), flush=True
        )

    def leave_out(self, why: str, reason: str, **what: Any) -> None:
        """Adds what has no row."""
        self.content["left_out"].append({**what, "why": why, "reason": reason})
        self.write()
        print(f"{' '.join(map(str, what.values()))}: no row ({why}: {reason})", flush=True)

    @contextmanager
    def trying(self, **what: Any) -> Iterator[None]:
        """Keeps an error of one row from the others."""
        try:
            yield
        except Exception as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            traceback.print_exc()
            self.leave_out("failed", f"{type(error).__name__}: {reason}", **what)

    def end(self) -> int:
        """Marks the file as complete; 1 where a row is not as it must be, or failed."""
        self.content["complete"] = True
        self.write()
        wrong = [row for row in self.content["rows"] if row.get("ok") is False]
        failed = [entry for entry in self.content["left_out"] if entry["why"] in ("failed", "unequal")]
        return int(bool(wrong or failed))


def part(
    name: str, work: Callable[[Record, torch.device, bool], None], description: str | None, arguments: Sequence[str]
) -> int:
    """Runs a part from the command line.

    Args:
        name: of the part.
        work: ``(record, device, quick)``; adds the rows.
        description: for ``--help``.
        arguments: the command line.
    """
    script = f"benchmarks/gpu/{name}.py"
    parser = program.Parser(prog=script, description=description)
    add_options(parser)
    given = parser.parse_args(arguments)
    device = program.device_of(given.device)
    program.set_threads(None)
    # Convolutions round their inputs otherwise, and nothing could be compared closely.
    torch.backends.cudnn.allow_tf32 = False
    path = given.out or Path("runs/gpu") / f"{name}.json"
    settings = {"device": str(device), "quick": given.quick, "tf32": bool(torch.backends.cuda.matmul.allow_tf32)}
    record = Record(name, path, machine.describe(device, 0, script, list(arguments)), settings)
    work(record, device, given.quick)
    return record.end()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every part."""
    parser.add_argument("--device", default="cuda", help="cuda (default), or cpu with stand-ins")
    parser.add_argument("--quick", action="store_true", help="small sizes and few calls")
    parser.add_argument("--out", type=Path, help="JSON file (default runs/gpu/PART.json)")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
