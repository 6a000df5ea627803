"""The programs by name: ``taggnn train ...``, or ``python -m taggnn train ...``, runs ``python -m taggnn.train ...``."""

import os
import runpy
import sys

from taggnn.names import unknown

PROGRAMS = {
    "train": "trains a recogniser on labelled videos and writes a report",
    "sweep": "trains every combination of some values with several seeds, and makes one table of them",
    "runs": "lists the runs in a folder: what differs, how good they are, how far they have come",
    "evaluate": "measures a checkpoint on labelled videos, or scores a predictions.csv again",
    "predict": "gives the most probable classes of files",
    "ablate": "measures what the weights of a trained model use, by taking parts away",
    "explain": "shows what a model looks at in clips, and whether the maps matter",
    "compare": "compares recognisers on the same clips, with intervals and tests",
    "ensemble": "averages the predictions of runs clip by clip, with a report",
    "report": "writes the report of a run again",
    "serve": "answers over HTTP, for programs",
    "app": "shows a page to try a model in a browser",
    "export": "writes a model as safetensors, torch.export and ONNX",
    "check": "checks labelled videos before training",
    "extract": "stores the tokens of a frozen backbone, so that heads train in minutes",
    "skeletons": "finds the skeletons in videos, as a set to train on",
    "textbank": "makes a text bank of class names, for heads that compare with text",
    "models": "lists backbones, heads and convolutions with their costs",
}


def main() -> int:
    """Runs the program that the first word of the command line names; without one, lists all of them."""
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        print("usage: taggnn PROGRAM [OPTIONS]; taggnn PROGRAM --help shows the options\n")
        print(*(f"{name:10} {summary}" for name, summary in PROGRAMS.items()), sep="\n")
        return 0
    name = sys.argv.pop(1)
    if name not in PROGRAMS:
        print(f"taggnn: {unknown('program', name, PROGRAMS)}", file=sys.stderr)
        return 2
    # As `python -m` does it: modules of the working folder can be imported, and results name the program.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    runpy.run_module(f"taggnn.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
