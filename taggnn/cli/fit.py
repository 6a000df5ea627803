"""Training from Python: ``taggnn.fit``."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taggnn.cli import config as configuration
from taggnn.cli import experiment, launch
from taggnn.cli.run import Run
from taggnn.cli.words import words_of
from taggnn.io.run_folder import new_folder
from taggnn.runtime import distributed
from taggnn.training.device import devices_of


def fit(
    config: str | Path | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    run: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Trains a recogniser as ``python -m taggnn.train`` does, scores the test clips, and writes the report.

    Args:
        config: the name of a recipe or a configuration file, or the options where neither is given. None (default) is the recipe
            "demo", or with ``data.root`` "folder", or "scratch" where ``backbone.weights`` is None.
        options: every option of ``taggnn.train``, as a tree or by names with dots, such as ``{"data.root": "videos"}``; classes
            and functions are kept by their dotted path.
        run: the run folder: starts a run there, resumes it, or with more ``train.epochs`` extends it; None (default): a new
            folder in ``runs``.
        quiet: prints nothing.

    Returns:
        The finished run.

    Raises:
        ValueError, OSError: a wrong option, data that cannot be used, or a run that was started with another configuration.
        ChildProcessError: several processes were wanted (``devices``), and one of them failed.
        KeyboardInterrupt: after everything has been saved; ``fit`` with the same ``run`` resumes it.

    Example::

        run = taggnn.fit("folder", {"data.root": "videos", "tag.conv": "gatv2", "train.epochs": 20})
        print(run.scores["top1"], run.report())
    """
    if isinstance(config, Mapping):
        if options is not None:
            raise ValueError("options are given twice: fit(config, options), or fit(options)")
        config, options = None, config
    parser = configuration.parser("taggnn.fit")
    parser.raises = True
    words = [] if config is None else [f"--config={os.fspath(config)}"]
    words += words_of(options or {}, parser.keys())
    if run is not None:
        words.append(f"--run={os.fspath(run)}")
    settings = configuration.parse(words, parser)
    if settings.preview:
        raise ValueError("option preview: draws clips and trains nothing; python -m taggnn.train --preview N does it")
    named = configuration.own_names(settings)
    devices = devices_of(settings.devices, settings.device)
    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if len(devices) > 1 and distributed.ranks().world_size == 1:
            return Run(_in_processes(settings, len(devices), words, named), named)
        folder = Path(settings.run) if settings.run is not None else None
        begun = folder if folder is not None and (folder / "config.yaml").is_file() else None
        gpus = [device.index or 0 for device in devices if device.type == "cuda"]
        stack.enter_context(launch.process_group(len(devices), "taggnn.train", words, gpus, settings.threads))
        done = experiment.run(settings, begun)
        folder = Path(distributed.broadcast("" if done is None else str(done[0])))
    return Run(folder, named)


def _in_processes(settings: Any, count: int, words: list[str], named: frozenset[str]) -> Path:
    """Trains in several processes, which are started by ``python -m taggnn.train``; returns the run folder."""
    if own := [name for name in named if name.startswith("__main__.")]:
        raise ValueError(
            f"devices {count}: other processes cannot import {', '.join(own)}; define it in a module of its own"
        )
    if settings.run is None:
        # Known to this process, which has to find it.
        folder = new_folder(Path(settings.runs) / (settings.recipe or "run"))
        words = [*words, f"--run={folder}"]
    else:
        folder = Path(settings.run)
    sys.stdout.flush()
    code = launch.start(count, "taggnn.train", words)
    if code:
        raise ChildProcessError(
            f"taggnn.fit: the processes of {folder} ended with exit code {code}; their messages are above"
        )
    return folder
