"""Command-line flags, made from the config's fields; the only module that knows absl's flags."""

from __future__ import annotations

import dataclasses
import difflib
import os
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

import tf_simclr
from tf_simclr.config.option import paths_of
from tf_simclr.errors import InputError

# Flags of the authors' older recipes: accepted, without effect.
IGNORED_FLAGS = ("train_summary_steps", "variable_schema")
IGNORED_HELP = "Accepted for older recipes and ignored."
FLAGFILE_HELP = "File with one flag a line, inserted here. Recipes of the package: configs/NAME.cfg."

# The recipes that come with the package.
CONFIGS = Path(tf_simclr.__file__).parent / "configs"
_FLAGFILE = ("--flagfile", "-flagfile")


@dataclass(frozen=True)
class ParsedFlags:
    """A command line after parsing.

    Attributes:
        values: every flag's value.
        given: names of the flags that were on the command line or in a --flagfile.
        ignored: names of given flags that have no effect.
    """

    values: dict[str, Any]
    given: frozenset[str]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """The flags of a config dataclass, without those that a task has no use for."""

    config: type
    without: frozenset[str] = frozenset()

    @property
    def fields(self) -> list[dataclasses.Field[Any]]:
        """The fields that are flags."""
        return [field for field in dataclasses.fields(self.config) if field.name not in self.without]

    @property
    def title(self) -> str:
        """The first line of the dataclass's docstring."""
        return (self.config.__doc__ or self.config.__name__).splitlines()[0].rstrip(".")

    def build(self, values: dict[str, Any], **others: Any) -> Any:
        """The dataclass from values by flag name, and from `others`."""
        return self.config(**{field.name: values[field.name] for field in self.fields}, **others)


def _define(parser: flags.FlagValues, field: dataclasses.Field[Any], kind: Any, group: str) -> None:
    help_text, choices = field.metadata["help"], field.metadata["choices"]
    options: dict[str, Any] = {"flag_values": parser, "module_name": group}
    kinds = set(typing.get_args(kind)) - {type(None)} or {kind}
    if choices and kinds == {str}:
        flags.DEFINE_enum(field.name, str(field.default), list(choices), help_text, **options)
        return
    define: dict[Any, Callable[..., Any]] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    define[kinds.pop()](field.name, field.default, help_text, **options)


class _Parser(flags.FlagValues):
    """A parser in which a --flagfile inside a flag file is found by `recipe`, too."""

    def _extract_filename(self, flagfile_str: str) -> str:
        return recipe(super()._extract_filename(flagfile_str))


def build_parser(groups: Sequence[Group]) -> flags.FlagValues:
    """A parser of the fields of some config dataclasses, apart from absl's global one."""
    parser = _Parser()
    for group in groups:
        kinds = typing.get_type_hints(group.config)
        for field in group.fields:
            _define(parser, field, kinds[field.name], group.title)
    for name in IGNORED_FLAGS:
        flags.DEFINE_string(name, None, IGNORED_HELP, flag_values=parser, module_name="Ignored")
    flags.DEFINE_string("flagfile", "", FLAGFILE_HELP, flag_values=parser, module_name="Flag files")
    return parser


def parse(argv: Sequence[str], groups: Sequence[Group], words: Sequence[str] = ()) -> ParsedFlags:
    """Parses a command line without the program's name.

    Args:
        argv: the command line.
        groups: the flags.
        words: names of the flags that may be written without --name=, in this order.

    Raises:
        InputError: an unknown flag, a value of the wrong kind, or words that are no flags.
    """
    parser = build_parser(groups)
    try:
        rest = parser(["tf_simclr", *with_recipes(argv)])[1:]
        free = [name for name in words if not parser[name].present][: len(rest)]
        parser(["tf_simclr", *(f"--{name}={word}" for name, word in zip(free, rest, strict=False))])
    except flags.CantOpenFlagFileError as error:
        raise InputError(f"{' '.join(str(error).split()).removeprefix('ERROR:: ')}. {_recipes_like(argv)}") from error
    except (flags.Error, OSError) as error:
        raise InputError(f"{' '.join(str(error).split())} (--helpfull lists all flags)") from error
    if more := rest[len(free) :]:
        raise InputError(f"flags are written --name=value. Received: {' '.join(more)}. --helpfull lists all flags")
    given = frozenset(name for name in parser if parser[name].present)
    values = {name: parser[name].value for name in parser if name not in (*IGNORED_FLAGS, "flagfile")}
    for name in paths_of(*(group.config for group in groups)) & set(values):
        values[name] = expanded(name, values[name])
    return ParsedFlags(values, given, tuple(name for name in IGNORED_FLAGS if name in given))


def _recipes_like(argv: Sequence[str]) -> str:
    """Which recipes of the package a person may have meant by a flag file that is not there."""
    known = [f"configs/{path.relative_to(CONFIGS).as_posix()}" for path in sorted(CONFIGS.rglob("*.cfg"))]
    close = [name for word in argv for name in difflib.get_close_matches(word.partition("=")[2] or word, known)]
    return f"Did you mean: {', '.join(close)}?" if close else f"Recipes of the package are in {CONFIGS}"


def recipe(path: str) -> str:
    """A flag file as it was typed, or the package's where there is none: configs/NAME.cfg is one wherever one is."""
    if not path:
        return path
    typed = Path(path).expanduser()
    parts = typed.parts
    inside = parts[len(parts) - parts[::-1].index("configs") :] if "configs" in parts else parts
    packaged = CONFIGS.joinpath(*inside)
    return str(packaged if not typed.exists() and packaged.is_file() else typed)


def with_recipes(argv: Sequence[str]) -> list[str]:
    """A command line in which every --flagfile names a file by `recipe`."""
    words: list[str] = []
    for word in argv:
        name, equals, path = word.partition("=")
        if name in _FLAGFILE and equals:
            words.append(f"{name}={recipe(path)}")
        else:
            words.append(recipe(word) if words and words[-1] in _FLAGFILE else word)
    return words


def expanded(name: str, path: str | None) -> str | None:
    """A path with ~ and ~user at its beginning replaced: a shell does not do it behind the = of a flag.

    Raises:
        InputError: there is no such user.
    """
    if path is None or not path.startswith("~"):
        return path
    whole = os.path.expanduser(path)
    if whole == path:
        raise InputError(
            f"`{name}` begins with ~, and there is no such home directory. Received: {name}={path}. Write the whole "
            f"path, or ./{path} for a file of that name"
        )
    return whole


def fill_from_values(parsed: ParsedFlags, values: dict[str, Any]) -> ParsedFlags:
    """Takes from `values` every flag that was not given; names that are no flags any more are left out."""
    taken = {k: v for k, v in values.items() if k in parsed.values and k not in parsed.given}
    return dataclasses.replace(parsed, values=parsed.values | taken)
