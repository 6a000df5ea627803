import json

import pytest

from taggnn.data.class_names import read_class_names
from taggnn.data.lists.folders import read as read_folders

GYM = "Clabel:   0; set:  1; Glabel:   1; (VT) salto off\nClabel: 1; set: 21; Glabel:  67; (FX) switch leap with 0.5 turn \n"
SAME = "Clabel: 0; set: 41; Glabel: 1; (UB) giant\nClabel: 1; set: 42; Glabel: 2; (UB) giant\n"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("names.txt", "front_flip\n\n  back flip \r\nFrontFlip\n", ("front_flip", "back flip", "FrontFlip")),
        ("map.csv", "label,name\n1,leap\n0,jump\n", ("jump", "leap")),
        ("map.csv", "name;label;more\nleap;1;x\njump;0;\n", ("jump", "leap")),
        ("list.csv", "path,class,label\na.mp4,leap,1\nb.mp4,jump,0\nc.mp4,leap,1\n", ("jump", "leap")),
        ("list.csv", "path,class,label,name\na.mp4,leap,0,clip\n", ("leap",)),
        ("list.csv", "FileName,Class,TotalFrames,ClassEncoded\na.mp4,leap,9,1\nb.mp4,jump,9,0\n", ("jump", "leap")),
        ("gym99_categories.txt", GYM, ("(VT) salto off", "(FX) switch leap with 0.5 turn")),
        ("gym99_categories.txt", SAME, ("(UB) giant (set 41)", "(UB) giant (set 42)")),
        ("Diving48_vocab.json", json.dumps([["Back", "15som"], ["Front", "FREE"]]), ("Back 15som", "Front FREE")),
    ],
    ids=["lines", "table", "semicolons", "list", "list with names", "authors", "finegym", "finegym same", "diving48"],
)
def test_every_format(file, content, expected, tmp_path):
    (tmp_path / file).write_bytes(content.encode())
    assert read_class_names(tmp_path / file) == (expected, {})


@pytest.mark.parametrize("inside", ["", "train"], ids=["unsplit", "train folder"])
@pytest.mark.parametrize("ending", [".mp4", ".skeleton"])
def test_a_data_root_has_the_classes_that_training_finds(inside, ending, tmp_path):
    root = tmp_path / inside
    for name in ("b leap", "a_jump", "empty"):
        (root / name).mkdir(parents=True)
    for name in ("b leap", "a_jump"):
        (root / name / f"1{ending}").touch()
    found = read_class_names(tmp_path)
    assert found.names == read_folders(root, None, endings={ending}).classes == ("a_jump", "b leap")


def test_the_list_of_a_data_root_comes_before_its_folders(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    with pytest.raises(ValueError, match="'clips'"):
        read_class_names(tmp_path)
    (tmp_path / "train.csv").write_text("path,class,label\nclips/a.mp4,leap,0\nclips/b.mp4,jump,1\n")
    assert read_class_names(tmp_path).names == ("leap", "jump")


def test_a_table_may_describe_classes(tmp_path):
    (tmp_path / "map.csv").write_text("label,name,text\n0,fx_1,a switch leap\n1,fx_2,\n")
    assert read_class_names(tmp_path / "map.csv") == (("fx_1", "fx_2"), {"fx_1": "a switch leap"})


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("names.txt", b"", "no class name"),
        ("names.txt", b"leap\njump\nleap\n", "'leap'.* 0 .* 2"),
        ("names.txt", "leap\n".encode("utf-16-le"), "UTF-8"),
        ("map.csv", b"label,name\n0,leap\n2,jump\n", "label: none is 1"),
        ("map.csv", b"label,name\n0,leap\n0,jump\n", "line 3"),
        ("map.csv", b"label,name\nleap,0\n", "line 2, label"),
        ("map.csv", b"label,name\n99999999,leap\n", "line 2, label"),
        ("map.csv", b"label,name\n0, \n", "line 2, name"),
        ("map.csv", b"label,name\n", "no class name"),
        ("map.csv", b"number,name\n0,leap\n", "FileName"),
        ("gym99_categories.txt", GYM.replace("Clabel: 1", "Clabel: 5").encode(), "line 2"),
        ("vocab.json", b'{"a": 1}', "list"),
    ],
    ids=[
        "empty", "twice", "utf-16", "gap", "label twice", "columns exchanged", "huge label", "empty name", "empty table",
        "other columns", "finegym", "json",
    ],
)  # fmt: skip
def test_a_wrong_file_names_itself(file, content, named, tmp_path):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=named) as error:
        read_class_names(tmp_path / file)
    assert str(tmp_path / file) in str(error.value)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_class_names(tmp_path / "nowhere")
