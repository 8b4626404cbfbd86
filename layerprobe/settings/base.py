"""The frozen record that every group of settings is, and the one-line error for a value that is not allowed."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from layerprobe.catalogue import Catalogue
from layerprobe.errors import LayerprobeError, closest, must_be, shown
from layerprobe.plugins import split_file_name

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic._internal._model_construction import ModelMetaclass
    from typing_extensions import Self
else:
    ModelMetaclass = type(BaseModel)

_MARKER = re.compile(r"<([a-z_][a-z0-9_.]*)>")
_RECORDED = "recorded"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class SettingsError(LayerprobeError):
    """A value that is not allowed for a setting.

    Messages name fields as ``<training.lr>``. A Python user reads ``training.lr``, a command's user ``--lr``: the
    command line replaces the names with ``spelled``.

    Args:
        message: one line, with fields in angle brackets.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(self.spelled(lambda path: path))

    def spelled(self, name_of: Callable[[str], str]) -> str:
        """The message, with every field called as a function says of its dotted path."""
        return _MARKER.sub(lambda found: name_of(found[1]), self.message)

    def within(self, part: str) -> SettingsError:
        """The same error about a part of other settings: ``<weights>`` becomes ``<teacher.weights>``."""
        own = _MARKER.sub(lambda found: found[0] if "." in found[1] else f"<{part}.{found[1]}>", self.message)
        return SettingsError(own)


@contextmanager
def errors_of_part(part: str) -> Iterator[None]:
    """Have errors about settings name their fields as those of a part, such as ``teacher``."""
    try:
        yield
    except SettingsError as error:
        raise error.within(part) from error.__cause__


class RefusedError(ValueError):
    """A validator's whole message, where it is more than what a value must be.

    In the message ``<>`` stands for the field itself, and ``<name>`` for another field of the same settings.
    """


class _OneLineErrors(ModelMetaclass):
    """Has pydantic's errors, which take several lines, raised as one line that names the field."""

    def __call__(cls, /, **values: Any) -> Any:
        try:
            return super().__call__(**values)
        except ValidationError as error:
            raise settings_error(error, cls) from None


class Settings(BaseModel, metaclass=_OneLineErrors):
    """A group of settings: frozen, without unknown keys, every value in its range.

    The docstring below a field is its help text. ``panel`` is where ``--help`` lists the fields.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        defer_build=True,
    )
    panel: ClassVar[str] = "Options"

    @model_validator(mode="before")
    @classmethod
    def _text_is_text(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, Mapping) else ():
            for text in value if isinstance(value, tuple | list) else (value,):
                if isinstance(text, str | Path) and not _is_text(str(text)):
                    raise RefusedError(f"<{name}> is text in UTF-8, not {str(text)!a}; name it otherwise")
        return values

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Make the docstrings below fields their descriptions, as pydantic can do too, in three times the time."""
        for name, text in _docstrings(cls):
            cls.model_fields[name].description = text

    @classmethod
    def check_given(cls, values: Mapping[str, Any], recorded: bool = False) -> None:
        """Check plain values that need not be complete, such as those of a file that flags add to.

        Raises:
            SettingsError: if a key is unknown or a value is not allowed.
        """
        try:
            cls.model_validate(dict(values), context={_RECORDED: recorded})
        except ValidationError as error:
            if any(one["type"] != "missing" for one in error.errors()):
                raise settings_error(error, cls) from None

    @classmethod
    def parse(cls, values: Mapping[str, Any], recorded: bool = False) -> Self:
        """Settings from plain values, such as those of a YAML file; parts are mappings below their name.

        Args:
            values: by the fields' names.
            recorded: whether they describe a run that was made before, whose plug-ins' files may be gone.

        Raises:
            SettingsError: if a key is unknown or missing, or a value is not allowed.
        """
        try:
            return cls.model_validate(dict(values), context={_RECORDED: recorded})
        except ValidationError as error:
            raise settings_error(error, cls) from None

    def replaced(self, **values: Any) -> Self:
        """The same settings with other values, checked again."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | values)

    def plain(self) -> dict[str, Any]:
        """Plain values, ready for YAML and JSON; ``parse`` reads them back."""
        return self.model_dump(mode="json")


def _is_text(value: str) -> bool:
    """Whether a text can be written in UTF-8, and name a file: Python takes names that can't be decoded for others."""
    return not _NO_TEXT.search(value)


def _docstrings(settings: type[Any]) -> Iterator[tuple[str, str]]:
    """The docstrings below the fields that a class itself has."""
    for node in ast.walk(_syntax_tree(settings.__module__)):
        if isinstance(node, ast.ClassDef) and node.name == settings.__name__:
            for field, below in zip(node.body, node.body[1:], strict=False):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        yield name, inspect.cleandoc(text)


@functools.cache
def _syntax_tree(module: str) -> ast.Module:
    file = getattr(sys.modules.get(module), "__file__", None)
    return ast.parse(Path(file).read_text(encoding="utf-8") if file and Path(file).is_file() else "")


