"""Numbers for people: tables of text, times, bytes and ratios in three digits."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligns columns: the first ``left`` to the left, the others to the right; a rule under the header."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "-" * (sum(widths) + 2 * (len(widths) - 1)), *(line(row) for row in rows)])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float | None) -> str:
    """Three digits without an exponent: 1,234 123 12.3 1.23 0.123; "-" for None."""
    if value is None:
        return "-"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return (
        f"{value:.2f}"
        if abs(value) >= 0.9995 or value == 0
        else f"{value:.3f}"
        if abs(value) >= 0.01
        else f"{value:.1g}"
    )


def times(value: float | None) -> str:
    """A ratio: 12.3x."""
    return "-" if value is None else f"{digits(value)}x"


def share(value: float | None) -> str:
    """A part of a whole: 1/12.3 where it is less than the whole, else 1.23x."""
    if value is None:
        return "-"
    return f"1/{digits(1 / value)}" if 0 < value < 1 else times(value)


def count(value: float | None) -> str:
    """A large number with its unit: 1.23 M."""
    if value is None:
        return "-"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{digits(value / size)} {unit}"
    return f"{value:.0f}"


def mebibytes(value: float | None) -> str:
    """Bytes in MiB."""
    return "-" if value is None else digits(value / 2**20)
