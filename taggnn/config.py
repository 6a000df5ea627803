"""The configuration of a run: one tree of typed values, from recipes, files and the command line."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace

from .data.datamodule import ClipData
from .heads import HEADS, PoolHead, TagHead
from .names import unknown
from .task import Optimisation

RECIPES = resources.files("taggnn") / "recipes"
# Set by the program itself, or of no use in a run folder.
_OWN_TRAINER = {
    "barebones",
    "callbacks",
    "default_root_dir",
    "enable_autolog_hparams",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "inference_mode",
    "logger",
    "max_steps",
    "min_epochs",
    "min_steps",
    "model_registry",
    "num_sanity_val_steps",
    "plugins",
    "precision",
    "profiler",
    "reload_dataloaders_every_n_epochs",
    "use_distributed_sampler",
}
_BUILT_PER_MODEL = {"channels", "grid", "classes"}


@dataclass
class BackboneChoice:
    """Which backbone, and how it is trained.

    Args:
        name: a name of ``taggnn.backbones.BACKBONES`` (default "small").
        weights: "default", an official name, or the path of a file; none (default) for random ones.
        frozen_bn: BatchNorm keeps its stored statistics, also in training (default false).
        bn_momentum: momentum of every BatchNorm; none (default) keeps the backbone's own.
        options: further arguments of the backbone's builder, by name.
    """

    name: str = "small"
    weights: str | None = None
    frozen_bn: bool = False
    bn_momentum: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Parser(ArgumentParser):
    """An argument parser whose refusals are one message that names the nearest possible keys, with exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        print(f"{self.prog}: {self._explained(str(message))}", file=sys.stderr)
        sys.exit(2)

    def _explained(self, message: str) -> str:
        option = re.search(r"unrecognized arguments: --([\w.]+)", message)
        if option:
            return self._unknown(option[1], f"unknown option --{option[1]}")
        key = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message)
        if key:
            return self._unknown(".".join(key.groups()), f"unknown configuration key {'.'.join(key.groups())}")
        return message.strip()

    def _unknown(self, given: str, message: str) -> str:
        keys = list(vars(self.get_defaults().as_flat()))
        near = get_close_matches(given, keys, n=3, cutoff=0.6)
        if near:
            message += "; did you mean " + " or ".join(near) + "?"
        return f"{message} All keys: --print_config"


def parser() -> Parser:
    """Builds the parser of ``taggnn.train``: every key with its type and default, read off the signatures it is for."""
    built = Parser(
        prog="taggnn.train",
        description="Trains a recogniser on labelled videos and writes a report. Alone, it runs the recipe 'demo'.",
        default_env=False,
        exit_on_error=True,
    )
    add = built.add_argument
    add("--config", action="config", help=f"a recipe ({', '.join(recipes())}) or a YAML file; may be repeated")
    add("--seed", type=int, default=42, help="every random draw follows from it")
    add(
        "--recipe",
        type=str | None,
        default=None,
        help="name of the run's folder below runs; null: that of the configuration",
    )
    add("--runs", type=str, default="runs", help="folder of the run folders")
    add("--precision", type=str, default="32-true", help="32-true, bf16-mixed or 16-mixed; auto: bf16-mixed on a GPU")
    add("--threads", type=int | None, default=None, help="CPU threads of PyTorch; null: its own choice")
    add("--monitor", type=Literal["val/top1", "val/mca", "val/loss"], default="val/top1", help="picks the best epoch")
    add("--head", type=str, default="tag", help=f"one of {', '.join(HEADS)}; each has its options below its own name")
    add("--compare", type=list[str], default=[], help="heads trained beside it with the same backbone and budget")
    built.add_class_arguments(BackboneChoice, "backbone", instantiate=False)
    built.add_class_arguments(TagHead, "tag", skip=_BUILT_PER_MODEL, instantiate=False)
    built.add_method_arguments(TagHead, "released", "tag_released", skip=_BUILT_PER_MODEL)
    built.add_class_arguments(PoolHead, "pool", skip=_BUILT_PER_MODEL, instantiate=False)
    built.add_class_arguments(ClipData, "data", skip={"seed"}, instantiate=False)
    built.add_class_arguments(Optimisation, "optim", instantiate=False)
    built.add_class_arguments(pl.Trainer, "trainer", skip=_OWN_TRAINER, instantiate=False)
    built.set_defaults({"trainer.max_epochs": 30, "data.root": "datasets/synthetic"})
    return built


def parse(arguments: Sequence[str]) -> Namespace:
    """Reads the command line of ``taggnn.train``; a refusal ends the program with exit code 2.

    ``--config`` takes a recipe's name as well as a file. Without it the recipe is "demo", or "folder" where ``--data.root`` names
    videos of the user's own.
    """
    arguments = list(arguments)
    named = [i for i, word in enumerate(arguments) if word == "--config" or word.startswith("--config=")]
    built = parser()
    if not named and not {"-h", "--help"} & set(arguments):
        own = any(word.startswith("--data.root") for word in arguments)
        arguments = ["--config", "folder" if own else "demo", *arguments]
        named = [0]
    recipe = None
    for i in named:
        if arguments[i] == "--config":
            if i + 1 == len(arguments):
                built.error("--config needs the name of a recipe or a file")
            arguments[i : i + 2] = [f"--config={arguments[i + 1]}", ""]
        given = arguments[i].removeprefix("--config=")
        try:
            path = find_recipe(given)
        except (ValueError, FileNotFoundError) as error:
            built.error(str(error))
        arguments[i], recipe = f"--config={path}", path.stem
    config = built.parse_args([word for word in arguments if word != ""])
    if config.recipe is None:
        config.recipe = recipe
    for head in (config.head, *config.compare):
        if head not in HEADS:
            built.error(str(unknown("head", head, HEADS)))
    return config


def recipes() -> list[str]:
    """Names of the recipes that come with taggnn."""
    return sorted(Path(entry.name).stem for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


def find_recipe(given: str) -> Path:
    """Finds a recipe by name, or a configuration file by path.

    Raises:
        FileNotFoundError: a path, and nothing is there.
        ValueError: neither a path nor the name of a recipe.
    """
    if given in recipes():
        return Path(str(RECIPES / f"{given}.yaml"))
    path = Path(given)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"configuration {given}: no such file")
    raise unknown("recipe", given, recipes())
