"""The runs of a sweep: every combination of some values with every seed, parsed and tried before anything is trained."""

import contextlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from taggnn.cli import config as configuration
from taggnn.cli import experiment, resolve, variations
from taggnn.cli.build import data_of
from taggnn.data.loader import ClipData
from taggnn.data.sources import SOURCES

# In a word of a sweep with folds: the name of the fold's folder, such as of tokens of its own.
FOLD = "{fold}"
# Keys that a sweep gives each of its runs.
_OWN = ("seed", "data.fold", "run", "runs", "recipe", "resume", "preview", "print_config")


@dataclass(frozen=True)
class Planned:
    """A run of a sweep.

    Args:
        name: what differs from the other variants of the sweep, "conv=gcn,topology=chain"; the same for all seeds.
        values: key of the configuration -> its value, as text.
        seed: of the run.
        words: the command line of ``taggnn.train``, without ``--run``.
        folder: of the run.
        fold: folder of the fold that it is trained and tested on; None without folds.
        settings: what that command line says.
        keys: its keys that change the result, as the run's config.yaml will have them.
    """

    name: str
    values: dict[str, str]
    seed: int
    words: list[str]
    folder: Path
    fold: str | None
    settings: Namespace = field(repr=False, compare=False)
    keys: dict[str, Any] = field(repr=False, compare=False)

    @property
    def title(self) -> str:
        """Its name for people: "conv=gcn, fold-0, seed 1"."""
        return f"{self.name}, {f'{Path(self.fold).name}, ' if self.fold is not None else ''}seed {self.seed}"

    @property
    def log(self) -> Path:
        """What its training prints."""
        return self.folder.with_name(f"{self.folder.name}.log")


def plan(
    config: str | None,
    over: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    words: Sequence[str],
    out: Path,
    folds: Sequence[str] = (),
) -> list[Planned]:
    """Every run of a sweep, seed by seed, so that an interrupted one has all variants for the first seeds.

    Args:
        config: recipe or file; None for what ``taggnn.train`` takes without one.
        over: key of the configuration -> its values, see `variations.variants`; "config" is one, too. Empty: seeds alone.
        seeds: of each variant.
        words: further words for ``taggnn.train``.
        out: folder of the runs, OUT/<name>/seed-<n>; with folds OUT/<name>/<fold>-seed-<n>.
        folds: folders of folds; every variant is trained on each of them with every seed (default: none).

    Raises:
        ValueError: a key that a sweep cannot vary, or a combination that ``taggnn.train`` would refuse; names the combination.
    """
    found = variations.variants(over)
    keys = {key for values in found.values() for key in values}
    for option in [*(f"--{key}" for key in sorted(keys)), *words]:
        key = option.removeprefix("--").partition("=")[0]
        if option.startswith("--") and key in _OWN:
            instead = {"seed": "--seeds", "run": "--out", "runs": "--out", "data.fold": "--folds"}.get(key)
            hint = f"; give {instead}" if instead else ""
            raise ValueError(f"--{key}: a sweep has its own{hint}")
    if "config" in keys and config is not None:
        raise ValueError(f"--config {config} and --over config=...: give one of them")
    if not keys:
        found = {Path(config).stem if config else "run": {}}
    rows = {name: (values, [f"--{key}={text}" for key, text in values.items()]) for name, values in found.items()}
    return plan_rows(rows, seeds, [*(["--config", config] if config else []), *words], out, folds)


