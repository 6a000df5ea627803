"""Names of coordinates and confidence in files that hold several arrays by name."""

from collections.abc import Collection

# "skeletons" is NW-UCLA's, "keypoint" and "keypoint_score" those of pyskl and MMAction2.
COORDINATES = ("coordinates", "keypoint", "keypoints", "skeletons")
CONFIDENCE = ("confidence", "score", "keypoint_score")


def find_keys(names: Collection[str]) -> tuple[str, str | None]:
    """The names of the coordinates and of the confidence, None without one.

    Raises:
        ValueError: no coordinates, or two.
    """
    found = [name for name in COORDINATES if name in names]
    if len(found) != 1:
        has = ", ".join(sorted(map(repr, names))[:10]) or "nothing"
        wrong = f"both {found[0]!r} and {found[1]!r}" if found else f"none of {', '.join(COORDINATES)}"
        raise ValueError(f"has {wrong}; expected one of them with the coordinates; it has {has}")
    return found[0], next((name for name in CONFIDENCE if name in names), None)
