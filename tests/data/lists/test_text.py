"""Lists of other encodings, delimiters and separators: read, or refused with the hint that helps."""

import os

import pytest

from taggnn.data.lists.reading import read_clips
from taggnn.data.lists.text import lines_of, text_of

AUTHORS = "FileName,Class,TotalFrames,ClassEncoded\n1é.mp4,jump,9,0\n2.mp4,rün,9,1\n"
OURS = "path,class,label\njump/1é.mp4,jump,0\nrün/2.mp4,rün,1\n"
PLAIN = "jump/1é.mp4 0\nrün/2.mp4 1\n"


@pytest.fixture
def root(touch):
    return touch("jump/1é.mp4", "rün/2.mp4")


def names(found):
    return [(clip.name, clip.label) for clip in found]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(("name", "text"), [("a.csv", AUTHORS), ("b.csv", OURS), ("c.txt", PLAIN)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_usual_encoding_is_read(root, encoding, name, text, end):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (root / name).write_bytes((mark + text.replace("\n", end)).encode(encoding))
    assert names(read_clips(root, root / name)) == [("jump/1é.mp4", 0), ("rün/2.mp4", 1)]


@pytest.mark.parametrize(("name", "text"), [("a.csv", AUTHORS), ("b.csv", OURS), ("c.txt", PLAIN)])
def test_a_latin_1_list_is_refused_with_the_hint(root, name, text):
    (root / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(FileNotFoundError, match=r"1.*\.mp4.*save it as UTF-8"):
        read_clips(root, root / name)


def test_utf_16_without_a_mark_is_refused_with_the_hint(root):
    (root / "a.txt").write_bytes(PLAIN.encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"a\.txt.*save it as UTF-8"):
        read_clips(root, root / "a.txt")


def test_a_name_that_is_no_utf8_is_found_by_its_bytes(root):
    raw = b"caf\xe9.mp4"
    with open(os.path.join(os.fsencode(root), raw), "w"):
        pass
    (root / "a.txt").write_bytes(raw + b" 0\njump/1\xc3\xa9.mp4 1\n")
    assert names(read_clips(root, root / "a.txt")) == [("caf\udce9.mp4", 0), ("jump/1é.mp4", 1)]


@pytest.mark.parametrize("delimiter", [";", "\t", ",", "; "])
@pytest.mark.parametrize(("name", "text"), [("a.csv", AUTHORS), ("b.csv", OURS)])
def test_every_delimiter_of_a_spreadsheet_is_read(root, delimiter, name, text):
    if delimiter == "; " and name == "b.csv":
        pytest.skip("spaces belong to a path there")
    (root / name).write_text(text.replace(",", delimiter))
    assert names(read_clips(root, root / name)) == [("jump/1é.mp4", 0), ("rün/2.mp4", 1)]


@pytest.mark.parametrize("line", ["jump/1é.mp4;0", "jump/1é.mp4 ; 0", "jump\\1é.mp4 0", "jump\\1é.mp4;0"])
def test_semicolons_and_backslashes_in_a_plain_list(root, line):
    (root / "a.txt").write_text(line)
    assert names(read_clips(root, root / "a.txt")) == [("jump/1é.mp4", 0)]


@pytest.mark.parametrize(("name", "text"), [("a.csv", AUTHORS), ("b.csv", OURS)])
def test_backslashes_in_a_table(root, name, text):
    (root / name).write_text(text.replace("1é", "jump\\1é") if text is AUTHORS else text.replace("/", "\\"))
    assert names(read_clips(root, root / name)) == [("jump/1é.mp4", 0), ("rün/2.mp4", 1)]


def test_a_backslash_that_belongs_to_a_name_is_kept(touch):
    root = touch("a\\b.mp4", "c.mp4")
    (root / "a.txt").write_text("a\\b.mp4 0\nc.mp4 1\n")
    assert names(read_clips(root, root / "a.txt")) == [("a\\b.mp4", 0), ("c.mp4", 1)]


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\u2029", "\x0b", "\x0c", "\x1c", "\u00a0", ";", "#"])
def test_separators_of_other_standards_belong_to_a_name(touch, odd):
    root = touch(f"a{odd}b.mp4", f"{odd}c.mp4")
    (root / "a.txt").write_text(f"a{odd}b.mp4 0\n{odd}c.mp4 1\n")
    assert names(read_clips(root, root / "a.txt")) == [(f"a{odd}b.mp4", 0), (f"{odd}c.mp4", 1)]


def test_a_line_that_begins_with_a_hash_is_a_clip_only_where_it_names_a_file(touch):
    root = touch("#1 a.mp4", "#2.mp4", "3.mp4")
    (root / "a.txt").write_text("# all clips\n#1 a.mp4 1\n#2.mp4,0\n#3.mp4 1\n3.mp4 0\n#\n")
    assert names(read_clips(root, root / "a.txt")) == [("#1 a.mp4", 1), ("#2.mp4", 0), ("3.mp4", 0)]


def test_a_name_too_long_for_any_file_is_missing_and_a_long_comment_is_one(touch):
    root = touch("a.mp4", "b.mp4")
    (root / "a.txt").write_text(f"# {'word ' * 3000}\n# {'w' * 300} 1\na.mp4 0\n{'x' * 300}.mp4 1\n")
    found = read_clips(root, root / "a.txt", missing="skip")
    assert names(found) == [("a.mp4", 0)]
    assert found.missing == (f"{'x' * 300}.mp4",)


def test_lines_end_at_line_feeds_and_carriage_returns_alone():
    assert lines_of("a\r\nb\rc\n\u2028d") == ["a", "b", "c", "\u2028d"]


def test_a_published_reader_takes_the_same_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("x\u2028y\n".encode("utf-16"))
    assert lines_of(text_of(tmp_path / "a.txt"))[0] == "x\u2028y"
