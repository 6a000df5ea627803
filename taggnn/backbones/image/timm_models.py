"""The models of the package timm: their names, and the configuration that builds one again without a hub.

Source: https://github.com/huggingface/pytorch-image-models
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from taggnn.backbones.tokens import Grid
from taggnn.names import unknown

PREFIX = "timm:"
CONFIG, WEIGHTS = "config.json", ("model.safetensors", "pytorch_model.bin")
# Frames of a clip: a network of images takes any number [ours].
FRAMES = 16
# Of a configuration; the other keys are arguments of timm.create_model.
_FACTS = ("architecture", "input_size", "mean", "std")
# Arguments that load files or wrap the model, which is done here.
_OURS = {
    *(
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "checkpoint_path",
        "cache_dir",
        "model_name",
        "in_chans",
    ),
    *(
        "features_only",
        "out_indices",
        "scriptable",
        "exportable",
        "no_jit",
        "pretrained_strict",
        "pretrained_filter_fn",
    ),
}


def split(name: str) -> str | None:
    """The part of a backbone's name after ``timm:``, or None without that prefix."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def package() -> ModuleType:
    """The package, imported on first use.

    Raises:
        ImportError: it is not installed; the message states how to.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"backbones {PREFIX}NAME need the package timm ({error}): pip install timm") from error
    return timm


def configuration(source: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What builds a model: its architecture, input size, mean and deviation of pixels, and arguments of ``timm.create_model``.

    Args:
        source: a name of ``timm.list_models()``, with its tag or without; a folder with ``config.json``; or a hub id, owner/name.
        config: values to change; with all four facts among them it is complete, and neither timm nor a file is read.

    Raises:
        ImportError: timm is not installed.
        FileNotFoundError: a folder's or the hub's configuration cannot be read.
        ValueError: an unknown name, or a value that is not possible.
    """
    if not source:
        raise ValueError(f"backbone {PREFIX} names no model; it is followed by a name of timm, a folder, or a hub id")
    if config is not None and not isinstance(config, Mapping):
        raise ValueError(f"option config of {PREFIX}{source} must be a mapping {{key: value}}, got {config!r}")
    given = dict(config or {})
    if refused := sorted(_OURS & given.keys()):
        raise ValueError(
            f"config of {PREFIX}{source}: {', '.join(refused)} cannot be set there; --backbone.weights chooses weights, and "
            "grayscale clips the channels"
        )
    complete = given if set(_FACTS) <= given.keys() else {**_read(source), **given}
    _check(complete, f"config of {PREFIX}{source}")
    return complete


def clip_of(config: Mapping[str, Any]) -> Grid:
    """(T, H, W) of a complete configuration, in frames and pixels."""
    height, width = _pair(config.get("img_size") or config["input_size"][1:])
    return FRAMES, height, width


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``timm.create_model`` in a complete configuration, without the name."""
    return {key: value for key, value in config.items() if key not in _FACTS}


def folder_of(source: str) -> Path | None:
    """The folder that a source names, or None where it is the name of a model."""
    path = Path(source).expanduser()
    return path if path.is_dir() else None


def is_hub_id(source: str) -> bool:
    """Whether a source reads owner/name."""
    return folder_of(source) is None and "/" in source


def weights_of(source: str) -> str:
    """What ``weights`` may be for a source, in words."""
    if folder_of(source) is not None:
        return "default (the folder's own), or a local file"
    return f"default (https://huggingface.co/{source if is_hub_id(source) else 'timm'}), or a local file"


def _read(source: str) -> dict[str, Any]:
    if (folder := folder_of(source)) is not None:
        return _of_file(folder / CONFIG)
    timm = package()
    if is_hub_id(source):
        return _of_hub(source)
    architecture, _, tag = source.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", source, timm.list_models())
    tags = [name for name in timm.list_pretrained(f"{architecture}.*") if name.split(".")[0] == architecture]
    if tag and source not in tags:
        raise unknown("timm model", source, [architecture, *tags])
    facts = timm.get_pretrained_cfg(source)
    return _facts(source, vars(facts) if facts is not None else {})


def _facts(architecture: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return {"architecture": architecture} | {key: list(stated.get(key) or value) for key, value in usual.items()}


def _of_file(path: Path) -> dict[str, Any]:
    """Reads timm's own format, {"architecture", "pretrained_cfg", "model_args"}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileNotFoundError(
            f"{path} cannot be read ({error.strerror}): the folder of a timm model holds {CONFIG} and {' or '.join(WEIGHTS)}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
        raise ValueError(f"{path}: no configuration of a timm model, which names its architecture")
    stated = content.get("pretrained_cfg", content)
    more = content.get("model_args") or {}
    if not isinstance(stated, dict) or not isinstance(more, dict):
        raise ValueError(f"{path}: pretrained_cfg and model_args must be mappings")
    return {**_facts(content["architecture"], stated), **{key: more[key] for key in more if key not in _OURS}}


def _of_hub(source: str) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        return _of_file(Path(hf_hub_download(source, CONFIG)))
    # Many exceptions of its own, of which some are of no common kind.
    except Exception as error:
        raise FileNotFoundError(
            f"{CONFIG} of {source} could not be downloaded from the Hugging Face hub ({_reason(error)}). Download {CONFIG} and "
            f"{WEIGHTS[0]} of https://huggingface.co/{source} elsewhere, put them into one folder and name that: {PREFIX}FOLDER"
        ) from error


def _check(config: Mapping[str, Any], where: str) -> None:
    size = config["input_size"]
    if not isinstance(size, list | tuple) or len(size) != 3 or not all(map(_is_size, size)) or size[0] != 3:
        raise ValueError(f"{where}: input_size must be [3, height, width] in pixels, got {size!r}")
    for key in ("mean", "std"):
        value = config[key]
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(_is_number(one) for one in value):
            raise ValueError(f"{where}: {key} must be three numbers, got {value!r}")
    # A source of timm's own, such as hf-hub:owner/name, would be read.
    if not isinstance(config["architecture"], str) or not re.fullmatch(r"[\w.-]+", config["architecture"]):
        raise ValueError(f"{where}: architecture must be a name of timm, got {config['architecture']!r}")
    given = config.get("img_size")
    if given is not None and not all(map(_is_size, _pair(given))):
        raise ValueError(f"{where}: img_size must be pixels, or [height, width], got {given!r}")


def _pair(size: Any) -> tuple[Any, Any]:
    return tuple(size) if isinstance(size, list | tuple) and len(size) == 2 else (size, size)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