def plan_rows(
    rows: Mapping[str, tuple[dict[str, str], Sequence[str]]],
    seeds: Sequence[int],
    words: Sequence[str],
    out: Path,
    folds: Sequence[str] = (),
) -> list[Planned]:
    """The runs of variants that have a name and words of their own, seed by seed.

    Args:
        rows: name -> its values, for tables, and its words for ``taggnn.train``.
        seeds: of each variant.
        words: of all variants, before their own.
        out: folder of the runs.
        folds: folders of folds, as for `plan`; "{fold}" in the words becomes the name of the folder.

    Raises:
        ValueError: two folds of the same name, or words that ``taggnn.train`` would refuse; names the variant.
    """
    folders = variations.folder_names(rows)
    runs: list[Planned] = []
    order: list[str | None] = [*folds] or [None]
    names = {fold: Path(fold).name for fold in folds}
    if len(set(names.values())) < len(folds):
        raise ValueError(f"--folds {','.join(folds)}: two of the same name; their runs would have the same folder")
    for name, (values, own) in rows.items():
        for fold in order:
            # No second head is trained unless it is wanted: a variant is one model.
            line, begin = ["--compare=[]", *words, *own], ""
            if fold is not None:
                begin = f"{names[fold]}-"
                line = [*(word.replace(FOLD, names[fold]) for word in line), f"--data.fold={fold}"]
            given = _parsed(line, name)
            flat = configuration.flat_settings(given)
            for seed in seeds:
                folder, settings = out / folders[name] / f"{begin}seed-{seed}", given.clone()
                settings.seed = seed
                keys = {**flat, "seed": seed}
                runs.append(Planned(name, values, seed, [*line, f"--seed={seed}"], folder, fold, settings, keys))
    return sorted(runs, key=lambda one: (seeds.index(one.seed), order.index(one.fold)))


def _parsed(words: Sequence[str], name: str) -> Namespace:
    """The configuration of a command line; what ends ``taggnn.train`` becomes a ``ValueError``."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
            settings = configuration.parse(words)
            # As training does it, so that the configuration can be compared with that of a run.
            resolve.fill(settings)
            if settings.data.tokens is not None:
                resolve.freeze(settings)
            return settings
    except SystemExit:
        message = printed.getvalue().strip().removeprefix("taggnn.train: ")
        raise ValueError(f"{name}: {message}") from None
    except (ValueError, ImportError) as error:
        raise ValueError(f"{name}: {error}") from error


def finished(one: Planned) -> bool:
    """Whether a run has ended, with as many epochs as are wanted.

    Raises:
        ValueError: the run in its folder was started with another configuration.
    """
    if not (one.folder / "config.yaml").is_file():
        return False
    now, begun = one.keys, configuration.flat(one.folder)
    epochs = begun.get("train.epochs")
    if begun != now:
        # Slower, and exact about paths and values that are spelled in another way.
        before = _begun(one)
        epochs = before.train.epochs
        before.train.epochs = max(epochs, one.settings.train.epochs)
        if changed := configuration.changes(before, one.settings):
            raise ValueError(
                f"{one.folder}: was started with another configuration ({'; '.join(changed)}); give that again, or another --out"
            )
    done = all((one.folder / name).is_file() for name in ("results.json", "report.html"))
    return done and isinstance(epochs, int) and epochs >= one.settings.train.epochs


def _begun(one: Planned) -> Namespace:
    """The configuration that a run was started with; what ends ``taggnn.train`` becomes a ``ValueError``."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(io.StringIO()):
            return configuration.of_run(one.folder, configuration.own_names(one.settings))
    except SystemExit:
        raise ValueError(message.getvalue().strip().removeprefix("taggnn.train: ")) from None


def check(planned: Iterable[Planned]) -> None:
    """Builds the model of every variant once, on its clips or tokens, so that a wrong value is found before anything is trained.

    Raises:
        ValueError: what training would refuse; names the variant.
    """
    clips: dict[str, ClipData] = {}
    about_clips = ("seed", "data.", "backbone.", *(f"{name}." for name in SOURCES))
    for one in {(each.name, each.fold): each for each in reversed([*planned])}.values():
        settings = one.settings.clone()
        key = json.dumps({name: value for name, value in one.keys.items() if name.startswith(about_clips)}, default=str)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                if key not in clips:
                    clips[key] = data_of(settings)
                experiment.check_models(settings, clips[key], weights=False)
        except (ValueError, OSError, ImportError) as error:
            fold = f", {Path(one.fold).name}" if one.fold is not None else ""
            raise ValueError(f"{one.name}{fold}: {error}") from error
