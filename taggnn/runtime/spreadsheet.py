"""Cells of tables that people open in a spreadsheet, which takes what begins with ``=`` and a few other signs for a formula.

Source: https://owasp.org/www-community/attacks/CSV_Injection
"""

import re

# The wide forms count too; a number may begin with a sign.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def as_text(cell: object) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe is put before one that begins as a formula does."""
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def original(cell: str) -> str:
    """The text that ``as_text`` got."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
