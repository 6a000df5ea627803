"""What is installed: versions, and each optional extra with the command that adds what it lacks."""

import configparser
import shlex
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from taggnn.io.environment import version_of, versions

# What compares as well with it but has no extra: kernels of PyTorch for GPUs.
_FURTHER = ("triton", "torchcodec")
# Compiled against the PyTorch that is there.
_COMPILED = ("torch-scatter",)


@dataclass(frozen=True)
class Extra:
    """An optional extra.

    Args:
        name: as in ``taggnn[name]``.
        found: package -> installed version, of those that are new enough.
        lacking: requirements that are not fulfilled, such as "starlette>=0.46".
    """

    name: str
    found: dict[str, str]
    lacking: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that installs what is lacking; empty if nothing is."""
        if not self.lacking:
            return ""
        names = {Requirement(one).name for one in self.lacking}
        options = ["--no-build-isolation"] if names & set(_COMPILED) else []
        return shlex.join(["pip", "install", *options, *self.lacking])


def packages() -> dict[str, str]:
    """Versions of what every result depends on, and of further kernels and decoders."""
    return {**versions(), **{name: version_of(name) for name in _FURTHER}}


def extras() -> list[Extra]:
    """Every extra of the installed package, or of the source tree it runs from."""
    return [_checked(name, needed) for name, needed in _declared().items()]


def _checked(name: str, needed: list[Requirement]) -> Extra:
    found, lacking = {}, []
    for one in needed:
        try:
            installed = version(one.name)
        except PackageNotFoundError:
            lacking.append(f"{one.name}{one.specifier}")
            continue
        if one.specifier.contains(installed, prereleases=True):
            found[one.name] = installed
        else:
            lacking.append(f"{one.name}{one.specifier}")
    return Extra(name, found, tuple(lacking))


def _declared() -> dict[str, list[Requirement]]:
    source = Path(__file__).parents[2] / "setup.cfg"
    if source.is_file():
        setup = configparser.ConfigParser()
        setup.read(source, encoding="utf-8")
        lines = dict(setup["options.extras_require"]) if setup.has_section("options.extras_require") else {}
        return {name: [Requirement(line) for line in text.split("\n") if line.strip()] for name, text in lines.items()}
    declared: dict[str, list[Requirement]] = {}
    try:
        listed = requires("taggnn") or []
    except PackageNotFoundError:
        return {}
    for line in listed:
        one = Requirement(line)
        # A requirement of an extra has the marker: extra == "serve".
        for name in _named(str(one.marker or "")):
            declared.setdefault(name, []).append(one)
    return declared


def _named(marker: str) -> list[str]:
    _, found, rest = marker.partition("extra == ")
    return [rest.split()[0].strip("\"')")] if found else []
