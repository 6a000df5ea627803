"""A check of labelled clips: files scanned, then tables, cleaned lists and a page written, and the training to run next."""

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from tqdm import tqdm

from taggnn.cli import config, resolve
from taggnn.data.audit.audit import KINDS, Audit, audit, cuts_of
from taggnn.data.audit.facts import FileFacts, absolute, read_scan, write_scan
from taggnn.data.audit.inspection import Inspection
from taggnn.data.audit.scan import scan
from taggnn.data.clips import ClipList
from taggnn.data.lists.splits import SPLITS
from taggnn.data.lists.taggnn_csv import write_clips
from taggnn.data.loader import ClipData
from taggnn.data.published import PUBLISHED
from taggnn.io.run_folder import new_folder
from taggnn.reporting.check_page import About, check_page
from taggnn.runtime.atomic import write_text
from taggnn.runtime.spreadsheet import as_text

PAGE = "check.html"
MISSING = "missing.csv"
# Options of the program that are none of a training.
OWN = ("depth", "workers", "limit", "out")
# Seconds between two savings of the scanned facts, so that an interrupted check loses little.
SAVE_EVERY = 20.0
# Options that say where clips come from: the cleaned lists replace them.
_SOURCES = (
    *(f"data.{split}_{kind}" for split in SPLITS for kind in ("list", "folder")),
    *("data.dataset", "data.version", "data.annotations", "data.classes", "data.missing"),
    *("data.val_fraction", "data.test_fraction"),
)

_TABLES = (
    ("problems.csv", "every finding: kind, split, source, line, name, class, what, and whether the clip is left out"),
    ("classes.csv", "for every class and split: listed, found, readable, kept"),
    ("classes.txt", "class names in label order, for data.classes"),
)


def check(given: Namespace, arguments: Sequence[str]) -> tuple[Audit, About, int]:
    """Scans the files of a configuration and writes all results.

    Args:
        given: the options of the program.
        arguments: its command line, for the training to run next.

    Returns:
        The findings, the facts of the page, and how many files there are.
    """
    data = resolve.clips_of(given)
    inspection = data.capabilities.inspection
    if inspection is None:
        raise ValueError(f"data.source {given.data.source}: has no inspection, so that its files cannot be checked")
    if given.depth not in inspection.depths:
        raise ValueError(
            f"--depth {given.depth}: possible for data.source {given.data.source} is {', '.join(inspection.depths)}"
        )
    data.prepare_data()
    problems = data.setup_for_check()
    splits = _splits(data)
    parent = Path(given.out) if given.out else Path(given.runs) / "check"
    if given.out:
        _check_folder(parent, splits)
    started = time.perf_counter()
    files = cuts_of(clip for clips in splits.values() for clip in clips.clips)
    facts, known = _scan_files(files, given, parent / "scanned.json", inspection)
    seconds = time.perf_counter() - started
    found = audit(splits, facts, problems, data.spec.options["frames"], inspection.unfit)

    folder = parent if given.out else new_folder(parent)
    _write_missing(folder, splits, data)
    written = _write_lists(folder, found, data.classes, Path(given.data.root))
    command = training_command(arguments, folder, written, data.classes)
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
        files=[*_list_files(written), *_TABLES, *_missing_file(splits)],
        inspection=inspection,
    )
    write_text(folder / PAGE, check_page(found, facts, about))
    return found, about, len(files)


def _splits(data: ClipData) -> dict[str, ClipList]:
    given = {"train": data.train_clips, "val": data.val_clips}
    if data.test_clips is not data.val_clips:
        given["test"] = data.test_clips
    return {split: clips for split, clips in given.items() if clips is not None}


def _scan_files(
    files: Mapping[str, Sequence[Any]], given: Namespace, cache: Path, inspection: Inspection
) -> tuple[dict[str, FileFacts], int]:
    """Scans all files; new facts are saved from time to time.

    Returns:
        The facts of every file, and how many of them were known from an earlier scan.
    """
    reader = inspection.reader()
    stored = read_scan(cache, reader, inspection.facts)
    # A relative path is another file when the command runs in another folder.
    name = {key: absolute(key) for key in files}
    before = {key: stored[name[key]] for key in files if name[key] in stored}
    facts: dict[str, FileFacts] = {}
    saved, new = time.monotonic(), 0

    def save() -> None:
        write_scan(cache, {**stored, **{name[key]: found for key, found in facts.items()}}, reader)

    try:
        with tqdm(total=len(files), desc="files", unit="file", disable=None, smoothing=0.05) as bar:
            for key, found in scan(
                files,
                given.depth,
                given.workers,
                given.limit,
                before,
                command=inspection.command,
                kind=inspection.facts,
            ):
                facts[key] = found
                new += found is not before.get(key)
                bar.update()
                if time.monotonic() - saved > SAVE_EVERY:
                    save()
                    saved = time.monotonic()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(facts)} of {len(files)} files are done; the same command resumes from there ({cache})"
        ) from None
    finally:
        if new:
            save()
    return facts, len(facts) - new


