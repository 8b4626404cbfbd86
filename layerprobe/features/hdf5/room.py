"""Room on the disk for what HDF5 will write: where HDF5 itself finds none, it may end the process without an error."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import h5py

from layerprobe.files import errors_of_writing

_CANT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems say that keep no room for a file."""


@contextmanager
def creating(new: Path, opened: FileIO, path: Path, room: int) -> Iterator[h5py.File]:
    """A new HDF5 file in the place of an empty one, with room on the disk for what will be written.

    The format is the earliest: it has no flag that says "open for writing" and would bar a file whose writer was
    killed. What is reserved and not written is given back when the file is closed.

    Args:
        new: the empty file.
        opened: the same, open for writing.
        path: the name that it will get, for messages.
        room: bytes that are reserved.

    Raises:
        LayerprobeError: if there is no such room, or the file can't be written.
    """
    with errors_of_writing(path):
        opened.write(_empty_file())
        reserve(opened, room)
    with h5py.File(new, "r+", libver="earliest", locking=False) as file:
        yield file


def reserve(opened: FileIO, room: int) -> None:
    """Have the disk keep room for the first so many bytes of a file, where it can.

    Raises:
        OSError: if there is no such room.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS and Windows have none
        return
    try:
        os.posix_fallocate(opened.fileno(), 0, room)
    except OSError as error:
        if error.errno not in _CANT_RESERVE:
            raise


def _empty_file() -> bytes:
    """The content of an HDF5 file without any."""
    content = io.BytesIO()
    with h5py.File(content, "w", libver="earliest"):
        pass
    return content.getvalue()


def check_room(opened: FileIO, path: Path, room: int) -> None:
    """Make sure that the disk has room for so many bytes now, and give them back.

    Args:
        opened: an empty file on that disk.
        path: the file that needs the room, for messages.
        room: bytes.

    Raises:
        LayerprobeError: if it has none.
    """
    with errors_of_writing(path):
        try:
            reserve(opened, room)
        finally:
            with suppress(OSError):
                opened.truncate(0)
