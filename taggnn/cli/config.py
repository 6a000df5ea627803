"""The configuration of a run: one tree of typed values, from recipes, files and the command line."""

import inspect
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import Namespace

from taggnn import backbones
from taggnn.cli import locations, smoke
from taggnn.cli.parser import Parser
from taggnn.cli.resolve import BackboneChoice
from taggnn.cli.thumbnails import THUMBNAILS, THUMBNAILS_HELP
from taggnn.cli.tracklets import TRACKLETS, TRACKLETS_HELP
from taggnn.data.loader import ClipData
from taggnn.data.sources import SOURCES
from taggnn.data.token_index import CONFIG, INDEX
from taggnn.data.tokens import TokenCache
from taggnn.evaluation import metrics
from taggnn.heads import HEADS, Row, filled_in
from taggnn.io import trust
from taggnn.names import find, unknown
from taggnn.training import loggers, parallel
from taggnn.training.compiling import Compile
from taggnn.training.device import Precision, devices_of
from taggnn.training.options import Optimisation, Training

RECIPES = resources.files("taggnn") / "recipes"
# Smallest and largest values of numbers that are checked nowhere else.
_LIMITS = {
    "seed": (0, 2**32 - 1),
    "threads": (1, math.inf),
    "preview": (1, 64),
    "tracklets": (0, 1000),
    "thumbnails": (0, 99),
    "patience": (1, math.inf),
    "log_every": (1, math.inf),
    "save_minutes": (0, math.inf),
    "save_batches": (1, math.inf),
    "tag.dim": (1, math.inf),
    "tag.encoder_layers": (0, math.inf),
    "tag.encoder_heads": (1, math.inf),
    "tag.ffn": (1, math.inf),
    "tag.graph_layers": (0, math.inf),
    "tag_released.ffn": (1, math.inf),
    "tag_graph.dim": (1, math.inf),
    "tag_graph.graph_layers": (0, math.inf),
    "art.regions": (1, math.inf),
    "art.bank_prompts": (1, math.inf),
    "art.dim": (1, math.inf),
    "art.enhancement_layers": (0, math.inf),
    "art.region_layers": (1, math.inf),
    "art.attention_heads": (1, math.inf),
    "art.ffn": (1, math.inf),
    "art.graph_layers": (0, math.inf),
    "art.bank_momentum": (0, 1),
    "optim.lr": (0, math.inf),
    "optim.backbone_lr_scale": (0, math.inf),
    "optim.weight_decay": (0, math.inf),
    "optim.mixup": (0, math.inf),
    "optim.cutmix": (0, math.inf),
    "optim.mix_prob": (0, 1),
    "optim.mix_switch": (0, 1),
    "optim.momentum": (0, 1),
    "optim.warmup_epochs": (0, math.inf),
    "optim.label_smoothing": (0, 1),
    "optim.gradient_clip": (0, math.inf),
    "optim.ema": (0, 0.999999),
    "train.epochs": (1, math.inf),
    "train.accumulate": (1, math.inf),
    "train.limit_batches": (0, math.inf),
    "train.max_hours": (0, math.inf),
}
# What asks for help instead of a run.
HELP = {"-h", "--help", "--help-all"}
# What ends a document in YAML.
_END = "..."
# Keys that do not change the result of a run, only its speed and its location.
_FREE = {
    *(
        "run",
        "runs",
        "preview",
        "tracklets",
        "thumbnails",
        "threads",
        "save_minutes",
        "save_batches",
        "log_every",
        "loggers",
    ),
    *("data.workers", "video.frame_cache", "devices", "working_dir"),
}
_DESCRIPTION = (
    "Trains a recogniser on labelled videos and writes a report. Without options it runs the recipe 'demo'. "
    "--resume RUN resumes an interrupted run, and takes further options only for data that were moved, such as --data.root; "
    "--run RUN starts a run there, or resumes it."
)


