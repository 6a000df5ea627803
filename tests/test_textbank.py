"""``python -m taggnn.textbank``: from class names and an encoder, or a matrix, to a bank and its page."""

import sys

import numpy as np
import pytest
import torch

from taggnn import textbank
from taggnn.cli import terminal
from taggnn.text.bank import TextBank
from taggnn.text.prompts import DEFAULT

ENCODER = """
import torch

def encode(texts):
    return torch.tensor([[float(text.count(letter)) for letter in "eaxfpl _"] for text in texts])

def blind(texts):
    return torch.zeros(len(texts), 3)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own_texts.py").write_text(ENCODER)
    (tmp_path / "classes.txt").write_text("front_flip\nleap\nfront flip\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_texts", None)


def run(*words):
    return terminal.run(
        textbank.main, "taggnn.textbank", ["--classes", "classes.txt", "--out", "new/b.safetensors", *words]
    )


def test_a_bank_and_its_page_are_written(here, capsys):
    assert run("--model", "own_texts.encode") == 0
    bank = TextBank.read("new/b.safetensors")
    assert (bank.classes, bank.prompts) == (("front_flip", "leap", "front flip"), DEFAULT)
    assert bank.model == "own_texts.encode"
    # Both names are read alike.
    assert torch.equal(bank.vectors[:, 0], bank.vectors[:, 2])
    printed = capsys.readouterr().out
    assert "1.000  front_flip | front flip" in printed
    assert "warning   1 pair " in printed
    assert bank.digest[:16] in printed
    assert (here / "new" / "b.html").is_file()


def test_the_same_command_gives_the_same_bytes(here):
    assert run("--model", "own_texts.encode") == 0
    first = (here / "new" / "b.safetensors").read_bytes()
    assert run("--model", "own_texts.encode") == 0
    assert (here / "new" / "b.safetensors").read_bytes() == first


def test_prompts_and_texts_of_one_s_own(here):
    (here / "prompts.txt").write_text("{}\n\na {} from the side\n")
    (here / "classes.csv").write_text("label,name,text\n0,a1,leap\n1,a2,\n")
    assert run("--model", "own_texts.encode", "--prompts", "prompts.txt", "--classes", "classes.csv") == 0
    bank = TextBank.read("new/b.safetensors")
    assert (bank.classes, bank.prompts) == (("a1", "a2"), ("{}", "a {} from the side"))
    assert bank.vectors[0, 0, 0] > 0


def test_a_matrix_of_one_s_own_is_stored_as_it_is(here):
    matrix = np.random.default_rng(0).normal(size=(2, 3, 5))
    np.save("own.npy", matrix)
    assert run("--vectors", "own.npy") == 0
    bank = TextBank.read("new/b.safetensors")
    assert torch.equal(bank.vectors, torch.from_numpy(matrix).float())
    assert bank.prompts == ("prompt 0", "prompt 1")
    (here / "prompts.txt").write_text("short names\nlong descriptions\n")
    assert run("--vectors", "own.npy", "--prompts", "prompts.txt") == 0
    assert TextBank.read("new/b.safetensors").prompts == ("short names", "long descriptions")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--model or --vectors"),
        (["--model", "own_texts.encode", "--vectors", "own.npy"], "--model or --vectors"),
        (["--model", "own_texts.encode", "--out", "bank.npy"], "bank.npy"),
        (["--model", "own_texts.encode", "--classes", "nowhere.txt"], "nowhere.txt"),
        (["--model", "own_texts.encode", "--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--model", "own_texts.encode", "--prompts", "classes.txt"], "classes.txt, line 1"),
        (["--model", "own_texts.blind"], "front flip"),
        (["--model", "own_texts.deaf"], "own_texts"),
        (["--vectors", "four.npy"], "4 classes"),
        (["--vectors", "nan.npy"], "nan.npy"),
        (["--vectors", "own.npy", "--prompts", "classes.txt"], "3 names"),
        (["--model", "own_texts.encode", "--mdel", "x"], "--mdel"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_no_bank(here, words, named, capsys):
    np.save("own.npy", np.ones((2, 3, 5)))
    np.save("four.npy", np.ones((2, 4, 5)))
    np.save("nan.npy", np.full((1, 3, 5), np.nan))
    try:
        code = run(*words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error
    assert list(here.rglob("*.safetensors")) == []
