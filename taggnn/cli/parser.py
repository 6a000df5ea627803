"""A jsonargparse parser with short error messages: the key or file concerned, what was given, what is possible."""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser

from taggnn.names import unknown
from taggnn.runtime import schema
from taggnn.runtime.printable import wrapped
from taggnn.runtime.programs import short_help

_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


class OptionError(ValueError):
    """A wrong option, given in Python."""


class _HelpAll(argparse._HelpAction):
    """``--help-all``: every option, where ``--help`` has the usual ones."""

    def __call__(self, parser: Any, *_: Any) -> None:
        print(parser.format_help(), end="")
        parser.exit()


class Parser(ArgumentParser):
    """An argument parser whose errors are one message, with the nearest possible keys, and exit code 2.

    ``--help`` prints the short text of the program (``taggnn/help``), ``--help-all`` every option.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An abbreviation would silently mean another option once a key is added.
        # Of a hundred options the usage would be as long as their list.
        super().__init__(*args, **{"usage": "%(prog)s [OPTIONS]", **kwargs}, allow_abbrev=False)
        # Python 3.14 colours the help with control sequences, which the terminal is not given.
        self.color = False
        # In Python a mistake is an exception and no message.
        self.raises = False
        # file -> its keys and values, so that an error can name the file of a value.
        self._files: dict[Path, dict[str, Any]] = {}
        self.add_argument("--help-all", action=_HelpAll, help="show every option and exit")
        # Number of actions -> the keys; their defaults take 20 ms, and every level of a file asks for them.
        self._known: dict[int, list[str]] = {}

    def as_lists(self, arguments: Sequence[str]) -> list[str]:
        """A command line with every list in brackets: ``--compare a b`` and ``--compare a,b`` become ``--compare [a,b]``.

        Shells take brackets for patterns of file names. Options that also take text keep a single word as it is.

        An option does not take the files of a program for its values: a list ends where, after its first value, a word is a file
        or folder, and an option whose number may be left out has none if what follows is no number.
        """
        files = any(not action.option_strings and action.nargs in ("+", "*") for action in self._actions)
        optional = {f"--{one.dest}": one.const for one in self._actions if one.option_strings and one.nargs == "?"}
        hints = {f"--{action.dest}": getattr(action, "_typehint", None) for action in self._actions}
        out, words = [], list(arguments)
        while words:
            option, equals, text = words.pop(0).partition("=")
            parts = _parts(hints.get(option))
            if files and not equals and optional.get(option) is not None and words and not _is_number(words[0]):
                out.append(f"{option}={optional[option]}")
                continue
            if not parts & {list, tuple}:
                out.append(option + equals + text)
                continue
            values = [text] if equals else []
            while not equals and words and not words[0].startswith("--"):
                if files and values and Path(words[0]).exists():
                    break
                values.append(words.pop(0))
            value = ",".join(values)
            if not _is_single(value, parts):
                out.append(f"{option}=[{value}]")
            else:
                out += [option + equals + text] if equals else [option, *values]
        return out

    def option(self, name: str, type: Any, default: Any, help: str) -> None:
        """Adds an option with a default."""
        self.add_argument(name, type=type, default=default, help=help)

    def format_help(self, *formatter: Any) -> str:
        columns = shutil.get_terminal_size().columns
        # Titles of groups are not wrapped by argparse.
        lines = super().format_help(*formatter).splitlines()
        return "\n".join(part for line in lines for part in wrapped(line, columns)) + "\n"

    def print_help(self, file: Any = None) -> None:
        text = short_help(self.prog)
        if text is None:
            super().print_help(file)
        else:
            print(text, end="", file=file or sys.stdout)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if self.raises:
            raise OptionError(self._explained(str(message)))
        print(f"{self.prog}: {self._explained(str(message))}", file=sys.stderr)
        sys.exit(2)

    def check_file(self, path: Path, earlier: Mapping[str, str] | None = None) -> None:
        """Ends the program if a configuration file is not YAML or has an unknown key.

        Args:
            path: the file.
            earlier: key -> what wrote files with it, which cannot be read.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.error(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.error(f"{path}: not a text file")
        except (RecursionError, ValueError) as error:
            self.error(f"{path}: no YAML: {str(error).splitlines()[0]}")
        except yaml.YAMLError as error:
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
            where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            self.error(f"{path}{where}: no YAML: {problem}")
        if not isinstance(content, Mapping):
            self.error(f"{path}: {'nothing' if content is None else 'no keys'} in it; expected lines 'key: value'")
        try:
            # Anchors may repeat a part without end.
            schema.check(content, dict[str, Any], str(path))
        except ValueError as error:
            self.error(str(error))
        for key, writer in (earlier or {}).items():
            if key in content:
                self.error(f"{path}: written by {writer}")
        self._files[path] = {}
        self._check_keys(path, content, "")

    def stated(self, key: str) -> Any:
        """The last value of a key in the files checked so far; None if no file has it."""
        return next((given[key] for given in reversed(self._files.values()) if key in given), None)

    def given(self, path: Path) -> dict[str, Any]:
        """The keys of a checked file, with dots, and their values."""
        return self._files[path]

    def _check_keys(self, path: Path, content: Mapping, prefix: str) -> None:
        known = self.keys()
        for name, value in content.items():
            key = f"{prefix}{name}"
            below = [one for one in known if one.startswith(f"{key}.")]
            if key in known:
                self._files[path][key] = value
            elif not below:
                self.error(f"{path}: {self._unknown(key, f'unknown key {key}')}")
            elif isinstance(value, Mapping):
                self._check_keys(path, value, f"{key}.")
            elif value is not None:
                self.error(f"{path}: {key}: expected keys below it, such as {below[0]}; got {value!r}")

    def _explained(self, message: str) -> str:
        option = re.search(r"unrecognized arguments: --([\w.]+)", message)
        if option:
            return self._unknown(option[1], f"unknown option --{option[1]}")
        word = re.search(r"unrecognized arguments: (.*)", message)
        if word:
            return f"unexpected {word[1]!r}: options begin with --, and files come one after the other"
        required = re.search(r"arguments are required: (.*)", message)
        if required:
            return f"missing: {', '.join(self._as_typed(key) for key in required[1].split(', '))}; see --help"
        key = re.search(r"[Kk]ey \"([\w.]+)\"", message)
        value = re.search(r"(?:Got value|Given value): (.*)", message)
        hint = next(
            (getattr(action, "_typehint", None) for action in self._actions if key and action.dest == key[1]), None
        )
        if key and value and hint is not None:
            return self._mistyped(key[1], value[1], hint)
        return message.strip()

    def _mistyped(self, key: str, value: str, hint: Any) -> str:
        files = [str(path) for path, given in self._files.items() if key in given and str(given[key]) == value]
        where = ", ".join([*files[-1:], key])
        if get_origin(hint) is Literal:
            return str(unknown("value", value, get_args(hint), where))
        return f"{where}: expected {_described(hint)}, got {value!r}"

    def _unknown(self, given: str, message: str) -> str:
        keys = self.keys()
        keys += dict.fromkeys(key.rsplit(".", 1)[0] for key in keys if "." in key)
        same = [key for key in keys if key.rsplit(".", 1)[-1] == given.rsplit(".", 1)[-1]]
        near = list(dict.fromkeys([*same, *get_close_matches(given, keys, n=3, cutoff=0.6)]))[:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        return f"{message}{hint} All of them: --help-all"

    def group_names(self) -> set[str]:
        """Names of the groups of keys."""
        return {key.rsplit(".", 1)[0] for key in self.keys() if "." in key}

    def keys(self) -> list[str]:
        """The options, groups with dots: ``data.root``."""
        count = len(self._actions)
        if count not in self._known:
            flat = vars(self.get_defaults(skip_validation=True).as_flat())
            self._known[count] = [key for key in flat if key != "config"]
        return [*self._known[count]]

    def _as_typed(self, key: str) -> str:
        options = [action.option_strings for action in self._actions if action.dest == key]
        return f"--{key}" if options and options[0] else key


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_single(value: str, parts: set[Any]) -> bool:
    """Whether a value is none of a list: nothing, null, in brackets already, a number or text where that is possible."""
    if value[:1] in ("", "[", "{") or value.lower() == "null":
        return True
    text = str in parts and ("," not in value or Path(value).exists())
    return text or (bool(parts & {int, float}) and re.fullmatch(r"[-+\d.e]+", value) is not None)


def _parts(hint: Any) -> set[Any]:
    """The types that a type hint accepts, without the types inside of lists."""
    kind = get_origin(hint)
    return set().union(*map(_parts, get_args(hint))) if kind in (Union, UnionType) else {kind or hint}


def _described(hint: Any) -> str:
    if hint in _TYPES:
        return _TYPES[hint]
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_described(part) for part in parts)
    if kind is Literal:
        return " or ".join(map(str, parts))
    if kind is tuple:
        return f"a list of {len(parts)} numbers"
    if kind is list:
        return "a list a,b,..."
    if kind is dict:
        return "a mapping {key: value}"
    return getattr(hint, "__name__", str(hint))
