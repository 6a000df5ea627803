"""What a sweep varies: values on the command line, combinations, and names that stay the same."""

from itertools import product

import pytest

from taggnn.cli import variations


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gcn,gat", ["gcn", "gat"]),
        ("clique+chain, chain", ["clique+chain", "chain"]),
        ("bones(skeleton=ntu,reach=2)+chain,none", ["bones(skeleton=ntu,reach=2)+chain", "none"]),
        ("[40,64],[80, 80]", ["[40,64]", "[80, 80]"]),
        ("null,default", ["null", "default"]),
        ('{"width": 8, "depth": [1,2]},{}', ['{"width": 8, "depth": [1,2]}', "{}"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("0.1", ["0.1"]),
    ],
    ids=["names", "sum", "options", "lists", "null", "mapping", "quotes", "one"],
)
def test_commas_inside_of_brackets_and_quotes_separate_nothing(text, parts):
    assert variations.values(text, "--over x") == parts


@pytest.mark.parametrize("text", ["", "a,,b", "a,", "chain(reach=2", "chain)", "[1,2", '"a', "(a]"])
def test_values_that_cannot_be_split_are_refused(text):
    with pytest.raises(ValueError, match=r"--over tag\.conv"):
        variations.over([f"tag.conv={text}"])


@pytest.mark.parametrize(
    "texts", [["tag.conv"], ["=a"], ["a=1", "a=2"], ["a=1,1"], ["a,b=(1,2),3"], ["a,b=(1,2,3)"], ["a,b=(1,2)", "b=3"]]
)
def test_mistakes_are_refused(texts):
    with pytest.raises(ValueError, match="--over"):
        variations.variants(variations.over(texts))


def test_every_combination_has_its_name():
    convs, topologies = ["gcn", "gat"], ["clique", "chain(reach=2)", "clique+chain"]
    found = variations.variants({"tag.conv": convs, "tag.topology": topologies})
    wanted = [{"tag.conv": conv, "tag.topology": topology} for conv, topology in product(convs, topologies)]
    assert list(found.values()) == wanted
    assert list(found)[1] == "conv=gcn,topology=chain(reach=2)"
    assert variations.folder_names(found) == {name: name for name in found}


def test_keys_that_change_together_are_named_by_the_first_that_differ():
    over = variations.over(["config,data.root=(gym99,/sets/gym),(haa500,/sets/haa)", "backbone.name=small,x3d_m"])
    found = variations.variants(over)
    assert list(found) == [
        f"config={data},backbone={net}" for data in ("gym99", "haa500") for net in ("small", "x3d_m")
    ]
    assert found["config=haa500,backbone=small"]["data.root"] == "/sets/haa"
    both = variations.variants({"a,b": [("x", "1"), ("x", "2")]})
    assert list(both) == ["a=x,b=1", "a=x,b=2"]


def test_values_of_python_are_spelled_as_the_command_line_has_them():
    found = variations.variants({"video.size": [None, 64, [40, 64]], "video.stretch": [True]})
    assert [values["video.size"] for values in found.values()] == ["null", "64", "[40, 64]"]
    assert {values["video.stretch"] for values in found.values()} == {"true"}


def test_paths_are_named_by_their_end_unless_that_is_the_same():
    assert list(variations.variants({"data.root": ["/a/one", "/b/two/"]})) == ["root=one", "root=two"]
    assert list(variations.variants({"data.root": ["/a/one", "/b/one"]})) == ["root=/a/one", "root=/b/one"]


def test_keys_with_the_same_end_are_whole():
    keys = ["tag.dim", "art.dim", "backbone.name"]
    assert variations.short_keys(keys) == {"tag.dim": "tag.dim", "art.dim": "art.dim", "backbone.name": "backbone"}


def test_folders_differ_and_stay_the_same_when_more_follow():
    names = ["a/b", "a_b", "x" * 300, "x" * 301, "../up", "A_B"]
    folders = variations.folder_names(names)
    assert len({folder.lower() for folder in folders.values()}) == len(names)
    assert all("/" not in folder and not folder.startswith(".") and len(folder) < 200 for folder in folders.values())
    assert variations.folder_names(names[:2]) == {name: folders[name] for name in names[:2]}


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("42,1,2", [42, 1, 2]), ("[42]", [42]), ("7,", [7]), ("[0, 5]", [0, 5])]
)
def test_seeds(text, seeds):
    assert variations.seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "", "[]", "-1", "1,1", "a", "1.5"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(ValueError, match="--seeds"):
        variations.seeds(text)
