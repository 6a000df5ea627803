"""Links between pages lead to files and headings that exist; every page is in the navigation of the site.

None of this needs the packages that build the site; `make docs` checks the finished pages once more.
"""

import posixpath
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
PAGES += sorted(ROOT.glob("docs/**/*.md"))
# Made of other files of the repository by docs/site/prepare.py.
MADE = {"tutorial.md", "benchmarks.md", "contributing.md", "changelog.md"}


def prose(page):
    """The text of a page without its blocks and spans of code, in which no link is one."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda span: span[0].replace("](", "] ("), text)


def links(page):
    return re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", prose(page))


def anchors(page):
    """The headings of a page as the site and GitHub name them: lower case, without punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-") for heading in headings}


def navigation(entry):
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in navigation(part)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name}: no file {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: no heading {link}; there are {sorted(anchors(target))}"


def test_the_navigation_has_every_page_once():
    # The theme's own tags are not read.
    nav = re.search(r"^nav:\n(.*)\Z", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    found = navigation(yaml.safe_load(nav[1]))
    assert len(found) == len(set(found))
    assert set(found) == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").glob("**/*.md")} | MADE


def test_a_page_links_to_no_code():
    """The site has pages only; on these a link to a file of code would lead nowhere."""
    for page in (ROOT / "docs").glob("**/*.md"):
        here = posixpath.dirname(page.relative_to(ROOT).as_posix())
        for link in links(page):
            target = posixpath.normpath(posixpath.join(here, link.partition("#")[0])) if link[0] != "#" else "docs/"
            assert target.startswith(("docs/", "benchmarks/")) or target in ("CONTRIBUTING.md", "CHANGELOG.md"), link
