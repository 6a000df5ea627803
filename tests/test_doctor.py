"""``taggnn.doctor``: what it reports, and what it calls a problem."""

import json
import sys

import pytest

from taggnn import doctor
from taggnn.cli import installation, machine, self_test


@pytest.fixture
def quick(monkeypatch):
    """The self-test without its work."""
    outcomes = [self_test.Outcome(True, "a clip", 0.1)]
    monkeypatch.setattr(self_test, "run", lambda: outcomes)
    return outcomes


def test_it_reports_every_extra_of_the_package(quick, capsys):
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"scatter", "serve", "timm", "completion"} <= {one["name"] for one in found["extras"]}
    assert found["packages"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["test"] == [{"ok": True, "what": "a clip", "seconds": 0.1}]
    assert found["problems"] == []


def test_what_fails_is_a_problem_and_the_exit_code(quick, capsys):
    quick.append(self_test.Outcome(False, "kernel: RuntimeError: none", 0.1))
    assert doctor.main([]) == 1
    out = capsys.readouterr().out.splitlines()
    assert "FAILED    kernel: RuntimeError: none, 0.1 s" in out
    assert out[-1].startswith("problem ")


def test_too_little_shared_memory_is_a_problem():
    found = {"packages": {}, "decoders": {}, "test": [], "disk": {"writable": True}}
    memory = {"enough": False, "free_mb": 64.0, "needed_mb": 300.0}
    assert len(doctor.problems({**found, "memory": memory})) == 1
    assert doctor.problems({**found, "memory": {**memory, "enough": True}}) == []


def test_the_memory_is_that_of_the_recipe():
    found = machine.memory("gym99")
    assert found["recipe"] == "gym99"
    assert found["one_process_mb"] > 1
    assert found["enough"] == (found["free_mb"] is None or found["needed_mb"] <= found["free_mb"])


@pytest.mark.parametrize(
    ("version", "command"),
    [("2.0", ""), ("0.9", "pip install 'starlette>=1.5'"), (None, "pip install 'starlette>=1.5'")],
    ids=["new enough", "too old", "not there"],
)
def test_an_extra_has_the_command_that_adds_what_it_lacks(monkeypatch, version, command):
    def version_of(name):
        if version is None:
            raise installation.PackageNotFoundError
        return version

    monkeypatch.setattr(installation, "version", version_of)
    extra = installation._checked("serve", [installation.Requirement("starlette>=1.5")])
    assert extra.command == command
    assert bool(extra.found) == (not command)


def test_extras_of_an_installed_package_are_those_of_its_metadata(monkeypatch, tmp_path):
    listed = [
        "torch>=2.9",
        "shtab>=1.7; extra == 'completion'",
        'starlette>=0.46; python_version > "3" and extra == "serve"',
    ]
    monkeypatch.setattr(installation, "requires", lambda name: listed)
    # Without a source tree around it.
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "a" / "b" / "installation.py"))
    found = {name: [one.name for one in needed] for name, needed in installation._declared().items()}
    assert found == {"completion": ["shtab"], "serve": ["starlette"]}


def test_a_part_of_the_self_test_that_raises_is_reported_and_the_others_run(monkeypatch):
    def broken():
        raise OSError("no encoder\nfurther lines")

    monkeypatch.setattr(self_test, "PARTS", {"clip": broken, "other": lambda: "done"})
    first, second = self_test.run()
    assert (first.ok, first.what) == (False, "clip: OSError: no encoder")
    assert (second.ok, second.what) == (True, "done")


@pytest.mark.parametrize("part", self_test.PARTS)
def test_every_part_of_the_self_test_succeeds_here(part):
    assert isinstance(self_test.PARTS[part](), str)
