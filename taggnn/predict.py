"""``python -m taggnn.predict FILE... --checkpoint X``: what a model says about videos without labels.

Files and folders; the most probable classes with their probabilities, as text or as JSON lines.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from taggnn import checkpoint, terminal
from taggnn.arguments import Parser
from taggnn.checkpoint import Loaded
from taggnn.data.dataset import load_clip
from taggnn.data.folders import VIDEO_ENDINGS, videos_in
from taggnn.data.video import VideoError


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    if given.top < 1:
        raise ValueError(f"--top {given.top}: must be 1 or more")
    files = list(_files(given.files))
    device = terminal.device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset)
    loaded.recogniser.check_device(device)
    loaded.recogniser.to(device)
    bad = 0
    for path in files:
        try:
            answer = predict(loaded, path, given.top, device)
        except VideoError as error:
            bad += 1
            said = json.dumps({"file": str(path), "error": error.reason}, ensure_ascii=False)
            print(said if given.json else f"{path}\n    could not be read: {error.reason}", flush=True)
            continue
        if given.json:
            print(json.dumps({"file": str(path), "top": answer}, ensure_ascii=False), flush=True)
        else:
            print(path)
            for place in answer:
                print(f"    {place['probability']:7.2%}  {place['class']}", flush=True)
    if bad:
        print(f"{bad} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if bad == len(files) else 0


@torch.inference_mode()
def predict(loaded: Loaded, path: str | Path, top: int = 5, device: torch.device | str = "cpu") -> list[dict]:
    """Classifies one video file.

    Args:
        loaded: model, classes and preprocessing of a checkpoint; the model lies on ``device``.
        path: the file.
        top: how many classes to return at most (default 5).
        device: where to compute.

    Returns:
        The most probable classes first: ``{"class", "label", "probability"}``.

    Raises:
        VideoError: the file cannot be read.
    """
    clip = load_clip(str(path), loaded.preprocess)
    logits, _ = loaded.recogniser(clip[None].to(device))
    best = logits[0].float().softmax(-1).cpu().topk(min(top, len(loaded.classes)))
    return [
        {"class": loaded.classes[label], "label": label, "probability": round(probability, 6)}
        for probability, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _files(given: Sequence[str]) -> Iterator[Path]:
    """The files as they are, and the videos below the folders."""
    for name in given:
        path = Path(name)
        if path.is_dir():
            found = videos_in(path, deep=True)
            if not found:
                raise ValueError(
                    f"{path}: no video in this folder; possible endings: {', '.join(sorted(VIDEO_ENDINGS))}"
                )
            yield from found
        elif path.is_file():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.predict", description="Tells the most probable classes of video files.")
    add = built.add_argument
    add("files", nargs="+", type=str, help="video files, or folders of them")
    add("--checkpoint", type=str, required=True, help="best.ckpt of a run, or a file that TAG-Head's authors published")
    add("--dataset", type=str | None, default=None, help=f"for the authors' files: {', '.join(checkpoint.RELEASED)}")
    add("--top", type=int, default=5, help="how many classes")
    add("--json", action="store_true", help="one JSON object a line")
    add("--device", type=str | None, default=None, help="cpu, cuda, cuda:1; null: a GPU where there is one")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.predict"))
