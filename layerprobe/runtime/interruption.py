"""A command is interrupted by Ctrl-C and by SIGTERM alike, and ends as interrupted whatever breaks on the way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
    exception into another one, and the signal may have ended a child process that is waited for. While the block is
    being left, SIGTERM interrupts it no more, so that claims are released also where a launcher sends it to a worker
    that Ctrl-C has reached already. A signal that the process was started to ignore is ignored.

    Only a process's main thread can arrange that; in another one the block runs as it is.

    Raises:
        Interruption: if one of the signals came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGTERM:
            return
        received.append(number)
        raise Interruption(number)

    unheard = (signal.SIG_IGN, None)  # None: whatever started Python listens itself
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) not in unheard]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    except Exception as error:
        if received:
            raise Interruption(received[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
