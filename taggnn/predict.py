"""``python -m taggnn.predict FILE... --checkpoint X``: the classes of videos, or of other inputs of the model, without labels.

Files and folders; the most probable classes with their probabilities, as text or as JSON lines. With ``--timeline`` a long video:
probabilities over time and segments. With ``--live`` or ``--camera`` a stream, as it comes.

Exit code 0: every file has an answer. 1: some could not be read or are not there, and the others have theirs. 2: a mistake in the
command, or nothing that was given is there.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import live, terminal, timeline
from taggnn.cli.checkpoint_options import add_checkpoint
from taggnn.cli.input_files import input_files
from taggnn.cli.parser import Parser
from taggnn.io import checkpoint
from taggnn.io.loaded import NONE, Prediction
from taggnn.nn.consensus import add_options
from taggnn.runtime.device import find_device
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> int:
    built = parser()
    given = built.parse_args(built.as_lists(arguments))
    if given.top < 1:
        raise ValueError(f"--top {given.top}: must be 1 or more")
    timeline.check(given)
    streamed = given.timeline or given.live or given.camera is not None
    if not streamed and not given.files:
        raise ValueError("missing: files; see --help")
    if not streamed and not any(Path(name).exists() for name in given.files):
        raise FileNotFoundError(f"{given.files[0]}: no such file or folder")
    device = find_device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset, given.trust).to(device)
    if streamed:
        return timeline.run(given, loaded) if given.timeline else live.run(given, loaded)
    files = list(input_files(given.files, loaded.spec))
    bad = 0
    looked = {key: given[key] for key in ("views", "crops", "average")} | {"reject": timeline.rejection(given, loaded)}
    for prediction in loaded.predict(files, given.top, **looked):
        bad += prediction.error is not None
        print(as_json(prediction) if given.json else as_text(prediction), flush=True)
    if bad:
        print(f"{bad} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if bad else 0


def as_json(prediction: Prediction) -> str:
    """A prediction as one line of JSON: the file, and what ``Prediction.plain`` has."""
    return json.dumps({"file": prediction.source, **prediction.plain()}, ensure_ascii=False)


def as_text(prediction: Prediction) -> str:
    """A prediction as lines of text: the file, then a class a line."""
    if prediction.error is not None:
        return f"{one_line(prediction.source)}\n    could not be read: {one_line(prediction.error)}"
    classes = (f"    {100 * guess.probability:6.2f} %  {one_line(guess.name)}" for guess in prediction.top)
    none = [f"    {NONE}; nearest:"] if prediction.rejected else []
    return "\n".join([one_line(prediction.source), *none, *classes])


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.predict",
        description="Gives the most probable classes of video files, or of the files of another kind of input.",
    )
    add, option = built.add_argument, built.option
    add(
        "files",
        nargs="*",
        type=str,
        help="files, or folders of them; of --timeline and --live one file, address or - (a pipe)",
    )
    add_checkpoint(add)
    option("--top", int, 5, "how many classes")
    add_options(add)
    timeline.add_options(built)
    live.add_options(built)
    add("--json", action="store_true", help="one JSON object a line")
    option("--device", str | None, None, "cpu, cuda, cuda:1; null: a GPU if there is one")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.predict"))
