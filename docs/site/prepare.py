"""Writes the Markdown that the site is built from: the pages of docs/, and other files of the repository as pages.

    python docs/site/prepare.py build/docs

Links are those of the repository, ``../CONTRIBUTING.md`` or ``tutorial.ipynb``, so that they work there, too; here they are
turned to the pages that are made of these files. Nothing here depends on the program that makes HTML of it.
"""

import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOK = "docs/tutorial.ipynb"
# A file of the repository, and its page.
PAGES = {
    NOTEBOOK: "tutorial.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PICTURES = "benchmarks/results/"
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def main(out: Path) -> None:
    """Writes the folder anew."""
    from nbconvert import MarkdownExporter

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs", out, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.ipynb"))
    shutil.copytree(ROOT / PICTURES, out / "pictures", ignore=shutil.ignore_patterns("*.json"))
    shutil.copy(ROOT / NOTEBOOK, out)
    for page in (ROOT / "docs").rglob("*.md"):
        _write(out, page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
    for source in PAGES.keys() - {NOTEBOOK}:
        _write(out, source, (ROOT / source).read_text(encoding="utf-8"))
    text, resources = MarkdownExporter().from_filename(str(ROOT / NOTEBOOK))
    _write(out, NOTEBOOK, text)
    for name, picture in resources["outputs"].items():
        (out / name).write_bytes(picture)


def page_of(path: str) -> str | None:
    """The file of the site that a file of the repository becomes; None where it becomes none."""
    if path.startswith(PICTURES):
        return f"pictures/{path.removeprefix(PICTURES)}"
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)


def with_links(text: str, source: str) -> str:
    """The text of a file of the repository, its relative links turned to pages of the site."""
    here = posixpath.dirname(page_of(source) or "")

    def turned(link: re.Match[str]) -> str:
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1])))
        return link[1] if target is None else posixpath.relpath(target, here or ".")

    return _LINK.sub(turned, text)


def _write(out: Path, source: str, text: str) -> None:
    (out / str(page_of(source))).write_text(with_links(text, source), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
