import re

import pytest
import torch

from taggnn.reporting.bank_page import bank_page, warning
from taggnn.reporting.figures import similarity_matrix
from taggnn.reporting.theme import LIGHT
from taggnn.text.bank import TextBank


def bank_of(vectors, classes=None):
    names = tuple(f"class {n}" for n in range(len(vectors))) if classes is None else classes
    return TextBank(torch.tensor(vectors)[None], names, ("a video of {}",), "tiny <model>")


# Cosines 0.6, 1 and 0.6.
THREE = [[1.0, 0.0], [0.6, 0.8], [2.0, 0.0]]


def test_close_pairs_are_warned_about():
    bank = bank_of(THREE, ("leap", "<jump>", "turn"))
    page = bank_page(bank, "bank.safetensors")
    text = re.sub(r"<[^>]*>|\s+", " ", page)
    assert "1 pair of classes hardly differ" in text
    assert re.search(r"0\s*&ensp;\s*leap\s+2\s*&ensp;\s*turn\s+1\.000", text)
    assert "0.600" in text
    assert "&lt;jump&gt;" in page
    assert "<jump>" not in page
    assert bank.digest[:16] in page
    assert warning(bank).startswith("1 pair ")


def test_classes_that_differ_have_no_warning():
    bank = bank_of(THREE[:2])
    assert warning(bank) == ""
    assert 'class="note"' not in bank_page(bank, "bank.safetensors")


def test_a_single_class_has_a_page():
    assert "Text of 1 class" in bank_page(bank_of(THREE[:1]), "bank.safetensors")


def test_the_page_needs_nothing_from_outside():
    page = bank_page(bank_of(THREE), "bank.safetensors")
    assert re.findall(r'(?:src|href|srcset)="(?!data:image/png;base64,)', page) == []


def colours(matrix):
    (axes,) = similarity_matrix(torch.tensor(matrix), [str(n) for n in range(len(matrix))], 0.95).axes
    return axes.images[0].get_array()


def test_colours_follow_the_cosine_and_change_above_the_limit():
    cells = colours([[1.0, 0.2, 0.95], [0.2, 1.0, 0.96], [0.95, 0.96, 1.0]])
    red = cells[..., 0]
    # Blue takes red away, the more the higher the cosine; vermilion has it.
    assert red[0, 2] < red[0, 1] < 1
    assert red[1, 2] > cells[1, 2, 2]
    assert cells[0, 2, 2] > red[0, 2]
    grey = [round(int(LIGHT.line[at : at + 2], 16) / 255, 4) for at in (1, 3, 5)]
    assert all(cells[n, n].tolist() == pytest.approx(grey, abs=1e-3) for n in range(3))


def test_a_cell_of_many_classes_is_its_most_alike_pair(monkeypatch):
    monkeypatch.setattr("taggnn.reporting.figures.CELLS", 2)
    matrix = torch.full((4, 4), 0.1)
    matrix[0, 3] = matrix[3, 0] = 0.99
    cells = colours(matrix.tolist())
    assert cells.shape == (2, 2, 3)
    assert cells[0, 1, 0] > cells[0, 1, 2]
    assert cells[0, 0, 2] > cells[0, 0, 0]
