"""Tracklets of a clip: paths and strengths against plain loops, and the file that holds them."""

import math
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file

from taggnn.evaluation.tracklets import Tracklets, paths, peak_ratio, strength, token_frame

SHAPES = [(3, 2, 4, 6), (1, 1, 1, 1), (2, 3, 1, 5), (4, 1, 3, 3), (3, 2, 7), (1, 1, 1)]


def attention(shape, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (2 * x).flatten(2).softmax(-1).view(shape)


def made(**changes):
    given = {"name": "left/a.mp4", "truth": "left", "predicted": "right", "probability": 0.75}
    given |= {"regions": attention((3, 2, 4, 6)), "weights": attention((1, 2, 3))[0].T, "texts": ["a hand", "a foot"]}
    return Tracklets(**given | changes)


def naive_path(frame):
    """The centre of mass of the peak and its neighbours, of one frame of one region."""
    rows, columns = len(frame), len(frame[0])
    top, at = -1.0, (0, 0)
    for row in range(rows):
        for column in range(columns):
            if frame[row][column] > top:
                top, at = frame[row][column], (row, column)
    mass = x = y = 0.0
    for row in range(max(0, at[0] - 1), min(rows, at[0] + 2)):
        for column in range(max(0, at[1] - 1), min(columns, at[1] + 2)):
            share = frame[row][column]
            mass, x, y = mass + share, x + share * (column + 0.5), y + share * (row + 0.5)
    return x / mass / columns, y / mass / rows


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_paths_are_those_of_plain_loops(shape):
    regions = attention(shape)
    found = paths(regions)
    assert found.shape == (*shape[:2], len(shape) - 2)
    for frame in range(shape[0]):
        for region in range(shape[1]):
            values = regions[frame, region].tolist()
            naive = naive_path(values) if len(shape) == 4 else ((values.index(max(values)) + 0.5) / shape[2],)
            assert found[frame, region].tolist() == pytest.approx(naive, abs=1e-12)


def test_a_region_without_attention_has_a_path_too():
    assert paths(torch.zeros(2, 1, 4, 4)).isfinite().all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_strengths_are_those_of_plain_loops(shape):
    regions = attention(shape)
    found, ratios = strength(regions), peak_ratio(regions)
    positions = math.prod(shape[2:])
    for region in range(shape[1]):
        values = regions[:, region].flatten().double()
        assert ratios[region].item() == pytest.approx(values.max().item() * positions)
        span = values.max().item() - 1 / positions
        naive = [
            max(0.0, (value - 1 / positions) / span) if span > 1e-3 / positions else 0.0 for value in values.tolist()
        ]
        assert found[:, region].flatten().tolist() == pytest.approx(naive, abs=1e-6)


def test_uniform_attention_is_not_drawn():
    assert not strength(torch.full((2, 1, 3, 3), 1 / 9)).any()


@pytest.mark.parametrize(("frames", "tokens"), [(8, 8), (16, 8), (7, 3), (3, 7), (1, 4), (5, 1)])
def test_a_frame_belongs_to_the_token_frame_that_holds_its_middle(frames, tokens):
    for frame in range(frames):
        middle = Fraction(2 * frame + 1, 2 * frames)
        naive = next(token for token in range(tokens) if middle < Fraction(token + 1, tokens))
        assert token_frame(frame, frames, tokens) == naive


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weights": None, "texts": []},
        {"pictures": torch.zeros(5, 8, 6, 3, dtype=torch.uint8)},
        {"regions": attention((3, 2, 7)), "positions": tuple("abcdefg")},
        {"name": "caf\udce9/\x1b[31m" + 300 * "long ", "truth": "日本"},
    ],
    ids=["whole", "bare", "pictures", "positions", "names"],
)
def test_a_file_gives_back_what_was_written(changes, tmp_path):
    given = made(**changes)
    again = Tracklets.read(given.write(tmp_path / "new" / "a.safetensors"))
    for key in ("name", "truth", "predicted", "probability", "right", "spatial"):
        assert getattr(again, key) == getattr(given, key)
    assert (list(again.texts), list(again.positions)) == (list(given.texts), list(given.positions))
    for key in ("regions", "weights", "pictures"):
        one, other = getattr(given, key), getattr(again, key)
        assert (one is None and other is None) or torch.equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"regions": torch.rand(3, 2)},
        {"regions": torch.rand(3, 0, 4)},
        {"regions": torch.full((3, 2, 4), torch.nan)},
        {"regions": torch.ones(3, 2, 4, dtype=torch.long)},
        {"regions": torch.ones(3, 2, 4).to(torch.float8_e4m3fn)},
        {"weights": torch.rand(2, 3)},
        {"weights": torch.ones(3, 2, dtype=torch.complex64)},
        {"weights": torch.full((3, 2), torch.inf)},
        {"texts": ["one"]},
        {"pictures": torch.rand(3, 4, 4, 3)},
        {"pictures": torch.zeros(0, 4, 4, 3, dtype=torch.uint8)},
    ],
    ids=[
        "rank",
        "no-regions",
        "nan",
        "long",
        "8-bits",
        "weights",
        "complex",
        "inf",
        "texts",
        "float-pictures",
        "no-pictures",
    ],
)
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        made(**changes)


def test_other_files_are_refused_by_name(tmp_path):
    files = {name: tmp_path / f"{name}.safetensors" for name in ("text", "cut", "foreign", "wrong", "json")}
    files["text"].write_text("no tensors")
    whole = made().write(tmp_path / "whole.safetensors").read_bytes()
    files["cut"].write_bytes(whole[:-9])
    save_file({"regions": attention((3, 2, 4))}, files["foreign"])
    facts = '{"name": 1, "truth": "a", "predicted": "a", "probability": 1.0}'
    save_file({"regions": attention((3, 2, 4))}, files["wrong"], {"tracklets": facts})
    save_file({"regions": attention((3, 2, 4))}, files["json"], {"tracklets": "{"})
    for file in files.values():
        with pytest.raises(ValueError, match=file.name):
            Tracklets.read(file)
