"""Reading a state dict from a local file and fitting it to a backbone, strictly and with errors that name the file."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file as load_file_of_tensors
from torch import Tensor, nn

from taggnn.backbones import prefixes
from taggnn.backbones.download import Published, fetch
from taggnn.backbones.file_kind import reason_of
from taggnn.backbones.first_layer import clip_channels, first_layers, summed
from taggnn.names import unknown
from taggnn.runtime import archive

log = logging.getLogger(__name__)

# Before the names of a network that was cut, in the checkpoint of a run: a Recogniser's backbone, Adapted, FeatureExtractor.
CUT = "backbone.module.network."


def is_path(weights: str | Path) -> bool:
    """Whether ``weights`` is the path of a file and not the name of published weights.

    Args:
        weights: a ``Path``, or a string; a string is a path if it contains a folder, has a suffix of weight files, or
            exists.
    """
    if isinstance(weights, Path) or "/" in weights or "\\" in weights:
        return True
    path = Path(weights).expanduser()
    return path.suffix.lower() in {".pth", ".pyth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors"} or path.exists()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads the tensors of a PyTorch checkpoint file, or of a safetensors file.

    A dict below the key ``state_dict``, ``model_state_dict``, ``model_state`` or ``model`` is opened, and what DataParallel and
    ``torch.compile`` put before names is taken off. Only tensors and plain types are unpickled, and the checksums of a PyTorch
    file are compared; safetensors files, and PyTorch files older than 1.6, have none.

    Args:
        path: a ``.pth``, ``.pt`` or ``.safetensors`` file.

    Returns:
        Parameter and buffer names with their tensors, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a PyTorch file, truncated, damaged (names the entry), larger when unpacked, or without a dict of tensors;
            names the file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        inside = "; give its best.ckpt" if (path / "best.ckpt").is_file() else ""
        raise FileNotFoundError(
            f"weights file {path} does not exist" if not path.exists() else f"{path} is not a file{inside}"
        )
    if path.suffix.lower() != ".safetensors":
        if archive.is_archive(path):
            archive.check(path, f"weights file {path}")
        archive.check_calls(path, f"weights file {path}")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file_of_tensors(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can fail anywhere in zip, pickle or storage code, with any exception.
    except Exception as error:
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as PyTorch weights: {reason_of(path, error)}"
        ) from error
    for key in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds no state dict but a {type(content).__name__}")
    strange = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f"{path} holds no plain state dict: no tensors under {', '.join(map(str, strange[:10]))}")
    return prefixes.unwrapped(content, str(path))


def load_strictly(
    module: nn.Module, state: dict[str, Tensor], source: str, classifier: str | tuple[str, ...] | None = None
) -> None:
    """Loads a state dict into a backbone: every name and shape must fit, only the classifier may be left over.

    Files older than PyTorch 0.4.1 lack BatchNorm's ``num_batches_tracked``; that alone is not an error. For a backbone of
    grayscale clips, the kernels of an RGB first layer are summed over its channels. A prefix of all names, as a surrounding
    model leaves it, is taken off, see ``taggnn.backbones.prefixes.below``.

    Args:
        module: the backbone, without classifier.
        state: names and tensors; not changed.
        source: the file or the name of the weights, for messages.
        classifier: name of the classifier module in ``state``, or of several modules that only the classifier needs; they
            are dropped, which is logged.

    Raises:
        ValueError: names or shapes that do not fit; lists the first ten of them and how many there are. The module is
            left as it was.
    """
    state = prefixes.below(state, module.state_dict().keys(), source)
    if classifier is not None:
        names = (classifier,) if isinstance(classifier, str) else classifier
        dropped = {key: value for key, value in state.items() if key.startswith(tuple(f"{name}." for name in names))}
        state = {key: value for key, value in state.items() if key not in dropped}
        if dropped:
            classes = {len(value) for key, value in dropped.items() if key.endswith("bias")}
            count = f" of {classes.pop()} classes" if len(classes) == 1 else ""
            log.info("%s: classifier %s%s dropped", source, ", ".join(names), count)
    own = module.state_dict()
    for key in (f"{name}.weight" for name in first_layers(module)):
        if clip_channels(module) == 1 and key in state and state[key].dim() in (4, 5) and state[key].shape[1] == 3:
            state = {**state, key: summed(state[key])}
            log.info("%s: %s summed over red, green and blue", source, key)
    wrong = misfits(own, state)
    if wrong:
        listed = "\n  ".join(wrong[:10])
        more = f"\n  and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise ValueError(
            f"{source} does not fit {type(module).__name__} ({len(wrong)} of {len(own)} entries):\n  {listed}{more}"
        )
    module.load_state_dict(state, strict=False)
    log.info("%s: %d tensors loaded", source, len(state))


def load_published(
    module: nn.Module,
    weights: str | Path,
    name: str,
    file: Published | None,
    classifier: str | tuple[str, ...] | None = None,
) -> None:
    """Loads published weights, downloading them where needed, or a local file, strictly.

    Args:
        module: the backbone.
        weights: "default", or the path of a file.
        name: of the backbone, for messages.
        file: what "default" means; None: nothing is published.
        classifier: as for ``load_strictly``.

    Raises:
        FileNotFoundError: ``weights`` is a path that does not exist.
        ValueError: neither of the two, a download that failed, a file that cannot be read, or one that does not fit.
    """
    path = find_weights(weights, name, file)
    load_strictly(module, read_state_dict(path), str(path), classifier)


def find_weights(weights: str | Path, name: str, file: Published | None) -> Path:
    """The file that ``weights`` names, downloaded if it is the published one.

    Args:
        weights: "default", or the path of a file.
        name: of the backbone, for messages.
        file: what "default" means; None: nothing is published.

    Raises:
        ValueError: neither of the two, or a download that failed.
    """
    if is_path(weights):
        return Path(weights)
    if file is not None and str(weights).lower() == "default":
        return fetch(file)
    if file is None:
        raise ValueError(f"{name} has no published weights {str(weights)!r}: give the path of a file")
    raise unknown(f"weights of {name}", str(weights), ["default", "the path of a .pth file"])


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Lists what does not fit between a model's entries and a file's: missing, unknown, of another shape.

    ``num_batches_tracked`` may be missing from the file: those older than PyTorch 0.4.1 lack it.

    Args:
        own: names and tensors of the model.
        state: names and tensors of the file.

    Returns:
        One line an entry; none where everything fits.
    """
    wrong = [
        f"not in the file: {key} {tuple(value.shape)}"
        for key, value in own.items()
        if key not in state and not key.endswith("num_batches_tracked")
    ]
    wrong += [f"not in the model: {key} {tuple(value.shape)}" for key, value in state.items() if key not in own]
    return wrong + [
        f"other shape: {key} file {tuple(value.shape)}, model {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]


def load_file(module: nn.Module, weights: str | Path) -> None:
    """Loads a local state dict into a backbone without published weights.

    Args:
        module: the backbone the file was saved from, with the same options.
        weights: path of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a name instead of a path, a file that cannot be read, or one that does not fit.
    """
    path = find_weights(weights, type(module).__name__, None)
    load_strictly(module, _with_classifier(read_state_dict(path), module, str(path)), str(path))


def _with_classifier(state: dict[str, Tensor], module: nn.Module, source: str) -> dict[str, Tensor]:
    """The weights of a run of the same network, in which ``taggnn.attach`` cut off what came after the last feature map."""
    if not any(key.startswith(CUT) for key in state):
        return state
    own = module.state_dict()
    state = prefixes.below(state, own.keys(), source)
    absent = {key: value for key, value in own.items() if key not in state}
    if absent:
        log.info("%s: without what was cut off in it: %s", source, ", ".join(absent))
    return {**absent, **state}
