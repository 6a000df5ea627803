"""Tables for the terminal: columns in line, and in several blocks where they are too wide for it."""

from collections.abc import Sequence

# Columns that the first one keeps, at least, where others need room.
_FIRST = 12


def text_table(
    rows: Sequence[Sequence[str]], columns: int | None = None, right: bool = False, rule: bool = False
) -> list[str]:
    """The lines of a table.

    Args:
        rows: the headings, then a row each; all with the same number of cells, the first of which names the row.
        columns: of the terminal; a wider table is made of several blocks, each with the names; None (default) for one block.
        right: figures on the right of their column (default false); the names are on the left.
        rule: a line below the headings (default false).
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    if columns is not None and len(widths) > 1:
        # Long names are cut where the table would not fit otherwise.
        widths[0] = min(widths[0], max(_FIRST, columns - 2 - min(max(widths[1:]), columns // 2)))
    shown: list[str] = []
    for block in _blocks(widths, columns):
        lines = [_line(row, widths, block, right) for row in rows]
        if rule:
            lines.insert(1, "-" * max(map(len, lines)))
        shown += ["", *lines] if shown else lines
    return shown


def _blocks(widths: Sequence[int], columns: int | None) -> list[list[int]]:
    """The columns of each block; the first one is in all of them."""
    blocks, used = [[0]], widths[0]
    for index, width in enumerate(widths[1:], 1):
        if columns is not None and used + 2 + width > columns and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(index)
        used += 2 + width
    return blocks


def _line(row: Sequence[str], widths: Sequence[int], block: Sequence[int], right: bool) -> str:
    cells = []
    for index in block:
        cell, width = row[index], widths[index]
        if len(cell) > width:
            cell = f"{cell[: width - 3]}..."
        cells.append(cell.rjust(width) if right and index else cell.ljust(width))
    return "  ".join(cells).rstrip()