def _check_folder(folder: Path, splits: Mapping[str, ClipList]) -> None:
    """Refuses an output folder where a list that is checked, or one that no check wrote, would be overwritten."""
    sources = {Path(clips.source).resolve() for clips in splits.values()}
    for split in SPLITS:
        path = folder / f"{split}.csv"
        if path.resolve() in sources or (path.exists() and not (folder / PAGE).exists()):
            raise ValueError(
                f"--out {folder}: {path} is not of an earlier check and would be overwritten; give another folder"
            )


def _write_lists(folder: Path, found: Audit, classes: Sequence[str], root: Path) -> dict[str, Path]:
    findings = [
        (
            *(one.kind, one.split, one.source, one.line or "", one.name, one.label, one.message),
            "yes" if KINDS[one.kind].left_out else "no",
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
            # From an earlier check into this folder.
            path.unlink(missing_ok=True)
    return written


def _write_missing(folder: Path, splits: Mapping[str, ClipList], data: ClipData) -> None:
    """Writes the clips that are not there, of a published data set with where in which original they are."""
    cut = PUBLISHED[data.dataset].cut if data.dataset is not None else None
    rows = []
    for split, clips in splits.items():
        for row in clips.absent:
            rows.append({"name": row.given, "split": split, "label": row.label, "class": clips.classes[row.label]})
            rows[-1] |= cut(row) if cut else {"start": row.start, "stop": row.stop}
    if rows:
        # Byte for byte: programs that fetch videos read it, and names of videos may begin with a sign.
        _write_csv(folder / MISSING, [*rows[0]], [[*row.values()] for row in rows], cell=lambda value: value)
    else:
        # From an earlier check into this folder.
        (folder / MISSING).unlink(missing_ok=True)


def _write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence], cell: Callable[[object], object] = as_text
) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    # People open the other tables in a spreadsheet.
    table.writerows(map(cell, row) for row in rows)
    write_text(path, text.getvalue())


def training_command(
    arguments: Sequence[str], folder: Path, written: Mapping[str, Path], classes: Sequence[str]
) -> list[str]:
    """The command that trains on the cleaned lists with the options given here; empty without training clips."""
    if "train" not in written:
        return []
    dropped = {*OWN, *_SOURCES, "print_config"}
    words, rest = iter(config.parser().as_lists(arguments)), []
    for word in words:
        key, equals, _ = word.removeprefix("--").partition("=")
        if key in dropped:
            # Its value is the next word.
            if not equals:
                next(words, None)
        else:
            rest.append(word)
    lists = [f"--data.{split}_list={path}" for split, path in written.items()]
    # Without the dropped options, those of a recipe or another file would apply again.
    before = config.parse([*rest, *lists])
    usual = config.parser().get_defaults()
    kept = {"data.classes", *(f"data.{split}_list" for split in written)}
    reset = [key for key in _SOURCES if key not in kept and before[key] != usual[key]]
    values = {key: "null" if usual[key] is None else str(usual[key]) for key in reset}
    command = ["python", "-m", "taggnn.train", *rest, *(f"--{key}={value}" for key, value in values.items()), *lists]
    # A text file with one name a line cannot hold every name; the lists can.
    plain = all(name == name.strip() and not {"\n", "\r", "\0"} & {*name} for name in classes)
    return [*command, f"--data.classes={folder / 'classes.txt'}"] if plain else command


def _missing_file(splits: Mapping[str, ClipList]) -> list[tuple[str, str]]:
    text = "the listed clips that are not there, with where in which original they are, as far as that is known"
    return [(MISSING, text)] if any(clips.absent for clips in splits.values()) else []


def _list_files(written: Mapping[str, Path]) -> list[tuple[str, str]]:
    return [(path.name, f"the cleaned list of {split}, for data.{split}_list") for split, path in written.items()]
