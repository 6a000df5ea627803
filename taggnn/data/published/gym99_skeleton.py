"""FineGym's Gym99 as 2-D skeletons: pyskl's ``gym_hrnet.pkl``, 17 joints of COCO with scores.

Papers: https://arxiv.org/abs/2004.06704, https://arxiv.org/abs/2205.09443. The names of the classes come from FineGym's
``gym99_categories.txt``, if it is there. As in FineGym's lists there is no test split: val is reported.
"""

from taggnn.data.published.finegym import category_names, class_groups
from taggnn.data.published.pickled import published

GYM99_SKELETON = published(
    name="gym99_skeleton",
    title="FineGym Gym99, skeletons",
    paper="https://arxiv.org/abs/2004.06704",
    file_name="gym_hrnet.pkl",
    keys={"train": ("train",), "val": ("val", "test")},
    classes=99,
    names=lambda request, notes: category_names(request, "gym99", 99, notes),
    groups=lambda request: class_groups(request, "gym99"),
)
