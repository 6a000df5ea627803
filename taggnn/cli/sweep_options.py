"""The command line of a sweep: its own options, and the words that it passes on to ``taggnn.train``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taggnn.cli import config as configuration
from taggnn.cli import planning, sweeping, variations
from taggnn.cli.parser import Parser
from taggnn.cli.planning import Planned

# Where runs and table are without --out.
OUT = Path("runs") / "sweep"
_FLAGS = ("--table", "--dry_run", *configuration.HELP)


def parser() -> Parser:
    """Builds the parser of the sweep's own options."""
    built = Parser(
        prog="taggnn.sweep",
        description="Trains every combination of some values with every seed, and makes one table of them. Words that are not "
        "listed here go to taggnn.train, such as --data.tokens DIR or --train.epochs 20.",
    )
    add, option = built.add_argument, built.option
    option(
        "--config", str | None, None, "recipe or file of all variants; null: that of taggnn.train, or --over config=A,B"
    )
    add(
        "--over",
        action="append",
        type=str,
        help="KEY=V1,V2: a key of the configuration and its values, may be repeated; commas inside of brackets and quotes "
        "separate nothing; KEY1,KEY2=(A,B),(C,D): keys that change together",
    )
    option("--seeds", str, "3", "of each variant: how many, or a list such as 42,1,2 or [42]")
    option(
        "--folds",
        str | None,
        None,
        "cross-validation: the folder that taggnn.folds wrote, or some of its folds as A/fold-0,A/fold-1; every variant is "
        "trained on each with every seed, and '{fold}' in any other word becomes the name of the fold",
    )
    option("--out", str | None, None, f"folder of the runs, the table and the page; null: {OUT}/<config>")
    option("--jobs", int, 1, "trainings at one time on this machine")
    option("--shard", str, "1/1", "i/n: train part i of n, for several machines; auto: that of a SLURM array job")
    option("--reference", str | None, None, "the variant that the others are compared with; null: the first one")
    option(
        "--time_seconds", float, 2.0, "to measure each variant after the trainings, one clip on the CPU; 0: no times"
    )
    add(
        "--table", action="store_true", help="train nothing; make the table of what is finished (--out alone is enough)"
    )
    add("--dry_run", action="store_true", help="show the runs, what is finished of them and an estimate, and stop")
    return built


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line into the sweep's own words and those for ``taggnn.train``."""
    valued = {string for action in parser()._actions for string in action.option_strings} - set(_FLAGS)
    own: list[str] = []
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, _ = word.partition("=")
        if option in _FLAGS:
            own.append(word)
        elif option in valued:
            own += [word] if equals or not rest else [word, rest.pop(0)]
        else:
            others.append(word)
    return own, others


def planned(given: Any, words: Sequence[str]) -> tuple[list[Planned], Path]:
    """The runs of a command line, and their folder; of ``--table`` with ``--out`` alone those that were begun there.

    Args:
        given: the sweep's own options.
        words: those for ``taggnn.train``.

    Raises:
        ValueError: as `taggnn.cli.planning.plan`.
    """
    texts = given.over or []
    trusts, others = configuration.split_trust(words)
    if given.table and not texts and given.config is None and not others:
        if given.out is None:
            raise ValueError("--table: give --out, the folder of the sweep, or the options that it was begun with")
        out = Path(given.out)
        begun = sweeping.read(out, trusts)
        return planning.plan(begun["config"], begun["over"], begun["seeds"], begun["words"], out, begun["folds"]), out
    over, seeds = variations.over(texts), variations.seeds(given.seeds)
    out = Path(given.out) if given.out else OUT / (Path(given.config).stem if given.config else "run")
    return planning.plan(given.config, over, seeds, words, out, folds_of(given.folds)), out


def begin(given: Any, words: Sequence[str], out: Path) -> None:
    """Writes the plan into the folder of the sweep."""
    out.mkdir(parents=True, exist_ok=True)
    sweeping.write(
        out,
        given.config,
        variations.over(given.over or []),
        variations.seeds(given.seeds),
        words,
        folds_of(given.folds),
    )


def folds_of(text: str | None) -> list[str]:
    """The folders of ``--folds``: those that are given, or all of the folder of folds that is given.

    Raises:
        FileNotFoundError: a folder without folds; names it.
    """
    found: list[str] = []
    for part in variations.values(text, "--folds") if text else []:
        folder = Path(part)
        inner = sorted(folder.glob("fold-*/"), key=lambda path: (len(path.name), path.name))
        if not (folder / "train.csv").is_file() and not inner:
            raise FileNotFoundError(f"--folds {part}: no folder of folds and no fold; taggnn.folds writes them")
        found += [part] if (folder / "train.csv").is_file() else [str(path) for path in inner]
    return found
