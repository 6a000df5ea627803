"""``--fast``: a smoke run, which shows in minutes whether everything works, and is marked as no result."""

from collections.abc import Callable

from jsonargparse import Namespace

NOTE = "smoke run (--fast): a few clips and steps; its figures are no result"
# Largest values of a smoke run; the command line overrides them.
MOST = {"train.epochs": 2, "train.limit_batches": 4, "data.batch_size": 4, "tracklets": 1, "thumbnails": 1}


def shorten(settings: Namespace, given: Callable[[str], bool]) -> None:
    """Makes a configuration that of a smoke run: few epochs and batches, and folders of its own.

    Args:
        settings: the configuration, changed in place.
        given: whether the command line has a key.
    """
    for key, most in MOST.items():
        value = settings[key]
        # A share of the batches is a small number as well.
        if not given(key) and (value is None or isinstance(value, float) or value > most):
            settings[key] = most
    if not (settings.recipe or "run").endswith("-fast"):
        settings.recipe = f"{settings.recipe or 'run'}-fast"
    if settings.data.synthetic and settings.data.root is not None and not given("data.root"):
        # The whole set has other clips, and stays what it is.
        settings.data.root = f"{settings.data.root}-fast"


def title(settings: Namespace, usual: str) -> str:
    """The heading of a run's results: the usual one, marked where it is that of a smoke run."""
    return f"Smoke run, not a result ({usual})" if settings.fast else usual
