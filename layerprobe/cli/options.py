"""Commands made from settings: their options, how these are read, and what they complete to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import Parameter, Signature, cleandoc, signature
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import typer
import typer.main

from layerprobe.cli.help import PanelCommand, Row, row_of
from layerprobe.errors import LayerprobeError
from layerprobe.settings.base import Settings, SettingsError
from layerprobe.settings.describe import Description
from layerprobe.settings.flags import Option, flag_of, options_of

S = TypeVar("S", bound=Settings)

GOES_ON = "the same command goes on"
"""What is said of an interrupted command."""


@dataclass(frozen=True)
class Given(Generic[S]):
    """The options that the user gave, before they are settings: a command lays them over values of a file.

    Attributes:
        kind: of the settings.
        values: plain values by name, those of parts below the part's name.
    """

    kind: type[S]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """A command of the program.

    Attributes:
        name: as it is typed.
        run: does it. Each parameter is a group of settings (or ``Given`` of one), whose fields are the options.
        examples: the last part of its help.
        first: the flags that most people need, at most ten: the first panel of its help.
        renamed: flags of earlier versions, with what they are called now.
        interrupted: what to do after an interruption.
    """

    name: str
    run: Callable[..., None]
    examples: str = ""
    first: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    interrupted: str = GOES_ON

    @functools.cached_property
    def groups(self) -> Mapping[str, type[Settings]]:
        """The groups of settings by parameter."""
        return {name: get_args(kind)[0] if get_origin(kind) is Given else kind for name, kind in self._hints.items()}

    @functools.cached_property
    def options(self) -> tuple[tuple[str, Option], ...]:
        """Every option with the parameter of its group."""
        return tuple((name, option) for name, kind in self.groups.items() for option in options_of(kind))

    @functools.cached_property
    def rows(self) -> tuple[Row, ...]:
        """The same, as help and documentation show them."""
        return tuple(row_of(option, self.first) for _, option in self.options)

    @functools.cached_property
    def _hints(self) -> Mapping[str, Any]:
        hints = get_type_hints(self.run)
        return {name: hints[name] for name in signature(self.run).parameters}

    @functools.cached_property
    def parser(self) -> Any:
        """Typer's command, which reads the words behind the name."""
        facts = {"rows": self.rows, "renamed": self.renamed}
        shown = type("_Command", (PanelCommand,), facts)
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        text = cleandoc(self.run.__doc__ or "")
        summary = text.partition("\n\n")[0]
        app.command(self.name, cls=shown, help=text, short_help=summary, epilog=self.examples)(self._callback())
        return typer.main.get_command(app)

    def _callback(self) -> Callable[..., None]:
        options = {
            "__".join((group, *option.path)): (group, option, row)
            for (group, option), row in zip(self.options, self.rows, strict=True)
        }

        def callback(**given: Any) -> None:
            values: dict[str, dict[str, Any]] = {group: {} for group in self.groups}
            for name, value in given.items():
                group, option, row = options[name]
                if value is not None and value != []:
                    _put(values[group], option.path, _read(value, row.what.kind))
            try:
                self.run(**{group: self._settings(group, values[group]) for group in self.groups})
            except SettingsError as error:
                raise LayerprobeError(error.spelled(self.flag_of)) from None

        callback.__signature__ = Signature(  # type: ignore[attr-defined]
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(option, row))
                for name, (_, option, row) in options.items()
            ]
        )
        return callback

    def _settings(self, group: str, values: Mapping[str, Any]) -> Any:
        kind = self.groups[group]
        return Given(kind, values) if get_origin(self._hints[group]) is Given else kind.parse(values)

    def flag_of(self, path: str) -> str:
        """How the command calls a field; the path itself where it has no flag."""
        return next((flag for kind in self.groups.values() if (flag := flag_of(kind, path)) != path), path)


def _read(value: Any, kind: type) -> Any:
    """A value of the option's type; a text that is none stays as it is, and the settings refuse it."""
    if isinstance(value, (list, tuple)):
        return tuple(_read(one, kind) for one in value)
    if isinstance(value, str) and kind in (int, float):
        for number in (int, kind):
            with suppress(ValueError):
                return number(value)
    return value


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _annotation(option: Option, row: Row) -> Any:
    what = row.what
    text = what.kind if what.kind in (bool, Path) else str
    kind: Any = list[text] if what.repeated else text  # type: ignore[valid-type]
    shown: dict[str, Any] = {"help": what.text, "show_default": False, "rich_help_panel": row.panel}
    complete = _completion(what) if what.suggestions else None
    if option.extra.argument:
        extra: Any = typer.Argument(metavar=what.metavar, autocompletion=complete, **shown)
        return Annotated[kind | None, extra]
    switch = what.kind is bool and not option.extra.alone
    names = [f"{option.flag}/{option.opposite}" if switch else option.flag, *filter(None, [option.extra.short])]
    metavar = what.metavar or None
    return Annotated[kind | None, typer.Option(*names, metavar=metavar, autocompletion=complete, **shown)]


def _completion(what: Description) -> Callable[[str], Iterator[tuple[str, str]]]:
    """What an unfinished word can become; of a list, its last part."""

    def complete(incomplete: str) -> Iterator[tuple[str, str]]:
        before, comma, last = incomplete.rpartition(",") if what.separated else ("", "", incomplete)
        yield from ((before + comma + name, text) for name, text in what.suggestions.items() if name.startswith(last))

    return complete
