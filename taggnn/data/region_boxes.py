"""The true region of every frame of a set of videos: a table next to them, ``regions.csv``.

Columns: ``path`` (of the video, from the root), ``frame`` (from 0), ``x``, ``y`` (centre) and ``width``, ``height``, in pixels
of the file, with y pointing down and the upper left corner of the picture at (0, 0). Every frame of a file has one row.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from taggnn.data.lists.text import table_of
from taggnn.runtime.atomic import write_text

REGIONS = "regions.csv"
COLUMNS = ("path", "frame", "x", "y", "width", "height")


def write_boxes(path: Path, boxes: Mapping[str, np.ndarray]) -> None:
    """Writes the table, atomically.

    Args:
        path: the file.
        boxes: path of a video from the root -> its boxes.

    **Shapes:** boxes (F, 4) as (x, y, width, height)
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, rows in boxes.items():
        table.writerows([name, frame, *(f"{number:g}" for number in row)] for frame, row in enumerate(rows.tolist()))
    write_text(path, text.getvalue())


def read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Reads the table.

    Returns:
        Path of a video from the root -> its boxes.

    **Shapes:** boxes (F, 4) as (x, y, width, height)

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, a cell is no number or a size is not above 0, or the frames of a video are not 0, 1, 2
            and so on; names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; the true region of every frame is in it, in the columns {', '.join(COLUMNS)}"
        )
    found: dict[str, list[list[float]]] = {}
    table = table_of(path, COLUMNS)
    lacking = [column for column in COLUMNS if column not in (table.fieldnames or [])]
    if lacking:
        raise ValueError(f"{path}: no column {', '.join(lacking)}; expected the columns {', '.join(COLUMNS)}")
    for fields in table:
        where, rows = f"{path}, line {table.line_num}", found.setdefault(fields["path"] or "", [])
        try:
            frame, box = int(fields["frame"]), [float(fields[column]) for column in COLUMNS[2:]]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from None
        if frame != len(rows):
            raise ValueError(f"{where}: frame {frame} of {fields['path']!r}, expected {len(rows)}")
        if not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
            raise ValueError(f"{where}: box {box}: expected finite numbers, width and height above 0")
        rows.append(box)
    return {name: np.array(rows) for name, rows in found.items()}
