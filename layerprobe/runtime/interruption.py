"""A command is interrupted by Ctrl-C and by SIGTERM alike, and ends as interrupted whatever breaks on the way."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import clear_frames
from types import FrameType, TracebackType
from typing import Any

_PATIENCE = 1.0
"""Seconds after which an interruption that has not ended its block is raised again."""


class Interruption(KeyboardInterrupt):
    """SIGINT, which Ctrl-C sends, or SIGTERM.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(interruption: KeyboardInterrupt) -> int:
    """The exit code of an interrupted command, as shells have it: 130 after SIGINT, 143 after SIGTERM."""
    return 128 + getattr(interruption, "number", int(signal.SIGINT))


@contextmanager
def interruptible() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM raise ``Interruption``.

    An error that comes after the signal counts as the interruption: a library in C++ that calls Python can turn the
    exception into another one, and the signal may have ended a child process that is waited for. Where the exception
    is lost, as in a destructor, it is raised again. While the block is being left, SIGTERM interrupts it no more, so
    that claims are released also where a launcher sends it to a worker that Ctrl-C has reached already. A signal that
    the process was started to ignore is ignored.

    Only a process's main thread can arrange that; in another one the block runs as it is.

    Raises:
        Interruption: if one of the signals came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _Listener()
    unheard = (signal.SIG_IGN, None)  # None: whatever started Python listens itself
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) not in unheard]
    before, hook = {number: signal.signal(number, listener.hear) for number in heard}, sys.unraisablehook
    sys.unraisablehook = listener.quieted(hook)
    try:
        with listener:
            yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


class _Listener:
    """Raises an interruption, and again where it was lost, until the block is left."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._left = self._reminds = False
        self._turn = threading.Lock()
        self._thread = threading.get_ident()

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        reminded, self._reminds = self._reminds, False
        if self._left or (_is_leaving() and (reminded or number == signal.SIGTERM)):
            return
        if self._first is None:
            self._first = number
            _thread.start_new_thread(self._remind, (number,))  # ``threading`` takes locks that may be held just now
        raise Interruption(number)

    def _remind(self, number: int) -> None:
        """Send the signal again as long as the block is not left."""
        while hasattr(signal, "pthread_kill"):
            time.sleep(_PATIENCE)
            with self._turn:
                if self._left:
                    return
                self._reminds = True
                signal.pthread_kill(self._thread, number)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._left = True
        if self._first is None or error is None:
            return
        clear_frames(trace)  # what the interruption left half built is destroyed here, where nobody is told of it
        if isinstance(error, Exception):
            raise Interruption(self._first) from error

    def quieted(self, hook: Callable[[Any], object]) -> Callable[[Any], object]:
        """A hook for exceptions that can't be raised where they happen, which says nothing after the signal."""
        return lambda lost: None if self._first is not None else hook(lost)


def _is_leaving() -> bool:
    """Whether what runs now is the end of blocks that an interruption leaves."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Interruption):
        error = error.__context__
    return error is not None
