"""Writes docs/errors.md: typical mistakes, and the sentence that each gets, by making them.

python docs/errors.py            # writes the page
python docs/errors.py --check    # changes nothing; exit code 1 where the page is out of date
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from unittest import mock

PAGE = Path(__file__).with_name("errors.md")
HEAD = """# Error messages

What the programs print for typical mistakes. A message states the file or the key, what was given and what is possible. It comes
before any long work; the exit code is 2, or 1 where disk or memory is full. Names of options, classes, files and recipes are
compared with those that there are. `taggnn doctor` reports what is installed and whether it works. With `TAGGNN_TRACEBACK=1` in
the environment an error shows its traceback, for a bug report.

*Written by `python docs/errors.py`, which makes every mistake.*
"""


class Mistake(NamedTuple):
    """A mistake, the command that makes it, and what has to be so for it: files, or a machine that lacks something."""

    what: str
    command: str
    setting: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext


def _clips(*classes: str, splits: tuple[str, ...] = ("train", "val", "test")) -> None:
    """Class folders with files that are listed and never opened."""
    for split in splits:
        for name in classes:
            folder = Path("videos") / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(4):
                (folder / f"{number}.mp4").write_bytes(bytes(64))


@contextlib.contextmanager
def _videos() -> Iterator[None]:
    _clips("left", "right")
    yield


@contextlib.contextmanager
def _other_classes() -> Iterator[None]:
    _clips("left", "right", splits=("train", "val"))
    _clips("left", "up", splits=("test",))
    yield


@contextlib.contextmanager
def _empty() -> Iterator[None]:
    Path("empty").mkdir()
    yield


def _files(**texts: str) -> Callable[[], contextlib.AbstractContextManager[object]]:
    @contextlib.contextmanager
    def there() -> Iterator[None]:
        _clips("left", "right")
        for name, text in texts.items():
            # An argument's name has no dot.
            Path(name.replace("__", ".")).write_text(text, encoding="utf-8")
        yield

    return there


class _Missing:
    """A finder that finds some packages missing."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _without(*packages: str) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """As if packages were not installed."""

    @contextlib.contextmanager
    def missing() -> Iterator[None]:
        _clips("left", "right")
        there = {name for name in sys.modules if name.split(".")[0] in packages}
        with mock.patch.dict(sys.modules), mock.patch.object(sys, "meta_path", [_Missing(packages), *sys.meta_path]):
            for name in there:
                del sys.modules[name]
            yield

    return missing


@contextlib.contextmanager
def _no_gpu() -> Iterator[None]:
    none = {"is_available": lambda: False, "device_count": lambda: 0}
    with (
        mock.patch.multiple("torch.cuda", **none),
        mock.patch("torch.version.cuda", "13.0"),
        mock.patch("torch.empty", side_effect=RuntimeError("no GPU")),
    ):
        yield


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    _clips("left", "right")
    usage = shutil.disk_usage(".")
    with (
        mock.patch("shutil.disk_usage", return_value=usage._replace(free=64_000_000)),
        mock.patch("pathlib.Path.is_dir", lambda path, real=Path.is_dir: str(path) == "/dev/shm" or real(path)),
    ):
        yield


@contextlib.contextmanager
def _begun() -> Iterator[None]:
    """A run that was begun with other options."""
    from taggnn.cli import config, resolve

    _clips("left", "right")
    Path("runs/mine").mkdir(parents=True)
    begun = config.parse([*TRAIN, "--data.root", "videos", "--run", "runs/mine"])
    resolve.fill(begun)
    Path("runs/mine/config.yaml").write_text(config.dump(begun), encoding="utf-8")
    yield


# A training that needs no published weights.
TRAIN = ("--config", "scratch")
MISTAKES = (
    Mistake("A program that there is not", "taggnn trian"),
    Mistake("A mistyped option", "taggnn train --data.root videos --tag.cov gcn"),
    Mistake("A mistyped value", "taggnn train --data.root videos --train.epochs many"),
    Mistake("A value out of range", "taggnn train --data.root videos --optim.label_smoothing 2"),
    Mistake("A wrong folder", "taggnn train --data.root vidoes", _videos),
    Mistake("A folder without clips", "taggnn train --data.root empty", _empty),
    Mistake("A head that there is not", "taggnn train --data.root videos --head tga"),
    Mistake(
        "A convolution that there is not",
        f"taggnn train {shlex.join(TRAIN)} --data.root videos --tag.conv gatv",
        _videos,
    ),
    Mistake("A recipe that there is not", "taggnn train --config gym98 --data.root gym"),
    Mistake(
        "A mistyped key in a file",
        "taggnn train --config mine.yaml",
        _files(mine__yaml="optim: {learning_rate: 0.1}\n"),
    ),
    Mistake(
        "A mistyped class number in a list",
        f"taggnn train {shlex.join(TRAIN)} --data.root videos --data.train_list train.txt",
        _files(train__txt="train/left/0.mp4 0\ntrain/right/0.mp4 l\n"),
    ),
    Mistake(
        "Classes that differ between splits", f"taggnn train {shlex.join(TRAIN)} --data.root videos", _other_classes
    ),
    Mistake("No GPU", "taggnn train --data.root videos --device cuda", _no_gpu),
    Mistake(
        "No shared memory, as in Docker",
        f"taggnn train {shlex.join(TRAIN)} --data.root videos --data.workers 8 --data.batch_size 64",
        _little_memory,
    ),
    Mistake("An extra that is not installed", "taggnn serve runs/mine", _without("starlette")),
    Mistake(
        "Another extra",
        f"taggnn train {shlex.join(TRAIN)} --data.root videos --backbone.name timm:resnet18",
        _without("timm"),
    ),
    Mistake("A damaged checkpoint", "taggnn predict videos --checkpoint best.ckpt", _files(best__ckpt="cut off")),
    Mistake("A file that is not there", "taggnn predict clip.mp4 --checkpoint best.ckpt"),
    Mistake("A run that is not there", "taggnn train --resume runs/mien"),
    Mistake(
        "A run resumed with other options",
        f"taggnn train {shlex.join(TRAIN)} --data.root videos --run runs/mine --tag.conv gcn --optim.lr 0.1",
        _begun,
    ),
    Mistake("One run to compare", "taggnn compare runs/mine"),
    Mistake("A column that there is not", "taggnn runs runs --sort tset", _begun),
)


def message(mistake: Mistake) -> str:
    """Makes a mistake in an empty folder, and returns what the program prints on stderr."""
    words, home = shlex.split(mistake.command), os.getcwd()
    out, error = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.callback(os.chdir, home)
        os.chdir(folder)
        stack.enter_context(mock.patch.dict(os.environ))
        for name in ("TAGGNN_COLUMNS", "TAGGNN_TRACEBACK"):
            os.environ.pop(name, None)
        stack.enter_context(mistake.setting())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(error))
        stack.enter_context(mock.patch.object(sys, "argv", words))
        with contextlib.suppress(SystemExit):
            _run(words[1], words[2:])
    found = error.getvalue().strip()
    if "Traceback" in found or not found:
        raise AssertionError(f"{mistake.command}: expected one message, got {found!r}")
    return found.replace(folder, "...")


def _run(program: str, words: list[str]) -> None:
    from taggnn.cli import terminal
    from taggnn.runtime.programs import PROGRAMS

    if program not in PROGRAMS:
        import_module("taggnn.__main__").main()
        return
    terminal.run(import_module(f"taggnn.{program}").main, f"taggnn.{program}", words)


def page() -> str:
    """The page, as Markdown."""
    return "\n".join([HEAD, "| mistake | command | message |", "|---|---|---|", *map(row, MISTAKES), ""])


def row(mistake: Mistake) -> str:
    """The row of a mistake."""
    return f"| {mistake.what} | `{mistake.command}` | {_cell(message(mistake))} |"


def _cell(text: str) -> str:
    # A long list of what is possible is shown by its first four names: another recipe does not change the page.
    text = re.sub(r"(ossible: (?:[^,;\n]+, ){4})[^;\n]+", r"\1...", text)
    for sign in "\\`*_<|":
        text = text.replace(sign, f"\\{sign}")
    return "<br>".join(text.split("\n"))


def main(words: list[str]) -> int:
    made = page()
    if "--check" in words:
        return int(PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
