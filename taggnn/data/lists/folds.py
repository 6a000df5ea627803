"""Cross-validation by groups: the clips of one speaker, subject or camera are all in one part.

Source: leave-one-group-out and group k-fold cross-validation, as in https://scikit-learn.org/stable/modules/cross_validation.html
(cross-validation iterators for grouped data). Clips of one speaker are alike; with some of them in training, the others do not
show how a model does on a new speaker.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from taggnn.data.lists import authors_csv, taggnn_csv
from taggnn.data.lists.splits import SPLITS
from taggnn.data.lists.text import table_of
from taggnn.names import unknown
from taggnn.runtime.atomic import write_text

# Of the lists of a fold: who or what a clip shows.
GROUP = "group"


@dataclass(frozen=True)
class GroupedRow:
    """A row of a list, and its group.

    Args:
        cells: column -> text, as the list has them.
        clip: its file and, of a file with many clips, its member.
        cut: start and stop, empty for the whole file.
        label: its class name.
        group: speaker, subject, camera, ...
    """

    cells: Mapping[str, str]
    clip: str
    cut: tuple[str, str]
    label: str
    group: str


@dataclass(frozen=True)
class Fold:
    """One division of the clips: no group is in two of its parts.

    Args:
        parts: "train", "val", "test" -> its rows.
        classes: every class of the lists, in sorted order.
    """

    parts: Mapping[str, tuple[GroupedRow, ...]]
    classes: tuple[str, ...]

    def groups(self, part: str) -> list[str]:
        """The groups of a part, in sorted order."""
        return sorted({row.group for row in self.parts[part]})

    def missing(self, part: str) -> list[str]:
        """The classes without a clip in a part."""
        present = {row.label for row in self.parts[part]}
        return [name for name in self.classes if name not in present]


def read_rows(lists: Sequence[str | Path], column: str | None = None, pattern: str | None = None) -> list[GroupedRow]:
    """Reads lists together, each row with its group: the text of a column, or what a regular expression finds in its file's name.

    Args:
        lists: CSV lists, of the authors' columns or those of taggnn; the files that they name are not needed.
        column: the one with the group, such as "speaker"; None: ``pattern`` is given.
        pattern: regular expression that is searched in the path of the clip; its first group in parentheses, or all of it.

    Raises:
        FileNotFoundError: no such list.
        ValueError: neither or both of column and pattern, another kind of list, no such column, a row without a group, a clip
            listed twice; names the list and the line.
    """
    if (column is None) == (pattern is None):
        raise ValueError("--group and --group_pattern: give one of them, the column or where the group is in the path")
    try:
        found = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--group_pattern {pattern}: no regular expression: {error}") from None
    rows: list[GroupedRow] = []
    seen: dict[tuple[str, tuple[str, str]], str] = {}
    kinds: dict[bool, Path] = {}
    for source in map(Path, lists):
        if not source.is_file():
            raise FileNotFoundError(f"{source}: no such list file")
        own = source.suffix.lower() == ".csv" and taggnn_csv.is_taggnn_csv(source)
        needed = taggnn_csv.NEEDED if own else authors_csv.NEEDED
        table = table_of(source, needed)
        names = list(table.fieldnames or [])
        kinds.setdefault(own, source)
        if not set(needed) <= set(names):
            raise ValueError(
                f"{source}: expected the columns {','.join(taggnn_csv.NEEDED)} or {','.join(authors_csv.NEEDED)}, found "
                f"{','.join(names)[:100]}; taggnn.check writes such a list of any clips"
            )
        if len(kinds) > 1:
            raise ValueError(f"{kinds[False]} has other columns than {kinds[True]}; give lists of one kind")
        if column is not None and column not in names:
            raise unknown("column", column, names, f"{source}, --group")
        for cells in table:
            where = f"{source}, line {table.line_num}"
            row = _row({name: cells[name] or "" for name in names}, own, column, found, where)
            if before := seen.get((row.clip, row.cut)):
                raise ValueError(f"{where}: {row.clip} is listed before, in {before}")
            seen[row.clip, row.cut] = where
            rows.append(row)
    if not rows:
        raise ValueError(f"{', '.join(map(str, lists))}: no clip in it")
    return rows


def _row(
    cells: dict[str, str], own: bool, column: str | None, pattern: re.Pattern[str] | None, where: str
) -> GroupedRow:
    if own:
        label, member = cells["class"], cells.get(taggnn_csv.MEMBER, "")
        clip, cut = cells["path"] + (f"/{member}" if member else ""), (cells.get("start", ""), cells.get("stop", ""))
    else:
        label, cut = cells["Class"].strip(), ("", "")
        clip = f"{label}/{cells['FileName'].strip()}"
    if column is not None:
        group = cells[column].strip()
    else:
        assert pattern is not None
        match = pattern.search(clip)
        group = "" if match is None else (match[1] or "") if pattern.groups else match[0]
    if not group:
        raise ValueError(f"{where}: no group of {clip!r}; every clip needs one")
    return GroupedRow(cells, clip, cut, label, group)


def deal(rows: Sequence[GroupedRow], folds: int, val_groups: int | None = None, seed: int = 0) -> list[Fold]:
    """Divides clips into folds: each group is in the test part of exactly one, and the validation part is of the other groups.

    Groups are dealt one after the other, the largest first, each to the fold that has the fewest clips of its classes
    (``argmin over folds of sum over classes of n_fold,class n_group,class``, then fewest clips); equal ones in an order that
    follows from the seed and their names. Validation groups are the first of the other groups in an order that follows from
    seed, fold and name: another choice for each fold.

    Args:
        rows: the clips.
        folds: how many, 2 to the number of groups.
        val_groups: groups of the validation part; None: a sixth of those that are not tested, at least one.
        seed: of the order (default 0).

    Raises:
        ValueError: fewer than 2 folds, more folds than groups, or no group would be left to train on.
    """
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.group, Counter())[row.label] += 1
    if not 2 <= folds <= len(counts):
        raise ValueError(f"--folds {folds}: possible are 2 to {len(counts)}, the number of groups")
    tested: list[list[str]] = [[] for _ in range(folds)]
    totals: list[Counter[str]] = [Counter() for _ in range(folds)]
    for group in sorted(counts, key=lambda name: (-counts[name].total(), _digest(seed, "", name))):
        # Every fold gets a group before any gets a second one.
        open_folds = [fold for fold in range(folds) if not tested[fold]] or range(folds)
        fold = min(open_folds, key=lambda each: (_overlap(totals[each], counts[group]), totals[each].total(), each))
        tested[fold].append(group)
        totals[fold] += counts[group]
    classes = tuple(sorted({row.label for row in rows}))
    found = []
    for fold, held in enumerate(tested):
        others = sorted(set(counts) - set(held), key=lambda name: _digest(seed, str(fold), name))
        chosen = max(1, round(len(others) / 6)) if val_groups is None else val_groups
        if not 1 <= chosen < len(others):
            raise ValueError(
                f"--val_groups {chosen}: fold {fold} tests {len(held)} of {len(counts)} groups; possible are 1 to "
                f"{len(others) - 1}, so that some are left to train on"
            )
        part_of = dict.fromkeys(others, "train") | dict.fromkeys(others[:chosen], "val") | dict.fromkeys(held, "test")
        parts = {part: tuple(row for row in rows if part_of[row.group] == part) for part in SPLITS}
        found.append(Fold(parts, classes))
    return found


def _overlap(there: Counter[str], group: Counter[str]) -> int:
    return sum(there[label] * count for label, count in group.items())


def _digest(seed: int, fold: str, name: str) -> str:
    return sha256(f"{seed}/{fold}/{name}".encode("utf-8", "surrogateescape")).hexdigest()


def write_fold(folder: Path, fold: Fold) -> None:
    """Writes train.csv, val.csv and test.csv of a fold: the rows as their lists had them, with the column ``group``."""
    rows = [row for part in fold.parts.values() for row in part]
    columns = list(dict.fromkeys(name for row in rows for name in row.cells if name != GROUP))
    for part, chosen in fold.parts.items():
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*columns, GROUP])
        for row in chosen:
            table.writerow([*(row.cells.get(name, "") for name in columns), row.group])
        write_text(folder / f"{part}.csv", text.getvalue())
