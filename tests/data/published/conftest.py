"""A disk of empty files named as publishers name theirs; readers never open a video."""

import pytest


@pytest.fixture
def touch(tmp_path):
    """``touch(name, ...)`` makes empty files below the root, whose path it returns; ``name=text`` fills one."""

    def touch(*names, **filled):
        for name, text in {**dict.fromkeys(names, ""), **filled}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return touch
