"""The configuration of a run: one tree of typed values, from recipes, files and the command line."""

import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import Namespace

from taggnn import backbones
from taggnn.cli.parser import Parser
from taggnn.data import sources
from taggnn.data.loader import ClipData
from taggnn.data.shards import digest
from taggnn.data.sources import SOURCES
from taggnn.data.tokens import CONFIG, TokenCache, differences, relevant_settings
from taggnn.data.video.decoders import chosen
from taggnn.evaluation import metrics
from taggnn.heads import HEADS, Row, filled_in
from taggnn.names import find, unknown
from taggnn.training import loggers, parallel
from taggnn.training.compiling import Compile
from taggnn.training.device import Precision, devices_of
from taggnn.training.options import Optimisation, Training
from taggnn.types import Source

RECIPES = resources.files("taggnn") / "recipes"
# Smallest and largest value of the numbers that no part checks when it is built.
_LIMITS = {
    "seed": (0, 2**32 - 1),
    "threads": (1, math.inf),
    "preview": (1, 64),
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
    "video.short_side": (1, math.inf),
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
# Keys that change nothing about what a run comes to, but how fast it does and where it stands.
_FREE = {
    *("run", "runs", "preview", "threads", "save_minutes", "save_batches", "log_every", "loggers"),
    *("data.workers", "video.frame_cache", "devices"),
}
# Keys that say which source there is, and are no arguments of the data module.
_SOURCE = ("source", "source_options", "tokens")
# Keys that say where the clips lie and how they are fed, and change nothing about a stored token.
_FEEDING = {
    *("data.root", "data.tokens", "data.batch_size", "data.workers", "data.drop_last", "data.balance"),
    *("video.frame_cache", "video.decode_timeout"),
}
# Keys of a backbone that say how it learns, and nothing of what it does when it does not.
_LEARNING = {"frozen_bn", "bn_momentum", "freeze_stages", "layer_decay", "checkpointing", "drop_path"}


@dataclass
class BackboneChoice:
    """Which backbone, and how it is trained.

    Args:
        name: see ``taggnn.backbones.find`` (default "small"): of the table of ``python -m taggnn.models``, or ``hf:`` and a model
            of Hugging Face.
        weights: "default", an official name, or the path of a file; none (default) for random ones.
        frozen: only the head is trained: the backbone stays in evaluation mode and gets no gradients (default false).
        frozen_bn: BatchNorm keeps its stored statistics, also in training (default false).
        bn_momentum: momentum of every BatchNorm; none (default) keeps the backbone's own.
        freeze_stages: the first so many stages of the backbone, or some by name, are not trained (default 0).
        layer_decay: factor by which learning rates fall from stage to stage towards the clip, such as 0.75; none (default) for
            one rate.
        checkpointing: stages are computed again in the backward pass instead of kept: less memory, more time, the same
            gradients (default false).
        drop_path: probability of leaving out the last block of a transformer, falling to 0 at the first; none (default) keeps
            the backbone's own.
        options: further arguments of the backbone's builder, by name.
    """

    name: str = "small"
    weights: str | None = None
    frozen: bool = False
    frozen_bn: bool = False
    bn_momentum: float | None = None
    freeze_stages: int | list[str] = 0
    layer_decay: float | None = None
    checkpointing: bool = False
    drop_path: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


_TRAINS = (
    "Trains a recogniser on labelled videos and writes a report. Alone, it runs the recipe 'demo'. "
    "--resume RUN, without further options, continues an interrupted run; --run RUN begins one there, or continues it."
)


def parser(program: str = "taggnn.train", description: str = _TRAINS) -> Parser:
    """Builds the parser of ``taggnn.train``: every key with its type and default, read off the signatures it is for.

    Args:
        program: the program that takes these keys, for messages.
        description: what it does.
    """
    built = Parser(prog=program, description=description, default_env=False, exit_on_error=True)
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
    add(
        "--run",
        type=str | None,
        default=None,
        help="the run folder itself: begins there, or goes on where it has begun; null: a new one below runs",
    )
    add(
        "--preview",
        type=int | None,
        default=None,
        help="draw so many training clips as the model is fed them, print the picture's path and stop",
    )
    add(
        "--devices",
        type=int | str | list[int],
        default="auto",
        help="processes of this machine that train together: a number, GPUs by number ([0, 2]), -1 for all GPUs; auto: as many "
        "as torchrun or srun started, else one",
    )
    add("--device", type=str | None, default=None, help="cpu, cuda, cuda:1, ...; null: a GPU where there is one")
    add("--precision", type=Precision, default="32-true", help="auto: bf16-mixed on a GPU that has it, else 32-true")
    add("--compile", type=Compile, default=False, help="torch.compile for backbone and head: true, or one of its modes")
    add(
        "--patience",
        type=int | None,
        default=None,
        help="epochs without a better 'monitor' after which training ends; null: trains all epochs",
    )
    add(
        "--loggers",
        type=list[str],
        default=["tensorboard", "csv"],
        help=f"of {', '.join(loggers.NAMES)}; metrics.csv is always written",
    )
    add("--log_every", type=int, default=10, help="steps between two figures of steps")
    add("--threads", type=int | None, default=None, help="CPU threads of PyTorch; null: its own choice")
    add("--monitor", type=Literal[tuple(metrics.monitors())], default="val/top1", help="picks the best epoch")
    add(
        "--save_minutes",
        type=float | None,
        default=10.0,
        help="write last.ckpt inside an epoch when so much time has passed; null: only behind each epoch",
    )
    add("--save_batches", type=int | None, default=None, help="likewise when so many batches have been trained on")
    add(
        "--head",
        type=str,
        default="tag",
        help=f"one of {', '.join(HEADS)}, each with its options below its own name; or the dotted path of a class or function "
        "(channels, grid, classes, **options)",
    )
    add(
        "--head_options",
        type=dict[str, Any],
        default={},
        help="options of a head given by its dotted path; of one of --compare below its path: {mine.Head: {hidden: 8}}",
    )
    add("--compare", type=list[str], default=[], help="heads trained next to it with the same backbone and budget")
    built.add_class_arguments(BackboneChoice, "backbone", instantiate=False)
    for name, row in HEADS.items():
        _add_head(built, name, row)
    built.add_class_arguments(ClipData, "data", skip={"seed", "source"}, instantiate=False)
    add(
        "--data.source",
        type=str,
        default="video",
        help=f"what a clip is: one of {', '.join(_given_by_name())}, with its options below its own name; or the dotted path of "
        "a class of your own",
    )
    add("--data.source_options", type=dict[str, Any], default={}, help="arguments of a class of your own, by name")
    add(
        "--data.tokens",
        type=str | None,
        default=None,
        help="folder that taggnn.extract wrote: its tokens are the data, and no clip is read; root and workers are not used, and "
        "the clips, the splits and how clips are shown are those of the extraction",
    )
    for name in _given_by_name():
        built.add_class_arguments(SOURCES[name].source, name, instantiate=False)
    built.add_class_arguments(Optimisation, "optim", instantiate=False)
    built.add_class_arguments(Training, "train", instantiate=False)
    return built


def _add_head(built: Parser, name: str, row: Row) -> None:
    """The options of a head below its name, read off the signature of its builder."""
    builder, skip = row.builder, set(filled_in(row.builder, name))
    if isinstance(builder, type):
        built.add_class_arguments(builder, name, skip=skip, instantiate=False)
    elif inspect.ismethod(builder):
        built.add_method_arguments(builder.__self__, builder.__name__, name, skip=skip)
    else:
        built.add_function_arguments(builder, name, skip=skip)


def head_options(settings: Namespace, head: str) -> dict[str, Any]:
    """The options of a head of a run: those below its name, or for a dotted path those of ``head_options``."""
    if head in HEADS:
        return settings[head].as_dict()
    given = dict(settings.head_options)
    if head in given:
        return dict(given[head] or {})
    return {key: value for key, value in given.items() if key not in settings.compare} if head == settings.head else {}


def parse(arguments: Sequence[str], built: Parser | None = None, settled: Mapping[str, Any] | None = None) -> Namespace:
    """Reads the command line of ``taggnn.train``; a refusal ends the program with exit code 2.

    ``--config`` takes a recipe's name as well as a file. Without it the recipe is "demo", or "folder" where ``--data.root`` names
    videos of the user's own. With ``--data.tokens`` the keys that the tokens follow from have the values of the extraction
    wherever nothing else is given, and without ``--config`` all its other keys have too.

    Where the words or a later file choose another backbone than the files before, its options and weights are dropped, and a line
    on stderr says so. Weights "default" stay: it means the new backbone's own.

    Args:
        arguments: the words.
        built: the parser of another program that takes these keys and more; None for that of ``taggnn.train``.
        settled: keys, as a tree, that count more than recipes and less than words.
    """
    built = built or parser()
    given, rest, shown = _sorted(arguments, built)
    tokens = word("data.tokens", rest)
    if tokens is not None and word("data.root", rest) is not None:
        built.error(
            "data.root beside data.tokens: the clips are those of the tokens, no video is read; give one of them"
        )
    inherits = tokens is not None and not given
    if inherits:
        given = [str(_cache(tokens, built).folder / CONFIG)]
    if not given and not {"-h", "--help"} & set(rest):
        given = ["demo" if word("data.root", rest) is None else "folder"]
    recipe, files = None, []
    for name in given:
        try:
            path = find_recipe(name)
        except (ValueError, FileNotFoundError) as error:
            built.error(str(error))
        built.check_file(path)
        files.append(path)
        recipe = path.stem
    below, above = [], [] if settled is None else [_layer(settled)]
    if not _values("data.tokens", rest):
        tokens = built.stated("data.tokens")
    if tokens is not None:
        below = [_layer({"data": {"root": tokens}}), _layer(_tree(_cache(tokens, built).settings))]
    layers, dropped = [f"--config={path}" for path in files], []
    if tokens is None and settled is None:
        layers, dropped = _without_another_s(files, rest, built)
    config = built.parse_args([*below, *layers, *above, *rest, *shown])
    _check_options(config.backbone.options, built)
    # An unknown name is refused later, by the one sentence that says so.
    if dropped and (config.backbone.name in backbones.BACKBONES or config.backbone.name.startswith("hf:")):
        print("\n".join(dropped), file=sys.stderr)
    if config.recipe is None:
        config.recipe = recipe
    if inherits and not _values("video.frame_cache", rest):
        # That of the extraction: it has done its work.
        config.video.frame_cache = None
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
    if config.optim.warmup_epochs and config.optim.warmup_epochs >= config.train.epochs:
        built.error(f"optim.warmup_epochs {config.optim.warmup_epochs}: must be below train.epochs")
    _check_source(config, rest, built)
    return config


def of_run(folder: Path) -> Namespace:
    """The configuration that a run began with.

    Args:
        folder: the run folder.

    Raises:
        ValueError: an earlier taggnn began it. Any other unknown key ends the program.
    """
    path, built = folder / "config.yaml", parser()
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(content, Mapping) and "trainer" in content:
        raise ValueError(
            f"run {folder}: begun by an earlier taggnn, which trained with Lightning, and cannot be continued; begin another run"
        )
    built.check_file(path)
    return built.parse_path(str(path))


def _sorted(arguments: Sequence[str], built: Parser) -> tuple[list[str], list[str], list[str]]:
    """Configurations, other words, and --print_config: files come first and printing last, wherever they were written."""
    given, rest, shown = [], [], []
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


def _without_another_s(files: Sequence[Path], rest: Sequence[str], built: Parser) -> tuple[list[str], list[str]]:
    """The files as words, each choice of another backbone behind one that drops what was said before; and what that was."""
    layers, dropped, name, said = [], [], BackboneChoice.name, {}
    for path in [*files, None]:
        # The words come last and are no file.
        keys = {"backbone.name": word("backbone.name", rest)} if path is None else built.given(path)
        newer = keys.get("backbone.name") or name
        stale = {key: value for key, value in said.items() if value and value != "default"}
        if newer != name and stale:
            layers.append(_layer({"backbone": {key: {} if key == "options" else None for key in stale}}))
            shown = ", ".join(f"{key} {value}" for key, value in stale.items() if not _values(f"backbone.{key}", rest))
            if shown:
                dropped.append(f"backbone  {newer} instead of {name}: left out {shown}")
            said = {key: value for key, value in said.items() if key not in stale}
        name = newer
        said |= {key: keys[f"backbone.{key}"] for key in ("options", "weights") if f"backbone.{key}" in keys}
        if path is not None:
            layers.append(f"--config={path}")
    return layers, dropped


def _check_options(options: Mapping[Any, Any], built: Parser) -> None:
    """Refuses options of the backbone's builder that are keys of the run: they would count more, without a word."""
    own = {one.name: f"--backbone.{one.name}" for one in fields(BackboneChoice)}
    own["clip"] = "--video.frames and --video.size"
    for option in options:
        if not isinstance(option, str):
            built.error(f"backbone.options: the name of an option is text, got {option!r}")
        if option in own:
            built.error(f"backbone.options: {option!r} is no option of a backbone's builder; give {own[option]}")


def _given_by_name() -> list[str]:
    """The sources that have options below their own name; the folder of tokens is given as data.tokens."""
    return [name for name in SOURCES if name != "tokens"]


def _check_source(config: Namespace, rest: Sequence[str], built: Parser) -> None:
    """Refuses keys that say which source there is and contradict one another."""
    name, options = config.data.source, config.data.source_options
    if name == "tokens":
        built.error("data.source tokens: give their folder as --data.tokens DIR, and leave data.source out")
    if name not in SOURCES and "." not in name:
        built.error(str(unknown("source", name, SOURCES, "data.source")))
    if name in SOURCES and options:
        built.error(f"data.source_options: are for a class of your own; the options of {name} are keys below --{name}")
    for other in _given_by_name():
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
    """The value that a command line gives a key last, by itself or below a group's key; None where it gives none, or null."""
    return next(reversed(_values(key, arguments)), None)


def _values(key: str, arguments: Sequence[str]) -> list[Any]:
    """All values that a command line gives a key, in order; text but for null and what stands in a mapping."""
    values = []
    for number, one in enumerate(arguments):
        option, equals, value = one.partition("=")
        value = value if equals else next(iter(arguments[number + 1 :]), None)
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
    """A word as YAML: of a file where it names one, else its own."""
    try:
        content = yaml.safe_load(value)
        if isinstance(content, str) and Path(content).is_file():
            content = yaml.safe_load(Path(content).read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError):
        # What it is then, and what is wrong with it, the parser says.
        return value
    return content


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"data.size": 112} -> {"data": {"size": 112}}; only the first dot parts, below it values may be mappings."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        tree.setdefault(part, {})[name] = value
    return tree


