"""Flags made from the fields of settings: `option` in midivibe/config.py states name, type, range, unit, default and help once.

Flags have no defaults of their own: what was not given is missing from the parsed options, and the dataclass fills it in. So
what was given can be told from what was not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar

from midivibe.config import StrictConfig, check, kinds, limits, option
from midivibe.errors import InputError, MidivibeError, nearest

Config = TypeVar("Config", bound=StrictConfig)


def add(
    parser: argparse._ActionsContainer,
    config: type[StrictConfig],
    *,
    names: Iterable[str] = (),
    shown: StrictConfig | None = None,
) -> None:
    """Add a flag for each field of `config`, or for those in `names` in their order.

    `shown` is what holds where nothing is given, for --help: its values take the place of the fields' own defaults.
    """
    by_name = {field.name: field for field in fields(config)}
    of = kinds(config)
    for name in names or by_name:
        field, kind = by_name[name], of[name]
        rule = field.metadata
        keywords: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(field, shown)}
        if kind == "bool":
            keywords["action"] = "store_true"
        else:
            choices = rule.get("choices")
            keywords["metavar"] = rule.get("metavar") or (f"{{{','.join(choices)}}}" if choices else name.upper())
            keywords["type"] = _reader(name, kind, rule)
            keywords["required"] = field.default is MISSING
        parser.add_argument(flag(name), **keywords)


def positional(parser: argparse._ActionsContainer, config: type[StrictConfig], name: str, nargs: str | None = None) -> None:
    """Add a field of `config` as an argument without a flag."""
    field = config.__dataclass_fields__[name]
    parser.add_argument(name, nargs=nargs, default=argparse.SUPPRESS, metavar=name.upper(), help=_help(field, None))


def given(options: argparse.Namespace, config: type[StrictConfig]) -> dict[str, Any]:
    """The settings of `config` that the command line gave."""
    return {field.name: getattr(options, field.name) for field in fields(config) if hasattr(options, field.name)}


def read(options: argparse.Namespace, config: type[Config]) -> Config:
    """The settings that the command line gave, with defaults for the rest; raises InputError."""
    return config(**given(options, config))


def assigned(texts: Iterable[str], config: type[StrictConfig]) -> dict[str, Any]:
    """["warmup_steps=20"] → {"warmup_steps": 20}, the settings of `--set`; raises InputError."""
    found: dict[str, Any] = {}
    of = kinds(config)
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            first = fields(config)[0]
            raise InputError(f"cannot read --set {text!r}; write NAME=VALUE, such as --set {first.name}={first.default}")
        if name not in of:
            raise InputError(f"there is no setting {name!r}; did you mean {nearest(name, of, 1)}?")
        found[name] = _parse(value.strip(), of[name])
        check(name, found[name], of[name], config.__dataclass_fields__[name].metadata)
    return found


def flag(name: str) -> str:
    """A setting's name as its flag."""
    return f"--{name.replace('_', '-')}"


def _parse(text: str, kind: str) -> bool | int | float | str:
    """A flag's text as a value of its kind; as it is where it is none, for `check` to refuse."""
    with suppress(ValueError):
        if kind in ("int", "float"):
            return int(text) if kind == "int" else float(text)
    return {"true": True, "false": False}.get(text.lower(), text) if kind == "bool" else text


def _reader(name: str, kind: str, rule: Mapping[str, Any]) -> Callable[[str], bool | int | float | str]:
    """What argparse calls with a flag's text."""

    def read(text: str) -> bool | int | float | str:
        value = _parse(text, kind)
        try:
            check(name, value, kind, rule)
        except InputError as error:  # a ValueError, which argparse would put into words of its own
            raise MidivibeError(str(error)) from None
        return value

    return read


def _help(field: Field[Any], shown: StrictConfig | None) -> str:
    """A field's help with its range, unit and default."""
    default = getattr(shown, field.name, field.default)
    facts = [limits(field.metadata)]
    if default is not MISSING and default not in (None, ()) and default is not False:
        facts.append(f"default {default:g}" if isinstance(default, float) else f"default {default}")
    said = "; ".join(filter(None, facts))
    text: str = field.metadata["help"]
    return (text + (f" ({said})" if said else "")).replace("%", "%%")


# What several commands share ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Takes(StrictConfig):
    """How many results."""

    variations: int = option(
        1, "how many different results to write; their seeds count up from --seed", low=1, high=64, metavar="K"
    )

    def names(self, stem: str) -> list[str]:
        """A name for each: STEM, or STEM-1, STEM-2, ..."""
        return [stem] if self.variations == 1 else [f"{stem}-{i + 1}" for i in range(self.variations)]


def as_json(parser: argparse._ActionsContainer) -> None:
    """The flag for machines."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
