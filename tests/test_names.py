"""How an unknown name is refused, and where dotted paths lead."""

import functools
import sys

import pytest

from taggnn.names import find, imported, path_of, unknown


def test_few_names_are_all_listed():
    assert str(unknown("head", "tga", ["tag", "pool"])) == "unknown head 'tga'; did you mean 'tag'? Possible: tag, pool"
    assert str(unknown("head", "tga", [], "row 1")) == "row 1: unknown head 'tga'. Possible: none"


@pytest.mark.parametrize(("count", "end"), [(20, "x19"), (21, "x19 ... and 1 more"), (288, "x19 ... and 268 more")])
def test_many_names_are_counted(count, end):
    assert str(unknown("class", "?", [f"x{n}" for n in range(count)])).endswith(f", x18, {end}")


def test_numbers_are_possible_too():
    assert "2, 3" in str(unknown("value", 1, [2, 3], "skeleton.dimensions"))


def test_the_nearest_is_found_among_those_not_listed():
    assert "did you mean 'somersault'" in str(unknown("class", "sommersault", [*map(str, range(50)), "somersault"]))


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A package of a user's own on the import path."""
    package = tmp_path / "ownpack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "class Outer:\n    class Inner:\n        pass\n    @classmethod\n    def made(cls):\n        return cls()\n"
        "def build():\n    return lambda: 0\nthing = Outer()\n_hidden = 1\n"
    )
    (package / "fails.py").write_text("1 / 0\n")
    (package / "needs.py").write_text("import a_module_that_is_missing\n")
    (package / "leaves.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpack"]:
        del sys.modules[name]


@pytest.mark.usefixtures("modules")
class TestPaths:
    def test_lead_to_the_object_also_inside_a_class(self):
        found = imported("ownpack.parts.Outer")
        assert found.__name__ == "Outer"
        assert imported("ownpack.parts.Outer.Inner") is found.Inner
        assert isinstance(imported("ownpack.parts.thing"), found)

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("ownpack.parts.Outre", ["name in ownpack.parts 'Outre'", "did you mean 'Outer'"]),
            ("ownpack.parts.Outer.Iner", ["name in ownpack.parts.Outer 'Iner'", "did you mean 'Inner'"]),
            ("ownpack.part.Outer", ["name in ownpack 'part'"]),
            ("ownpakc.parts.Outer", ["cannot import 'ownpakc.parts'", "No module named 'ownpakc'"]),
            ("ownpack.fails.Outer", ["cannot import 'ownpack.fails'", "ZeroDivisionError"]),
            ("ownpack.needs.Outer", ["cannot import 'ownpack.needs'", "a_module_that_is_missing"]),
            ("ownpack.leaves.Outer", ["cannot import 'ownpack.leaves'", "SystemExit: 3"]),
            ("Outer", ["not a dotted path", "package.module.Name"]),
            ("..Outer", ["not a dotted path"]),
            ("own pack.Outer", ["not a dotted path"]),
        ],
    )
    def test_that_lead_nowhere_are_refused_by_what_is_missing(self, path, words):
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            imported(path)
        assert [word for word in words if word not in str(raised.value)] == []
        assert "_hidden" not in str(raised.value)

    def test_find_takes_a_name_a_path_or_the_object(self):
        found = imported("ownpack.parts.Outer")
        table = {"own": 5}
        assert find("head", "own", table) == 5
        assert find("head", "ownpack.parts.Outer", table) is found
        assert find("head", found, table) is found
        with pytest.raises(ValueError, match=r"unknown head 'onw'; did you mean 'own'.*dotted path"):
            find("head", "onw", table)
        with pytest.raises(ValueError, match=r"head 'ownpack.parts.Outre'.*did you mean 'Outer'"):
            find("head", "ownpack.parts.Outre", table)

    def test_path_of_is_the_inverse(self):
        for path in ("ownpack.parts.Outer", "ownpack.parts.Outer.Inner", "ownpack.parts.Outer.made"):
            assert path_of(imported(path)) == path
            assert path_of(path) == path
        function = imported("ownpack.parts.build")
        for thing in (imported("ownpack.parts.thing"), function(), 3, functools.partial(function)):
            with pytest.raises(ValueError, match="has no dotted path"):
                path_of(thing)
