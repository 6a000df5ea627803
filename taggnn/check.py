"""``python -m taggnn.check --data.root DIR``: what is wrong with labelled videos before anything is trained on them.

Takes the options of ``taggnn.train``, so that ``--config gym99`` and every ``--data.*`` mean the same. Reads the lists, opens
every file, and writes cleaned lists, problems.csv, classes.csv and one page, check.html.

Exit code 0: nothing is wrong. 1: problems were found, or the check was interrupted. 2: a mistake in the command.
"""

import argparse
import csv
import io
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from tqdm import tqdm

from taggnn.cli import config, terminal
from taggnn.cli.parser import Parser
from taggnn.data.audit.audit import KINDS, Audit, audit, cuts_of
from taggnn.data.audit.probe import VideoInfo, read_scan, write_scan
from taggnn.data.audit.scan import scan
from taggnn.data.clips import ClipList
from taggnn.data.lists.splits import SPLITS
from taggnn.data.lists.taggnn_csv import write_clips
from taggnn.data.loader import ClipData
from taggnn.data.video.container import import_av
from taggnn.io.run_folder import new_folder
from taggnn.reporting.check_page import About, balance, check_page, totals, untrained
from taggnn.runtime.atomic import write_text

PAGE = "check.html"
OWN = ("depth", "workers", "limit", "out")
# Seconds between two savings of what is known, so that an interrupted check loses little.
SAVE_EVERY = 20.0
# Options that say where clips come from: the cleaned lists stand in for them.
_SOURCES = (
    *(f"data.{split}_{kind}" for split in SPLITS for kind in ("list", "folder")),
    *("data.dataset", "data.version", "data.annotations", "data.classes", "data.missing"),
    *("data.val_fraction", "data.test_fraction"),
)


def main(arguments: Sequence[str]) -> int:
    # Before their settings are looked for, which may not be there.
    _refuse_tokens(config.word("data.tokens", arguments))
    given = _parse(arguments)
    _refuse(given)
    decoder = f"PyAV {import_av().__version__}"
    data = config.clips_of(given)
    data.prepare_data()
    problems = data.setup_for_check()
    splits = _splits(data)
    place = Path(given.out) if given.out else Path(given.runs) / "check"
    if given.out:
        _refuse_lists_of_others(place, splits)
    started = time.perf_counter()
    files = cuts_of(clip for clips in splits.values() for clip in clips)
    facts, known = _scan(files, given, place / "scanned.json", decoder)
    seconds = time.perf_counter() - started
    found = audit(splits, facts, problems, data.spec.options["frames"])

    folder = place if given.out else new_folder(place)
    written = _write_lists(folder, found, data.classes, Path(given.data.root))
    command = _command(arguments, folder, written, given, data.classes)
    about = About(
        root=str(given.data.root),
        splits=splits,
        frames=data.spec.options["frames"],
        depth=given.depth,
        seconds=seconds,
        known=known,
        notes=data.splits.notes,
        command=command,
        folder=str(folder),
        files=[*_said(written), *_TABLES],
        decoder=decoder,
    )
    write_text(folder / PAGE, check_page(found, facts, about))
    _print(found, about, len(files))
    return 1 if found.wrong else 0


def parser() -> Parser:
    """Builds the command line: all of training's, of which the help shows what matters here, and four options more."""
    built = config.parser()
    built.prog = "taggnn.check"
    built.description = (
        "Checks labelled videos before training: opens every file, finds missing, unreadable, equal and mislabelled clips and "
        "those in two splits, and writes cleaned lists and a page. Takes all options of taggnn.train. Exit code 0: nothing is "
        "wrong; 1: problems were found; 2: a mistake in the command."
    )
    for action in built._actions:
        if not (
            action.dest.startswith(("data.", "video.")) or action.dest in ("help", "config", "seed", "runs", "data")
        ):
            action.help = argparse.SUPPRESS
    for group in built._action_groups:
        if group._group_actions and all(action.help is argparse.SUPPRESS for action in group._group_actions):
            group.title, group.description = None, None
    add = built.add_argument
    add(
        "--depth",
        type=Literal["packets", "decode"],
        default="packets",
        help="packets: read every file whole, which finds truncation; decode: decode every picture too, many times slower",
    )
    add("--workers", type=int, default=_cores(), help="processes that open files")
    add("--limit", type=float, default=60.0, help="seconds a file may take, and one more for each megabyte")
    add("--out", type=str | None, default=None, help="folder of the results; null: <runs>/check/<time>")
    return built


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parse(arguments: Sequence[str]) -> Namespace:
    built = parser()
    asked = {word.split("=")[0] for word in arguments}
    if not asked & {"--config", "--data.root", "--data", "-h", "--help", "--print_config"}:
        built.error("say what to check: --data.root DIR, or --config with a recipe that names it")
    return config.parse(arguments, built)