def _layer(tree: Mapping[str, Any]) -> str:
    return f"--config={json.dumps(tree)}"


def changes(before: Namespace, now: Namespace) -> list[str]:
    """What two configurations differ in, a text a key, but for keys that change nothing about what is trained."""
    flat = [_flat(yaml.safe_load(dump(settings))) for settings in (before, now)]
    keys = [key for key in dict.fromkeys([*flat[0], *flat[1]]) if key not in _FREE]
    values = {key: [one.get(key) for one in flat] for key in keys}
    return [f"{key} {then}, now {given}" for key, (then, given) in values.items() if then != given]


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return flat


def fill(settings: Namespace) -> None:
    """Puts in what follows from other keys: the mean and the deviation that the backbone's weights expect.

    What a hub says of a backbone goes in too, so that a run can be resumed, and its model be used, without the hub.
    """
    backbone, published = settings.backbone, settings.backbone.weights == "default"
    backbone.options = backbones.settled(backbone.name, backbone.options, published)
    row = backbones.find(backbone.name, backbone.options.get("config"), published)
    for part in ("mean", "std") if settings.data.source == "video" else ():
        if settings.video[part] is None:
            settings.video[part] = list(getattr(row, part))


def source_of(settings: Namespace) -> Source:
    """The source of a configuration.

    Raises:
        ValueError: as ``sources.build``.
    """
    data = settings.data
    if data.tokens is not None:
        if settings.video.frame_cache is not None:
            raise ValueError(
                f"data.tokens {data.tokens} and video.frame_cache {settings.video.frame_cache}: one of them is possible; "
                "with tokens no clip is decoded"
            )
        return sources.build("tokens", {"folder": data.tokens})
    options = settings[data.source].as_dict() if data.source in SOURCES else data.source_options
    return sources.build(data.source, options)


