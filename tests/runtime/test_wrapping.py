"""Long lines at a terminal: wrapped at spaces, below the text; whole in a pipe."""

import io

import pytest

from taggnn.runtime.printable import PrintableStream, width, wrapped


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short", ["short"]),
        ("macro F1  2.8 % (0.0 to 13.1 %), ", ["macro F1  2.8 % (0.0 to", "          13.1 %),"]),
        ("test      top-1 97.5 %, top-5 100.0 %", ["test      top-1 97.5 %,", "          top-5 100.0 %"]),
        (
            "          a line that begins with blanks",
            ["          a line that", "          begins with", "          blanks"],
        ),
        ("report    a/path/that/is/longer/than/the/line", ["report    a/path/that/is/longer/than/the/line"]),
        ("train     python -m taggnn.train --data.root DIR", ["train     python -m taggnn.train --data.root DIR"]),
        ("taggnn: one two three four five six", ["taggnn: one two three", "        four five six"]),
    ],
    ids=["fits", "per cent", "label", "blanks", "path", "command", "message"],
)
def test_a_line_is_wrapped_below_its_text(line, expected):
    assert wrapped(line, 24) == expected
    assert wrapped(line, None) == [line]


def test_words_are_those_of_the_line():
    line = "plan      " + " ".join(f"word{number}" for number in range(60))
    parts = wrapped(line, 40)
    assert max(map(len, parts)) <= 40
    assert " ".join(parts).split() == line.split()


@pytest.mark.parametrize("chunks", [["a b c d e f\n"], ["a b c d e f", "\n"], ["x\na b c d e f\n"]])
def test_a_stream_wraps_whole_lines(chunks):
    out = io.StringIO()
    stream = PrintableStream(out, columns=8)
    for chunk in chunks:
        assert stream.write(chunk) == len(chunk)
    assert "a b c d" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 8
    assert out.getvalue().split() == "".join(chunks).split()


def test_the_rest_of_a_line_and_a_progress_bar_stay():
    out = io.StringIO()
    stream = PrintableStream(out, progress=True, columns=8)
    for chunk in ("begun ", "and a long end of the line", "\n", "\rbar of a certain length"):
        stream.write(chunk)
    assert out.getvalue() == "begun and a long end of the line\n\rbar of a certain length"


def test_a_pipe_has_no_width_and_a_variable_gives_one(monkeypatch):
    monkeypatch.delenv("TAGGNN_COLUMNS", raising=False)
    monkeypatch.setenv("COLUMNS", "90")
    assert width() is None
    monkeypatch.setenv("TAGGNN_COLUMNS", "100")
    assert width() == 100