def parser(program: str = "taggnn.train", description: str = _DESCRIPTION) -> Parser:
    """Builds the parser of ``taggnn.train``: every key with its type and default, taken from the signatures.

    Args:
        program: its name in messages.
        description: of the program, for its help.
    """
    built = Parser(prog=program, description=description, default_env=False, exit_on_error=True)
    add, option = built.add_argument, built.option
    add("--config", action="config", help=f"a recipe ({', '.join(recipes())}) or a YAML file; may be repeated")
    # Its own name for the flags begins with a backspace, which help for a terminal must not have.
    next(action for action in built._actions if action.dest == "print_config").metavar = "FLAGS"
    add(
        "--trust",
        action="store_true",
        help="allow configurations and other files to name your own code (by dotted path), which is then imported and run; "
        "stands only on the command line",
    )
    option("--seed", int, 42, "seed of all random draws")
    option("--recipe", str | None, None, "name of the run's folder in runs; null: the name of the configuration")
    option("--runs", str, "runs", "folder of the run folders")
    run = "the run folder: starts a run there, resumes it, or with more train.epochs extends it; null: a new folder in runs"
    option("--run", str | None, None, run)
    option(
        "--working_dir",
        str | None,
        None,
        "folder that relative paths of data and weights start from; null: the present one, which the run's config.yaml records",
    )
    add(
        "--fast",
        type=bool,
        nargs="?",
        const=True,
        default=False,
        help="a smoke run: a few clips, 2 epochs, its own folder; shows whether everything works, and is marked as no result",
    )
    option("--preview", int | None, None, "draw this many training clips, print the path of the image and stop")
    option("--tracklets", int, TRACKLETS, TRACKLETS_HELP)
    option("--thumbnails", int, THUMBNAILS, THUMBNAILS_HELP)
    option(
        "--devices",
        int | str | list[int],
        "auto",
        "processes on this machine: a number, a list of GPUs ([0, 2]), -1 for all GPUs; auto: as many as torchrun or srun "
        "started, else one",
    )
    option("--device", str | None, None, "cpu, cuda, cuda:1, ...; null: a GPU if there is one")
    option("--precision", Precision, "32-true", "auto: bf16-mixed on a GPU that has it, else 32-true")
    option("--compile", Compile, False, "torch.compile for backbone and head: true, or one of its modes")
    option("--patience", int | None, None, "epochs without improvement before training stops; null: no early stopping")
    option(
        "--loggers", list[str], ["tensorboard", "csv"], f"of {', '.join(loggers.NAMES)}; metrics.csv is always written"
    )
    option("--log_every", int, 10, "logging interval in steps")
    option("--threads", int | None, None, "CPU threads of PyTorch; null: PyTorch's default")
    option("--monitor", Literal[tuple(metrics.monitors())], "val/top1", "metric that selects the best epoch")
    option("--save_minutes", float | None, 10.0, "interval of last.ckpt inside an epoch; null: only after each epoch")
    option("--save_batches", int | None, None, "likewise, in batches")
    option(
        "--head",
        str,
        "tag",
        f"one of {', '.join(HEADS)}, each with options under its name; or the dotted path of a class or function "
        "(channels, grid, classes, **options)",
    )
    option(
        "--head_options", dict[str, Any], {}, "options of a head given by its dotted path; of --compare under its path"
    )
    option("--compare", list[str], [], "further heads, trained with the same backbone and budget")
    built.add_class_arguments(BackboneChoice, "backbone", instantiate=False)
    for name, row in HEADS.items():
        _add_head(built, name, row)
    built.add_class_arguments(ClipData, "data", skip={"seed", "source", "fast"}, instantiate=False)
    option(
        "--data.source",
        str,
        "video",
        f"what a clip is: one of {', '.join(_source_names())}, with options under its name; or the dotted path of your "
        "own class",
    )
    option("--data.source_options", dict[str, Any], {}, "arguments of your own class, by name")
    option(
        "--data.tokens",
        str | None,
        None,
        "folder that taggnn.extract wrote: trains on its tokens, no clip is read; root and workers are not used, and the "
        "clips, the splits and the transforms are those of the extraction",
    )
    for name in _source_names():
        built.add_class_arguments(SOURCES[name].source, name, instantiate=False)
    built.add_class_arguments(Optimisation, "optim", instantiate=False)
    built.add_class_arguments(Training, "train", instantiate=False)
    return built


