"""The site is built without a warning and loads nothing from another host; needs the extra `docs`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("mkdocs", "material", "mkdocstrings_handlers.python", "nbconvert", "latex2mathml"):
    pytest.importorskip(package, reason="needs the extra docs")

ROOT = Path(__file__).parents[3]
# What a browser loads by itself; a link that a reader follows is none.
LOADED = re.compile(r"<(?:script|img|source|iframe)\b[^>]*\bsrc=\"(https?:[^\"]*)|<link\b[^>]*\bhref=\"(https?:[^\"]*)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name, value in (("docs_dir", folder / "docs"), ("site_dir", folder / "site")):
        settings = re.sub(rf"^{name}: .*$", f"{name}: {value.as_posix()}", settings, flags=re.MULTILINE)
    # Relative ones are relative to the file.
    settings = settings.replace("paths: [.]", f"paths: [{ROOT.as_posix()}]")
    settings = settings.replace("docs/site/docstrings.py", (ROOT / "docs/site/docstrings.py").as_posix())
    (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
    path = os.pathsep.join([str(ROOT / "docs" / "site"), os.environ.get("PYTHONPATH", "")])
    for command in (
        ["docs/site/prepare.py", folder / "docs"],
        ["-m", "mkdocs", "build", "--strict", "-f", folder / "mkdocs.yml"],
    ):
        ended = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "site"


def test_nothing_is_loaded_from_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?https?:", style.read_text(encoding="utf-8")), style


def test_formulas_are_mathml(site):
    page = (site / "heads.html").read_text(encoding="utf-8")
    assert page.count("<math") > 20
    assert "arithmatex" not in page


def test_docstrings_become_markdown(site):
    page = (site / "api" / "heads.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    assert "Formula::" not in text
    # A star is no emphasis.
    assert "tokens (B, *grid, C)" in text
