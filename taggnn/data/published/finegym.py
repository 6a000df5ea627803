"""FineGym: Gym99 and Gym288.

Paper: https://arxiv.org/abs/2004.06704. Files, anywhere below the folder of annotations (by default the root):

    gym99_train_element_v1.1.txt (or v1.0), gym99_val_element.txt   lines ``<id> <label>``; gym288 likewise
    gym99_categories.txt                                            class names, events, sets; without it classes are numbers
    set_categories.txt                                              names of the sets
    finegym_annotation_info_v1.1.json (or v1.0)                     seconds; needed where videos are to be cut

An id such as ``A0xAXXysHUo_E_002184_002237_A_0035_0036`` names the video, the event and the action in whole seconds. A row
is searched below the root, at any depth and with any video extension, in this order, independently of other rows:

    <id>               the action                            used whole
    <video>_E_<event>  the event, from its first second on   the action is cut by the JSON's seconds
    <video>            the whole video                       the action is cut by the JSON's seconds

Cuts use the JSON's fractional seconds, never the id: 1,873 ids of Gym99 v1.1 begin and end in the same second. A vault has
three stages and is cut from the start of the first to the end of the last. All three give the same frames where the files
were re-encoded from the video, not where they were copied from key frame to key frame; an action that was cut from an event
clip by its own seconds may begin a frame earlier or later.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from taggnn.data.clips import NAMED, Row, class_number
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes
from taggnn.data.published.text import json_in, lines

ID = re.compile(r"(?P<event>(?P<video>.+)_(?P<E>E_\d+_\d+))_(?P<A>A_\d+_\d+)")
CATEGORY = re.compile(r"Clabel:\s*(\d+);\s*set:\s*(\d+);\s*Glabel:\s*\d+;\s*(.+)")
# The event is written before the name of each element.
EVENT = re.compile(r"\((\w+)\)")
SET = re.compile(r"set:\s*(\d+);\s*(.+)")


def read(request: Request, name: str, classes: int) -> Lists:
    """Reads the rows of gym99 or gym288.

    Raises:
        FileNotFoundError: if a list does not exist.
        ValueError: if a file has an unexpected format.
    """
    index, version = request.index, request.version
    lists = {"train": f"{name}_train_element_{version}.txt", "val": f"{name}_val_element.txt"}
    files = {split: index.require(f"{name} {version}", lists[split]) for split in request.splits}
    notes: list[str] = []
    names = matched_classes(request.classes, category_names(request, name, classes, notes), f"{name} {version}")
    seconds = _Seconds(request, notes)
    splits = {split: Listing(file, _rows(request, file, len(names), seconds)) for split, file in files.items()}
    for split, listing in splits.items():
        notes += _layouts(split, listing.rows)
    return Lists(names, splits, tuple(notes), class_groups(request, name))


def category_names(request: Request, name: str, classes: int, notes: list[str]) -> list[str]:
    """The class names of gym99 or gym288, or numbers with a note.

    Raises:
        ValueError: the file of the categories has an unexpected format.
    """
    file = request.index.file(f"{name}_categories.txt")
    if file is None:
        notes.append(
            f"no {name}_categories.txt below {request.index.annotations}: the classes are named by their numbers"
        )
        return [str(number) for number in range(classes)]
    names = names_in(file)
    if len(names) != classes:
        raise ValueError(f"{file}: {len(names)} classes; {name} has {classes}")
    return names


def class_groups(request: Request, name: str) -> dict[str, tuple[str, ...]]:
    """The event (VT, FX, BB, UB) and the set of each class of gym99 or gym288; empty without the file of the categories.

    Raises:
        ValueError: a file has an unexpected format.
    """
    file, named = request.index.file(f"{name}_categories.txt"), request.index.file("set_categories.txt")
    if file is None:
        return {}
    titles = {} if named is None else _sets(named)
    rows = _categories(file)
    events = [EVENT.match(text) for text, _ in rows]
    groups = {"set": tuple(titles.get(number, f"set {number}") for _, number in rows)}
    if all(events):
        groups = {"event": tuple(event[1] for event in events if event), **groups}
    return groups


def _sets(file: Path) -> dict[str, str]:
    """Number of a set -> its name."""
    found = {}
    for line, text in lines(file):
        match = SET.fullmatch(text)
        if match is None:
            raise ValueError(f"{file}, line {line}: expected 'set: ..; <name>', found {text!r}")
        found[match[1]] = match[2].strip()
    return found


def names_in(file: Path) -> list[str]:
    """The class names of a file of categories.

    Raises:
        ValueError: a line has another format, or another number than that of its row.
    """
    rows = _categories(file)
    # Elements of two sets may have the same name (a salto in flight and one as the dismount).
    counts = Counter(text for text, _ in rows)
    return [f"{text} (set {group})" if counts[text] > 1 else text for text, group in rows]


def _categories(file: Path) -> list[tuple[str, str]]:
    """Name and number of the set of each class."""
    rows: list[tuple[str, str]] = []
    for line, text in lines(file):
        match = CATEGORY.fullmatch(text)
        if match is None or int(match[1]) != len(rows):
            expected = f"'Clabel: {len(rows)}; set: ..; Glabel: ..; <name>'"
            raise ValueError(f"{file}, line {line}: expected {expected}, found {text!r}")
        rows.append((match[3].strip(), match[2]))
    return rows


def _rows(request: Request, file: Path, classes: int, seconds: "_Seconds") -> list[Row]:
    rows: list[Row] = []
    for line, text in lines(file):
        where = f"{file}, line {line}"
        given, _, label = text.rpartition(" ")
        with each_row(request.problems, file, line, given or text):
            match = ID.fullmatch(given.strip())
            if match is None:
                raise RowError("malformed", where, f"{text!r} is not '<video>_E_<from>_<to>_A_<from>_<to> <label>'")
            number = class_number(label, where)
            if number >= classes:
                raise RowError(
                    "malformed", where, f"label {number} is out of range; the classes are 0 to {classes - 1}"
                )
            rows.append(_row(request, line, match, number, seconds))
    return [_with_seconds(row, seconds) if not row.paths else row for row in rows]


def _with_seconds(row: Row, seconds: "_Seconds") -> Row:
    """A row whose video is not there, with its seconds of it where they are known: for the table of missing clips."""
    match = ID.fullmatch(row.given.strip())
    assert match is not None, "rows with other ids are refused before"
    times = seconds.of(match)
    return row if isinstance(times, str) else replace(row, start=times[1], stop=times[2])


def _row(request: Request, line: int, match: re.Match, label: int, seconds: "_Seconds") -> Row:
    given, index = match[0], request.index
    if (path := index.clip(given)) is not None:
        return Row(line, given, label, (path,), name=given)
    for stem, cut in ((match["event"], True), (match["video"], False)):
        if (path := index.clip(stem)) is not None:
            times = seconds.of(match)
            if isinstance(times, str):
                return Row(line, given, label, (), lacks=f"cannot be cut out of {path}: {times}")
            event, start, stop = times
            return Row(line, given, label, (path,), start, stop, event if cut else None, given)
    tried = f"{given}, {match['event']} nor {match['video']}"
    lacks = f"is not there: neither {tried} below {index.root}"
    return Row(line, given, label, (), lacks=lacks)


class _Seconds:
    """The seconds of each action, from the annotation JSON, which is read on first use."""

    def __init__(self, request: Request, notes: list[str]):
        self.request, self.notes = request, notes
        self._read: dict[str, Any] | None = None
        self._file = ""

    def of(self, match: re.Match) -> tuple[float, float, float] | str:
        """Seconds of the video at which the event begins, the action begins and ends; or why they are unknown.

        Raises:
            ValueError: if the JSON has another type than an object on the path to the action.
        """
        keys = (match["video"], match["E"], "segments", match["A"])
        nested: list[dict[str, Any]] = [self._videos()]
        if not self._file:
            return f"there is no {self._wanted()[0]} below {self.request.index.annotations}"
        for depth, key in enumerate(keys):
            found = nested[-1].get(key)
            if found is None:
                return f"its {'event' if depth < 2 else 'action'} is not in {self._file}"
            if not isinstance(found, dict):
                path = " / ".join(keys[: depth + 1])
                raise ValueError(
                    f"{self._file}, key {path}: expected a JSON object, found a {type(found).__name__}: {found!r:.60}"
                )
            nested.append(found)
        _, _, event, _, segment = nested
        try:
            origin, first, last = (
                float(time)
                for time in (event["timestamps"][0][0], segment["timestamps"][0][0], segment["timestamps"][-1][1])
            )
        except (KeyError, IndexError, TypeError, ValueError):
            return f"its seconds in {self._file} are no timestamps [[from, to], ..]"
        # The sum of two decimals is rounded to the decimal result: 2407.32 + 3.45 is 2410.77.
        start, stop = round(origin + first, 6), round(origin + last, 6)
        if not 0 <= start < stop:
            return f"nothing lies between its seconds {start:g} and {stop:g} in {self._file}"
        return origin, start, stop

    def _videos(self) -> dict[str, Any]:
        if self._read is None:
            wanted = self._wanted()
            file = self.request.index.file(*wanted)
            self._read = {}
            if file is not None:
                self._file = file.name
                if file.name != wanted[0]:
                    self.notes.append(f"there is no {wanted[0]}: clips are cut by {file}")
                self._read = json_in(file, dict)
        return self._read

    def _wanted(self) -> list[str]:
        versions = [self.request.version, *(other for other in ("v1.1", "v1.0") if other != self.request.version)]
        return [f"finegym_annotation_info_{version}.json" for version in versions]


def _layouts(split: str, rows: list[Row]) -> list[str]:
    """Notes on the kinds of files of a split, and on clips that cannot be cut from the existing files."""
    found = [row for row in rows if row.paths]
    whole = sum(row.start is None for row in found)
    event = sum(row.origin is not None for row in found)
    kinds = ((whole, "cut actions"), (event, "event clips"), (len(found) - whole - event, "uncut videos"))
    notes = []
    if found:
        notes.append(f"{split}: clips come from " + ", ".join(f"{what} ({n:,})" for n, what in kinds if n))
    uncut = [row for row in rows if row.lacks.startswith("cannot")]
    if uncut:
        shown = ", ".join(row.given for row in uncut[:NAMED]) + (", ..." if len(uncut) > NAMED else "")
        notes.append(
            f"{split}: clips that cannot be cut out of an existing video: {len(uncut):,} ({shown}). "
            f"The first {uncut[0].lacks}"
        )
    return notes


def cut_of(row: Row) -> dict[str, object]:
    """Where in which video an action is: to fetch it, or to see what a damaged download lacks.

    Args:
        row: of one of the lists.

    Returns:
        ``video``, ``event`` (its id), ``event_start``, ``event_stop``, ``start``, ``stop``, all in seconds of the video, and
        ``seconds``: "json", exact, or "id", whole seconds, where the annotation JSON is not there.
    """
    match = ID.fullmatch(row.given.strip())
    assert match is not None, "rows with other ids are refused when they are read"
    event_start, event_stop = (int(part) for part in match["E"].split("_")[1:])
    first, last = (int(part) for part in match["A"].split("_")[1:])
    exact = row.start is not None
    # An id cuts off fractions: an action of less than a second begins and ends in the same one.
    start, stop = (row.start, row.stop) if exact else (event_start + first, event_start + last + 1)
    return {
        "video": match["video"],
        "event": match["event"],
        "event_start": event_start,
        "event_stop": event_stop,
        "start": start,
        "stop": stop,
        "seconds": "json" if exact else "id",
    }


def _published(name: str, classes: int, train: tuple[int, int], val: int) -> Published:
    return Published(
        title=f"FineGym {name.capitalize()}",
        paper="https://arxiv.org/abs/2004.06704",
        versions=("v1.1", "v1.0"),
        splits=("train", "val"),
        read=lambda request: read(request, name, classes),
        counts={version: {"train": n, "val": val} for version, n in zip(("v1.0", "v1.1"), train, strict=True)},
        classes={"v1.1": classes, "v1.0": classes},
        cut=cut_of,
    )


GYM99 = _published("gym99", 99, (20_484, 26_320), 8_521)
GYM288 = _published("gym288", 288, (22_671, 29_334), 9_646)