def _add_head(built: Parser, name: str, row: Row) -> None:
    builder = row.builder
    skip: set[str | int] = set(filled_in(row.builder, name))
    if isinstance(builder, type):
        built.add_class_arguments(builder, name, skip=skip, instantiate=False)
    elif inspect.ismethod(builder):
        built.add_method_arguments(builder.__self__, builder.__name__, name, skip=skip)
    else:
        built.add_function_arguments(builder, name, skip=skip)


def parse(arguments: Sequence[str], built: Parser | None = None, settled: Mapping[str, Any] | None = None) -> Namespace:
    """Reads the command line of ``taggnn.train``; a refusal ends the program with exit code 2.

    ``--config`` takes the name of a recipe or a file. Without it the recipe is "demo", or with ``--data.root`` "folder", or
    "scratch" where ``--backbone.weights`` is null. With
    ``--data.tokens`` the keys that the tokens depend on have the values of the extraction unless they are given, and without
    ``--config`` all other keys have its values too.

    If the command line or a later file chooses another backbone than the files before it, the options and weights of the
    earlier backbone are dropped, and a line on stderr reports it. Weights "default" stay: they are those of the new backbone.

    Args:
        arguments: the command line.
        built: the parser of another program that takes these keys and more; None for that of ``taggnn.train``.
        settled: keys, as a tree, that override recipes and files, and are overridden by the command line.
    """
    built = built or parser()
    trusts, words = split_trust(arguments)
    given, rest, shown = _split_words(built.as_lists(words), built)
    tokens = word("data.tokens", rest)
    if tokens is not None and word("data.root", rest) is not None:
        built.error("data.root and data.tokens: the clips are those of the tokens, no video is read; give one of them")
    inherits = tokens is not None and not given
    if inherits:
        given = [str(_cache(tokens, built).folder / CONFIG)]
    if not given and not HELP & set(rest):
        random = None in _values("backbone.weights", rest)[-1:]
        given = ["demo" if word("data.root", rest) is None else "scratch" if random else "folder"]
    recipe, files = None, []
    for name in given:
        try:
            path = find_recipe(name)
        except (ValueError, FileNotFoundError) as error:
            built.error(str(error))
        built.check_file(path)
        _check_trust(built, path, trusts)
        files.append(path)
        recipe = path.stem
    _check_words(rest, built, trusts)
    below, above = [], [] if settled is None else [_layer(settled)]
    if not _values("data.tokens", rest):
        tokens = built.stated("data.tokens")
    if tokens is not None:
        cache = _cache(tokens, built)
        _check_names(built, cache.settings, str(cache.folder / INDEX), trusts)
        below = [_layer({"data": {"root": tokens}}), _layer(_tree(cache.settings))]
    layers, dropped = [f"--config={path}" for path in files], list[str]()
    if tokens is None and settled is None:
        layers, dropped = _drop_stale_backbone(files, rest, built)
    config = built.parse_args([*below, *layers, *above, *rest, *shown])
    config.pop("trust")
    locations.settle(config, {key for key in (*locations.MOVABLE, "backbone.weights") if _values(key, rest)})
    _check_text(config, built)
    _check_options(config.backbone.options, built)
    # An unknown name is refused later.
    if dropped and (config.backbone.name in backbones.BACKBONES or config.backbone.name.startswith(("hf:", "timm:"))):
        print("\n".join(dropped), file=sys.stderr)
    if config.recipe is None:
        config.recipe = recipe
    if config.fast:
        smoke.shorten(config, lambda key: bool(_values(key, rest)))
    if inherits and not _values("video.frame_cache", rest):
        # The frame cache of the extraction is not needed for tokens.
        config.video.frame_cache = None
    if tokens is None and settled is None:
        _settle_learning_rate(config, rest, built)
    for head in (config.head, *config.compare):
        try:
            find("head", head, HEADS)
        except ValueError as error:
            built.error(str(error))
    for name in config.loggers:
        if name not in loggers.NAMES:
            built.error(str(unknown("logger", name, loggers.NAMES)))
    for key, (least, most) in _LIMITS.items():
        value = config[key]
        if value is not None and not least <= value <= most:
            built.error(f"{key} {value}: possible are {least} {'to ' + str(most) if most < math.inf else 'or more'}")
    try:
        devices = devices_of(config.devices, config.device)
        parts = config.train.sync_batchnorm, config.precision, config.optim.ema is not None
        parallel.check(config.train.strategy, devices, *parts)
    except ValueError as error:
        built.error(str(error))
    _settle_warmup(config, rest, built)
    _check_source(config, rest, built)
    return config


