"""Lines that say how far long work is, where there is no bar."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

SILENCE = 20.0
"""Seconds without a line after which one is due: within half a minute, after some seconds of imports too."""


def _write_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class ProgressLines:
    """Says how far long work is, a line every half minute: the ``progress`` of functions that work long.

    Used as a context manager it also speaks where the work calls it rarely, from a thread of its own.

    Args:
        say: takes a line; None: it goes to stderr.
        silence: seconds without a line after which one is due.

    Examples:
        >>> from layerprobe import FeatureFile, ProgressLines, rank
        >>> with ProgressLines() as progress, FeatureFile("r56.h5") as file:  # doctest: +SKIP
        ...     ranking = rank(file, progress=progress)
        measuring layers: 12 of 28 (31 s)
    """

    def __init__(self, say: Callable[[str], None] | None = None, silence: float = SILENCE) -> None:
        self._say, self._silence = say or _write_line, silence
        self._begun = self._said = time.monotonic()
        self._now = "at work"
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` pieces of work are done, and say so if a line is due."""
        self._now = f"{what}: {done:,} of {total:,}"
        self.say_if_due()

    def restart(self) -> None:
        """Somebody else said something: the next line is due a whole silence later."""
        self._said = time.monotonic()

    def say_if_due(self) -> None:
        """Say how far the work is, and how many seconds ago it began, unless something was said lately."""
        now = time.monotonic()
        if now - self._said >= self._silence:
            self._said = now
            self._say(f"{self._now} ({now - self._begun:,.0f} s)")

    def __enter__(self) -> ProgressLines:
        self._thread = threading.Thread(target=self._watch, name="progress lines", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._silence / 4)):
            self.say_if_due()
