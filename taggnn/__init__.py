"""taggnn: graph heads for fine-grained action recognition in video and on skeletons, on PyTorch Geometric.

Train, as ``python -m taggnn.train`` does::

    run = taggnn.fit("folder", {"data.root": "videos", "tag.conv": "gatv2"})
    print(run.scores["top1"], run.report())         # see Run
    print(taggnn.grid("folder", {"tag.conv": ["gcn", "gat"]}, seeds=5, options={"data.root": "videos"}))

Use a trained model::

    loaded = taggnn.load("runs/folder/TIME")        # or best.ckpt, or what taggnn.export wrote
    print(loaded.predict("clip.mp4"))               # see Loaded and Prediction

Attach a head to any video model::

    model = taggnn.attach(torchvision.models.video.r2plus1d_18(), "tag", classes=99, conv="gatv2")
    logits, extras = model(clips)                   # clips (B, 3, T, H, W); see Recogniser and Output

Or to your own model, of any other input::

    spec = taggnn.InputSpec("mine.Poses", ("channel", "frame", "joint", "person"), (3, 64, 25, 2))
    model = taggnn.attach(MyBackbone(), "pool", classes=60, input=spec)

Use a head alone, for your own tokens (B, T, H, W, C)::

    head = taggnn.heads.TagHead(channels=512, grid=(8, 7, 7), classes=99)
    logits, extras = head(tokens)

Programs: ``taggnn`` or ``python -m taggnn`` lists them; each has ``--help``. The package ``graphs`` has the edges, and the tokens
of a batch as a PyG ``Batch``.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taggnn import backbones, heads
    from taggnn.cli.fit import fit
    from taggnn.cli.grid import Sweep, grid
    from taggnn.cli.run import Evaluation, Run
    from taggnn.io.checkpoint import load, load_released
    from taggnn.io.loaded import Guess, Loaded, Prediction
    from taggnn.model import Recogniser, attach
    from taggnn.types import BadClip, Features, InputSpec, Output, Sample

__version__ = "0.1.0"
__all__ = [
    "fit",
    "grid",
    "Run",
    "Sweep",
    "Evaluation",
    "attach",
    "load",
    "load_released",
    "Recogniser",
    "Loaded",
    "Prediction",
    "Guess",
    "InputSpec",
    "Sample",
    "BadClip",
    "Features",
    "Output",
    "heads",
    "backbones",
]

_HOME = {
    "fit": "taggnn.cli.fit",
    "grid": "taggnn.cli.grid",
    "Sweep": "taggnn.cli.grid",
    "Run": "taggnn.cli.run",
    "Evaluation": "taggnn.cli.run",
    "attach": "taggnn.model",
    "load": "taggnn.io.checkpoint",
    "load_released": "taggnn.io.checkpoint",
    "Recogniser": "taggnn.model",
    "Loaded": "taggnn.io.loaded",
    "Prediction": "taggnn.io.loaded",
    "Guess": "taggnn.io.loaded",
    "InputSpec": "taggnn.types",
    "Sample": "taggnn.types",
    "BadClip": "taggnn.types",
    "Features": "taggnn.types",
    "Output": "taggnn.types",
}


if not TYPE_CHECKING:
    # A type checker would take any name for one that this finds.
    def __getattr__(name: str) -> Any:
        # On first use: `python -m taggnn.train --help` should not wait for everything.
        if name in _HOME:
            return getattr(import_module(_HOME[name]), name)
        if name in __all__:
            return import_module(f"taggnn.{name}")
        raise AttributeError(f"module 'taggnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# With `python -m taggnn.train --help` this file is imported before the program: the text needs nothing that takes seconds.
if sys.argv[:1] == ["-m"]:
    import_module("taggnn.runtime.programs").answer_help(sys.orig_argv)
