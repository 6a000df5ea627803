"""A run in Python: what a training left in its folder, and what can be made of it."""

import contextlib
import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from taggnn.cli import calibrating, evaluating
from taggnn.cli import config as configuration
from taggnn.cli.prediction_files import VALIDATION
from taggnn.cli.words import words_of
from taggnn.evaluation.predictions import Predictions, Skipped, read_predictions, read_skipped
from taggnn.evaluation.results import Results, headline
from taggnn.io import checkpoint
from taggnn.io.loaded import Loaded
from taggnn.io.trust import Trust
from taggnn.reporting.run_page import write_report


class Evaluation:
    """The folder of an evaluation: predictions.csv, skipped.csv, results.json, report.html.

    Args:
        folder: what ``taggnn.evaluate`` or ``taggnn.train`` wrote.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder; give that of a run or an evaluation")

    @property
    def results(self) -> Results:
        """The content of results.json."""
        return Results.read(self.folder)

    @property
    def scores(self) -> dict[str, Any]:
        """The figures of the clips that predictions.csv holds, such as ``{"top1": 0.95, "mean_class": 0.94, ...}``.

        Raises:
            ValueError: there is no results.json yet, as in a run that was interrupted.
        """
        results = self.results
        split = headline(results.to_json())
        if not results.scores or split is None:
            raise ValueError(
                f"{self.folder}: no scores in it; the run has not ended, fit() with the same run resumes it"
            )
        return results.scores[split]

    def predictions(self) -> Predictions:
        """The probabilities of every clip, from predictions.csv."""
        return read_predictions(self.folder / "predictions.csv")

    def skipped(self) -> list[Skipped]:
        """The clips that could not be read, and why."""
        return read_skipped(self.folder / "skipped.csv")

    def report(self) -> Path:
        """Writes report.html again from what is in the folder, and returns its path."""
        return write_report(self.folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def __fspath__(self) -> str:
        return str(self.folder)


class Run(Evaluation):
    """A training: its folder, as ``taggnn.fit`` or ``taggnn.train`` wrote it, finished or not.

    Args:
        folder: the run folder.
        trust: allow its checkpoint to name code of your own by dotted path, which is imported and run (default: no); or the
            dotted paths to allow. A run that ``taggnn.fit`` returns trusts what its options named.

    Raises:
        FileNotFoundError: no such folder, or no config.yaml in it.

    Example::

        run = taggnn.Run("runs/folder/TIME")
        print(run.scores["top1"], run.load().predict("clip.mp4"))
    """

    def __init__(self, folder: str | Path, trust: Trust = False) -> None:
        super().__init__(folder)
        self.trust = trust
        if not (self.folder / "config.yaml").is_file():
            raise FileNotFoundError(f"{self.folder}: no config.yaml in it; give a run folder, such as runs/demo/<time>")

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as a tree of plain values."""
        return dict(yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8")))

    @property
    def is_finished(self) -> bool:
        """Whether it was trained and tested to its end."""
        return (self.folder / "report.html").is_file() and (self.folder / "results.json").is_file()

    @property
    def history(self) -> list[dict[str, float]]:
        """A row for each epoch that has ended, from metrics.csv; an empty cell is left out."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]

    @property
    def compared(self) -> dict[str, Evaluation]:
        """The heads that ``compare`` trained next to it, by name."""
        folders = sorted((self.folder / "compare").glob("*"))
        return {folder.name: Evaluation(folder) for folder in folders if (folder / "results.json").is_file()}

    def predictions(self, split: str = "test") -> Predictions:
        """The probabilities of every clip.

        Args:
            split: "test" (default) or "val", which is there unless the validation clips are the test clips.

        Raises:
            FileNotFoundError: the run has not ended, or has no such file.
            ValueError: another split.
        """
        if split not in ("test", "val"):
            raise ValueError(
                f"split {split!r}: a run keeps the predictions of 'test' and 'val'; evaluate() takes others"
            )
        return read_predictions(self.folder / ("." if split == "test" else VALIDATION) / "predictions.csv")

    def load(self) -> Loaded:
        """The model of the best epoch, ready to use.

        Raises:
            FileNotFoundError: no epoch has ended yet.
            ValueError: a damaged checkpoint, or one that names code that is not trusted.
        """
        return checkpoint.load(self.folder, trust=self.trust)

    def evaluate(self, options: Mapping[str, Any] | None = None, *, quiet: bool = False) -> Evaluation:
        """Measures the best epoch on labelled clips, as ``python -m taggnn.evaluate`` does.

        Args:
            options: its options, as a tree or by names with dots, such as ``{"split": "val", "views": 3}``; ``data.root`` is
                that of the training unless it is given.
            quiet: prints nothing.

        Returns:
            The folder of the evaluation, by default a new one in ``runs/evaluate``.

        Raises:
            ValueError, OSError: a wrong option, or data that cannot be used.

        Example::

            print(run.evaluate({"data.root": "other_videos"}).scores)
        """
        parser = evaluating.parser()
        parser.raises = True
        words = words_of(options or {}, parser.keys())
        words.append(f"--checkpoint={self.folder}")
        if not any(word.startswith("--data.root=") for word in words):
            root = configuration.of_run(self.folder, self.trust).data.root
            if root is None:
                raise ValueError(f"{self.folder}: was trained on stored tokens; name the videos with data.root")
            words.append(f"--data.root={root}")
        given = parser.parse_args(words)
        if given.devices is not None and given.devices > 1:
            raise ValueError(
                f"devices {given.devices}: python -m taggnn.evaluate --devices {given.devices} takes several"
            )
        if self.trust:
            given.trust = self.trust
        calibrating.check(given)
        with contextlib.ExitStack() as stack:
            if quiet:
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            folder = evaluating.evaluate(given, words)
        assert folder is not None
        return Evaluation(folder)
