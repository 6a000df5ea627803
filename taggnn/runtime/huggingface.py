"""The package transformers, which is optional, and the files of the Hugging Face hub that it finds."""

from pathlib import Path
from types import ModuleType

# 5.12 to 5.17 do not know the names of attention biases in VideoMAE's published files.
OLDEST = (5, 19)


def transformers(what: str) -> ModuleType:
    """The package, imported on first use.

    Args:
        what: what needs it, in the plural, for messages ("Hugging Face backbones").

    Raises:
        ImportError: it is not installed, or too old; the message states how to.
    """
    oldest = ".".join(map(str, OLDEST))
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f"{what} need the package transformers ({error}): pip install 'transformers>={oldest}'"
        ) from error
    version = transformers.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ImportError(
            f"{what} need transformers {oldest} or newer, and {version} is installed: "
            f"pip install 'transformers>={oldest}'"
        )
    return transformers


def hub_file(source: str, file: str) -> Path:
    """Finds a file of a model in the hub's cache, or downloads it there.

    Args:
        source: a hub id, ``owner/name``.
        file: its name there.

    Raises:
        OSError: there is no such model or file, or the hub cannot be reached.
    """
    from transformers.utils import cached_file

    found = cached_file(source, file)
    assert found is not None
    return Path(found)
