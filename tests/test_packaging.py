"""What is shipped: every file of the packages, what images copy, names of extras, and notices."""

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
IMAGES = ["Dockerfile", "Dockerfile.cuda"]


@pytest.fixture(scope="module")
def setup():
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    return parsed


def lines(text):
    return [line for line in text.splitlines() if line]


def extras(text):
    """The extras that a text asks for: '.[test,timm]' -> test, timm."""
    return {name for found in re.findall(r"(?:\.|/?taggnn|whl)\[([a-z,]+)\]", text) for name in found.split(",")}


@pytest.mark.parametrize("package", ["taggnn", "graphs"])
def test_every_file_that_is_no_module_is_package_data(setup, package):
    patterns = lines(setup["options.package_data"][package])
    shipped = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path for path in files if path.suffix != ".py"} == shipped


def test_every_folder_with_modules_is_a_package():
    for package in ("taggnn", "graphs"):
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_files_of_the_licence_are_there(setup):
    files = lines(setup["metadata"]["license_files"])
    assert {"LICENSE", "THIRD_PARTY.md"} == set(files)
    assert [name for name in files if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_copies_what_the_installation_reads(setup, image):
    content = (ROOT / image).read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.*) /\S+$", content, re.MULTILINE) for name in line.split()}
    needed = {"setup.cfg", "pyproject.toml", *lines(setup["metadata"]["license_files"]), "taggnn", "graphs"}
    needed.add(setup["metadata"]["long_description"].removeprefix("file: "))
    assert copied == needed
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert {line[1:] for line in ignored.splitlines() if line.startswith("!")} == needed
    # From registries alone.
    assert re.findall(r"^FROM (\S+)", content, re.MULTILINE) == ["python:3.12-slim"]
    assert not re.search(r"git\+|curl|wget", content)


@pytest.mark.parametrize("name", ["Makefile", *IMAGES, ".github/workflows/ci.yml", "README.md", "CONTRIBUTING.md"])
def test_extras_that_are_asked_for_are_there(setup, name):
    assert extras((ROOT / name).read_text(encoding="utf-8")) <= set(setup["options.extras_require"])


def test_the_oldest_versions_of_the_workflow_are_those_of_the_package(setup):
    content = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in content["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert rows["oldest"]["python"] == setup["options"]["python_requires"].removeprefix(">=")
    least = dict(re.findall(r"^(torch\S*?)>=([\d.]+)", setup["options"]["install_requires"], re.MULTILINE))
    assert dict(re.findall(r"(torch\S*)==([\d.]+)\.\*", rows["oldest"]["torch"])) == least


def test_the_devcontainer_makes_what_the_makefile_has():
    content = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    settings = json.loads(re.sub(r"^\s*//.*$", "", content, flags=re.MULTILINE))
    assert "$(VENV)/checked:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "make .venv/checked" in settings["postCreateCommand"]


def test_the_notices_name_files_that_exist():
    content = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    for row in (line for line in content.splitlines() if line.startswith("| ") and "`" in line):
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", row.split("|")[3]):
            path = ROOT / name if "/" in name else folder / name
            if "/" in name or name.endswith(".py"):
                assert path.exists(), name
                folder = path.parent


def test_no_file_of_the_packages_is_named_as_windows_cannot():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not names:
        pytest.skip("no git repository, as in a source distribution")
    reserved = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert not re.search(r'[<>:"|?*\\]', name)
        assert not {part.split(".")[0].lower() for part in name.split("/")} & reserved
        assert len(name) < 200