def of_run(folder: Path, trusted: trust.Trust = False) -> Namespace:
    """The configuration of a run; its paths are those of the folder in which it began.

    A file that is damaged, or names code that is not trusted, ends the program.

    Args:
        folder: the run folder.
        trusted: see ``taggnn.io.trust.check_settings``.

    Raises:
        ValueError: its end is missing: what a key had is then unknown.
    """
    path, built = folder / "config.yaml", parser()
    text = path.read_text(encoding="utf-8", errors="replace")
    earlier = re.search("^trainer:", text, re.MULTILINE)
    if not earlier and not text.rstrip().endswith(f"\n{_END}"):
        raise ValueError(
            f"{path}: its end is missing ({_END!r} in the last line), so the run cannot be resumed; copy it again from where it "
            "is whole, or start a new run"
        )
    built.check_file(path, earlier={"trainer": "an earlier taggnn, which trained with Lightning; start a new run"})
    _check_trust(built, path, trusted)
    config = built.parse_path(str(path))
    config.pop("trust")
    locations.settle(config)
    return config


def split_trust(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether a command line has ``--trust``, and its other words: no file can grant it to itself."""
    return "--trust" in arguments, [word for word in arguments if word != "--trust"]


def own_names(config: Namespace) -> frozenset[str]:
    """The dotted paths in a configuration."""
    return trust.named_in_settings(_flat(yaml.safe_load(dump(config))))


def needs_trust(config: Namespace) -> bool:
    """Whether a file with this configuration is read only with ``--trust``."""
    try:
        trust.check_settings(_flat(yaml.safe_load(dump(config))), "")
    except ValueError:
        return True
    return False


def _check_trust(built: Parser, path: Path, trusted: trust.Trust) -> None:
    given = built.given(path)
    if given.get("trust"):
        built.error(f"{path}: trust: a file cannot grant it to itself; give --trust on the command line")
    _check_names(built, given, str(path), trusted)


def check_file_words(words: Sequence[str], source: str, trusted: trust.Trust) -> None:
    """Refuses words of a command line that a file holds if they name code; configurations among them are checked as files.

    Raises:
        ValueError: they do, or grant themselves trust.
    """
    if "--trust" in words and trusted is not True:
        raise ValueError(f"{source}: --trust: a file cannot grant it to itself; give it on the command line")
    for number, one in enumerate(words):
        option, equals, text = one.partition("=")
        if option.startswith("--") and option != "--config":
            value = _read(text if equals else next(iter(words[number + 1 :]), ""))
            trust.check_settings(_flat({option.removeprefix("--"): value}), source, trusted)


def _check_words(words: Sequence[str], built: Parser, trusted: bool) -> None:
    """Files that the command line gives for a whole group, ``--tag tag.yaml``."""
    for number, one in enumerate(words):
        option, _, text = one.partition("=")
        value = text or next(iter(words[number + 1 :]), "")
        group = option.removeprefix("--")
        if option.startswith("--") and "\n" not in value and group in built.group_names() and Path(value).is_file():
            content = _read(value)
            if isinstance(content, Mapping):
                _check_names(built, _flat(content, f"{group}."), value, trusted)


def _check_names(built: Parser, settings: Mapping[str, Any], source: str, trusted: trust.Trust) -> None:
    try:
        trust.check_settings(settings, source, trusted)
    except ValueError as error:
        built.error(str(error))


def _split_words(arguments: Sequence[str], built: Parser) -> tuple[list[str], list[str], list[str]]:
    """Splits a command line: configurations, which are parsed first, other words, and --print_config, which comes last."""
    given: list[str] = []
    rest: list[str] = []
    shown: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--config":
            name = next(words, None)
            if name is None:
                built.error("--config needs the name of a recipe or a file")
            given.append(name)
        elif word.startswith("--config="):
            given.append(word.removeprefix("--config="))
        elif word.split("=")[0] == "--print_config":
            shown.append(word)
        else:
            rest.append(word)
    return given, rest, shown


def _drop_stale_backbone(files: Sequence[Path], rest: Sequence[str], built: Parser) -> tuple[list[str], list[str]]:
    """Inserts a layer that resets the backbone's options and weights before every file that chooses another backbone.

    Returns:
        The files and these layers as words, and lines that report what was dropped.
    """
    layers, dropped, name = list[str](), list[str](), BackboneChoice.name
    stated: dict[str, Any] = {}
    for path in [*files, None]:
        # None stands for the command line, which comes last.
        keys = {"backbone.name": word("backbone.name", rest)} if path is None else built.given(path)
        newer = keys.get("backbone.name") or name
        stale = {key: value for key, value in stated.items() if value and value != "default"}
        if newer != name and stale:
            layers.append(_layer({"backbone": {key: {} if key == "options" else None for key in stale}}))
            shown = ", ".join(f"{key} {value}" for key, value in stale.items() if not _values(f"backbone.{key}", rest))
            if shown:
                dropped.append(f"backbone  {newer} instead of {name}: left out {shown}")
            stated = {key: value for key, value in stated.items() if key not in stale}
        name = newer
        stated |= {key: keys[f"backbone.{key}"] for key in ("options", "weights") if f"backbone.{key}" in keys}
        if path is not None:
            layers.append(f"--config={path}")
    return layers, dropped


def _settle_learning_rate(config: Namespace, rest: Sequence[str], built: Parser) -> None:
    """A backbone with random weights learns at the rate of the head where a file lowered its rate for published weights."""
    lowered = built.stated("backbone.weights") is not None and config.backbone.weights is None
    scale = config.optim.backbone_lr_scale
    if lowered and not config.backbone.frozen and scale < 1 and not _values("optim.backbone_lr_scale", rest):
        config.optim.backbone_lr_scale = 1.0
        print(
            f"backbone  without published weights: optim.backbone_lr_scale is 1, not {scale:g}; --config scratch has more "
            "settings for training from random weights",
            file=sys.stderr,
        )


def _settle_warmup(config: Namespace, rest: Sequence[str], built: Parser) -> None:
    """A warm-up of a file is shortened for a short training; one on the command line is refused."""
    warmup, epochs = config.optim.warmup_epochs, config.train.epochs
    if not warmup or warmup < epochs:
        return
    if _values("optim.warmup_epochs", rest):
        built.error(f"optim.warmup_epochs {warmup:g}: must be below train.epochs {epochs}")
    config.optim.warmup_epochs = epochs / 4
    print(f"optim     warmup_epochs {epochs / 4:g} instead of {warmup:g}: train.epochs is {epochs}", file=sys.stderr)


def _check_text(config: Namespace, built: Parser) -> None:
    """Refuses values with bytes that are no UTF-8, which config.yaml could not hold, so that the run could not be resumed."""
    for key, value in vars(config.as_flat()).items():
        if any("\udc80" <= letter <= "\udcff" for letter in json.dumps(value, ensure_ascii=False, default=str)):
            built.error(
                f"{key} {value!r}: has bytes that are no UTF-8; rename the file or folder, or give a link to it"
            )


def _check_options(options: Mapping[Any, Any], built: Parser) -> None:
    """Refuses options of the backbone's builder that are also keys of the configuration, which they would override."""
    own = {one.name: f"--backbone.{one.name}" for one in fields(BackboneChoice)}
    own["clip"] = "--video.frames and --video.size"
    for option in options:
        if not isinstance(option, str):
            built.error(f"backbone.options: the name of an option is text, got {option!r}")
        if option in own:
            built.error(f"backbone.options: {option!r} is no option of a backbone's builder; give {own[option]}")


def _source_names() -> list[str]:
    """The sources with options under their name; the folder of tokens is given as data.tokens."""
    return [name for name in SOURCES if name != "tokens"]


def _check_source(config: Namespace, rest: Sequence[str], built: Parser) -> None:
    name, options = config.data.source, config.data.source_options
    if name == "tokens":
        built.error("data.source tokens: give their folder as --data.tokens DIR, and leave data.source out")
    if name not in SOURCES and "." not in name:
        built.error(str(unknown("source", name, SOURCES, "data.source")))
    if name in SOURCES and options:
        built.error(f"data.source_options: are for your own class; the options of {name} are keys under --{name}")
    for other in _source_names():
        words = [word for word in rest if word.split("=")[0].split(".")[0] == f"--{other}"]
        if other != name and words:
            built.error(f"{words[0].split('=')[0]}: is an option of the source {other!r}, and data.source is {name!r}")
    if config.data.root is None and config.data.tokens is None and name in SOURCES:
        built.error("missing: --data.root; see --help")


def _cache(folder: str, built: Parser) -> TokenCache:
    try:
        return TokenCache(str(folder))
    except (ValueError, OSError) as error:
        built.error(str(error))


def word(key: str, arguments: Sequence[str]) -> Any:
    """The last value that a command line gives a key, by itself or in a mapping of its group; None for none, or null."""
    return next(reversed(_values(key, arguments)), None)


def _values(key: str, arguments: Sequence[str]) -> list[Any]:
    """All values that a command line gives a key, in order: text, None for null, or what a mapping holds."""
    values = []
    for number, one in enumerate(arguments):
        option, equals, text = one.partition("=")
        value = text if equals else next(iter(arguments[number + 1 :]), None)
        name = option.removeprefix("--")
        if not option.startswith("--") or value is None:
            continue
        if name == key:
            values.append(None if _read(value) is None and value else value)
        elif key.startswith(f"{name}."):
            below = _read(value)
            for part in key.removeprefix(f"{name}.").split("."):
                if not isinstance(below, Mapping) or part not in below:
                    break
                below = below[part]
            else:
                values.append(below)
    return values


def _read(value: str) -> Any:
    try:
        content = yaml.safe_load(value)
        if isinstance(content, str) and Path(content).is_file():
            content = yaml.safe_load(Path(content).read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError):
        # The parser reports what is wrong with it.
        return value
    return content


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"data.size": 112} -> {"data": {"size": 112}}; keys are split at the first dot only."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        tree.setdefault(part, {})[name] = value
    return tree


