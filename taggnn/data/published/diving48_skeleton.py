"""Diving48 as 2-D skeletons: pyskl's ``diving48_hrnet.pkl``, 17 joints of COCO with scores.

Papers: https://doi.org/10.1007/978-3-030-01231-1_32 (RESOUND), https://arxiv.org/abs/2205.09443. The names of the classes come
from ``Diving48_vocab.json``, if it is there.
"""

from taggnn.data.published.diving48 import CLASSES, vocabulary
from taggnn.data.published.pickled import published

DIVING48_SKELETON = published(
    name="diving48_skeleton",
    title="Diving48, skeletons",
    paper="https://doi.org/10.1007/978-3-030-01231-1_32",
    file_name="diving48_hrnet.pkl",
    keys={"train": ("train",), "test": ("test", "val")},
    classes=CLASSES,
    names=vocabulary,
)
