"""How to cite: the papers that taggnn implements, as BibTeX, by the addresses that heads and plugs name.

A further paper is an entry here. Its key is in `papers` of a row in `taggnn.heads.HEADS`, or `paper` of a row in
`taggnn.backbones.plugs.PLUGS`. The same entries are in CITATION.cff.
"""

from collections.abc import Iterable, Mapping
from typing import Any

# Titles, authors and years as on arXiv.
PAPERS = {
    "https://arxiv.org/abs/2604.11498": """\
@inproceedings{hassan2026taghead,
  title         = {{TAG-Head}: Time-Aligned Graph Head for Plug-and-Play Fine-grained Action Recognition},
  author        = {Ul Hassan, Imtiaz and Bessis, Nik and Behera, Ardhendu},
  booktitle     = {ICPR},
  year          = {2026},
  eprint        = {2604.11498},
  archivePrefix = {arXiv},
}""",
    "https://arxiv.org/abs/2412.14833": """\
@misc{huang2024sfhead,
  title         = {Synchronized and Fine-Grained Head for Skeleton-Based Ambiguous Action Recognition},
  author        = {Huang, Hao and Lin, Yujie and Chen, Siyu and Liu, Haiyang},
  year          = {2024},
  eprint        = {2412.14833},
  archivePrefix = {arXiv},
  note          = {Published in IET Computer Vision 19(1), e70016},
}""",
    "https://arxiv.org/abs/2511.21202": """\
@misc{sun2025art,
  title         = {Towards an Effective Action-Region Tracking Framework for Fine-grained Video Action Recognition},
  author        = {Sun, Baoli and Wang, Yihan and Ma, Xinzhu and Wang, Zhihui and Lu, Kun and Wang, Zhiyong},
  year          = {2025},
  eprint        = {2511.21202},
  archivePrefix = {arXiv},
  doi           = {10.1109/TNNLS.2025.3602089},
  note          = {Published in IEEE TNNLS 37(1)},
}""",
}


def entries_of(addresses: Iterable[str]) -> str:
    """The entries of papers, separated by empty lines; addresses of other papers have none.

    Args:
        addresses: as in ``PAPERS``; each is taken once, in the order of ``PAPERS``.
    """
    wanted = set(addresses)
    return "\n\n".join(entry for address, entry in PAPERS.items() if address in wanted)


def described(found: Mapping[str, Any], bibtex: bool = False) -> str:
    """The facts about a model, one a line, and the entries of the papers among them.

    Args:
        found: name -> fact; "papers" has their addresses, separated by ", ".
        bibtex: whether the entries follow, after an empty line (default False).
    """
    facts = "\n".join(f"{part:9} {fact}" for part, fact in found.items())
    entries = entries_of(str(found.get("papers", "")).split(", ")) if bibtex else ""
    return f"{facts}\n\n{entries}" if entries else facts