def part_of(field: FieldInfo) -> type[Settings] | None:
    """The settings that a field holds as a part of its own; None: it holds a value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), None)


def is_recorded(info: ValidationInfo) -> bool:
    """Whether the values that are parsed describe a run that was made before."""
    return bool((info.context or {}).get(_RECORDED))


def settings_error(error: ValidationError, settings: type[Any]) -> SettingsError:
    """Pydantic's complaint in one line: the field, what it must be, and what came instead.

    Of several complaints the first; missing fields are named together, where nothing else is wrong.

    Args:
        error: pydantic's.
        settings: what was to be made.
    """
    errors = error.errors(include_url=False)
    missing = [_marker(_path(one["loc"], settings)) for one in errors if one["type"] == "missing"]
    errors = [one for one in errors if one["type"] != "missing"]
    if not errors:
        first, last = ", ".join(missing[:-1]), missing[-1]
        named, verb, them = (f"{first} and {last}", "are", "them") if first else (last, "is", "it")
        return SettingsError(f"{named} {verb} missing; give {them}")
    first_error = errors[0]
    path, given = _path(first_error["loc"], settings), first_error["input"]
    if first_error["type"] == "extra_forbidden":
        return SettingsError(_no_setting(first_error["loc"], settings))
    cause = first_error.get("ctx", {}).get("error")
    if isinstance(cause, RefusedError):
        return SettingsError(_replaced_markers(str(cause), path))
    what = str(cause) if cause is not None else must_be(first_error["type"], first_error.get("ctx", {}))
    what = what or first_error["msg"].removeprefix("Input should be ")
    comma = ";" if "," in what else ","
    refused = f"{what}{comma} not {shown(given)}"
    return SettingsError(f"{_marker(path)} is {refused}" if path else refused)


def _path(place: Sequence[int | str], settings: type[Any]) -> tuple[str, ...]:
    """The fields and keys that lead to a value. Pydantic also names members of unions and places in lists: neither
    counts."""
    return tuple(name for name, _ in _steps(place, settings))


def _steps(place: Sequence[int | str], settings: type[Any]) -> Iterator[tuple[str, type[Any] | None]]:
    inside: type[Any] | None = settings
    keys = 0
    for part in place:
        if inside is not None:
            field = next((f for n, f in inside.model_fields.items() if part in (n, f.alias)), None)
            if field is None:
                continue
            keys = str(field.annotation).count("dict[")
            inside = part_of(field)
            yield str(part), inside
        elif keys and isinstance(part, str):
            keys -= 1
            yield part, None


def _no_setting(place: Sequence[int | str], settings: type[Any]) -> str:
    """The message about an unknown key, with the names that are most like it."""
    *above, key = place
    inside = settings
    for _, found in _steps(above, settings):
        inside = found or inside
    known = [field.alias or name for name, field in inside.model_fields.items()]
    path = ".".join((*_path(above, settings), str(key)))
    return f"there is no setting {shown(path)}; {closest(str(key), known)}"


def _marker(path: Sequence[str]) -> str:
    dotted = ".".join(path)
    return f"<{dotted}>" if _MARKER.fullmatch(f"<{dotted}>") else dotted


def _replaced_markers(message: str, path: tuple[str, ...]) -> str:
    own = message.replace("<>", _marker(path))
    if own != message:
        return own
    return _MARKER.sub(lambda found: _marker((*path, found[1])), message)


@dataclass(frozen=True, eq=False)
class OneOf:
    """Accepts the names of a catalogue, and its plug-ins. The catalogue is looked up when a value is parsed.

    Stands in ``Annotated``, where the command line finds the names to complete.

    Attributes:
        catalogue: of what may be named.
        also: words that pass beside the names, such as ``all``.
    """

    catalogue: Catalogue[Any]
    also: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check after the type."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str, info: ValidationInfo) -> str:
        try:
            is_kept = self.catalogue.takes_plugins and is_recorded(info) and split_file_name(name)
            if name not in self.also and not is_kept:
                self.catalogue.find(name)
        except LayerprobeError as error:
            raise RefusedError(f"<>: {error}") from None
        return name


def _numeric(value: Any) -> Any:
    """YAML reads 1e-4 as a word."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if type(value) is not int:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # refused, as every infinite number is


def _separated(value: Any) -> Any:
    """The parts of ``150,180,210``; a list becomes the tuple that it is kept as."""
    if isinstance(value, str):
        value = [_scalar(part.strip()) for part in value.split(",") if part.strip()]
    return _listed(value)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _from_digits(value: Any) -> Any:
    """A whole number from text that is one; anything else as it is."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _counted(value: Any) -> Any:
    """A number of images; None for ``all``."""
    if value == "all":
        return None
    value = _from_digits(value)
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError("a number of images from 1, or 'all'")
    return value


_LARGEST = 1e12
"""Of a rate, a factor or a weight: a product of three of them is still a number in single precision."""
Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
"""A number of things, at least one."""
MOST_PIXELS = 65_536
Pixels = Annotated[int, Strict(), Field(ge=1, le=MOST_PIXELS)]
"""Height or width of an image: JPEG and most programs end there."""
ClassCount = Annotated[int, Strict(), Field(ge=0, le=100_000_000)]
"""Size of a classifier; 0: there is none."""
Seed = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Number = Annotated[float, BeforeValidator(_numeric)]
"""A finite number, also where YAML reads it as a word."""
NotNegative = Annotated[float, BeforeValidator(_numeric), Field(ge=0, le=_LARGEST)]
Positive = Annotated[float, BeforeValidator(_numeric), Field(gt=0, le=_LARGEST)]
Fraction = Annotated[float, BeforeValidator(_numeric), Field(ge=0, lt=1)]
AnyPath = Annotated[Path, Field(strict=False)]
"""A path, also from text."""
Listed = BeforeValidator(_listed)
"""Of a tuple: takes lists."""
FromDigits = BeforeValidator(_from_digits)
"""Of a number or a word: takes the number as text, too."""
Separated = BeforeValidator(_separated)
"""Of a tuple: takes text with commas, and lists."""
ImageCount = Annotated[int | None, BeforeValidator(_counted)]
"""A number of images; None, or ``all`` in text: all of them."""
