"""Memory that could not be had, in one line with the options that take less."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, Protocol, TypeVar

from layerprobe.errors import is_out_of_memory
from layerprobe.settings.base import SettingsError

_WANTED = re.compile(r"((?:tried|unable) to allocate) ([\d.]+ ?\w+)", re.IGNORECASE)


class Frugal(Protocol):
    """Settings that know which of them take memory."""

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        ...

    @property
    def kept_so_far(self) -> str:
        """What of the work is not lost where it ends early, for the end of a message; empty: nothing, or it is said."""
        ...


P = ParamSpec("P")
T = TypeVar("T")


def explaining_lack_of_memory(work: Callable[P, T]) -> Callable[P, T]:
    """Have a function of settings say what takes less memory, where the device's or the machine's is not enough.

    Args:
        work: its first parameter are ``Frugal`` settings. Instead of PyTorch's and NumPy's errors it then raises a
            ``SettingsError``.
    """
    first = next(iter(signature(work).parameters))

    @wraps(work)
    def explained(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            settings: Any = args[0] if args else kwargs[first]
            raise SettingsError(lack_of_memory(error, settings)) from error

    return explained


def lack_of_memory(error: Exception, settings: Frugal) -> str:
    """A message about an error of ``is_out_of_memory``: how much was wanted, what takes less, and what is not lost."""
    wanted = _WANTED.search(str(error))
    where = "out of memory on the GPU" if "CUDA" in str(error) else "out of memory"
    *remedies, last = settings.takes_less_memory
    remedy = f"{', '.join(remedies)} or {last}" if remedies else last
    kept = settings.kept_so_far
    size = f" ({wanted[1].lower()} {wanted[2]})" if wanted else ""
    return f"{where}{size}; take {remedy}{f'; {kept}' if kept else ''}"
