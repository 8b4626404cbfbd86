"""The shape of a progress callback."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)`` while a long job runs."""


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""
