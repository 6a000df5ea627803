"""PKU-MMD's text."""

import numpy as np
import pytest

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees

ONE, TWO = trees.body(12, seed=0), trees.body(12, seed=1, at=1.0)


@pytest.fixture
def read(tmp_path):
    def reading(text, start=None, stop=None):
        (tmp_path / "0002-L.txt").write_text(text, newline="")
        return formats.read(Clip(str(tmp_path / "0002-L.txt"), 0, "clip", start, stop))

    return reading


TEXTS = {
    "plain": trees.pku_text([ONE, TWO]),
    "windows": trees.pku_text([ONE, TWO], "\r\n"),
    "no-end-of-line": trees.pku_text([ONE, TWO]).rstrip(),
    "leading-space": trees.pku_text([ONE, TWO], "\n "),
    "exponents": trees.pku_text([ONE, TWO], form="{:.6e}"),
    "digits": trees.pku_text([ONE, TWO], form="{!r}"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(("start", "stop"), [(None, None), (0, 1), (3, 9), (11, None), (8, 40)], ids=str)
def test_frames(read, text, start, stop):
    rows = np.array([[float(word) for word in line.split()] for line in text.strip().splitlines()], dtype=np.float32)
    wanted = rows.reshape(12, 2, 25, 3).transpose(1, 0, 2, 3)[:, start:stop]
    assert np.array_equal(read(text, start, stop).coordinates, wanted)


def test_one_person(read):
    found = read(trees.pku_text([ONE])).coordinates
    assert found.shape == (1, 12, 25, 3)
    assert np.allclose(found[0], ONE, atol=1e-5)


def test_a_person_who_comes_late(read):
    late = TWO.copy()
    late[:5] = 0
    found = read(trees.pku_text([ONE, late])).coordinates
    assert found[1, :5].isnan().all()
    assert read(trees.pku_text([ONE, late]), 0, 5).coordinates.shape == (1, 5, 25, 3)


def test_nobody(read):
    with pytest.raises(formats.FormatError, match="no joint"):
        read(trees.pku_text([0 * ONE]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "line"),
        (lambda text: text.replace("\n", " 1\n", 3), "line 1: 151"),
        (lambda text: text.replace("0.", "x.", 9), "float"),
        (lambda text: "1 2 3\n", "line 1: 3 numbers"),
        (lambda text: "", "empty"),
        (lambda text: "3,5,20,1\n", "line 1: 1 numbers"),
        (lambda text: text[:900] + "\0" * 9 + text[909:], "zero bytes"),
    ],
    ids=["truncated", "more", "letters", "few", "empty", "labels", "zeros"],
)
def test_damaged(read, change, reason):
    with pytest.raises(formats.FormatError, match=reason):
        read(change(TEXTS["plain"]))


def test_damage_outside_the_clip_does_not_matter(read):
    lines = TEXTS["plain"].splitlines()
    text = "\n".join([*lines[:8], "damaged", *lines[9:]])
    assert read(text, 2, 8).coordinates.shape[1] == 6
    with pytest.raises(formats.FormatError, match="line 9"):
        read(text, 2, 9)


def test_a_cut_after_the_end(read):
    with pytest.raises(formats.FormatError, match="12 frames"):
        read(TEXTS["plain"], 12, 20)
