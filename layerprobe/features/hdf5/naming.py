"""How a new file gets its name without harm to one that is being written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerprobe.files import real_path, sync_folder
from layerprobe.locks import HeldError, open_alone


def give_name(new: Path, path: Path, overwrite: bool) -> None:
    """Give a file its name, in one step.

    Args:
        new: the file, in the folder of ``path`` with links followed.
        path: its name; a link keeps being one, and its target is replaced.
        overwrite: whether a file of that name may be replaced.

    Raises:
        HeldError: if a file of that name is being written, or is there and may not be replaced.
    """
    path = real_path(path)
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
        raise HeldError(path) from None
    except OSError:  # some file systems have no links
        if path.exists():
            raise HeldError(path) from None
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
