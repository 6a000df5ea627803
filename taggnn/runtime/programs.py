"""The programs by what they are for, and the help of each on one screen: a text file in ``taggnn/help``.

Nothing here imports PyTorch. ``--help-all`` of a program shows every option, from the signatures.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "help"
# By what they are for; a summary fits a terminal of 80 columns.
GROUPS = {
    "train": {
        "train": "trains a recogniser on labelled clips and writes a report",
        "sweep": "trains every combination of some values, and makes one table",
        "runs": "lists the runs in a folder: what differs, how good they are",
    },
    "use": {
        "predict": "gives the most probable classes of files, streams, long videos",
        "app": "shows a page to try a model in a browser",
        "serve": "answers over HTTP, for programs",
        "export": "writes a model as safetensors, torch.export and ONNX",
    },
    "measure": {
        "evaluate": "measures a checkpoint on labelled clips, with intervals",
        "compare": "compares recognisers on the same clips, with tests",
        "ensemble": "averages the predictions of runs clip by clip",
        "explain": "shows what a model looks at, and whether the maps matter",
        "ablate": "measures what trained weights use, by taking parts away",
        "report": "writes the report of a run again",
    },
    "data": {
        "check": "checks labelled clips before training",
        "folds": "divides lists into folds by speaker, subject or camera",
        "extract": "stores the tokens of a frozen backbone: heads train in minutes",
        "skeletons": "finds the skeletons in videos, as a set to train on",
        "textbank": "makes a text bank of class names, for heads that use text",
    },
    "about": {
        "models": "lists backbones, heads and convolutions with their costs",
        "doctor": "reports versions, extras, devices and memory; tests them",
        "completion": "prints a script for completion at the Tab key",
    },
}
PROGRAMS = {name: summary for group in GROUPS.values() for name, summary in group.items()}


def short_help(program: str) -> str | None:
    """The text of a program, with its usual options and examples; None for one that has no file.

    Args:
        program: its name, "train" or "taggnn.train".
    """
    path = FOLDER / f"{program.removeprefix('taggnn.')}.txt"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def answer_help(started: Sequence[str]) -> None:
    """Prints the text of a program and ends, where that is what Python was started for: ``python -m taggnn.train --help``.

    Args:
        started: the whole command line, ``sys.orig_argv``.
    """
    if "-m" not in started[:-1]:
        return
    module, *words = started[started.index("-m") + 1 :]
    package, _, name = module.partition(".")
    if package == "taggnn" and name in PROGRAMS and {"-h", "--help"} & set(words) and (text := short_help(name)):
        print(text, end="")
        sys.exit(0)
