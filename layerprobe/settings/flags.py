"""The flags of a command, derived from the fields of its settings: no option is said twice."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from layerprobe.catalogue import Entry
from layerprobe.settings.base import Separated, Settings, part_of

Note = TypeVar("Note")


@dataclass(frozen=True, eq=False)
class Flag:
    """What a field's flag needs beside the field's name, type and docstring. Stands in ``Annotated``.

    Attributes:
        short: a second, short name, such as ``-k``.
        panel: of ``--help``; empty: that of the field's settings.
        metavar: what stands for the value in ``--help``; empty: its type.
        default: what ``--help`` says of the default where that is found out later, such as ``by architecture``.
        also: words that may stand for the value beside its choices, such as ``all``.
        names: of a catalogue's entries, which may stand for the value among others; help and completion list them.
        others: what may stand there beside these, in words.
        suggests: what an unfinished word may become, with a word on each, where it is too much for help.
        alone: of a switch: whether it can't be taken back by ``--no-...``.
        argument: whether it is given by position.
        none: whether the field has no flag: it is for files and for Python.
    """

    short: str = ""
    panel: str = ""
    metavar: str = ""
    default: str = ""
    also: tuple[str, ...] = ()
    names: Mapping[str, Entry] = field(default_factory=dict)
    others: str = ""
    suggests: Callable[[], Mapping[str, str]] = dict
    alone: bool = False
    argument: bool = False
    none: bool = False


@dataclass(frozen=True)
class Part:
    """Says of a field with settings of its own how their flags begin. Stands in ``Annotated``.

    The part's field ``name`` has the flag of the part, ``--teacher``; the others have their own names, behind the
    prefix where there is one: ``--teacher-weights``. Where the docstring of ``name`` begins in lower case, its help
    text is the part's docstring followed by it.

    Attributes:
        prefix: such as ``teacher``; empty: none.
        defaults: what ``--help`` says of defaults that are others in this part, by the names of its fields.
        without: names of fields that have no flag in this part.
    """

    prefix: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """A flag of a command and the field that it sets.

    Attributes:
        path: of the field, such as ``("training", "lr")``.
        flag: such as ``--lr``; of what is given by position what stands for it in ``--help``.
        field: pydantic's description: type, default, range.
        extra: the field's ``Flag``.
        panel: where ``--help`` lists it.
        help: its help text.
        default: what ``--help`` says of the default; empty: the default itself.
    """

    path: tuple[str, ...]
    flag: str
    field: FieldInfo
    extra: Flag
    panel: str
    help: str
    default: str

    @property
    def opposite(self) -> str:
        """The flag that takes a switch back."""
        return f"--no-{self.flag.removeprefix('--')}"


def options_of(settings: type[Settings]) -> tuple[Option, ...]:
    """Every option of a group of settings and of its parts, in the order of the fields."""
    return tuple(_options(settings, (), Part(), ""))


def _options(settings: type[Settings], path: tuple[str, ...], part: Part, about: str) -> Iterator[Option]:
    for name, info in settings.model_fields.items():
        own, text = (*path, name), " ".join((info.description or "").split())
        inner, inside = note_of(info, Part), part_of(info)
        if inner is not None and inside is not None:
            yield from _options(inside, own, inner, text)
            continue
        extra = note_of(info, Flag) or Flag()
        if extra.none or name in part.without:
            continue
        names_part = name == "name" and bool(path)
        words = path[-1:] if names_part else tuple(filter(None, (part.prefix, name)))
        yield Option(
            path=own,
            flag=extra.metavar if extra.argument else "--" + "-".join(words).replace("_", "-"),
            field=info,
            extra=extra,
            panel=extra.panel or settings.panel,
            help=f"{about.rstrip('.')}: {text}" if names_part and text[:1].islower() else text,
            default=part.defaults.get(name, extra.default),
        )


def note_of(info: FieldInfo, kind: type[Note]) -> Note | None:
    """What stands beside a field's type in ``Annotated``, of one kind; None: there is none."""
    return next((one for one in info.metadata if isinstance(one, kind)), None)


def flag_of(settings: type[Settings], path: str) -> str:
    """How a command calls a field, by its dotted path or its own name; the path itself where it has no flag."""
    options, own = options_of(settings), path.rpartition(".")[2]
    for option in options:
        if path in (".".join(option.path), ".".join(option.path).removesuffix(".name")):
            return option.flag
    return next((option.flag for option in options if option.path[-1] == own), path)


def command_line(command: str, settings: Settings) -> str:
    """A command that means these settings, quoted so that it can be pasted."""
    return shlex.join(["layerprobe", command, *words_of(settings)])


def words_of(settings: Settings) -> list[str]:
    """The words of the command line that mean these settings: every value that is not the default.

    Examples:
        >>> from layerprobe.settings.model import ModelSettings
        >>> words_of(ModelSettings(name="cifar:resnet20", num_classes=7))
        ['--name', 'cifar:resnet20', '--num-classes', '7']
    """
    words: list[str] = []
    for option in options_of(type(settings)):
        value: Any = settings
        for name in option.path:
            value = None if value is None else getattr(value, name)
        if value is None or value == option.field.get_default(call_default_factory=True):
            continue
        words += _words(option, value)
    return words


def _words(option: Option, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option.flag if value else option.opposite]
    repeated = isinstance(value, tuple) and Separated not in option.field.metadata
    texts = [_text(one) for one in value] if repeated else [_text(value)]
    if option.extra.argument:
        return texts
    return [word for text in texts for word in (option.flag, text)]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    is_like_flag = isinstance(value, Path) and str(value).startswith("-")
    return f"./{value}" if is_like_flag else str(value)