def _refuse(given: Namespace) -> None:
    """Stops at options that no check can follow, before any list is read."""
    _refuse_tokens(given.data.tokens)
    if given.data.source != "video":
        raise ValueError(f"data.source {given.data.source}: the check opens video files, so it must be video")
    if given.preview is not None:
        raise ValueError("--preview: is drawn by taggnn.train, with the same options; a check draws none")
    if given.workers < 1 or not given.limit > 0:
        raise ValueError(
            f"--workers {given.workers}, --limit {given.limit:g}: expected 1 or more workers and a limit above 0 seconds"
        )
    place = Path(given.out or given.runs)
    file = next((one for one in (place, *place.parents) if one.exists() and not one.is_dir()), None)
    if file is not None:
        raise ValueError(f"--{'out' if given.out else 'runs'} {place}: {file} is a file; give a folder for the results")


def _refuse_tokens(folder: str | None) -> None:
    if folder is not None:
        raise ValueError(f"--data.tokens {folder}: the check is of videos; give --data.root, and leave the tokens out")


def _splits(data: ClipData) -> dict[str, ClipList]:
    """The lists that there are; val clips that are reported as test too are checked once."""
    given = {"train": data.train_clips, "val": data.val_clips}
    if data.test_clips is not data.val_clips:
        given["test"] = data.test_clips
    return {split: clips for split, clips in given.items() if clips is not None}


def _scan(
    files: Mapping[str, Sequence], given: Namespace, kept: Path, decoder: str
) -> tuple[dict[str, VideoInfo], int]:
    """The facts of all files, and how many were known; what is new is kept from time to time."""
    stored = read_scan(kept, decoder)
    # A relative path means another file where the command is given in another folder.
    whole = {path: os.path.abspath(path) for path in files}
    before = {path: stored[whole[path]] for path in files if whole[path] in stored}
    facts: dict[str, VideoInfo] = {}
    saved, new = time.monotonic(), 0

    def save() -> None:
        write_scan(kept, {**stored, **{whole[path]: one for path, one in facts.items()}}, decoder)

    try:
        with tqdm(total=len(files), desc="files", unit="file", disable=None, smoothing=0.05) as bar:
            for path, one in scan(files, given.depth, given.workers, given.limit, before):
                facts[path] = one
                new += one is not before.get(path)
                bar.update()
                if time.monotonic() - saved > SAVE_EVERY:
                    save()
                    saved = time.monotonic()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(facts)} of {len(files)} files are done; the same command goes on from there ({kept})"
        ) from None
    finally:
        if new:
            save()
    return facts, len(facts) - new


def _refuse_lists_of_others(folder: Path, splits: Mapping[str, ClipList]) -> None:
    """Stops before a list that is being checked, or one that no check wrote, would be written over."""
    sources = {Path(clips.source).resolve() for clips in splits.values()}
    for split in SPLITS:
        path = folder / f"{split}.csv"
        if path.resolve() in sources or (path.exists() and not (folder / PAGE).exists()):
            raise ValueError(
                f"--out {folder}: {path} is not of an earlier check and would be written over; give another folder"
            )


_TABLES = (
    ("problems.csv", "every finding: kind, split, source, line, name, class, what, and whether the clip is left out"),
    ("classes.csv", "of every class and split: listed, found, readable, kept"),
    ("classes.txt", "class names in label order, for data.classes"),
)


