"""The flags of a command, derived from the fields of its settings: no option is said twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from layerprobe.settings.base import Settings


@dataclass(frozen=True)
class Flag:
    """What a field's flag needs beside the field's name, type and docstring. Stands in ``Annotated``.

    Attributes:
        short: a second, short name, such as ``-k``.
        panel: of ``--help``; empty: that of the field's settings.
        metavar: what stands for the value in ``--help``; empty: its type.
        default: what ``--help`` says of the default where that is found out later, such as ``by architecture``.
        argument: whether it is given by position.
        none: whether the field has no flag: it is for files and for Python.
    """

    short: str = ""
    panel: str = ""
    metavar: str = ""
    default: str = ""
    argument: bool = False
    none: bool = False


@dataclass(frozen=True)
class Part:
    """Says of a field with settings of its own how their flags begin. Stands in ``Annotated``.

    The part's field ``name`` has the flag of the part, ``--teacher``; the others have their own names, behind the
    prefix where there is one: ``--teacher-weights``.

    Attributes:
        prefix: such as ``teacher``; empty: none.
    """

    prefix: str = ""


@dataclass(frozen=True)
class Option:
    """A flag of a command and the field that it sets.

    Attributes:
        path: of the field, such as ``("training", "lr")``.
        flag: such as ``--lr``.
        field: pydantic's description: type, default, range, help text.
        extra: the field's ``Flag``.
        panel: where ``--help`` lists it.
    """

    path: tuple[str, ...]
    flag: str
    field: FieldInfo
    extra: Flag
    panel: str


def options_of(settings: type[Settings]) -> tuple[Option, ...]:
    """Every option of a group of settings and of its parts, in the order of the fields."""
    return tuple(_options(settings, (), ""))


def _options(settings: type[Settings], path: tuple[str, ...], prefix: str) -> Iterator[Option]:
    for name, field in settings.model_fields.items():
        own = (*path, name)
        part = _find(field, Part)
        if part is not None:
            yield from _options(_settings_of(field), own, part.prefix)
            continue
        extra = _find(field, Flag) or Flag()
        if extra.none:
            continue
        words = path[-1:] if name == "name" and path else tuple(filter(None, (prefix, name)))
        flag = "--" + "-".join(words).replace("_", "-")
        yield Option(own, flag, field, extra, extra.panel or settings.panel)


def _find(field: FieldInfo, kind: type[Any]) -> Any:
    return next((one for one in field.metadata if isinstance(one, kind)), None)


def _settings_of(field: FieldInfo) -> type[Settings]:
    kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))


def flag_of(settings: type[Settings], path: str) -> str:
    """How a command calls a field, by its dotted path or its own name; the path itself where it has no flag."""
    for option in options_of(settings):
        if path in (".".join(option.path), option.path[-1]):
            return option.flag
    return path
