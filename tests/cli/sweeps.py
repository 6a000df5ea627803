"""For tests of sweeps: runs as training leaves them, written by hand, and a program that only seems to train."""

import sys

import torch

from taggnn.cli import config
from taggnn.evaluation.predictions import Predictions, write_predictions
from taggnn.evaluation.results import Results

# Takes the command line of taggnn.train. Its epochs are lines of a file; SIGTERM ends it, and it resumes after the last line.
FAKE = """
import os, shutil, signal, sys, time
from pathlib import Path

words, home = sys.argv[1:], Path(sys.argv[0]).parent
folder = Path(words[words.index("--run") + 1])
name = f"{folder.parent.name}/{folder.name}"
folder.mkdir(parents=True, exist_ok=True)
shutil.copy(home / "ready" / name / "config.yaml", folder)
epochs = folder / "epochs"
first = len(epochs.read_text()) if epochs.exists() else 0
with (home / "started").open("a") as started:
    started.write(f"{name} {first} {os.environ.get('OMP_NUM_THREADS')}\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
if (home / "fails" ).exists() and (home / "fails").read_text() == name:
    print("taggnn.train: no such luck")
    sys.exit(2)
for epoch in range(first, 3):
    with epochs.open("a") as file:
        file.write("x")
    if epoch == 1 and first == 0 and (home / "kills").exists() and (home / "kills").read_text() == name:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
shutil.copytree(home / "ready" / name, folder, dirs_exist_ok=True)
"""


def answers(share, seed, clips=60, classes=3):
    """Predictions of which about this share is right."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % classes
    right = torch.rand(clips, generator=draw) < share
    probabilities = torch.full((clips, classes), 0.2 / (classes - 1))
    probabilities[torch.arange(clips), torch.where(right, labels, (labels + 1) % classes)] = 0.8
    names = [f"{number}.mp4" for number in range(clips)]
    return Predictions(names, names, labels, probabilities, [f"class {number}" for number in range(classes)])


def finish(one, predictions, folder=None):
    """Writes the folder of a finished run, without its checkpoint."""
    folder = folder or one.folder
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(one.settings))
    write_predictions(folder / "predictions.csv", predictions)
    results = Results.from_predictions("test", predictions, resamples=2, durations={"train": 60.0, "test": 5.0})
    results.write(folder)
    (folder / "report.html").write_text("")


class Trainer:
    """The fake training program in a folder, with the runs that it will leave."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "train.py").write_text(FAKE)

    @property
    def command(self):
        return (sys.executable, "-S", str(self.folder / "train.py"))

    def prepare(self, planned):
        for number, one in enumerate(planned):
            ready = self.folder / "ready" / one.folder.parent.name / one.folder.name
            if not ready.exists():
                finish(one, answers(0.5 + 0.04 * number, number), ready)

    def started(self):
        """Run, epochs before, threads of every training that was started."""
        path = self.folder / "started"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def that(self, does, one):
        (self.folder / does).write_text(f"{one.folder.parent.name}/{one.folder.name}")
