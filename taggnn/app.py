"""``python -m taggnn.app RUN``: a page to try a model in a browser.

A clip in, or one of the run's test clips; out: the answer, its probabilities, what it depends on over time, and the nearest
training clips. For programs, ``POST /predict`` on the same server answers as ``taggnn.serve`` does.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from tqdm import tqdm

from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.runtime.printable import one_line
from taggnn.serving import options, server
from taggnn.serving.application import Service
from taggnn.serving.extra import require
from taggnn.serving.neighbours import FILE, Index, digest_of
from taggnn.serving.page import Page, examples_of
from taggnn.serving.worker import Job


def main(arguments: Sequence[str]) -> None:
    built = parser()
    given = built.parse_args(built.as_lists(arguments))
    require()
    # Before long work starts.
    serving, model = options.options_of(given), options.job_of(given)
    index, notes = _index(given)
    for note in notes:
        print(one_line(note), file=sys.stderr)
    job = Job("taggnn.serving.analysis.build", {**model, "index": None if index is None else str(index)})
    server.run(job, serving, lambda service: _page(given, service, notes).routes(service))


def _page(given: Namespace, service: Service, notes: Sequence[str]) -> Page:
    classes = service.about["classes"]
    folder = _folder(given.run)
    return Page(folder.name, service.about["maps"], examples_of(folder, classes), classes, notes)


def _index(given: Namespace) -> tuple[Path | None, list[str]]:
    """The file with the vectors of the training clips, made if there is none; or why there is none."""
    model, path = _model(given.run), _folder(given.run) / FILE
    # The process that holds the model reports what is wrong with it.
    if not given.neighbours or not model.is_file():
        return None, []
    digest = digest_of(model)
    if Index.read(path, digest) is not None:
        return path, []
    try:
        return path, _made(given, path, digest)
    except (ValueError, FileNotFoundError, SystemExit) as error:
        reason = "the configuration of the run cannot be read" if isinstance(error, SystemExit) else error
        return None, [f"No nearest training clips: {reason}"]


def _made(given: Namespace, path: Path, digest: str) -> list[str]:
    """Makes the index of the training clips; raises ``ValueError`` or ``FileNotFoundError`` where they are not there."""
    # Only here: this process does without a model once there is an index, and starts in half the time.
    from taggnn.cli.training_clips import training_data
    from taggnn.io import checkpoint
    from taggnn.runtime.device import find_device
    from taggnn.serving.representation import index_of

    loaded = checkpoint.load(given.run, given.dataset, given.trust).to(find_device(given.device))
    data = training_data(path.parent, given.data.root, given.trust)
    model: Any = loaded.model.accepting(data.spec)
    batches = tqdm(data.eval_dataloader("train"), "training clips", unit="batch", leave=False)
    assert data.train_clips is not None
    index, skipped = index_of(model, batches, data.train_clips.clips, digest, loaded.device)
    index.write(path)
    left_out = f", {skipped} that cannot be read left out" if skipped else ""
    print(one_line(f"index     {len(index.clips)} training clips{left_out}: {path}"))
    return []


def _model(run: str) -> Path:
    path = Path(run)
    return path / "best.ckpt" if path.is_dir() else path


def _folder(run: str) -> Path:
    path = Path(run)
    return path if path.is_dir() else path.parent


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.app", description="Shows a page on which a model can be tried in a browser.")
    options.add_options(built.add_argument, port=7860)
    built.option("--neighbours", bool, True, "show the nearest training clips; their vectors are computed once")
    built.option("--data.root", str | None, None, "where the run's clips are now; null: where they were in training")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.app"))
