"""Which process may write a file, and how a new file gets its name without harm to one that is being written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from weakref import WeakSet

from layerprobe.errors import LayerprobeError
from layerprobe.files import sync_folder

if sys.platform != "win32":  # there two runs into one file are not told apart
    import fcntl

_alone: WeakSet[FileIO] = WeakSet()


def open_alone(path: Path) -> FileIO:
    """Open a file to read and write, and keep other runs from writing it until it is closed.

    In a forked child it is closed. Windows, and network file systems without locks, keep nobody from writing.

    Raises:
        LayerprobeError: if another process writes the file, or has put another in its place.
        OSError: if it can't be opened.
    """
    file = FileIO(path, "r+")
    try:
        if not _lock(file, path):
            raise _written_by_another(path)
    except BaseException:
        file.close()
        raise
    _alone.add(file)
    return file


def is_named(file: FileIO, path: Path) -> bool:
    """Whether an open file is the one that bears a name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def give_name(new: Path, path: Path, overwrite: bool) -> None:
    """Give a file its name, in one step.

    Args:
        new: the file, in the folder of ``path`` with links followed.
        path: its name; a link keeps being one, and its target is replaced.
        overwrite: whether a file of that name may be replaced.

    Raises:
        LayerprobeError: if a file of that name is being written, or is there and may not be replaced.
    """
    path = path.resolve()
    if overwrite and path.exists():
        with _held(path):
            new.replace(path)
    else:
        _name_new(new, path)
    sync_folder(path.parent)


def _name_new(new: Path, path: Path) -> None:
    """Name a file where none of that name is; unlike renaming, linking never replaces one that has come meanwhile."""
    try:
        os.link(new, path)
    except FileExistsError:
        raise _written_by_another(path) from None
    except OSError:  # some file systems have no links
        if path.exists():
            raise _written_by_another(path) from None
        new.replace(path)
    else:
        new.unlink()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep other runs from writing a file that is about to be replaced."""
    if sys.platform == "win32":  # an open file can't be replaced there
        yield
        return
    try:
        file = open_alone(path)
    except PermissionError:  # whoever writes to the folder may replace a file that they can't write to
        yield
        return
    with file:
        yield


def _lock(file: FileIO, path: Path) -> bool:
    """Lock a file; false where another process has it, or has put another in its place before it was locked."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        pass
    return is_named(file, path)


def _written_by_another(path: Path) -> LayerprobeError:
    return LayerprobeError(f"{path} is being written by another process; wait for it, or name another --output")


def _close_in_child() -> None:
    """A lock lasts until every process that inherited the file has closed it: workers can outlive a killed run."""
    for file in list(_alone):
        file.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)
