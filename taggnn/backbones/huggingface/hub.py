"""Files of the Hugging Face hub, or of a local folder that holds the same: configuration, preprocessing, weights."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from taggnn.backbones.prefixes import below
from taggnn.backbones.weights import is_path, read_state_dict
from taggnn.names import unknown
from taggnn.runtime import huggingface

log = logging.getLogger(__name__)

CONFIG = "config.json"
# The files of image and video processors, with the scaling of pixels.
PREPROCESSING = ("preprocessor_config.json", "video_preprocessor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Entries of a configuration file that do not describe the structure; our checkpoints leave them out.
_NOTES = {
    "architectures",
    "auto_map",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
}
# The names of VideoMAE v2's authors -> transformers'.
_V2_NAMES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "in_chans": "num_channels",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "layer_norm_eps": "layer_norm_eps",
    "tubelet_size": "tubelet_size",
    "num_frames": "num_frames",
    "use_mean_pooling": "use_mean_pooling",
}


def transformers() -> ModuleType:
    """The package, imported on first use.

    Raises:
        ImportError: it is not installed, or too old; the message states how to.
    """
    return huggingface.transformers("Hugging Face backbones")


def fetch(source: str, file: str) -> Path:
    """Finds a file in a local folder, or in the hub's cache, or downloads it there.

    Args:
        source: a folder, or a hub id such as "MCG-NJU/videomae-base".
        file: its name there.

    Raises:
        FileNotFoundError: a local folder without it, or the hub has no such model or file or cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder / file} does not exist: the folder must hold {_needed()}")
        return folder / file
    if source.startswith((".", "/", "~")) or "\\" in source or source.count("/") != 1:
        raise FileNotFoundError(
            f"backbone hf:{source}: no such folder, and no hub id either: one reads owner/name, as in MCG-NJU/videomae-base"
        )
    transformers()
    try:
        return huggingface.hub_file(source, file)
    except OSError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"{file} of {source} could not be downloaded from the Hugging Face hub ({reason}). Download {_needed()} of "
            f"https://huggingface.co/{source} elsewhere, put them into one folder and name that: hf:FOLDER"
        ) from error


def read_config(source: str) -> dict[str, Any]:
    """Reads the structure of a model: plain types, enough to build it again without the hub.

    VideoMAE v2's own file is translated to transformers' VideoMAE, which has the same structure.

    Args:
        source: as for ``fetch``.

    Raises:
        FileNotFoundError: as ``fetch``.
        ValueError: the file is no configuration.
    """
    path = fetch(source, CONFIG)
    content = _read_json(path)
    theirs = content.get("model_config")
    if isinstance(theirs, Mapping) and str(content.get("model_type", "")).lower().startswith("videomaev2"):
        config = {ours: theirs[name] for name, ours in _V2_NAMES.items() if name in theirs}
        config["intermediate_size"] = round(config["hidden_size"] * theirs.get("mlp_ratio", 4))
        return {"model_type": "videomae", **config}
    return {key: value for key, value in content.items() if not key.startswith("_") and key not in _NOTES}