def _write_lists(folder: Path, found: Audit, classes: Sequence[str], root: Path) -> dict[str, Path]:
    """Writes the tables and the cleaned lists; returns the lists that hold a clip."""
    findings = [
        (
            one.kind,
            one.split,
            one.source,
            one.line or "",
            one.name,
            one.label,
            one.message,
            _yes(KINDS[one.kind].left_out),
        )
        for one in found.findings
    ]
    _write_csv(
        folder / "problems.csv", ("kind", "split", "source", "line", "name", "class", "what", "left_out"), findings
    )
    steps = ("label", "name", "split", "listed", "found", "readable", "kept")
    _write_csv(folder / "classes.csv", steps, [[getattr(row, step) for step in steps] for row in found.coverage])
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    written = {}
    for split in SPLITS:
        path = folder / f"{split}.csv"
        if len(found.kept.get(split, ())):
            written[split] = write_clips(path, found.kept[split], root)
        else:
            # Of an earlier check into this folder.
            path.unlink(missing_ok=True)
    return written


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_text(path, text.getvalue())


def _command(
    arguments: Sequence[str], folder: Path, written: Mapping[str, Path], given: Namespace, classes: Sequence[str]
) -> list[str]:
    """The training that the user would have run, on the cleaned lists; empty without training clips."""
    if "train" not in written:
        return []
    dropped = {*OWN, *_SOURCES, "print_config"}
    words, rest = iter(arguments), []
    for word in words:
        key, equals, _ = word.removeprefix("--").partition("=")
        if key in dropped:
            # Values without an option of their own belong to the word before.
            None if equals else next(words, None)
        else:
            rest.append(word)
    lists = [f"--data.{split}_list={path}" for split, path in written.items()]
    published = [f"--data.{key}=null" for key in ("dataset", "version", "annotations") if given.data[key] is not None]
    command = ["python", "-m", "taggnn.train", *rest, *published, *lists]
    # One name a line cannot say every name; the lists can.
    plain = all(name == name.strip() and len(name.splitlines()) == 1 for name in classes)
    return [*command, f"--data.classes={folder / 'classes.txt'}"] if plain else command


def _said(written: Mapping[str, Path]) -> list[tuple[str, str]]:
    return [(path.name, f"the cleaned list of {split}, for data.{split}_list") for split, path in written.items()]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _print(found: Audit, about: About, files: int) -> None:
    speed = f"{files / about.seconds:,.0f} files/s" if about.seconds else ""
    earlier = f", {about.known:,} of them known from an earlier scan" if about.known else ""
    print(f"\nscanned   {files:,} files in {about.seconds:.1f} s ({speed}{earlier})")
    for split, clips in about.splits.items():
        print(f"{split:9} {len(found.kept[split]):,} of {clips.listed:,} listed clips are kept")
    tally = Counter(one.kind for one in found.findings)
    for kind in (kind for kind in KINDS if tally[kind]):
        about_kind = KINDS[kind]
        done = "left out" if about_kind.left_out else "kept"
        print(
            f"{'problem' if about_kind.wrong else 'remark':9} {tally[kind]:,} {kind} ({done}): {_example(found, kind)}"
        )
    if tally["two splits"]:
        print(f"leak      clips in two splits: {tally['two splits']:,}; figures measured on these lists are too good")
    counts = balance(found)
    if counts is not None:
        print(
            f"balance   {counts['smallest']:,} to {counts['largest']:,} training clips a class; {counts['head']} classes of more "
            f"than 100, {counts['medium']} between, {counts['tail']} of fewer than 20"
        )
    for empty, why in zip(untrained(found), ("all missing or left out", "none in the train list"), strict=True):
        if empty:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            classes = "1 class" if len(empty) == 1 else f"{len(empty)} classes"
            print(f"untrained {classes} without a training clip ({why}): {'; '.join(empty[:5])}{more}")
    listed, kept = totals(found)
    verdict = "nothing is wrong" if not found.wrong else f"{found.wrong:,} problem{'s' * (found.wrong > 1)}"
    print(f"result    {verdict}; {kept:,} of {listed:,} clips kept")
    print(f"page      {Path(about.folder) / PAGE}")
    print(f"train     {shlex.join(about.command) or 'nothing is left to train on'}")


def _example(found: Audit, kind: str) -> str:
    first = next(one for one in found.findings if one.kind == kind)
    place = f"{first.source}, line {first.line}: " if first.line else ""
    return f"{place}{first.name}: {first.message}"


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.check"))
