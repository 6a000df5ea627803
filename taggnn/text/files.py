"""Files of a text encoder: in a folder, or on the Hugging Face hub."""

from pathlib import Path
from typing import Any

from taggnn.runtime import huggingface, json_file

CONFIG = "config.json"
# Ways to compute attention that are PyTorch's.
_OWN = ("eager", "sdpa")


def find_file(source: str, file: str) -> Path | None:
    """A file of a model, or None where the model has none of that name.

    Args:
        source: a folder, or a hub id.
        file: its name there.
    """
    if Path(source).is_dir():
        path = Path(source) / file
        return path if path.is_file() else None
    huggingface.transformers("Models of the Hugging Face hub")
    try:
        return huggingface.hub_file(source, file)
    except OSError:
        return None


def json_of(source: str, file: str) -> dict[str, Any]:
    """The object in a JSON file of a model; empty where the model has none of that name.

    Raises:
        ValueError: not readable as JSON; names the file.
    """
    path = find_file(source, file)
    return {} if path is None else json_file.read(path)


def config_of(source: str) -> dict[str, Any]:
    """The configuration of a model; empty for a folder without one.

    Raises:
        FileNotFoundError: the hub has no such model, or cannot be reached.
        ValueError: not readable as JSON, or it may name programs; names the file.
    """
    if not Path(source).is_dir() and find_file(source, CONFIG) is None:
        raise FileNotFoundError(
            f"model {source}: no such folder, and no model of the Hugging Face hub, or the hub cannot be reached. Download "
            f"all files of https://huggingface.co/{source} elsewhere, put them into one folder and give that"
        )
    config = json_of(source, CONFIG)
    left: list[Any] = [config]
    while left:
        part = left.pop()
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        for key, value in part.items() if isinstance(part, dict) else ():
            # Transformers fetches and runs kernels that these name; older versions wrote true and false.
            named = key.lstrip("_").startswith(("attn_implementation", "experts_implementation"))
            if named and value not in _OWN and not isinstance(value, bool | None):
                raise ValueError(
                    f"model {source}, {CONFIG}, {key}: may name programs of the hub, which are not run; remove it"
                )
    return config
