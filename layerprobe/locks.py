"""Which process may write a file or into a folder: locks of the operating system, which end with their process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from weakref import WeakSet

from layerprobe.errors import LayerprobeError

if sys.platform != "win32":  # there two processes that write the same are not told apart
    import fcntl

FOLDER_LOCK = ".layerprobe.lock"
"""The file whose lock keeps a folder for one process."""
_locked: WeakSet[FileIO] = WeakSet()


class HeldError(LayerprobeError):
    """Another process writes the file, or into the folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is being written by another process; wait for it, or name another --output")


def lock(file: FileIO) -> bool | None:
    """Keep other processes from locking an open file until it is closed. In a forked child it is closed.

    Returns:
        False: another process has locked it; None: there are no locks, as on Windows and some network file systems.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    _locked.add(file)
    return True


def open_alone(path: Path, mode: str = "r+") -> FileIO:
    """Open a file to read and write, and keep other runs from writing it until it is closed.

    Windows, and network file systems without locks, keep nobody from writing.

    Args:
        path: of the file.
        mode: of ``FileIO``, with which it can be written.

    Raises:
        HeldError: if another process writes the file, or has put another in its place.
        OSError: if it can't be opened.
    """
    file = FileIO(path, mode)
    try:
        if lock(file) is False or not is_named(file, path):
            raise HeldError(path)
    except BaseException:
        file.close()
        raise
    return file


def is_named(file: FileIO, path: Path) -> bool:
    """Whether an open file is the one that bears a name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep other runs from writing into a folder for the length of a block; the folder is made if it is missing.

    At the end the lock's file is removed, and the folder too if the block made it and left nothing in it.

    Raises:
        HeldError: if another process writes into it.
        OSError: if it can't be made or written to.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FOLDER_LOCK
    try:
        file = open_alone(path, "a+")
    except HeldError:
        raise HeldError(folder) from None
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file can't be deleted there
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)
            if made:
                folder.rmdir()
        file.close()


def _close_in_child() -> None:
    """A lock lasts until every process that inherited the file has closed it: workers can outlive a killed run."""
    for file in list(_locked):
        file.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)
