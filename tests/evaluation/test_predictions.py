"""taggnn.evaluation.predictions: what is read back scores exactly as what was written."""

import csv
import tracemalloc

import pytest
import torch

from taggnn.evaluation.metrics import summarise
from taggnn.evaluation.predictions import (
    COLUMNS,
    Predictions,
    Skipped,
    read_predictions,
    read_skipped,
    write_predictions,
    write_skipped,
)

NAMES = ["(VT) round-off, salto", 'say "no"', "<b>&", "tir à l'arc", "日本", "two\nlines", "p:x", ""]


def predictions(clips=40, classes=8, sharpness=3.0):
    generator = torch.Generator().manual_seed(clips)
    probabilities = (sharpness * torch.randn(clips, classes, generator=generator)).softmax(1)
    labels = torch.randint(classes, (clips,), generator=generator)
    names = [f"clip, {i}" for i in range(clips)]
    return Predictions(
        names, [f"a b/{n}.mp4" for n in names], labels, probabilities, [*NAMES, *map(str, range(classes))][:classes]
    )


def test_everything_comes_back_bit_for_bit(tmp_path):
    written = predictions(sharpness=30.0)
    read = read_predictions(write_predictions(tmp_path / "predictions.csv", written))
    assert (read.names, read.paths, read.classes) == (written.names, written.paths, written.classes)
    assert torch.equal(read.labels, written.labels)
    assert torch.equal(read.probabilities, written.probabilities)


def test_rescoring_from_the_file_gives_the_same_figures_even_where_classes_nearly_tie(tmp_path):
    clips = 30
    probabilities = torch.full((clips, 8), 0.125)
    labels = torch.arange(clips) % 8
    # The true class leads by the smallest step float32 has: six digits would make it a tie.
    probabilities[torch.arange(clips), labels] = torch.nextafter(torch.tensor(0.125), torch.tensor(1.0))
    names = [str(i) for i in range(clips)]
    written = Predictions(names, names, labels, probabilities, NAMES)
    read = read_predictions(write_predictions(tmp_path / "predictions.csv", written))
    assert summarise(read.probabilities, read.labels) == summarise(probabilities, labels)
    assert summarise(read.probabilities, read.labels).top1 == 1.0


def test_the_file_is_written_and_read_a_row_at_a_time(tmp_path):
    """Python's numbers of all clips would take 32 bytes for each probability, and the text as many again."""
    many = predictions(clips=400, classes=500)
    for step in (lambda: write_predictions(tmp_path / "p.csv", many), lambda: read_predictions(tmp_path / "p.csv")):
        tracemalloc.start()
        try:
            step()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * many.probabilities.numel()


def test_the_columns_a_person_reads(tmp_path):
    written = Predictions(["a"], ["x/a.mp4"], torch.tensor([1]), torch.tensor([[0.75, 0.25]]), ["up", "down"])
    lines = write_predictions(tmp_path / "predictions.csv", written).read_text().splitlines()
    assert lines == [
        "name,path,label,class,predicted,predicted_class,probability,p:up,p:down",
        "a,x/a.mp4,1,down,0,up,0.75,0.75,0.25",
    ]


def test_no_clips_and_one_class(tmp_path):
    empty = Predictions([], [], torch.zeros(0, dtype=torch.long), torch.zeros(0, 1), ["only"])
    read = read_predictions(write_predictions(tmp_path / "predictions.csv", empty))
    assert read.probabilities.shape == (0, 1)
    assert read.classes == ["only"]


def test_names_with_any_line_end_come_back(tmp_path):
    odd = ["a\rb", "a\r", "\r\n", "a\nb", 'a,"b"', "a\u2028b"]
    given = Predictions(odd, odd, torch.zeros(6, dtype=torch.long), torch.ones(6, 1), ["x\r"])
    read = read_predictions(write_predictions(tmp_path / "predictions.csv", given))
    assert (read.names, read.paths, read.classes) == (odd, odd, ["x\r"])
    no_utf8 = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    rows = [Skipped(name, name, "test", name) for name in (*odd, no_utf8)]
    assert read_skipped(write_skipped(tmp_path / "skipped.csv", rows)) == rows
    assert read_skipped(write_skipped(tmp_path / "none.csv", [])) == []


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "-xYz_0 [1.5, 2.0)", "\t=1", "'=x", "-1"]


def test_predictions_keep_every_name_byte_for_byte_and_skipped_clips_are_no_formulas(tmp_path):
    count = len(FORMULAS)
    given = Predictions(FORMULAS, FORMULAS, torch.zeros(count, dtype=torch.long), torch.ones(count, 1), ["=x"])
    path = write_predictions(tmp_path / "predictions.csv", given)
    assert [row[0] for row in csv.reader(path.open(newline=""))][1:] == FORMULAS
    assert read_predictions(path).names == FORMULAS
    rows = [Skipped(name, name, "test", name) for name in FORMULAS]
    path = write_skipped(tmp_path / "skipped.csv", rows)
    assert read_skipped(path) == rows
    cells = [cell for row in csv.reader(path.open(newline="")) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@-\t" and cell not in ("-1", "")]


def test_a_file_that_is_no_text_is_named_without_its_bytes(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(1, 256)) * 40)
    with pytest.raises(ValueError, match=r"not a predictions\.csv") as caught:
        read_predictions(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300 + len(str(path))


HEAD = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("FileName,Class\n", "columns name, path, .* FileName, Class"),
        ("", "begins with nothing"),
        (f"{HEAD}\n", "p:<class>"),
        (f"{HEAD},p:a,b\n", "p:<class>"),
        (f"{HEAD},p:a\nc,c,0,a,0,a,1\n", "clip 1: 7 cells, the header has 8"),
        (f"{HEAD},p:a\nc,c,0,a,0,a,1,1\nd,d,1,a,0,a,1,1\n", r"clip 2 \('d'\): label 1 is out of range"),
        (f"{HEAD},p:a\nc,c,one,a,0,a,1,1\n", r"clip 1 \('c'\): .*one"),
        (f"{HEAD},p:a\n{'c' * 200_000}\n", "not a CSV table .*field"),
        (f"{HEAD},p:a\nc,c,0,a,0,a,1,?\n", r"clip 1 \('c'\): .*\?"),
        (
            f"{HEAD},p:a\nc,c,0,a,0,a,1,1\nd,d,0,a,0,a,nan,nan\n",
            r"of 1 of 2 clips are not numbers \(first: clip 2, 'd'\)",
        ),
    ],
    ids=[
        "other", "empty", "no classes", "stray column", "cut off", "label range", "label text", "endless cell", "probability",
        "NaN",
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_row(tmp_path, content, message):
    path = tmp_path / "predictions.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"predictions\.csv"):
        read_predictions(path)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"probabilities .*\(1, 2\), got \(1, 3\)"):
        Predictions(["a"], ["a"], torch.tensor([0]), torch.zeros(1, 3), ["x", "y"])
    with pytest.raises(ValueError, match="label 2 of clip 'a'"):
        Predictions(["a"], ["a"], torch.tensor([2]), torch.zeros(1, 2), ["x", "y"])
