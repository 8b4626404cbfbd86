"""What can be said of an option, derived from its field: its kind, choices, range and default."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from layerprobe.settings.base import OneOf, Separated
from layerprobe.settings.flags import Option

_LARGE = 10**8
"""A bound that no one comes near; it is not mentioned."""
_METAVARS: Mapping[type, str] = {int: "INT", float: "FLOAT", Path: "PATH", str: "TEXT", bool: ""}


@dataclass(frozen=True)
class Description:
    """What help, completion and the documentation say of an option.

    Attributes:
        kind: of its value on the command line: ``bool``, ``int``, ``float``, ``Path`` or ``str``.
        repeated: whether the option may be given several times.
        separated: whether its value is a list with commas.
        metavar: what stands for its value; empty of a switch.
        text: its help text.
        choices: what may stand there, with a word on each where there is one.
        suggestions: the choices, and what else an unfinished word may become.
        others: what may stand there beside the choices, such as ``FILE.py:name``.
        range: such as ``at least 1``; empty: any value.
        default: such as ``50``; empty: none.
        required: whether it must be given.
    """

    kind: type
    repeated: bool
    separated: bool
    metavar: str
    text: str
    choices: Mapping[str, str]
    suggestions: Mapping[str, str]
    others: str
    range: str
    default: str
    required: bool

    @property
    def values(self) -> str:
        """The choices in a row, or the range; empty: any value."""
        listed = [*self.choices, *([self.others] if self.others else ())]
        return ", ".join(listed[:-1]) + " or " + listed[-1] if listed[1:] else "".join(listed) or self.range

    @property
    def facts(self) -> str:
        """Choices or range, and the default, in one line."""
        default = "required" if self.required else f"default: {self.default}" if self.default else ""
        return "; ".join(filter(None, (self.values, default)))


def describe(option: Option) -> Description:
    """What can be said of an option."""
    marks = tuple(_marks(option.field))
    bare = _bare(option.field.annotation)
    separated = Separated in marks
    kind = _kind(bare, separated)
    catalogues = [mark for mark in marks if isinstance(mark, OneOf)]
    named = [*(mark.catalogue for mark in catalogues), option.extra.names]
    choices = {name: entry.help for names in named for name, entry in names.items()}
    also = (*option.extra.also, *(word for mark in catalogues for word in mark.also))
    choices |= dict.fromkeys(map(str, _literals(bare)), "") | dict.fromkeys(also, "")
    metavar = ("NAME,NAME,..." if separated else "NAME") if choices else _METAVARS[kind]
    plugins = any(mark.catalogue.takes_plugins for mark in catalogues)
    return Description(
        kind=kind,
        repeated=not separated and _tuple_of(bare) is not None,
        separated=separated,
        metavar=option.extra.metavar or metavar,
        text=" ".join(option.help.split()),
        choices=choices,
        suggestions={**choices, **option.extra.suggests()},
        others=option.extra.others or ("FILE.py:name" if plugins else ""),
        range=_range(bounds_of(option)),
        default="" if option.extra.alone else option.default or _default(option.field),
        required=option.field.is_required() and not option.default,
    )


def _marks(field: FieldInfo) -> Iterator[Any]:
    """Everything that ``Annotated`` says of the field and of what its type is made of."""
    yield from field.metadata
    yield from _type_marks(field.annotation)


def _type_marks(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        for mark in kind.__metadata__:
            yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)
    if get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _type_marks(part)


def _bare(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have, without ``Annotated`` and None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(one for part in get_args(kind) for one in _bare(part))
    return () if kind is type(None) else (kind,)


def _tuple_of(bare: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return next((_bare(get_args(kind)[0]) for kind in bare if get_origin(kind) is tuple), None)


def _literals(bare: tuple[Any, ...]) -> Iterator[Any]:
    for kind in bare:
        if get_origin(kind) is Literal:
            yield from get_args(kind)
    inner = _tuple_of(bare)
    if inner is not None:
        yield from _literals(inner)


def _kind(bare: tuple[Any, ...], separated: bool) -> type:
    """How the command line reads a value; what is no plain type is text, which the field itself reads."""
    parts = bare if separated else _tuple_of(bare) or bare
    only = parts[0] if len(parts) == 1 else str
    return only if isinstance(only, type) and only in _METAVARS else str


def bounds_of(option: Option) -> dict[str, float]:
    """The limits of a number, or of the numbers of a list: ``ge``, ``gt``, ``le``, ``lt`` and ``multiple_of``."""
    return {
        name: getattr(mark, name)
        for mark in _marks(option.field)
        for name in ("ge", "gt", "le", "lt", "multiple_of")
        if getattr(mark, name, None) is not None
    }


def _range(bounds: Mapping[str, float]) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}
    shown = [f"{words[name]} {_number_text(bound)}" for name, bound in bounds.items() if bound < _LARGE]
    return ", ".join(shown)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True) if not field.is_required() else None
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return _number_text(value)


def _number_text(value: Any) -> str:
    """A number as people write it; large powers of two as powers."""
    return f"{value:g}" if isinstance(value, float) else str(value)