def keys_of_input(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The keys, as a tree, that an input of a trained model settles.

    Args:
        kind: its source: a name of ``SOURCES`` or a dotted path.
        options: how a file becomes a sample, see ``InputSpec``.
    """
    if kind in SOURCES:
        return {"data": {"source": kind}, kind: dict(options)}
    return {"data": {"source": kind, "source_options": dict(options)}}


def clips_of(settings: Namespace) -> ClipData:
    """The clips of a configuration, not read yet.

    Raises:
        ValueError: as ``sources.build`` and ``ClipData``.
    """
    own = {key: value for key, value in settings.data.as_dict().items() if key not in _SOURCE}
    return ClipData(source_of(settings), **own, seed=settings.seed)


def freeze(settings: Namespace) -> None:
    """Chooses a backbone that does not learn, whatever the other keys say of how it would."""
    settings.backbone.frozen = True
    left_out = [key for key in sorted(_LEARNING) if settings.backbone[key] != getattr(BackboneChoice(), key)]
    if left_out:
        print(f"backbone  frozen as a whole, so these keys of it change nothing: {', '.join(left_out)}")
    for key in _LEARNING:
        settings.backbone[key] = getattr(BackboneChoice(), key)


def of_tokens(settings: Namespace) -> dict[str, Any]:
    """The keys that stored tokens follow from, with their values as plain types: of the backbone and of the data."""
    backbone = settings.backbone.as_dict().items()
    keys = {f"backbone.{key}": value for key, value in backbone if key not in _LEARNING}
    groups = ["data", *([settings.data.source] if settings.data.source in SOURCES else [])]
    keys |= {f"{group}.{key}": value for group in groups for key, value in settings[group].as_dict().items()}
    if settings.data.source == "video":
        # By the decoder that is really used: a frame cache takes PyAV whatever is chosen.
        keys["video.decoder"] = "pyav" if settings.video.frame_cache is not None else chosen(settings.video.decoder)
    return json.loads(json.dumps({key: value for key, value in keys.items() if key not in _FEEDING}))


def check_tokens(settings: Namespace) -> None:
    """Refuses stored tokens that were made with other settings than those of a training on them.

    Weights that are a file here are compared by their content, others by their name.

    Raises:
        ValueError: they differ; the message names every key with both values.
    """
    cache = TokenCache(settings.data.tokens)
    there, given, choice = dict(cache.settings), of_tokens(settings), settings.backbone
    others = [key for key in there if key.startswith("backbone.") and key != "backbone.weights"]
    weights = choice.weights
    if (
        weights is not None
        and Path(weights).is_file()
        and all(there[key] == given.get(key, there[key]) for key in others)
    ):
        built = backbones.build(choice.name, weights, clip=cache.input.shape[1:], **choice.options)
        there["backbone.weights"], given["backbone.weights"] = cache.weights["digest"], digest(built.state_dict())
    # A key that another version of taggnn has or had says nothing here.
    both = [key for key in relevant_settings(there, cache.views) if key in given]
    changed = differences({key: there[key] for key in both}, {key: given[key] for key in both})
    if changed:
        raise ValueError(
            f"--data.tokens {cache.folder}: made with other settings than those given here: {'; '.join(changed)}. Leave "
            "these keys out to have what the tokens have, or extract tokens with them"
        )


def dump(settings: Namespace) -> str:
    """The configuration as YAML, every key of it; ``--config`` reads it back."""
    return parser().dump(settings, skip_unset=False)


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
