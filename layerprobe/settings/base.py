"""The frozen record that every group of settings is, and the one-line error for what may not stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from layerprobe.catalogue import Catalogue
from layerprobe.errors import LayerprobeError, closest

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
    from typing_extensions import Self
else:
    ModelMetaclass = type(BaseModel)

_FIELD = re.compile(r"<([a-z_][a-z0-9_.]*)>")


class SettingsError(LayerprobeError):
    """A value that may not stand where it does.

    Messages name fields as ``<training.lr>``. A Python user reads ``training.lr``, a command's user ``--lr``: the
    command line spells the message anew with ``spelled``.

    Args:
        message: one line, with fields in angle brackets.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(self.spelled(lambda path: path))

    def spelled(self, name_of: Callable[[str], str]) -> str:
        """The message, with every field called as a function says of its dotted path."""
        return _FIELD.sub(lambda found: name_of(found[1]), self.message)


class _OneLineErrors(ModelMetaclass):
    """Has pydantic's errors, which take several lines, raised as one line that names the field."""

    def __call__(cls, /, **values: Any) -> Any:
        try:
            return super().__call__(**values)
        except ValidationError as error:
            raise settings_error(error) from None


class Settings(BaseModel, metaclass=_OneLineErrors):
    """A group of settings: frozen, without unknown keys, every value in its range.

    The docstring below a field is its help text. ``panel`` is where ``--help`` lists the fields.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )
    panel: ClassVar[str] = "Options"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Settings from plain values, such as those of a YAML file; parts are mappings below their name.

        Raises:
            SettingsError: if a key is unknown or missing, or a value may not stand where it does.
        """
        return cls(**values)

    def replaced(self, **values: Any) -> Self:
        """The same settings with other values, checked again."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | values)

    def plain(self) -> dict[str, Any]:
        """Plain values, ready for YAML and JSON; ``parse`` reads them back."""
        return self.model_dump(mode="json")


def settings_error(error: ValidationError) -> SettingsError:
    """The first of pydantic's complaints in one line: the field, what it must be, and what came instead."""
    first = error.errors(include_url=False)[0]
    # Of a union pydantic also names the member that failed; it is no field.
    path = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    kind, given = first["type"], first["input"]
    if kind == "missing":
        return SettingsError(f"<{path}> is missing; give it")
    if kind == "extra_forbidden":
        return SettingsError(f"there is no setting {path!r}; look at the names of the others")
    what = (
        first["msg"].removeprefix("Input should be ").removeprefix("Value error, ").removeprefix("Assertion failed, ")
    )
    return SettingsError(f"<{path}> is {what}, not {given!r}" if path else what)


def _numeric(value: Any) -> Any:
    """YAML reads 1e-4 as a word."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return float(value) if type(value) is int else value


def _separated(value: Any) -> Any:
    """The parts of ``150,180,210``; a list becomes the tuple that it is kept as."""
    if isinstance(value, str):
        value = [_scalar(part.strip()) for part in value.split(",") if part.strip()]
    return tuple(value) if isinstance(value, list) else value


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def one_of(catalogue: Catalogue[Any]) -> Callable[[Any], Any]:
    """A validator that lets the names of a catalogue pass, and its plug-ins; looked up when a value is parsed."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"the name of a {catalogue.kind}")
        catalogue.find(value)
        return value

    return check


def check_known(keys: Mapping[str, Any], known: tuple[str, ...], prefix: str = "") -> None:
    """Refuse a key that is none, with the names that are most like it.

    Raises:
        SettingsError: if so.
    """
    for key in keys:
        if key not in known:
            raise SettingsError(f"there is no setting {prefix + str(key)!r}; {closest(str(key), known)}")


Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
"""A number of things, at least one."""
Seed = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Number = Annotated[float, BeforeValidator(_numeric)]
"""A finite number, also where YAML reads it as a word."""
Fraction = Annotated[float, BeforeValidator(_numeric), Field(ge=0, lt=1)]
AnyPath = Annotated[Path, Field(strict=False)]
"""A path, also from text."""
Separated = BeforeValidator(_separated)
"""Of a tuple: takes text with commas, and lists."""
