"""Made trees of every published skeleton set, with what is wrong in real ones, through the programs."""

import csv

import pytest

import taggnn.evaluate
import taggnn.predict
import taggnn.train
from taggnn.evaluation.predictions import read_predictions
from tests.data.skeleton import trees

SMALL = [
    *(
        "--backbone.options",
        '{"width": 8, "depths": [1]}',
        "--skeleton.frames",
        8,
        "--train.epochs",
        1,
        "--data.workers",
        0,
    ),
    *("--data.batch_size", 4, "--optim.warmup_epochs", 0, "--optim.schedule", "cosine", "--optim.milestones", "[]"),
    *("--optim.lr", 0.01, "--loggers", "csv", "--precision", "32-true", "--device", "cpu"),
]


def hurt(path, kind):
    """Makes a file of NTU RGB+D a bad one, or an odd one."""
    text = path.read_text()
    if kind == "truncated":
        path.write_text(text[: len(text) // 2])
    elif kind == "one frame":
        path.write_text(trees.ntu_clip(1))
    elif kind == "nan":
        path.write_text(text.replace(text.split()[14], "nan"))
    elif kind == "empty":
        path.write_text("")
    elif kind == "late":
        one, two = trees.body(12, seed=1), trees.body(12, seed=2, at=1.2)
        path.write_text(trees.ntu_text([[(1, one[t])] + ([(2, two[t])] if t > 5 else []) for t in range(12)]))
    elif kind == "swapped":
        one, two = trees.body(12, seed=1), trees.body(12, seed=2, at=1.2)
        path.write_text(trees.ntu_text([[(1 + (t > 5), one[t]), (2 - (t > 5), two[t])] for t in range(12)]))


BAD, ODD = ("truncated", "empty"), ("one frame", "nan", "late", "swapped")


@pytest.fixture(scope="module")
def ntu(tmp_path_factory):
    root = trees.ntu(tmp_path_factory.mktemp("ntu"), missing=("S002C002P003R001A050",))
    files = sorted((root / "nturgb+d_skeletons").glob("S001C00[12]P001*.skeleton"))
    for file, kind in zip(files, [*BAD, *ODD], strict=False):
        hurt(file, kind)
    return root, [file.stem for file in files[: len(BAD)]]


def train(program, recipe, root, folder, *words):
    return program(taggnn.train, "--config", recipe, "--data.root", root, "--run", folder, *SMALL, *words)


def test_bad_files_of_ntu_are_left_out_by_name_and_odd_ones_are_kept(program, ntu, tmp_path):
    root, bad = ntu
    ended = train(program, "ntu60_xsub", root, tmp_path / "run")
    assert ended.code == 0, ended.err
    with (tmp_path / "run" / "skipped.csv").open() as file:
        skipped = [row["name"] for row in csv.DictReader(file)]
    assert sorted({name.rpartition("/")[2].removesuffix(".skeleton") for name in skipped}) == sorted(bad)
    assert "S002C002P003R001A050" not in "".join(skipped)
    ended = program(
        taggnn.evaluate,
        "--checkpoint",
        tmp_path / "run",
        "--data.root",
        root,
        "--data.workers",
        0,
        "--out",
        tmp_path / "e",
    )
    assert ended.code == 0, ended.err
    known, found = (read_predictions(folder / "predictions.csv") for folder in (tmp_path / "run", tmp_path / "e"))
    assert known.names == found.names


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("recipe", "tree"),
    [
        ("nw_ucla", trees.nw_ucla),
        ("pku_mmd_xsub", lambda root: trees.pku(root, [f"{number:04d}-L" for number in range(1, 7)])),
        ("gym99_skeleton", trees.gym99_skeleton),
    ],
    ids=lambda value: value if isinstance(value, str) else "tree",
)
def test_every_set_is_trained_on_and_evaluated(program, tmp_path, recipe, tree):
    root = tree(tmp_path / "set")
    ended = train(program, recipe, root, tmp_path / "run")
    assert ended.code == 0, ended.err
    names = read_predictions(tmp_path / "run" / "predictions.csv").names
    assert len(names) == len(set(names)) > 0


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(program, tmp_path):
    root = trees.gym99_skeleton(tmp_path / "set")
    file = root / "gym_hrnet.pkl"
    made = tmp_path / "made"
    file.write_bytes(b"cos\nsystem\n(S'touch " + str(made).encode() + b"'\ntR.")
    ended = train(program, "gym99_skeleton", root, tmp_path / "run")
    assert ended.code == 2
    assert "gym_hrnet.pkl" in ended.err
    assert "Traceback" not in ended.err
    assert not made.exists()
