"""What tests of backbones share."""

import pytest

from taggnn import backbones


@pytest.fixture(scope="session")
def dry_run():
    """``dry_run(module, (T, H, W))``: channels and token grid for a clip of video."""

    def found(module, clip, grid=None):
        return backbones.dry_run(module, backbones.video_spec(module, clip), grid)

    return found