def read_statistics(source: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Reads how the weights expect pixels, as mean and standard deviation of values in [0, 1].

    Formula: the file scales a pixel p of 0..255 to ``(p * rescale_factor - offset - image_mean) / image_std``, with offset 1
    where ``offset`` is set and no mean and deviation where ``do_normalize`` is false.

    Args:
        source: as for ``fetch``.

    Returns:
        Mean and standard deviation per channel, or None where the model has no such file.
    """
    for file in PREPROCESSING:
        try:
            content = _read_json(fetch(source, file))
        except FileNotFoundError:
            continue
        scale = 255 * (content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1)
        offset = float(bool(content.get("offset", False)))
        normal = content.get("do_normalize", True)
        mean = content.get("image_mean", [0.0] * 3) if normal else [0.0] * 3
        std = content.get("image_std", [1.0] * 3) if normal else [1.0] * 3
        return tuple((m + offset) / scale for m in mean), tuple(s / scale for s in std)
    return None


def read_weights(module: nn.Module, weights: str | Path, source: str | None) -> None:
    """Loads published weights or a local file into a model of transformers, strictly.

    Heads, decoders, predictors and poolers in the file are left out, which is logged. transformers renames entries of its older
    versions; files of VideoMAE's and VideoMAE v2's authors are renamed here.

    Args:
        module: the model up to its last hidden state.
        weights: "default" for those of ``source``, or the path of a ``.safetensors``, ``.bin`` or ``.pth`` file.
        source: as for ``fetch``; None for a structure without published weights.

    Raises:
        FileNotFoundError: no such file, or as ``fetch``.
        ValueError: unknown weights, a file that cannot be read, or names and shapes that do not fit, listed.
    """
    if str(weights) == "default":
        if source is None:
            raise ValueError(
                "weights default: a family has no published weights; name a model of the hub, as in "
                "hf:MCG-NJU/videomae-base, or give the path of a file"
            )
        # First, so that an unreachable hub is reported as such.
        config = _read_json(fetch(source, CONFIG))
        if "model_config" not in config:
            _load(
                module, f"hf:{source}", str(Path(source).expanduser()) if Path(source).expanduser().is_dir() else source
            )
            return
        path = _weights_file(source)
    elif is_path(weights) or Path(weights).suffix == ".safetensors":
        path = Path(weights).expanduser()
    else:
        raise unknown("weights of a Hugging Face backbone", str(weights), ["default", "the path of a file"])
    transformers()
    state = below(_renamed(read_state_dict(path)), module.state_dict().keys(), str(path))
    _load(module, str(path), None, state_dict=state)


def _load(module: Any, label: str, source: str | None, **given: Any) -> None:
    """Reads weights by transformers, checks that every entry of ``module`` is among them, and copies them."""
    verbosity = transformers().logging
    before = verbosity.get_verbosity()
    # Its table of unused entries is one line of the log below.
    verbosity.set_verbosity_error()
    try:
        loaded, info = type(module).from_pretrained(
            source, config=module.config, ignore_mismatched_sizes=True, output_loading_info=True, **given
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        # Also where a shard is truncated or the connection broke off.
        raise ValueError(f"weights of {label} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        verbosity.set_verbosity(before)
    own = module.state_dict()
    roots = {key.split(".")[0] for key in own}
    prefix = f"{module.base_model_prefix}."
    unexpected = {key.removeprefix(prefix) for key in info["unexpected_keys"]}
    # A key's bias adds the same to all scores of a query, so attention does not depend on it; transformers 5.12 to 5.17 have it.
    unexpected = {key for key in unexpected if not key.endswith("attention.attention.key.bias")}
    wrong = [f"not in the file: {key} {tuple(own[key].shape)}" for key in sorted(info["missing_keys"]) if key in own]
    wrong += [f"not in the model: {key}" for key in sorted(unexpected) if key.split(".")[0] in roots]
    wrong += [
        f"other shape: {key} file {tuple(theirs)}, model {tuple(ours)}"
        for key, theirs, ours in sorted(info["mismatched_keys"])
        if key in own
    ]
    if wrong:
        listed = "\n  ".join(wrong[:10]) + (f"\n  and {len(wrong) - 10} more" if len(wrong) > 10 else "")
        raise ValueError(
            f"{label} does not fit {type(module).__name__} ({len(wrong)} of {len(own)} entries):\n  {listed}"
        )
    dropped = sorted(
        {key.split(".")[0] for key in unexpected} | {key.split(".")[0] for key in loaded.state_dict()} - roots
    )
    if dropped:
        log.info("%s: left out, not of the backbone: %s", label, ", ".join(dropped))
    module.load_state_dict({key: value for key, value in loaded.state_dict().items() if key in own})
    log.info("%s: %d tensors loaded", label, len(own))


def _weights_file(source: str) -> Path:
    *first, last = WEIGHTS
    for file in first:
        try:
            return fetch(source, file)
        except FileNotFoundError:
            continue
    return fetch(source, last)


# An entry of VideoMAE's authors -> transformers', inside a block.
_BLOCK = {
    "norm1.": "layernorm_before.",
    "norm2.": "layernorm_after.",
    "attn.proj.": "attention.output.dense.",
    "mlp.fc1.": "intermediate.dense.",
    "mlp.fc2.": "output.dense.",
}
_PATCHES = "patch_embed.proj."


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file of VideoMAE's authors in the names of transformers; every other file as it is.

    Source: https://github.com/MCG-NJU/VideoMAE, https://github.com/OpenGVLab/VideoMAEv2: ``blocks.N.attn.qkv.weight`` is query,
    key and value in one, with ``q_bias`` and ``v_bias`` next to it; ``fc_norm``, the norm after averaging, is left out.
    """
    prefix = next((key.removesuffix(f"{_PATCHES}weight") for key in state if key.endswith(f"{_PATCHES}weight")), None)
    if prefix is None or f"{prefix}blocks.0.attn.qkv.weight" not in state:
        return state
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix):
            renamed[key] = value
        elif name.startswith(_PATCHES):
            renamed[f"embeddings.patch_embeddings.projection.{name.removeprefix(_PATCHES)}"] = value
        elif name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            layer = f"encoder.layer.{number}"
            known = next((old for old in _BLOCK if rest.startswith(old)), None)
            if rest == "attn.qkv.weight":
                for part, weight in zip(("query", "key", "value"), value.chunk(3), strict=True):
                    renamed[f"{layer}.attention.attention.{part}.weight"] = weight.clone()
            elif known:
                renamed[f"{layer}.{_BLOCK[known]}{rest.removeprefix(known)}"] = value
            else:
                renamed[f"{layer}.{rest.replace('attn.', 'attention.attention.')}"] = value
        elif name.startswith("norm."):
            renamed[f"layernorm.{name.removeprefix('norm.')}"] = value
        else:
            renamed[name] = value
    return renamed


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: no configuration but a {type(content).__name__}")
    return content


def _needed() -> str:
    return f"{CONFIG}, {PREPROCESSING[0]} (or {PREPROCESSING[1]}) and {WEIGHTS[0]} (or {WEIGHTS[1]})"
