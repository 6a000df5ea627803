"""The training clips of a run, read again by its configuration."""

from pathlib import Path

from taggnn.cli import build, config
from taggnn.data.loader import ClipData

CONFIG = "config.yaml"


def training_data(folder: Path, root: str | None = None, trust: bool = False) -> ClipData:
    """The data of a run folder.

    Args:
        folder: with the ``config.yaml`` of the run.
        root: where the clips are now; None: where they were.
        trust: allow the configuration to name code of one's own.

    Raises:
        FileNotFoundError, ValueError: no configuration, or its clips are not there.
    """
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder}: no {CONFIG} in it, so its training clips are not known")
    words = ["--config", str(folder / CONFIG), *(["--trust"] if trust else [])]
    words += [] if root is None else ["--data.root", root]
    data = build.data_of(config.parse(words))
    if data.train_clips is None:
        raise ValueError(f"{folder / CONFIG}: its data have no training clips")
    return data
