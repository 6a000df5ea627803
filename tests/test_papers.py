"""The papers to cite: one entry each, complete BibTeX, and the same facts in CITATION.cff."""

import re
from pathlib import Path

import pytest
import yaml

import taggnn
from taggnn.backbones.plugs import PLUGS
from taggnn.heads import HEADS
from taggnn.papers import PAPERS, entries_of

ROOT = Path(__file__).parents[1]


def fields(entry):
    """The type, the key and the fields of an entry without nested entries."""
    kind, key = re.match(r"@(\w+)\{(\w+),\n", entry).groups()
    return kind, key, dict(re.findall(r"^  (\w+) += \{(.*)\},$", entry, re.MULTILINE))


def test_every_paper_of_a_head_or_plug_has_an_entry():
    named = {paper for row in HEADS.values() for paper in row.papers} | {
        row.paper for row in PLUGS.values() if row.paper
    }
    assert named == set(PAPERS)


@pytest.mark.parametrize("address", PAPERS)
def test_an_entry_is_closed_and_has_what_styles_need(address):
    entry = PAPERS[address]
    _, _, found = fields(entry)
    assert entry.count("{") == entry.count("}")
    assert len(entry.splitlines()) == len(found) + 2
    assert {"title", "author", "year", "eprint", "archivePrefix"} <= set(found)
    assert address.endswith(found["eprint"])


def test_keys_are_unique():
    assert len({fields(entry)[1] for entry in PAPERS.values()}) == len(PAPERS)


def test_each_known_paper_is_taken_once():
    one, two, _ = PAPERS
    assert entries_of([two, one, two, "https://example.org"]) == f"{PAPERS[one]}\n\n{PAPERS[two]}"
    assert entries_of([]) == ""


def test_the_citation_file_has_the_version_and_the_same_papers():
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert content["version"] == taggnn.__version__
    assert [row["url"] for row in content["references"]] == list(PAPERS)
    for row in content["references"]:
        found = fields(PAPERS[row["url"]])[2]
        assert row["title"] == found["title"].replace("{", "").replace("}", "")
        assert str(row["year"]) == found["year"]
        assert row.get("doi") == found.get("doi")
        names = [f"{person['family-names']}, {person['given-names']}" for person in row["authors"]]
        assert " and ".join(names) == found["author"]
