import io
import json

import pytest

from taggnn.runtime.printable import PrintableStream, one_line

ODD = ["\x1b[31m", "\x07", "\x9b31m", "\u202e", "\u2028", "\u0085", "\x00", "\x7f", "\r"]


@pytest.mark.parametrize("odd", [*ODD, "\n", "\t"])
def test_a_name_is_one_line_of_printable_text(odd):
    shown = one_line(f"a{odd}é.mp4")
    assert shown.startswith("a\\")
    assert shown.endswith("é.mp4")
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()


def test_a_usual_name_stays():
    assert one_line("Gr\u00e4tsche \u65e5\u672c -a_(1).mp4") == "Gr\u00e4tsche \u65e5\u672c -a_(1).mp4"


@pytest.mark.parametrize("odd", ODD)
def test_a_stream_writes_control_characters_as_escapes_that_json_reads(odd):
    screen = io.StringIO()
    print(json.dumps({"file": f"a{odd}b"}, ensure_ascii=False), file=PrintableStream(screen))
    assert odd[0] not in screen.getvalue()
    assert json.loads(screen.getvalue()) == {"file": f"a{odd}b"}


def test_lines_tabs_and_progress_bars_stay():
    screen = io.StringIO()
    assert PrintableStream(screen, progress=True).write("a\tb\n\r 50%") == 9
    assert screen.getvalue() == "a\tb\n\r 50%"
