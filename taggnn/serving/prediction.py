"""What a process of a server answers about a clip: the classes, as ``taggnn.predict --json`` gives them."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from taggnn.data import loader
from taggnn.data.capabilities import capabilities_of
from taggnn.data.video.reading import VideoError
from taggnn.data.views import check_views
from taggnn.io import checkpoint
from taggnn.io.environment import version_of
from taggnn.io.loaded import Loaded
from taggnn.io.trust import Trust
from taggnn.nn.consensus import Consensus
from taggnn.runtime.device import find_device
from taggnn.serving.worker import Answer

# The part of a clip's time that decoding it may take.
DECODING = 0.8


def build(
    run: str,
    dataset: str | None = None,
    trust: Trust = False,
    device: str | None = None,
    threads: int | None = None,
    seconds: float = math.inf,
    reject: float | str | None = None,
    views: Mapping[str, Any] | None = None,
) -> tuple[Answer, dict[str, Any]]:
    """What answers ``{"do": "predict", "path", "top"}``, and what to report about the model; a ``Job`` of a ``Worker``.

    Args:
        run: folder of a run, a checkpoint or an exported model.
        dataset, trust: as for ``checkpoint.load``.
        device: cpu, cuda, cuda:1; None: a GPU if there is one.
        threads: of PyTorch; None: its own choice.
        seconds: that a clip may take; decoding gives up before that.
        reject: as for ``threshold_of``.
        views: ``views``, ``crops`` and ``average`` of ``Loaded.predict``.

    Raises:
        ValueError, OSError: the model cannot be loaded, or not on this device.
    """
    loaded = opened(run, dataset, trust, device, threads, seconds)
    how: dict[str, Any] = {"views": 1, "crops": 1, "average": "probabilities", **(views or {})}
    Consensus(how["average"])
    check_views(loaded.reader, how["views"], how["crops"])
    how["reject"] = threshold_of(loaded, reject)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return predicted(loaded, request["path"], request["top"], how)

    return answer, about(loaded)


def opened(
    run: str,
    dataset: str | None = None,
    trust: Trust = False,
    device: str | None = None,
    threads: int | None = None,
    seconds: float = math.inf,
) -> Loaded:
    """A model in a process of a server; arguments and errors as for ``build``."""
    if threads is not None:
        torch.set_num_threads(threads)
    # The memory of a clip goes back to the system when its answer is sent.
    loader.return_freed_memory()
    loaded = checkpoint.load(run, dataset, trust).to(find_device(device))
    # Less than the limit that ends this process: a video that takes too long then costs no start of another one.
    reader: Any = loaded.reader
    if hasattr(reader, "decode_timeout"):
        reader.decode_timeout = min(reader.decode_timeout, DECODING * seconds)
    return loaded


def predicted(loaded: Loaded, path: str, top: int, views: Mapping[str, Any]) -> dict[str, Any]:
    """The answer about a file: ``{"top": [...]}``, or ``{"error": reason}`` where it cannot be read."""
    try:
        return loaded.predict(path, top, **views).plain()
    except VideoError as error:
        # Its message names the file, which is ours.
        return {"error": error.reason.replace(path, "the clip")}


def threshold_of(loaded: Loaded, reject: float | str | None) -> float | None:
    """The probability below which an answer is rejected.

    Args:
        loaded: the model.
        reject: a probability; "calibrated": that of the checkpoint; None: no answer is rejected.

    Raises:
        ValueError: the checkpoint has none, or one out of range.
    """
    if isinstance(reject, str):
        calibrated = None if loaded.calibration is None else loaded.calibration.threshold
        if calibrated is None:
            raise ValueError(f"--reject: {loaded.source} has no threshold; choose one with taggnn.evaluate --calibrate")
        return calibrated
    if reject is not None and not 0 <= reject <= 1:
        raise ValueError(f"--reject {reject}: possible are 0 to 1, a probability")
    return reject


def about(loaded: Loaded) -> dict[str, Any]:
    """What a model is, as plain types."""
    spec, described = loaded.spec, loaded.architecture or {}
    endings = sorted(capabilities_of(loaded.reader).endings)
    return {
        "head": described.get("head", {}).get("name"),
        "backbone": described.get("backbone", {}).get("name"),
        "classes": list(loaded.classes),
        "input": {"kind": spec.kind, "axes": list(spec.axes), "shape": list(spec.shape), "endings": endings},
        "epoch": loaded.epoch,
        "version": version_of("taggnn"),
    }