def _layer(tree: Mapping[str, Any]) -> str:
    return f"--config={json.dumps(tree)}"


def changes(before: Namespace, now: Namespace) -> list[str]:
    """The differences of two configurations, one text a key; keys that do not change the result are ignored."""
    flat = [locations.comparable(flat_settings(settings)) for settings in (before, now)]
    values = {key: [one.get(key) for one in flat] for key in dict.fromkeys([*flat[0], *flat[1]])}
    return [f"{key} {then}, now {given}" for key, (then, given) in values.items() if then != given]


def flat_settings(settings: Namespace) -> dict[str, Any]:
    """The keys of a configuration that change the result of a run, as a run's file has them."""
    return {key: value for key, value in _flat(yaml.safe_load(dump(settings))).items() if key not in _FREE}


def flat(folder: Path) -> dict[str, Any]:
    """The keys of a run's configuration that change its result, as its file has them; none without a file that can be read."""
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    keys = _flat(content) if isinstance(content, Mapping) else {}
    return {key: value for key, value in keys.items() if key not in _FREE}


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return flat


def dump(settings: Namespace) -> str:
    """The configuration as YAML with all keys and the mark of its end; ``--config`` reads it."""
    return f"{parser().dump(settings, skip_unset=False)}{_END}\n"


def recipes() -> list[str]:
    """Names of the recipes of taggnn."""
    return sorted(Path(entry.name).stem for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


def find_recipe(given: str) -> Path:
    """Finds a recipe by name, or a configuration file by path.

    Raises:
        FileNotFoundError: there is no such file.
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
