"""The one error that is meant for a person."""

from __future__ import annotations

import difflib
import errno
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LONGEST_LINE = 1500
"""Characters of a message: names in files may be of any length."""


class LayerprobeError(Exception):
    """What the user asked for can't be done.

    The message is one line: the invariant, what came instead, and the remedy. The command line
    prints it without a traceback and exits with code 2. A message that is too long for a
    line loses its middle.
    """

    def __str__(self) -> str:
        text, half = " ".join(super().__str__().splitlines()), _LONGEST_LINE // 2
        return text if len(text) <= _LONGEST_LINE else f"{text[:half]} ... {text[-half:]}"


class FileError(LayerprobeError):
    """A file is malformed: the message names it, and the field where there is one."""


def first_of(found: Sequence[str]) -> str:
    """The first of several, and how many more there are; empty: there is none.

    Examples:
        >>> first_of(["a", "b", "c"]), first_of(["a"]), first_of([])
        ('a (and 2 more)', 'a', '')
    """
    more = f" (and {len(found) - 1} more)" if found[1:] else ""
    return f"{found[0]}{more}" if found else ""


def closest(name: str, known: Iterable[str], count: int = 2) -> str:
    """Spell out the known names most like ``name``, for the end of an error message.

    Examples:
        >>> closest("layer3.66", ["layer1.0", "layer3.5", "layer3.6"])
        "closest: 'layer3.6', 'layer3.5'"
        >>> closest("xyz", ["layer1"])
        "known: 'layer1'"
    """
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    label, shown = ("closest", matches) if matches else ("known", names[:12])
    more = ", ..." if not matches and len(names) > len(shown) else ""
    return f"{label}: {', '.join(map(repr, shown))}{more}"


def must_be(kind: str, context: Mapping[str, Any]) -> str:
    """What a value must be, by pydantic's name of the error and its context; empty: pydantic's own words say it best.

    Examples:
        >>> must_be("int_type", {}), must_be("less_than_equal", {"le": 100.0})
        ('a whole number', 'at most 100')
    """
    words = {
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_too_short": "not empty",
        "path_type": "a path",
        "tuple_type": "a list",
        "list_type": "a list",
        "dict_type": "a mapping with keys below it",
        "dataclass_type": "a mapping with keys below it",
        "model_type": "a mapping with keys below it",
        "too_long": f"a list of {context.get('max_length')} at most",
        "too_short": f"a list of {context.get('min_length')} at least",
    }
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    if kind == "literal_error":
        return f"one of {context['expected'].replace(' or ', ', ')}"
    limits = (f"{word} {_plain(context[key])}" for key, word in bounds.items() if key in context)
    return words.get(kind) or next(limits, "")


def _plain(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def shown(value: object) -> str:
    """A value in a message: on one line, and not longer than a line.

    Examples:
        >>> shown("a" * 100)
        "'aaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaa'"
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 48
    try:
        return " ".join(short.repr(value).split())
    except ValueError:  # Python doesn't spell whole numbers of more than 4300 digits
        return "a number of too many digits"


def is_full(error: OSError) -> bool:
    """Whether a disk has no room left, or its user may take no more of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_of_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that a disk is full."""
    if error is None or (isinstance(error, OSError) and is_full(error)):
        return error is not None
    return is_of_full_disk(error.__cause__)


def of_system(error: OSError) -> str:
    """What the operating system says, without what libraries put around it."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def line_of_system(error: OSError) -> str:
    """A whole line about an error of the operating system that nobody foresaw.

    Examples:
        >>> line_of_system(PermissionError(errno.EACCES, "", "a.h5"))
        "can't use a.h5: Permission denied; name a file or folder that can be used"
    """
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    what = f"can't use {' and '.join(names)}: " if names else ""
    room = "make room, or " if is_full(error) else ""
    return f"{what}{of_system(error)}; {room}name a file or folder that can be used"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, NumPy's or PyTorch's, says that memory could not be had, on the CPU or on a GPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
