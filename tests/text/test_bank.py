import json

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from taggnn.text.bank import META, VECTORS, TextBank

CLASSES = ("front_flip", "back_flip", "leap")
PROMPTS = ("a video of {}", "{}")


@pytest.fixture
def bank():
    vectors = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    return TextBank(vectors, CLASSES, PROMPTS, "tiny")


def test_write_and_read_give_the_same_bank(bank, tmp_path):
    path = bank.write(tmp_path / "bank.safetensors")
    found = TextBank.read(path)
    assert torch.equal(found.vectors, bank.vectors)
    assert (found.classes, found.prompts, found.model) == (CLASSES, PROMPTS, "tiny")
    assert found.digest == bank.digest
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()[META])["classes"] == list(CLASSES)


def test_names_that_are_no_utf_8_survive(tmp_path):
    bank = TextBank(torch.ones(1, 2, 3), ("a\udcff", "ä ß 跳"), ("{}",), "tiny")
    assert TextBank.read(bank.write(tmp_path / "bank.safetensors")).classes == bank.classes


def test_the_same_bank_gives_the_same_bytes(bank, tmp_path):
    one, other = (bank.write(tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert one == other


def test_the_digest_depends_on_classes_and_vectors(bank):
    others = [
        TextBank(bank.vectors * 2, CLASSES, PROMPTS, "tiny"),
        TextBank(bank.vectors, CLASSES[::-1], PROMPTS, "tiny"),
        TextBank(bank.vectors.reshape(3, 2, 4), CLASSES[:2], ("a", "b", "c"), "tiny"),
    ]
    assert len({bank.digest, *(one.digest for one in others)}) == 4
    assert TextBank(bank.vectors, CLASSES, PROMPTS, "another name").digest == bank.digest


def test_ordered_moves_rows_with_their_names(bank):
    found = bank.ordered(["leap", "front_flip", "back_flip"], "the list")
    assert found.classes == ("leap", "front_flip", "back_flip")
    for label, name in enumerate(found.classes):
        assert torch.equal(found.vectors[:, label], bank.vectors[:, CLASSES.index(name)])
    assert bank.ordered(list(CLASSES), "the list") is bank


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        (["leap", "front_flip", "jump"], ["jump", "back_flip"]),
        (["leap", "front_flip"], ["back_flip"]),
        ([*CLASSES, "jump"], ["jump"]),
        (["leap", "leap", "front_flip", "back_flip"], ["twice"]),
    ],
    ids=["another name", "fewer", "more", "one twice"],
)
def test_another_class_list_is_refused(bank, classes, named):
    with pytest.raises(ValueError, match=r"^train\.csv: ") as error:
        bank.ordered(classes, "train.csv")
    assert all(name in str(error.value) for name in named)


ONES = torch.ones(2, 3, 4)
NAN, ZERO = ONES.clone(), ONES.clone()
NAN[1, 2, 0], ZERO[0, 1] = torch.nan, 0


@pytest.mark.parametrize(
    ("vectors", "classes", "prompts", "field"),
    [
        (ONES[0], CLASSES, PROMPTS, "vectors"),
        (ONES[:, :, :0], CLASSES, PROMPTS, "vectors"),
        (ONES.double(), CLASSES, PROMPTS, "vectors"),
        (NAN, CLASSES, PROMPTS, "vectors: prompt 1 .* class 2"),
        (ZERO, CLASSES, PROMPTS, "vectors: prompt 0 .* class 1"),
        (ONES, CLASSES[:2], PROMPTS, "classes"),
        (ONES, ("leap", "jump", "leap"), PROMPTS, "classes: 'leap'"),
        (ONES, ("leap", "jump", ""), PROMPTS, "classes"),
        (ONES, CLASSES, PROMPTS[:1], "prompts"),
        (ONES, CLASSES, ("{}", "{}"), "prompts"),
    ],
    ids=["rank", "no channels", "float64", "nan", "zero", "too few", "class twice", "empty", "prompts", "prompt twice"],
)
def test_a_bank_that_cannot_be_is_refused(vectors, classes, prompts, field):
    with pytest.raises(ValueError, match=f"^{field}"):
        TextBank(vectors, classes, prompts, "tiny")


def _meta(**changed):
    bank = TextBank(ONES, CLASSES, PROMPTS, "tiny")
    meta = {"classes": CLASSES, "prompts": PROMPTS, "model": "tiny", "digest": bank.digest} | changed
    return {META: json.dumps({key: value for key, value in meta.items() if value is not None})}


@pytest.mark.parametrize(
    ("tensors", "metadata", "field"),
    [
        ({VECTORS: ONES}, {}, META),
        ({VECTORS: ONES}, {META: "[1"}, META),
        ({VECTORS: ONES}, {META: "[" * 10_000}, META),
        ({"other": ONES}, _meta(), VECTORS),
        ({VECTORS: ONES, "other": NAN}, _meta(), VECTORS),
        ({VECTORS: ONES}, _meta(classes=None), "classes"),
        ({VECTORS: ONES}, _meta(classes="leap"), "classes"),
        ({VECTORS: ONES}, _meta(classes=["leap", 1, "jump"]), r"classes\[1\]"),
        ({VECTORS: ONES}, _meta(classes=["leap", "jump", "leap"]), "classes"),
        ({VECTORS: ONES}, _meta(classes=CLASSES[::-1]), "digest"),
        ({VECTORS: ONES}, _meta(model=None), "model"),
        ({VECTORS: ONES * 2}, _meta(), "digest"),
        ({VECTORS: ONES.half()}, _meta(), "vectors"),
        ({VECTORS: ONES[0]}, _meta(), "vectors"),
        ({VECTORS: NAN}, _meta(), "vectors"),
    ],
    ids=[
        "no metadata", "no json", "deep json", "other tensor", "two tensors", "no classes", "classes a text",
        "class a number", "class twice", "classes exchanged", "no model", "other vectors", "half", "rank", "nan",
    ],
)  # fmt: skip
def test_a_file_that_is_no_bank_names_itself_and_the_field(tensors, metadata, field, tmp_path):
    path = tmp_path / "bank.safetensors"
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=field) as error:
        TextBank.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("cut", [0, 4, 200, -1], ids=["empty", "head", "metadata", "last byte"])
def test_a_damaged_file_is_refused(bank, cut, tmp_path):
    path = bank.write(tmp_path / "bank.safetensors")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"bank\.safetensors"):
        TextBank.read(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="textbank"):
        TextBank.read(tmp_path / "bank.safetensors")


def test_another_ending_is_refused(bank, tmp_path):
    with pytest.raises(ValueError, match="safetensors"):
        bank.write(tmp_path / "bank.npy")
    assert list(tmp_path.iterdir()) == []
