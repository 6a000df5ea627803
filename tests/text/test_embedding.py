import pytest
import torch

from taggnn.text import embedding
from taggnn.text.embedding import embed_classes

CLASSES = ("front_flip", "leap", "x")
PROMPTS = ("{}", "a video of {}")


def letters(texts):
    """How often each of a few letters is in a text."""
    return torch.tensor([[float(text.count(letter)) for letter in "eaxfp "] for text in texts])


def test_every_prompt_with_every_class_at_its_index(monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 4)
    bank = embed_classes(letters, CLASSES, PROMPTS, "letters", {"x": "an axel"})
    assert (bank.classes, bank.prompts, bank.model) == (CLASSES, PROMPTS, "letters")
    assert bank.vectors.shape == (2, 3, 6)
    for n, prompt in enumerate(PROMPTS):
        for k, word in enumerate(("front flip", "leap", "an axel")):
            vector = letters([prompt.replace("{}", word)])[0]
            torch.testing.assert_close(bank.vectors[n, k], vector / vector.norm())


@pytest.mark.parametrize(
    ("encode", "named"),
    [
        (lambda texts: torch.zeros(len(texts), 4), "front flip"),
        (lambda texts: torch.full((len(texts), 4), torch.nan), "front flip"),
        (lambda texts: torch.ones(len(texts)), r"\(6,\)"),
        (lambda texts: torch.ones(1, 4), r"\(1, 4\)"),
    ],
    ids=["zero", "nan", "one axis", "too few"],
)
def test_an_encoder_that_gives_no_vectors_is_refused(encode, named):
    with pytest.raises(ValueError, match=named) as error:
        embed_classes(encode, CLASSES, PROMPTS, "mine", {})
    assert str(error.value).startswith("mine")


def test_arrays_and_half_precision_are_taken():
    bank = embed_classes(lambda texts: letters(texts).half().numpy(), CLASSES, PROMPTS, "letters")
    assert bank.vectors.dtype == torch.float32
